//! Account state in the words of directories: each of them is read from a real server as its own
//! software means it. (Active Directory's are in `active_directory`.)

use std::collections::BTreeMap;

use anyhow::Result;
use harness::world::{SOURCE, World};
use rollcall_proto::admin::v1::{
    AttributeMapping, DisabledRule, ExpiryRule, IdentitySourceSettings, NotSynchronizedReason, ValueList,
    disabled_rule::Test, expiry_rule::Format, user::Status,
};

use crate::expect::{entry, reasons, succeeded, users};

fn disabled_by(attribute: &str, value: &str) -> AttributeMapping {
    let list = ValueList { values: vec![value.to_owned()] };
    let rule = DisabledRule { attribute: attribute.to_owned(), test: Some(Test::AnyValueOf(list)) };
    AttributeMapping { disabled: Some(rule), ..harness::world::files::mapping() }
}

fn expires_by(attribute: &str, format: Format) -> AttributeMapping {
    let rule = ExpiryRule { attribute: attribute.to_owned(), format: format.into() };
    AttributeMapping { disabled: None, expires: Some(rule), ..harness::world::files::mapping() }
}

/// One person for each value of the attribute, and what the sync makes of each: enabled, disabled,
/// or no user.
async fn read(
    attribute: &'static str,
    class: &str,
    mapping: AttributeMapping,
    values: &[&str],
) -> Result<BTreeMap<String, Option<bool>>> {
    let allow = move |mut policy: harness::world::Policy| {
        policy.attributes.push(attribute.to_owned());
        policy
    };
    let world = World::builder().policy(allow).start().await?;
    for (at, value) in values.iter().enumerate() {
        let uid = format!("person{at}");
        let mut lines = entry(&world, &uid, &format!("{uid}@lab.test"));
        if !class.is_empty() {
            lines += &format!("objectClass: {class}\n");
        }
        world.directory().add(&lines)?;
        if !value.is_empty() {
            let dn = format!("uid={uid},{}", world.directory().people_dn());
            world.directory().replace(&dn, attribute, &[value])?;
        }
    }
    let settings = IdentitySourceSettings { mapping: Some(mapping), ..world.settings() };
    world.admin.create_and_publish(SOURCE, settings).await?;
    succeeded(&world.sync_now().await?);
    let (users, reasons) = (users(&world).await?, reasons(&world).await?);
    let state = |at: usize| {
        let uid = format!("person{at}");
        let enabled = users.get(&uid).map(|user| user.status() == Status::Enabled);
        let unreadable = reasons.get(&uid) == Some(&NotSynchronizedReason::InvalidAttribute);
        assert!(enabled.is_some() || unreadable, "{uid} is neither a user nor listed: {reasons:?}");
        enabled
    };
    Ok(values.iter().enumerate().map(|(at, value)| ((*value).to_owned(), state(at))).collect())
}

fn expected(states: &[(&str, Option<bool>)]) -> BTreeMap<String, Option<bool>> {
    states.iter().map(|(value, state)| ((*value).to_owned(), *state)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn openldaps_lock_for_good_disables_and_one_that_passes_does_not() -> Result<()> {
    let states = [("", Some(true)), ("000001010000Z", Some(false)), ("20260101120000Z", Some(true))];
    let mapping = disabled_by("pwdAccountLockedTime", "000001010000Z");
    let found = read("pwdAccountLockedTime", "", mapping, &states.map(|(value, _)| value)).await?;
    assert_eq!(found, expected(&states));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_lock_of_389_directory_server_disables() -> Result<()> {
    let states = [("", Some(true)), ("true", Some(false)), ("TRUE", Some(false)), ("false", Some(true))];
    let mapping = disabled_by("nsAccountLock", "true");
    let found = read("nsAccountLock", "labAccount", mapping, &states.map(|(value, _)| value)).await?;
    assert_eq!(found, expected(&states));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_account_expires_on_its_day() -> Result<()> {
    let states = [("", Some(true)), ("-1", Some(true)), ("18000", Some(false)), ("40000", Some(true))];
    let mapping = expires_by("shadowExpire", Format::DaysSince1970);
    let found = read("shadowExpire", "shadowAccount", mapping, &states.map(|(value, _)| value)).await?;
    assert_eq!(found, expected(&states));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kerberos_principal_expires_at_its_time() -> Result<()> {
    let states = [("", Some(true)), ("20200101000000Z", Some(false)), ("20900101000000Z", Some(true))];
    let mapping = expires_by("krbPrincipalExpiration", Format::GeneralizedTime);
    let found =
        read("krbPrincipalExpiration", "labAccount", mapping, &states.map(|(value, _)| value)).await?;
    assert_eq!(found, expected(&states));
    Ok(())
}

/// Text where a number is meant: the person is listed, and never a user who is enabled.
#[tokio::test(flavor = "multi_thread")]
async fn a_date_that_cannot_be_read_is_one_person_who_is_not_synchronized() -> Result<()> {
    let states = [("", Some(true)), ("when she leaves", None), ("18000", Some(false))];
    let mapping = expires_by("carLicense", Format::DaysSince1970);
    let found = read("carLicense", "", mapping, &states.map(|(value, _)| value)).await?;
    assert_eq!(found, expected(&states));
    Ok(())
}
