//! What tests compare: counts as one line of numbers, users by name, reasons by user name.

use std::collections::BTreeMap;

use anyhow::Result;
use harness::world::World;
use harness::{People, Person};
use rollcall_proto::admin::v1::{
    FailureReason, NotSynchronizedReason, SyncJob, User, hold::Reason, sync_job::State,
    sync_job_detail::Category, user::Status,
};

/// Added, updated, unchanged, disabled, not synchronized.
pub(crate) fn numbers(job: &SyncJob) -> [i32; 5] {
    let counts = job.counts.unwrap_or_default();
    let all = [counts.added, counts.updated, counts.unchanged, counts.disabled, counts.not_synchronized];
    let numbers = all.map(Option::unwrap_or_default);
    let [added, updated, unchanged, _, not_synchronized] = numbers;
    assert_eq!(counts.read(), added + updated + unchanged + not_synchronized, "the numbers add up");
    assert_eq!(counts.waiting(), 0, "nothing waits after the end");
    numbers
}

/// The numbers of a job that must have succeeded.
#[track_caller]
pub(crate) fn succeeded(job: &SyncJob) -> [i32; 5] {
    assert_eq!(job.state(), State::Succeeded, "{:?} {:?}", job.error, job.hold);
    numbers(job)
}

/// The message of a job that must have failed for this reason, and have disabled nobody.
#[track_caller]
pub(crate) fn failed(job: &SyncJob, reason: FailureReason) -> String {
    assert_eq!(job.state(), State::Failed, "{job:?}");
    let error = job.error.clone().unwrap_or_default();
    assert_eq!(error.reason(), reason, "{}", error.message);
    assert_eq!(numbers(job)[3], 0, "a failed job disables nobody");
    error.message
}

/// The message of a job that must be held for this reason, and have disabled nobody.
#[track_caller]
pub(crate) fn held(job: &SyncJob, reason: Reason) -> String {
    assert_eq!(job.state(), State::Held, "{job:?}");
    let hold = job.hold.clone().unwrap_or_default();
    assert_eq!(hold.reason(), reason, "{}", hold.message);
    assert_eq!(numbers(job)[3], 0, "a held job disables nobody");
    hold.message
}

/// The mail address that counts: of several the smallest, since none of them names the entry.
pub(crate) fn mail(person: &Person) -> Option<&String> {
    person.mails.iter().min()
}

/// How many of these people become users, and how many do not: without mail, or with the mail of
/// another.
pub(crate) fn usable(people: impl Iterator<Item = Person>) -> (i32, i32) {
    let (mut usable, mut others) = (0, 0);
    let mut mails = std::collections::HashSet::new();
    for person in people {
        match mail(&person) {
            Some(mail) if mails.insert(mail.to_lowercase()) => usable += 1,
            _ => others += 1,
        }
    }
    (usable, others)
}

/// The users of the world by user name.
pub(crate) async fn users(world: &World) -> Result<BTreeMap<String, User>> {
    Ok(world.users().await?.into_iter().map(|user| (user.user_name.clone(), user)).collect())
}

/// How many users are enabled.
pub(crate) fn enabled(users: &BTreeMap<String, User>) -> usize {
    users.values().filter(|user| user.status() == Status::Enabled).count()
}

/// Who is not synchronized by the newest job, and why.
pub(crate) async fn reasons(world: &World) -> Result<BTreeMap<String, NotSynchronizedReason>> {
    let details = world.details(Category::NotSynchronized).await?;
    Ok(details.into_iter().map(|detail| (detail.user_name.clone(), detail.reason())).collect())
}

/// An entry in the world's directory, as LDIF, right below `ou=people`.
pub(crate) fn entry(world: &World, uid: &str, mail: &str) -> String {
    format!(
        "dn: uid={uid},{}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\nmail: {mail}\n",
        world.directory().people_dn()
    )
}

/// Adds such an entry.
pub(crate) fn join(world: &World, uid: &str, mail: &str) -> Result<()> {
    world.directory().add(&entry(world, uid, mail))
}

/// People who all can be synchronized and are enabled.
pub(crate) fn flawless(count: u64) -> People {
    People { without_mail_permille: 0, shared_mail_permille: 0, disabled_permille: 0, ..People::new(count) }
}
