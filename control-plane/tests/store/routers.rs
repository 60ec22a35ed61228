//! What the store promises of identity routers and their registration codes, on both engines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use control_plane::model::{
    Actor, Certified, EventType, NewCertificate, NewCode, PresentedCertificate, Refusal, RouterId,
    RouterState, SourceId, TenantId, Timestamp,
};
use control_plane::store::{self, StoreError};
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

use crate::conformance::{OWNER, World, people};
use crate::database::{Engine, NOW, block_on, on_both};

on_both! {
    a_code_is_used_once_for_one_key_however_many_try_at_once
    an_answer_that_got_lost_is_given_again_to_the_same_key_alone
    a_code_ends_when_it_is_voided_when_a_newer_one_is_made_and_with_its_time
    a_tenant_has_a_hundred_open_codes_at_most
    a_code_names_sources_that_there_are_and_the_router_reads_no_others
    a_revoked_router_never_comes_back
    a_revocation_voids_what_the_router_reads_and_it_begins_nothing_more
    a_read_that_begins_while_its_router_is_revoked_is_void
    two_machines_suspend_their_router_until_it_enrolls_anew
    a_router_renews_and_recovers_and_its_old_keys_are_forgotten
    whoever_is_to_be_hung_up_on_is_found
    a_router_is_listed_as_last_heard_of
}

const SOON: Duration = Duration::from_secs(900);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn alice() -> Actor {
    Actor { name: "admins/alice".to_owned(), via: String::new(), address: "192.0.2.1".to_owned() }
}

fn newcomer() -> Actor {
    Actor { name: "unknown".to_owned(), via: String::new(), address: "192.0.2.2".to_owned() }
}

fn hash(secret: u8) -> [u8; 32] {
    [secret; 32]
}

fn certificate(key: u8, now: Timestamp) -> NewCertificate {
    let expires_at = now.plus(Duration::from_secs(86_400));
    NewCertificate { key: [key; 32], expires_at, forget_before: now.minus(MONTH) }
}

fn shows(key: u8) -> PresentedCertificate {
    PresentedCertificate { key: [key; 32], renewed: None }
}

fn code(secret: u8, router: &str) -> NewCode {
    NewCode {
        id: Uuid::now_v7().to_string(),
        secret_hash: hash(secret),
        router: RouterId::from(router),
        sources: Vec::new(),
        expires_at: NOW.plus(SOON),
    }
}

impl World {
    async fn make_code(&self, secret: u8, router: &str) -> Result<String, StoreError> {
        let by = alice();
        let made = self.store.create_registration_code(&self.tenant, code(secret, router), 100, &by, NOW);
        made.await.map(|code| code.id)
    }

    async fn enroll(&self, secret: u8, key: u8) -> Result<Certified, Refusal> {
        let enrolled = self.store.enroll(hash(secret), certificate(key, NOW), &newcomer(), NOW).await;
        enrolled.expect("an answer").map_err(|refused| refused.refusal)
    }

    /// A router that enrolled with a code and a key of this number.
    async fn router(&self, name: &str, number: u8) -> RouterId {
        self.make_code(number, name).await.expect("a code");
        self.enroll(number, number).await.expect("an enrollment").router
    }

    async fn admit(&self, router: &RouterId, key: u8) -> Result<i64, Refusal> {
        let admitted = self.store.admit_router(&self.tenant, router, shows(key), &newcomer(), NOW).await;
        admitted.expect("an answer").map(|admitted| admitted.generation).map_err(|refused| refused.refusal)
    }

    async fn renew(&self, router: &RouterId, key: u8, new: u8) -> Result<i64, Refusal> {
        let (of, new) = ((&self.tenant, router), certificate(new, NOW));
        let renewed = self.store.renew_router(of, shows(key), None, new, &newcomer(), NOW).await;
        renewed.expect("an answer").map_err(|refused| refused.refusal)
    }

    async fn recover(&self, router: &RouterId, key: u8, new: u8, now: Timestamp) -> Result<i64, Refusal> {
        let expired = ([key; 32], NOW.plus(Duration::from_secs(86_400)));
        let (of, new) = ((&self.tenant, router), certificate(new, now));
        let recovered = self.store.recover_router(of, expired, MONTH, new, &newcomer(), now).await;
        recovered.expect("an answer").map_err(|refused| refused.refusal)
    }

