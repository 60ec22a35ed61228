//! The license limit and the sync limit.

use anyhow::Result;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::{NotSynchronizedReason, sync_job_detail::Category};

use crate::expect::{enabled, flawless, join, reasons, succeeded, users};
use crate::on_both_databases;

on_both_databases! {
    a_license_of_two_lets_two_in_and_names_the_third,
    present_users_keep_their_seats_and_a_leaver_frees_one,
    a_limit_below_the_use_disables_nobody_and_updates_go_on,
    users_beyond_the_sync_limit_are_not_synchronized_and_not_disabled,
}

async fn a_license_of_two_lets_two_in_and_names_the_third(database: Database) -> Result<()> {
    let world = World::builder().database(database).license(2).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for uid in ["anna", "ben", "carla"] {
        join(&world, uid, &format!("{uid}@lab.test"))?;
    }
    assert_eq!(succeeded(&world.sync_now().await?), [2, 0, 0, 0, 1]);
    let reasons = reasons(&world).await?;
    assert_eq!(reasons.values().collect::<Vec<_>>(), [&NotSynchronizedReason::LicenseLimit]);
    let message = world.details(Category::NotSynchronized).await?.remove(0).message;
    assert!(message.contains("raise the license limit"), "{message}");

    world.set_license(3).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 2, 0, 0]);
    let license = world.license().await?;
    assert_eq!((license.user_limit(), license.used(), license.by_source[0].used()), (3, 3, 3));
    Ok(())
}

async fn present_users_keep_their_seats_and_a_leaver_frees_one(database: Database) -> Result<()> {
    let world = World::builder().database(database).license(100).these_people(flawless(100)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [100, 0, 0, 0, 0]);
    world.directory().delete(&flawless(100).person(9).dn(world.directory().base_dn()))?;
    join(&world, "one", "one@lab.test")?;
    join(&world, "two", "two@lab.test")?;
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 99, 1, 1]);
    assert_eq!(world.license().await?.used(), 100);
    Ok(())
}

async fn a_limit_below_the_use_disables_nobody_and_updates_go_on(database: Database) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(50)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    succeeded(&world.sync_now().await?);
    world.set_license(10).await?;
    let changed = flawless(50).person(0);
    world.directory().replace(&changed.dn(world.directory().base_dn()), "title", &["Chief"])?;
    join(&world, "joiner", "joiner@lab.test")?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 1, 49, 0, 1]);
    assert_eq!(enabled(&users(&world).await?), 50);
    Ok(())
}

async fn users_beyond_the_sync_limit_are_not_synchronized_and_not_disabled(database: Database) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(120)).start().await?;
    let mut settings = world.settings();
    settings.sync_limit = 100;
    world.create_and_publish_source(settings.clone()).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [100, 0, 0, 0, 20]);
    assert!(reasons(&world).await?.values().all(|reason| *reason == NotSynchronizedReason::SyncLimit));
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 100, 0, 20]);

    settings.sync_limit = 60;
    world.update_and_publish_source(settings).await?;
    let [added, updated, unchanged, disabled, others] = succeeded(&world.sync_now().await?);
    assert_eq!((added, updated + unchanged, disabled, others), (0, 60, 0, 60));
    assert_eq!(enabled(&users(&world).await?), 100);
    Ok(())
}
