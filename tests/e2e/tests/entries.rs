//! Entries as they are in the wild: each ends as a user or as one record that is not synchronized,
//! with a reason.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use harness::ldap::ldif;
use harness::world::World;
use rollcall_proto::admin::v1::{
    AttributeMapping, IdentitySourceSettings, NotSynchronizedReason, SyncJobDetail, User,
    attribute_mapping::ImmutableIdFormat, sync_job_detail::Category,
};

use crate::expect::{entry, join, reasons, succeeded, users};
use crate::zoo::{self, Animal, Outcome};

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
    assert_eq!(succeeded(&job), [8, 0, 0, 0, 4]);
    assert_eq!(job.counts.and_then(|counts| counts.warnings), Some(1));
    let users = users(&world).await?;
    for uid in ["comma", "hash", "multi", "rtl", "many", "photo", "long"] {
        assert!(users.contains_key(uid), "{uid}");
    }
    assert_eq!(users["rtl"].display_name, "קולום");
    assert!(users["long"].warnings[0].contains("title"), "left out, and told: {:?}", users["long"]);
    let reasons = reasons(&world).await?;
    assert_eq!(reasons[""], NotSynchronizedReason::MissingUsername);
    assert_eq!(reasons["mailless"], NotSynchronizedReason::MissingEmail);
    assert_eq!(reasons["wrongmail"], NotSynchronizedReason::InvalidEmail);
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

/// What became of the entries, by the immutable id that the directory gave each kind.
struct Seen {
    ids: BTreeMap<String, String>,
    users: BTreeMap<String, User>,
    refused: BTreeMap<String, SyncJobDetail>,
}

async fn seen(world: &World) -> Result<Seen> {
    let directory = world.directory();
    let found =
        directory.search(directory.base_dn(), "(employeeNumber=*)", &["employeeNumber", "entryUUID"])?;
    let id = |entry: ldif::Entry| {
        let value = |name| entry.first(name).map(str::to_owned).context("an entry without a value");
        anyhow::Ok((value("employeeNumber")?, value("entryUUID")?))
    };
    let ids = ldif::entries(&found)?.into_iter().map(id).collect::<Result<_>>()?;
    let users = world.users().await?.into_iter().map(|user| (user.immutable_id.clone(), user)).collect();
    let refused = world.details(Category::NotSynchronized).await?.into_iter();
    let refused = refused.map(|detail| (detail.immutable_id.clone(), detail)).collect();
    Ok(Seen { ids, users, refused })
}