    async fn revoke(&self, router: &RouterId) -> Result<RouterState, StoreError> {
        let revoked = self.store.revoke_router(&self.tenant, router, "stolen", &alice(), NOW).await;
        revoked.map(|router| router.state)
    }
}

/// Events of these kinds in all trails, as kind and details, in their order.
async fn events(url: &str, kinds: &[EventType]) -> Vec<(EventType, String)> {
    const TEXT: &str = "SELECT type, details FROM audit_events ORDER BY tenant_no, sequence";
    let rows: Vec<(i64, String)> = if let Some(path) = url.strip_prefix("sqlite://") {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = options.connect().await.expect("a connection");
        sqlx::query_as(TEXT).fetch_all(&mut connection).await.expect("events")
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.expect("a connection");
        sqlx::query_as(TEXT).fetch_all(&mut connection).await.expect("events")
    };
    let known = |number| i16::try_from(number).ok().and_then(EventType::from_number).expect("a kind");
    let all = rows.into_iter().map(|(number, details)| (known(number), details));
    all.filter(|(kind, _)| kinds.contains(kind)).collect()
}

async fn a_code_is_used_once_for_one_key_however_many_try_at_once(engine: Engine) {
    let url = engine.url();
    let first = store::open(&url).await.expect("a store");
    // A second replica where the engine can have one.
    let second = match engine {
        Engine::Sqlite(_) => Arc::clone(&first),
        Engine::Postgres(_) => store::open(&url).await.expect("a replica's store"),
    };
    let world = World { store: first, tenant: TenantId::from("acme") };
    world.store.set_license_limit(&world.tenant, 1, true, &alice(), NOW).await.expect("a tenant");
    for round in 0..4_u8 {
        world.make_code(round, "hq-1").await.expect("a code");
        let tries = (0..100_u8).map(|number| {
            let store = Arc::clone(if number % 2 == 0 { &world.store } else { &second });
            let mut new = certificate(number, NOW);
            new.key[0] = round;
            tokio::spawn(async move {
                let answer = store.enroll(hash(round), new, &newcomer(), NOW).await.expect("an answer");
                (new.key, answer)
            })
        });
        let mut keys = BTreeSet::new();
        for tried in tries.collect::<Vec<_>>() {
            match tried.await.expect("no panic") {
                (key, Ok(certified)) => {
                    assert_eq!(certified.generation, i64::from(round) + 1);
                    keys.insert(key);
                }
                (_, Err(refused)) => assert_eq!(refused.refusal, Refusal::CodeUsed),
            }
        }
        assert_eq!(keys.len(), 1, "exactly one key in round {round}");
        let router = world.store.router(&world.tenant, &RouterId::from("hq-1")).await.expect("a router");
        assert_eq!(keys.first(), Some(&router.key));
    }
    assert_eq!(events(&url, &[EventType::RouterEnrolled]).await.len(), 4, "and one event each");
}

async fn an_answer_that_got_lost_is_given_again_to_the_same_key_alone(engine: Engine) {
    let world = World::new(&engine, 1).await;
    world.make_code(1, "hq-1").await.expect("a code");
    assert_eq!(world.enroll(2, 1).await, Err(Refusal::CodeUnknown));
    let first = world.enroll(1, 1).await.expect("an enrollment");
    assert_eq!(world.enroll(1, 1).await, Ok(first.clone()));
    assert_eq!(world.enroll(1, 2).await, Err(Refusal::CodeUsed));
    assert_eq!(world.renew(&first.router, 1, 3).await, Ok(2));
    assert_eq!(world.enroll(1, 1).await, Err(Refusal::CodeUsed), "it has moved on, so it had its answer");
    let late = NOW.plus(SOON + Duration::from_secs(1));
    let too_late =
        world.store.enroll(hash(1), certificate(1, late), &newcomer(), late).await.expect("an answer");
    let refused = too_late.expect_err("too late");
    assert_eq!(refused.refusal, Refusal::CodeExpired);
    assert_eq!(refused.of, Some((world.tenant.clone(), first.router)), "the trail is told whose code it was");
}

