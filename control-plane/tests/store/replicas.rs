//! What the store promises of replicas and of the routers that are connected to them, on both
//! engines.

use std::time::Duration;

use control_plane::model::{Replica, ReplicaKey, RouterId, TenantId, Timestamp};
use control_plane::store::Store;

use crate::database::{Engine, NOW, admin, block_on, on_both};

on_both! {
    a_replica_is_one_for_as_long_as_it_is_heard_of
    routers_of_other_replicas_are_found_and_none_of_other_tenants_of_the_silent_or_revoked
}

fn replica(number: u8) -> Replica {
    Replica { key: ReplicaKey([number; 32]), address: format!("192.0.2.{number}:7445") }
}

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

async fn live(store: &Store, since: Timestamp) -> Vec<Replica> {
    let mut live = store.live_replicas(since).await.expect("replicas");
    live.sort_by_key(|replica| replica.key);
    live
}

async fn a_replica_is_one_for_as_long_as_it_is_heard_of(engine: Engine) {
    let store = engine.store().await;
    let (first, second) = (replica(1), replica(2));
    assert!(!store.record_heartbeat(&first, None, NOW).await.expect("an answer"), "nobody knows it");
    assert!(live(&store, NOW).await.is_empty(), "and it is none by that");
    assert!(store.record_heartbeat(&first, Some(&[]), NOW).await.expect("an answer"));
    assert!(store.record_heartbeat(&second, Some(&[]), later(5)).await.expect("an answer"));
    assert_eq!(live(&store, NOW).await, [first.clone(), second.clone()]);
    assert_eq!(live(&store, later(1)).await, std::slice::from_ref(&second), "the first is silent");
    assert!(store.record_heartbeat(&first, None, later(5)).await.expect("an answer"));
    assert_eq!(live(&store, later(1)).await, [first.clone(), second.clone()]);
    let again = Replica { key: ReplicaKey([3; 32]), ..second };
    assert!(store.record_heartbeat(&again, Some(&[]), later(6)).await.expect("an answer"));
    assert_eq!(live(&store, NOW).await, [first.clone(), again.clone()], "started again where it was");
    store.remove_replica(again.key).await.expect("an end");
    assert_eq!(live(&store, NOW).await, std::slice::from_ref(&first));
    store.remove_stale_replicas(later(6)).await.expect("an end");
    assert!(live(&store, NOW).await.is_empty());
    assert!(!store.record_heartbeat(&first, None, later(6)).await.expect("an answer"), "it was forgotten");
}

async fn routers_of_other_replicas_are_found_and_none_of_other_tenants_of_the_silent_or_revoked(
    engine: Engine,
) {
    let store = engine.store().await;
    let (acme, other) = (TenantId::from("acme"), TenantId::from("other"));
    for tenant in [&acme, &other] {
        store.create_tenant(tenant, 10, &admin(), NOW).await.expect("a tenant");
    }
    let hq = |number: u8| RouterId(format!("hq-{number}"));
    for number in 1..=3 {
        enrolled(&store, &acme, &hq(number), number).await;
    }
    enrolled(&store, &other, &hq(9), 9).await;
    let (here, there, silent) = (replica(1), replica(2), replica(3));
    let of = |numbers: &[u8]| numbers.iter().map(|number| (acme.clone(), hq(*number))).collect::<Vec<_>>();
    let mut at_there = of(&[2, 3]);
    at_there.push((other.clone(), hq(9)));
    at_there.push((TenantId::from("nobody"), hq(1)));
    store.record_heartbeat(&here, Some(&of(&[1])), later(10)).await.expect("an answer");
    store.record_heartbeat(&there, Some(&at_there), later(10)).await.expect("an answer");
    store.record_heartbeat(&silent, Some(&of(&[1])), NOW).await.expect("an answer");
    let found = async || {
        let found = store.routers_elsewhere(&acme, here.key, later(5)).await.expect("routers");
        found.into_iter().map(|distant| (distant.router.0, distant.replica)).collect::<Vec<_>>()
    };
    let at = |id: &str| (id.to_owned(), there.clone());
    assert_eq!(found().await, [at("hq-2"), at("hq-3")]);
    store.revoke_router(&acme, &hq(3), "sold", &admin(), later(11)).await.expect("an end");
    assert_eq!(found().await, [at("hq-2")], "revoked");
    // Known again without its routers: they stay; with others: these are all.
    store.record_heartbeat(&there, None, later(12)).await.expect("an answer");
    assert_eq!(found().await, [at("hq-2")]);
    store.record_heartbeat(&there, Some(&[]), later(13)).await.expect("an answer");
    assert!(found().await.is_empty());
}

/// A router that has enrolled.
async fn enrolled(store: &Store, tenant: &TenantId, router: &RouterId, number: u8) {
    use control_plane::model::{NewCertificate, NewCode};
    let soon = later(900);
    let code = NewCode {
        id: uuid::Uuid::now_v7().to_string(),
        secret_hash: [number; 32],
        router: router.clone(),
        sources: Vec::new(),
        expires_at: soon,
    };
    store.create_registration_code(tenant, code, 100, &admin(), NOW).await.expect("a code");
    let certificate = NewCertificate { key: [number; 32], expires_at: soon, forget_before: Timestamp(0) };
    store.enroll([number; 32], certificate, &admin(), NOW).await.expect("an answer").expect("a router");
}
