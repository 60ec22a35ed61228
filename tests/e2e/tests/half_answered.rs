//! Sign-ins of which a directory answers a part, or one directory of several nothing: a scripted
//! identity router says what it is told to.

use anyhow::Result;
use harness::World;
use harness::world::TENANT;
use rollcall_proto::admin::v1::JustInTimeSettings;
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::router::v1::fetch_result::Found;
use rollcall_proto::router::v1::lookup_result::Presence;

use crate::just_in_time::{SignIn, on, seconds};
use crate::scripted::{self, Router};

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_directory_no_longer_has_is_not_let_in_as_last_known_where_the_second_look_gets_no_answer()
-> Result<()> {
    let (world, mut router) = scripted::ten_users().await?;
    let sign_in = SignIn::over(world).await?;
    let last_known = JustInTimeSettings { last_known_max_age: seconds(3_600), ..on() };
    // The longest deadline: the answer is an outcome, and not the end of the call.
    sign_in.set(JustInTimeSettings { deadline: seconds(30), ..last_known.clone() }).await?;
    let denied = async {
        let order = router.fetch().await?;
        router.fetched(&order, Found::Absent(Presence::NotFound.into())).await?;
        router.look_up().await
    };
    let (denied, call) = tokio::join!(denied, sign_in.came_to("user3"));
    denied?;
    assert_eq!(call?, (Outcome::DirectoryUnreachable, false));

    // Where nobody has answered anything, the last known user counts.
    sign_in.set(JustInTimeSettings { deadline: seconds(2), ..last_known }).await?;
    let (order, call) = tokio::join!(router.fetch(), sign_in.came_to("user4"));
    order?;
    assert_eq!(call?, (Outcome::LastKnown, true));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_directory_says_nothing_keeps_nobody_out_of_the_next_one() -> Result<()> {
    let world = World::builder().without_router().start().await?;
    let mut router = Router::connect(&world, TENANT, "scripted").await?;
    world.create_and_publish_source(world.settings()).await?;
    let second = format!("tenants/{TENANT}/identitySources/old");
    world.admin.create_and_publish(&second, world.settings()).await?;
    let sign_in = SignIn::over(world).await?;
    sign_in.set(JustInTimeSettings { deadline: seconds(6), ..on() }).await?;
    let script = async {
        router.fetch().await?;
        let order = router.fetch().await?;
        router.fetched(&order, Found::Record(scripted::record(1))).await?;
        // Somebody new is asked for by the immutable id, too: it may be that of two entries.
        let order = router.fetch().await?;
        router.fetched(&order, Found::Record(scripted::record(1))).await
    };
    let (script, call) = tokio::join!(script, sign_in.try_to("user1"));
    script?;
    let call = call?;
    assert_eq!((call.outcome(), call.allowed, call.identity_source), (Outcome::Added, true, second));
    Ok(())
}