async fn a_code_ends_when_it_is_voided_when_a_newer_one_is_made_and_with_its_time(engine: Engine) {
    let world = World::new(&engine, 1).await;
    world.make_code(1, "hq-1").await.expect("a code");
    let newer = world.make_code(2, "hq-1").await.expect("a newer code");
    world.make_code(3, "hq-2").await.expect("a code of another router");
    assert_eq!(world.enroll(1, 1).await, Err(Refusal::CodeVoided));
    let by = alice();
    let void = || world.store.revoke_registration_code(&world.tenant, &newer, &by, NOW);
    assert_eq!(void().await.expect("a voided code").voided_at, Some(NOW));
    assert_eq!(world.enroll(2, 1).await, Err(Refusal::CodeVoided));
    assert!(matches!(void().await, Err(StoreError::CodeEnded)));
    let unknown = world.store.revoke_registration_code(&world.tenant, "none", &alice(), NOW).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    assert_eq!(world.store.revoke_all_registration_codes(&Actor::system(), NOW).await.expect("a count"), 1);
    assert_eq!(world.enroll(3, 1).await, Err(Refusal::CodeVoided));

    world.make_code(4, "hq-3").await.expect("a code");
    let later = NOW.plus(MONTH + SOON + Duration::from_secs(1));
    let mut last = code(5, "hq-3");
    last.expires_at = later.plus(SOON);
    world.store.create_registration_code(&world.tenant, last, 100, &alice(), later).await.expect("a code");
    let kept = world.store.list_registration_codes(&world.tenant, None, 10).await.expect("codes");
    assert_eq!(kept.len(), 1, "codes are forgotten a month after their end");
}

async fn a_tenant_has_a_hundred_open_codes_at_most(engine: Engine) {
    let world = World::new(&engine, 1).await;
    let by = alice();
    let make = |number: u8| {
        let new = code(number, &format!("r{number}"));
        world.store.create_registration_code(&world.tenant, new, 3, &by, NOW)
    };
    for number in 1..=3 {
        make(number).await.expect("a code");
    }
    assert!(matches!(make(4).await, Err(StoreError::TooManyCodes(3))));
    let again = code(5, "r3");
    let again = world.store.create_registration_code(&world.tenant, again, 3, &alice(), NOW).await;
    again.expect("a code in the place of the one that it voids");
    world.enroll(1, 1).await.expect("an enrollment");
    make(4).await.expect("a code, since one was used");
    let listed = world.store.list_registration_codes(&world.tenant, None, 2).await.expect("codes");
    assert_eq!((listed[0].router.as_str(), listed[1].router.as_str()), ("r4", "r3"), "newest first");
    let next =
        world.store.list_registration_codes(&world.tenant, Some(&listed[1].id), 2).await.expect("codes");
    assert_eq!((next[0].router.as_str(), next[0].voided_at), ("r3", Some(NOW)));
}

async fn a_code_names_sources_that_there_are_and_the_router_reads_no_others(engine: Engine) {
    let world = World::new(&engine, 1).await;
    let mut new = code(1, "hq-1");
    new.sources = vec![SourceId::from("nowhere")];
    let made = world.store.create_registration_code(&world.tenant, new.clone(), 100, &alice(), NOW).await;
    assert!(matches!(made, Err(StoreError::NotFound("identity source"))));
    new.sources = vec![SourceId::from("hq")];
    world
        .store
        .create_registration_code(&world.tenant, new.clone(), 100, &alice(), NOW)
        .await
        .expect("a code");
    let router = world.enroll(1, 1).await.expect("an enrollment").router;
    let admitted = world.store.admit_router(&world.tenant, &router, shows(1), &newcomer(), NOW).await;
    assert_eq!(admitted.expect("an answer").expect("it is let in").sources, new.sources);
}

async fn a_revoked_router_never_comes_back(engine: Engine) {
    let world = World::new(&engine, 1).await;
    let router = world.router("hq-1", 1).await;
    world.make_code(2, "hq-1").await.expect("a code that is open when it is revoked");
    assert_eq!(world.admit(&router, 1).await, Ok(1));
    assert_eq!(world.revoke(&router).await.expect("an answer"), RouterState::Revoked);
    assert_eq!(
        world.revoke(&router).await.expect("an answer"),
        RouterState::Revoked,
        "once more changes nothing"
    );

    assert_eq!(world.admit(&router, 1).await, Err(Refusal::RouterRevoked));
    assert_eq!(world.renew(&router, 1, 3).await, Err(Refusal::RouterRevoked));
    let later = NOW.plus(Duration::from_secs(2 * 86_400));
    assert_eq!(world.recover(&router, 1, 3, later).await, Err(Refusal::RouterRevoked));
    assert_eq!(world.enroll(2, 2).await, Err(Refusal::CodeVoided));
    assert_eq!(
        world.enroll(1, 1).await,
        Err(Refusal::RouterRevoked),
        "nor by asking again with the used code"
    );
    assert!(matches!(world.make_code(3, "hq-1").await, Err(StoreError::RouterRevoked)));
    let standing = world.store.router_status(&world.tenant, &router).await.expect("an answer");
    assert_eq!(standing.map_err(|refused| refused.refusal), Err(Refusal::RouterRevoked));
    let unknown = world.revoke(&RouterId::from("hq-9")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("identity router"))));
}