impl Seen {
    fn assert(&self, Animal { kind, outcome, .. }: &Animal) {
        let id = &self.ids[*kind];
        let (user, refused) = (self.users.get(id), self.refused.get(id));
        match (outcome, user, refused) {
            (Outcome::User(field, value), Some(user), None) => assert_eq!(field(user), value, "{kind}"),
            (Outcome::Warned(attribute), Some(user), None) => {
                let [warning] = &user.warnings[..] else { panic!("{kind}: {user:?}") };
                assert!(warning.contains(attribute) && warning.contains("left out"), "{kind}: {warning}");
                assert!(!warning.contains(char::is_control), "{warning:?}");
            }
            (Outcome::Not(reason), None, Some(refused)) => {
                assert_eq!(refused.reason(), *reason, "{kind}: {refused:?}");
                assert!(
                    !refused.message.is_empty() && !refused.message.contains(char::is_control),
                    "{refused:?}"
                );
            }
            (Outcome::Either(_), Some(_), None) => {}
            (Outcome::Either(reason), None, Some(refused)) => assert_eq!(refused.reason(), *reason, "{kind}"),
            _ => panic!("{kind}: {user:?}, {refused:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_animal_of_the_zoo_ends_as_it_must_and_again_and_none_of_them_is_in_a_log() -> Result<()> {
    let people = "ou=people,dc=example,dc=com";
    let animals = zoo::all(people);
    let entries = zoo::ldif(people, &animals)?;
    let allowed = |mut policy: harness::world::Policy| {
        policy.attributes.extend(["audio".to_owned(), "mail;lang-de".to_owned()]);
        policy
    };
    let mut world = World::builder().directory(|slapd| slapd.ldif(&entries)).policy(allowed).start().await?;
    let settings = world.settings();
    let mapping = settings.mapping.clone().unwrap_or_default();
    let mapping = AttributeMapping { first_name: "audio".to_owned(), ..mapping };
    world.create_and_publish_source(IdentitySourceSettings { mapping: Some(mapping), ..settings }).await?;

    let pairs = animals.iter().filter(|animal| matches!(animal.outcome, Outcome::Either(_))).count() / 2;
    let refused = animals.iter().filter(|animal| matches!(animal.outcome, Outcome::Not(_))).count() + pairs;
    let (applied, refused) = (i32::try_from(animals.len() - refused)?, i32::try_from(refused)?);
    for expected in [[applied, 0, 0, 0, refused], [0, 0, applied, 0, refused]] {
        assert_eq!(succeeded(&world.sync_now().await?), expected);
        let seen = seen(&world).await?;
        animals.iter().for_each(|animal| seen.assert(animal));
        let [one, other] = ["composed", "decomposed"].map(|kind| &seen.ids[kind]);
        assert!(seen.users.contains_key(one.min(other)), "of two the one with the lower immutable id");
    }

    world.stop_router()?;
    world.stop_control_plane()?;
    let logs = world.logs();
    assert_eq!(logs.matches("sync job ended").count(), 2, "something was logged");
    for secret in ["zoo", "forged", "\u{1b}", "\u{9b}", "\u{202e}", "\0", "cn=", "ou=z"] {
        assert!(!logs.contains(secret), "{secret:?} in the logs:\n{logs}");
    }
    let values = animals.iter().flat_map(|animal| &animal.values).filter(|(_, value)| value.len() > 8);
    for value in values.filter_map(|(_, value)| std::str::from_utf8(value).ok()) {
        assert!(!logs.contains(value), "{value:?} in the logs:\n{logs}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_fifty_megabytes_is_one_record_and_nobody_is_disabled_while_it_may_be_anyone()
-> Result<()> {
    let huge = |uid: &str| {
        format!(
            "dn: uid={uid},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: x\nsn: x\n\
             mail: {uid}@lab.test\ndisplayName: {}",
            "x".repeat(50 << 20)
        )
    };
    let world = World::builder().directory(|slapd| slapd.ldif(&huge("huge"))).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    join(&world, "anna", "anna@lab.test")?;
    join(&world, "ben", "ben@lab.test")?;
    assert_eq!(succeeded(&world.sync_now().await?), [2, 0, 0, 0, 1]);
    assert_eq!(reasons(&world).await?["huge"], NotSynchronizedReason::EntryUnreadable);

    let people = world.directory().people_dn();
    world.directory().delete(&format!("uid=ben,{people}"))?;
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 0, 1, 0, 1]);
    assert_eq!(job.withheld_disables.map(|withheld| withheld.user_count), Some(1));

    world.directory().delete(&format!("uid=huge,{people}"))?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 1, 1, 0]);
    Ok(())
}

/// Two people under one immutable id: neither is a user, at the first sync as well, and the user of
/// one of them stays as it was.
#[tokio::test(flavor = "multi_thread")]
async fn two_entries_with_one_immutable_id_are_both_refused() -> Result<()> {
    let world = World::builder().start().await?;
    let mut settings = world.settings();
    if let Some(mapping) = &mut settings.mapping {
        mapping.immutable_id = "employeeNumber".to_owned();
        mapping.set_immutable_id_format(ImmutableIdFormat::Text);
    }
    world.create_and_publish_source(settings).await?;
    for (uid, number) in [("ada", "1"), ("anna", "7"), ("ben", "7"), ("cyd", "2")] {
        let entry = crate::expect::entry(&world, uid, &format!("{uid}@lab.test"));
        world.directory().add(&format!("{entry}employeeNumber: {number}\n"))?;
    }
    assert_eq!(succeeded(&world.sync_now().await?), [2, 0, 0, 0, 2]);
    let people = world.directory().people_dn();
    world.directory().delete(&format!("uid=ben,{people}"))?;
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 2, 0, 0]);
    let first = users(&world).await?;
    assert_eq!(first.len(), 3, "{:?}", first.keys());
    let ben = crate::expect::entry(&world, "ben", "ben@lab.test");
    world.directory().add(&format!("{ben}employeeNumber: 7\n"))?;
    for _ in 0..3 {
        assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 2, 0, 2]);
        assert_eq!(users(&world).await?, first, "the user stays whose it was");
        let details = world.details(Category::NotSynchronized).await?;
        for line in &details {
            assert_eq!(line.reason(), NotSynchronizedReason::DuplicateUniqueId);
            assert!(line.message.contains("Immutable id 7: "), "{}", line.message);
        }
    }
    Ok(())
}
