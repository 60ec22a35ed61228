//! User names and mail addresses are one namespace of logins, through the real programs: an entry
//! that takes another person's address as its user name does not take the login.

use anyhow::Result;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::NotSynchronizedReason;
use rollcall_proto::admin::v1::single_sync::Outcome as Synced;
use rollcall_proto::admin::v1::sync_job_detail::Category;

use crate::expect::{succeeded, users};
use crate::just_in_time::SignIn;
use crate::on_both_databases;
use crate::passwords::{REFUSED, let_in, start, with_password};

on_both_databases! {
    an_entry_that_is_named_like_the_address_of_another_takes_no_login,
    what_two_entries_bring_in_one_sync_is_the_login_of_neither,
}

const ANNA: &str = "anna@lab.test";

/// OpenLDAP with Anna and Eve, whose passwords are their own.
async fn anna_and_eve(database: Database) -> Result<SignIn> {
    let sign_in = start(World::builder().database(database)).await?;
    with_password(&sign_in.world, "anna", "anna-secret")?;
    with_password(&sign_in.world, "eve", "eve-secret")?;
    Ok(sign_in)
}

/// The user name of Eve's entry becomes Anna's address.
fn take_the_address(world: &World) -> Result<()> {
    let dn = format!("uid=eve,{}", world.directory().people_dn());
    world.directory().rename(&dn, &format!("uid={ANNA}"), None)
}

/// User names of the users that the job lists as having a name that is no login.
async fn listed(sign_in: &SignIn) -> Result<Vec<String>> {
    let lines = sign_in.world.details(Category::Warning).await?;
    assert!(lines.iter().all(|line| line.reason() == NotSynchronizedReason::LoginTaken), "{lines:?}");
    let mut names: Vec<_> = lines.into_iter().map(|line| line.user_name).collect();
    names.sort();
    Ok(names)
}

async fn an_entry_that_is_named_like_the_address_of_another_takes_no_login(database: Database) -> Result<()> {
    let sign_in = anna_and_eve(database).await?;
    let world = &sign_in.world;
    succeeded(&world.sync_now().await?);
    take_the_address(world)?;
    // She signs in by her own address first, which brings the new name; then a sync does.
    for sync in [false, true] {
        if sync {
            assert_eq!(succeeded(&world.sync_now().await?)[4], 0, "everybody is synchronized");
            assert_eq!(listed(&sign_in).await?, [ANNA]);
        } else {
            assert_eq!(sign_in.came_to("eve@lab.test").await?, (Synced::Updated, true));
        }
        let users = users(world).await?;
        assert!(users[ANNA].login_taken && !users["anna"].login_taken);
        let answer = sign_in.try_to(ANNA).await?;
        assert!(answer.allowed && answer.user.is_some_and(|user| user.user_name == "anna"));
        assert_eq!(sign_in.verified(ANNA, "anna-secret").await?, let_in(Synced::Unchanged));
        assert_eq!(sign_in.verified(ANNA, "eve-secret").await?, REFUSED);
        assert_eq!(sign_in.verified("eve@lab.test", "eve-secret").await?, let_in(Synced::Unchanged));
    }
    // Nor while Anna is not found.
    let dn = format!("uid=anna,{}", world.directory().people_dn());
    world.directory().rename(&dn, "uid=anna", Some(&world.directory().archive_dn()))?;
    assert_eq!(sign_in.came_to(ANNA).await?, (Synced::Absent, false));
    assert_eq!(sign_in.verified(ANNA, "eve-secret").await?, REFUSED);
    // Once a sync has shown that Anna is gone the login is free.
    succeeded(&world.sync_now().await?);
    assert_eq!(listed(&sign_in).await?, [""; 0]);
    assert_eq!(sign_in.verified(ANNA, "eve-secret").await?, let_in(Synced::Unchanged));
    Ok(())
}

async fn what_two_entries_bring_in_one_sync_is_the_login_of_neither(database: Database) -> Result<()> {
    let sign_in = anna_and_eve(database).await?;
    let world = &sign_in.world;
    take_the_address(world)?;
    succeeded(&world.sync_now().await?);
    assert_eq!(listed(&sign_in).await?, ["anna", ANNA]);
    assert_eq!(sign_in.came_to(ANNA).await?, (Synced::NotFound, false));
    for password in ["anna-secret", "eve-secret"] {
        assert_eq!(sign_in.verified(ANNA, password).await?, REFUSED, "{password}");
    }
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Unchanged));
    assert_eq!(sign_in.verified("eve@lab.test", "eve-secret").await?, let_in(Synced::Unchanged));
    Ok(())
}