async fn a_revocation_voids_what_the_router_reads_and_it_begins_nothing_more(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let router = world.router("r1", 1).await;
    let (job, start) = world.reading("hq").await;
    world.apply(start.fence, people(start.fence.tenant, 0..2)).await.expect("a batch");
    world.revoke(&router).await.expect("a revocation");
    let after = world.apply(start.fence, people(start.fence.tenant, 2..4)).await;
    assert!(matches!(after, Err(StoreError::Fenced)), "not one batch after the answer");
    let again = world.store.begin_read(job.number, OWNER, &router, NOW).await;
    assert!(matches!(again, Err(StoreError::RouterInactive)));
    let other = world.store.begin_read(job.number, OWNER, &RouterId::from("r2"), NOW).await.expect("a read");
    world.apply(other.fence, people(other.fence.tenant, 2..4)).await.expect("another router goes on");
}

async fn a_read_that_begins_while_its_router_is_revoked_is_void(engine: Engine) {
    let world = World::new(&engine, 10).await;
    for round in 0..40_u8 {
        let router = world.router(&format!("hq-{round}"), round).await;
        let job = world.store.create_job(world.new_job("hq")).await.expect("a job").number;
        let (store, of) = (Arc::clone(&world.store), router.clone());
        let begun = tokio::spawn(async move {
            assert!(store.claim_job(job, OWNER, SOON, NOW).await.expect("an answer"));
            store.begin_read(job, OWNER, &of, NOW).await
        });
        // Over the rounds, the revocation comes at every moment of it.
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 100)).await;
        world.revoke(&router).await.expect("a revocation");
        match begun.await.expect("no panic") {
            Err(StoreError::RouterInactive) => {}
            Ok(start) => {
                let known = world.store.known_users(start.fence, Vec::new()).await;
                assert!(
                    matches!(known, Err(StoreError::Fenced)),
                    "it began first, so it was voided: {round}"
                );
            }
            Err(other) => panic!("{other:?}"),
        }
        let stopped = world.store.stop_job(&world.tenant, &SourceId::from("hq"), None, &alice(), NOW).await;
        stopped.expect("an end");
    }
}

