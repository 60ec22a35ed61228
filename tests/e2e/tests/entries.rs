//! Entries as they are in the wild: each ends as a user or as one record that is not synchronized, with a reason.

use anyhow::Result;
use harness::world::World;
use rollcall_proto::admin::v1::{NotSynchronizedReason, sync_job_detail::Category};

use crate::expect::{entry, join, reasons, succeeded, users};

#[tokio::test(flavor = "multi_thread")]
async fn weird_entries_are_users_or_have_a_reason() -> Result<()> {
    let world = World::builder().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let people = world.directory().people_dn();
    let person = |rdn: &str, lines: &str| {
        format!("dn: {rdn},{people}\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n{lines}\n")
    };
    let add = |rdn: &str, lines: &str| world.directory().add(&person(rdn, lines));

    add(r"cn=Smith\, John", "cn: Smith, John\nuid: comma\nmail: comma@lab.test")?;
    add(r"cn=\#1 \+ \22quoted\22 \\", "cn: #1 + \"quoted\" \\\nuid: hash\nmail: hash@lab.test")?;
    add("cn=multi+uid=multi", "cn: multi\nuid: multi\nmail: multi@lab.test")?;
    add("uid=rtl", "uid: rtl\nmail: rtl@lab.test\ndisplayName:: 16fXldec15XXnQ==")?; // Hebrew
    add("uid=many", "uid: many\nmail: many@lab.test\nmail: many@elsewhere.test\nmail: third@lab.test")?;
    add("cn=nameless", "cn: nameless\nmail: nameless@lab.test")?;
    add("uid=mailless", "uid: mailless")?;
    add("uid=wrongmail", "uid: wrongmail\nmail: not an address")?;
    add("uid=long", &format!("uid: long\nmail: long@lab.test\ntitle: {}", "x".repeat(20_000)))?;
    add("uid=photo", &format!("uid: photo\nmail: photo@lab.test\njpegPhoto:: {}", "/9j/".repeat(400_000)))?;
    add("uid=twin1", "uid: twin1\nmail: Twin@lab.test")?;
    add("uid=twin2", "uid: twin2\nmail: tWIN@lab.test")?;

    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [7, 0, 0, 0, 5]);
    let users = users(&world).await?;
    for uid in ["comma", "hash", "multi", "rtl", "many", "photo"] {
        assert!(users.contains_key(uid), "{uid}");
    }
    assert_eq!(users["rtl"].display_name, "קולום");
    let reasons = reasons(&world).await?;
    assert_eq!(reasons[""], NotSynchronizedReason::MissingUsername);
    assert_eq!(reasons["mailless"], NotSynchronizedReason::MissingEmail);
    assert_eq!(reasons["wrongmail"], NotSynchronizedReason::InvalidEmail);
    assert_eq!(reasons["long"], NotSynchronizedReason::InvalidAttribute);
    let twins = ["twin1", "twin2"].iter().filter(|twin| users.contains_key(**twin)).count();
    assert_eq!(twins, 1, "one of two with the same mail address");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_names_the_other_user() -> Result<()> {
    let world = World::builder().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    join(&world, "anna", "shared@lab.test")?;
    succeeded(&world.sync_now().await?);
    let holder = users(&world).await?["anna"].name.clone();
    world.directory().add(&entry(&world, "ben", "shared@lab.test"))?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 1, 0, 1]);
    let detail = world.details(Category::NotSynchronized).await?.remove(0);
    assert_eq!(detail.reason(), NotSynchronizedReason::DuplicateEmail);
    assert!(detail.message.contains(&holder), "{}", detail.message);
    Ok(())
}
