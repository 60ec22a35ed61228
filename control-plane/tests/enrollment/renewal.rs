//! How a router stays.

use std::time::Duration;

use rollcall_proto::admin::v1::{GetIdentityRouterRequest, IdentityRouter};
use tonic::Code;

use crate::world::{Router, Session, World, key, reason};

async fn shown(world: &World, router: &Router) -> IdentityRouter {
    let name = router.issued.identity_router.clone();
    let request = GetIdentityRouterRequest { name };
    world.admin().await.get_identity_router(request).await.expect("a router").into_inner()
}

#[tokio::test]
async fn a_session_outlives_the_certificate_that_it_began_with_once_that_is_renewed() {
    let life = Duration::from_secs(12);
    let world = World::with_life(life).await;
    let (router, other) = (world.enrolled("hq-1").await, world.enrolled("hq-2").await);
    let mut link = world.link(&router).await.expect("a connection");
    let mut session = Session::begin(&mut link, false).await.expect("a session");
    let mut left_alone = world.link(&other).await.expect("a connection");
    let lost = Session::begin(&mut left_alone, false).await.expect("a session");
    let mut newest = router.clone();
    for generation in 2..=5 {
        tokio::time::sleep(life / 3).await;
        newest = newest.renew(&mut link, &key()).await.expect("the next certificate");
        assert_eq!(newest.issued.generation, generation);
        assert!(session.goes_on().await, "certificate {generation}");
    }
    assert_ne!(lost.end().await.code(), Code::Ok, "a session whose certificate is not renewed ends with it");
    let mut again = world.link(&newest).await.expect("the newest certificate is good for a connection");
    Session::begin(&mut again, false).await.expect("and for a session");
    assert_eq!(shown(&world, &router).await.certificate_generation, 5);
}

#[tokio::test]
async fn an_answer_that_got_lost_locks_nobody_out() {
    let world = World::start().await;
    let router = world.enrolled("hq-1").await;
    let mut link = world.link(&router).await.expect("a connection");
    router.renew(&mut link, &key()).await.expect("a certificate that gets lost");
    let mut link = world.link(&router).await.expect("a new connection with the old one");
    Session::begin(&mut link, true).await.expect("it is let in");
    let renewed = router.renew(&mut link, &key()).await.expect("the next certificate");
    assert_eq!(renewed.issued.generation, 3);
    let mut link = world.link(&renewed).await.expect("a connection");
    Session::begin(&mut link, true).await.expect("it is let in");
}

#[tokio::test]
async fn a_copied_router_is_suspended_with_its_copy_until_one_enrolls_anew() {
    let world = World::start().await;
    let original = world.enrolled("hq-1").await;
    let copy = original.clone();
    let mut link = world.link(&original).await.expect("a connection");
    let renewed = original.renew(&mut link, &key()).await.expect("a certificate");
    let mut link = world.link(&renewed).await.expect("a connection");
    let session = Session::begin(&mut link, false).await.expect("a session");
    let mut link = world.link(&copy).await.expect("a connection, since its certificate is still valid");
    let status = Session::begin(&mut link, false).await.err().expect("it is refused");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "ROUTER_SUSPENDED"));
    assert_eq!(reason(&session.end().await), "ROUTER_SUSPENDED", "the other one, too");
    assert_eq!(shown(&world, &original).await.state().as_str_name(), "SUSPENDED");

    let anew = world.enrolled("hq-1").await;
    let mut link = world.link(&anew).await.expect("a connection");
    let mut session = Session::begin(&mut link, false).await.expect("a session");
    let mut link = world.link(&renewed).await.expect("a connection");
    let status = Session::begin(&mut link, false).await.err().expect("it is refused");
    assert_eq!(reason(&status), "ROUTER_REPLACED");
    assert!(session.goes_on().await, "what is refused plainly harms nobody");
}

#[tokio::test]
async fn who_enrolls_anew_ends_the_session_of_the_machine_before() {
    let world = World::start().await;
    let before = world.enrolled("hq-1").await;
    let mut link = world.link(&before).await.expect("a connection");
    let session = Session::begin(&mut link, false).await.expect("a session");
    world.enrolled("hq-1").await;
    // Not for want of heartbeats.
    assert_eq!(session.end().await.code(), Code::Aborted);
    let status = Session::begin(&mut link, false).await.err().expect("it is refused");
    assert_eq!(reason(&status), "ROUTER_REPLACED");
}

#[tokio::test]
async fn a_router_that_was_away_for_too_long_recovers_with_the_key_that_it_has() {
    let world = World::with_life(Duration::from_secs(2)).await;
    let mut router = world.enrolled("hq-1").await;
    for left in [2, 1, 0] {
        let next = key();
        let issued = world.recover(&router, &next).await.expect("another certificate");
        router = Router { key: next, issued };
        assert_eq!(shown(&world, &router).await.recoveries_left, left);
    }
    // An attempt a second is allowed.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = world.recover(&router, &key()).await.expect_err("it is refused");
    assert_eq!(reason(&status), "ENROLLMENT_REFUSED");
    // With the key of another.
    let thief = Router { key: key(), issued: router.issued.clone() };
    let status = world.recover(&thief, &key()).await.expect_err("it is refused");
    assert_eq!(reason(&status), "ENROLLMENT_REFUSED");
    assert_eq!(shown(&world, &router).await.certificate_generation, 4);
}