async fn two_machines_suspend_their_router_until_it_enrolls_anew(engine: Engine) {
    let url = engine.url();
    let world = World { store: store::open(&url).await.expect("a store"), tenant: TenantId::from("acme") };
    world.store.set_license_limit(&world.tenant, 1, true, &alice(), NOW).await.expect("a tenant");
    let router = world.router("hq-1", 1).await;
    assert_eq!(world.renew(&router, 1, 2).await, Ok(2));
    assert_eq!(world.admit(&router, 1).await, Ok(1), "the answer may have got lost");
    assert_eq!(world.admit(&router, 2).await, Ok(2));
    assert_eq!(world.admit(&router, 1).await, Err(Refusal::RouterCloned));
    assert_eq!(world.admit(&router, 2).await, Err(Refusal::RouterSuspended), "the other neither");
    assert_eq!(world.renew(&router, 2, 3).await, Err(Refusal::RouterSuspended));
    let shown = world.store.router(&world.tenant, &router).await.expect("a router");
    assert_eq!(shown.state, RouterState::Suspended);
    assert!(shown.state_message.contains("registration code"), "{}", shown.state_message);

    world.make_code(4, "hq-1").await.expect("a code");
    assert_eq!(world.enroll(4, 4).await.map(|certified| certified.generation), Ok(3));
    assert_eq!(world.admit(&router, 4).await, Ok(3));
    for old in [1, 2] {
        assert_eq!(
            world.admit(&router, old).await,
            Err(Refusal::KeyReplaced),
            "and nothing happens to the new one"
        );
    }
    assert_eq!(world.admit(&router, 9).await, Err(Refusal::KeyUnknown));
    assert_eq!(world.admit(&router, 4).await, Ok(3));
    let cloned = (EventType::RouterCloned, r#"{"generation":"2","shown_generation":"1"}"#.to_owned());
    assert_eq!(events(&url, &[EventType::RouterCloned]).await, [cloned]);
}

async fn a_router_renews_and_recovers_and_its_old_keys_are_forgotten(engine: Engine) {
    let world = World::new(&engine, 1).await;
    let router = world.router("hq-1", 1).await;
    assert_eq!(world.renew(&router, 1, 2).await, Ok(2));
    assert_eq!(world.renew(&router, 1, 2).await, Ok(2), "the same request is the same certificate");
    assert_eq!(world.renew(&router, 1, 3).await, Ok(3), "another one is another");
    assert_eq!(world.admit(&router, 3).await, Ok(3));
    assert_eq!(world.renew(&router, 3, 1).await, Err(Refusal::KeyNotNew));
    assert_eq!(world.recover(&router, 3, 4, NOW).await, Err(Refusal::NotExpired));

    let later = NOW.plus(Duration::from_secs(2 * 86_400));
    for (key, generation) in [(4, 4), (5, 5), (6, 6)] {
        assert_eq!(world.recover(&router, key - 1, key, later).await, Ok(generation));
    }
    assert_eq!(world.recover(&router, 6, 7, later).await, Err(Refusal::RecoveriesSpent));
    assert_eq!(world.store.router(&world.tenant, &router).await.expect("a router").recoveries, 3);
    assert_eq!(world.renew(&router, 6, 7).await, Ok(7), "a regular renewal");
    assert_eq!(world.store.router(&world.tenant, &router).await.expect("a router").recoveries, 0);
    let late = NOW.plus(MONTH + Duration::from_secs(86_401));
    assert_eq!(world.recover(&router, 7, 8, late).await, Err(Refusal::TooLate));

    let (of, shown) = ((&world.tenant, &router), shows(7));
    let renewed = world.store.renew_router(of, shown, None, certificate(8, late), &newcomer(), late).await;
    renewed.expect("an answer").expect("a certificate");
    assert_eq!(world.admit(&router, 3).await, Err(Refusal::KeyUnknown), "forgotten a month after its end");
}

async fn whoever_is_to_be_hung_up_on_is_found(engine: Engine) {
    let world = World::new(&engine, 1).await;
    let (gone, stays) = (world.router("hq-1", 1).await, world.router("hq-2", 2).await);
    let later = NOW.plus(Duration::from_secs(60));
    world.store.revoke_router(&world.tenant, &gone, "", &alice(), later).await.expect("a revocation");
    let changed = world.store.changed_routers(later).await.expect("routers");
    assert_eq!(changed.len(), 1);
    assert_eq!((&changed[0].router, changed[0].state), (&gone, RouterState::Revoked));
    let changed = world.store.changed_routers(NOW).await.expect("routers");
    assert_eq!(changed.iter().map(|router| &router.router).collect::<BTreeSet<_>>(), [&gone, &stays].into());
    assert_eq!(world.store.suspended_tenants().await.expect("tenants"), []);
}

async fn a_router_is_listed_as_last_heard_of(engine: Engine) {
    let world = World::new(&engine, 1).await;
    let router = world.router("r1", 1).await;
    let later = NOW.plus(Duration::from_secs(5));
    world.store.record_router_connected(&world.tenant, &router, "0.1.0", NOW).await.expect("noted");
    world.store.record_router_disconnected(&world.tenant, &router, later).await.expect("noted");
    let unknown = RouterId::from("r2");
    world.store.record_router_connected(&world.tenant, &unknown, "0.1.0", NOW).await.expect("no failure");
    let routers = world.store.list_routers(&world.tenant, None, 10).await.expect("routers");
    assert_eq!(routers.len(), 1, "only enrollment makes routers");
    let listed = &routers[0];
    assert_eq!((listed.connected, listed.last_seen, listed.created_at), (false, later, NOW));
    assert_eq!((listed.version.as_str(), listed.key, listed.generation), ("0.1.0", [1; 32], 1));
    assert!(world.store.list_routers(&TenantId::from("globex"), None, 10).await.is_err(), "no such tenant");
}
