//! The drill of sign-ins: a fault, people who sign in behind it, a sync, the repair. Nobody may be
//! disabled or enabled for the fault; whoever is denied is marked, and the marks go with it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rollcall_proto::admin::v1::{
    GetIdentitySourceRequest, IdentitySource, JustInTimeSettings, SyncAtSignInRequest, SyncJob,
    UpdateJustInTimeSettingsRequest, User, single_sync::Outcome, sync_job::State, user::Status,
};

use super::{Fault, Kind, Size, lab::Lab};
use crate::{
    people::Person,
    world::{Admin, SOURCE, TENANT, World},
};

/// What became of the people.
#[derive(Clone, Debug)]
pub struct Figures {
    pub fault: Fault,
    pub kind: Kind,
    /// Enabled people that signed in behind the fault.
    pub signed_in: usize,
    pub denied: usize,
    /// Those of the denied whose outcome says that the directory did not answer for anyone: they
    /// were not looked for, so they have no mark.
    pub unanswered: usize,
    /// Those of the denied that have `absent_since_time`, and those of the admitted.
    pub marked: (usize, usize),
    /// Outcomes of the sign-ins, each with how many came to it.
    pub outcomes: BTreeMap<String, usize>,
    /// Whether the source says that a sync is due.
    pub sync_due: bool,
    /// How the sync behind the fault ended.
    pub sync: String,
    /// Users that were enabled before, and are disabled after the sign-ins; and after the sync.
    pub disabled: (usize, usize),
    /// Users that were disabled before and are enabled after the sync.
    pub enabled: usize,
    /// People that are disabled in the directory and were let in.
    pub let_in: usize,
    /// Used seats before the fault and after the sync.
    pub seats: (i32, i32),
    /// Of those who signed in, how many are let in after the repair.
    pub back: usize,
    /// How the sync after the repair ended.
    pub last_sync: String,
    /// Users with `absent_since_time` after it, and whether a sync is still due.
    pub left: (usize, bool),
}

impl Figures {
    /// What is not as it must be, with the figures.
    pub fn problems(&self) -> Vec<String> {
        let (admitted, missed) = (self.signed_in - self.denied, self.denied - self.unanswered);
        let checks = [
            (
                self.marked == (missed, 0),
                format!(
                    "{} of {missed} people that were not found are marked, and {} of {admitted} admitted ones",
                    self.marked.0, self.marked.1
                ),
            ),
            (self.unanswered == 0, format!("{} people were not looked for", self.unanswered)),
            (missed == 0 || self.sync_due, "no sync is due".to_owned()),
            (
                self.disabled == (0, 0),
                format!(
                    "{} users disabled after the sign-ins, {} after the sync",
                    self.disabled.0, self.disabled.1
                ),
            ),
            (self.enabled == 0, format!("{} users enabled", self.enabled)),
            (self.let_in == 0, format!("{} people let in that are disabled in the directory", self.let_in)),
            (self.seats.0 == self.seats.1, format!("{} seats before, {} after", self.seats.0, self.seats.1)),
            (
                self.back == self.signed_in,
                format!("{} of {} people let in after the repair", self.back, self.signed_in),
            ),
            (self.last_sync == "SUCCEEDED", format!("the sync after the repair is {}", self.last_sync)),
            (self.left.0 == 0, format!("{} users still marked after the repair", self.left.0)),
            (!self.left.1, "a sync is still due after the repair".to_owned()),
        ];
        checks.into_iter().filter(|(is_right, _)| !is_right).map(|(_, text)| text).collect()
    }
}

/// Makes a directory with the fault and goes through it.
pub async fn run(fault: Fault, kind: Kind, size: Size) -> Result<Figures> {
    let mut lab = Box::pin(Lab::start(fault, kind, size)).await?;
    let service = allow_sign_ins(&lab.world).await?;
    let first = lab.world.sync_now().await?;
    ensure!(first.state() == State::Succeeded, "the first sync ended {:?}: {:?}", first.state(), first.error);
    if lab.change_before(size)? {
        let second = lab.world.sync_now().await?;
        ensure!(
            second.state() == State::Succeeded,
            "the second sync ended {:?}: {:?}",
            second.state(),
            second.hold
        );
    }
    ensure!(lab.callers.len() == size.sign_ins, "{} people can sign in", lab.callers.len());
    let before = users(&lab.world).await?;
    for person in &lab.callers {
        let user = before.get(&person.uid).context("who is to sign in is a user")?;
        ensure!(user.status() == Status::Enabled, "{} is not enabled before the fault", user.name);
    }
    let seats = lab.world.license().await?.used();

    lab.make_fault().await?;
    let mut outcomes = BTreeMap::new();
    let (mut admitted, mut unanswered) = (Vec::new(), 0);
    for person in &lab.callers {
        let (outcome, allowed) = sign_in(&service, person).await?;
        *outcomes.entry(outcome.as_str_name().to_owned()).or_default() += 1;
        let nothing = matches!(outcome, Outcome::NotAllowed | Outcome::DirectoryUnreachable);
        unanswered += usize::from(nothing && !allowed);
        admitted.push(allowed);
    }
    let let_in = count_let_in(&service, &lab.locked).await?;
    let after = users(&lab.world).await?;
    let is_marked =
        |person: &Person| after.get(&person.uid).is_some_and(|user| user.absent_since_time.is_some());
    let marked = |who: bool| {
        let pairs = lab.callers.iter().zip(&admitted);
        pairs.filter(|(person, allowed)| **allowed == who && is_marked(person)).count()
    };
    let marked = (marked(false), marked(true));
    let sync_due = source(&lab.world).await?.sync_due_time.is_some();
    let disabled_by_sign_ins = changed(&before, &after, Status::Disabled);
    let sync = ended(&lab.world.sync_now().await?);
    let after = users(&lab.world).await?;
    let disabled = (disabled_by_sign_ins, changed(&before, &after, Status::Disabled));
    let seats = (seats, lab.world.license().await?.used());

    lab.repair().await?;
    let back = count_let_in(&service, &lab.callers).await?;
    let last_sync = ended(&lab.world.sync_now().await?);
    let last = users(&lab.world).await?;
    let still_marked = last.values().filter(|user| user.absent_since_time.is_some()).count();
    Ok(Figures {
        fault,
        kind,
        signed_in: lab.callers.len(),
        denied: admitted.iter().filter(|allowed| !**allowed).count(),
        unanswered,
        marked,
        outcomes,
        sync_due,
        sync,
        disabled,
        enabled: changed(&before, &after, Status::Enabled),
        let_in,
        seats,
        back,
        last_sync,
        left: (still_marked, source(&lab.world).await?.sync_due_time.is_some()),
    })
}

async fn allow_sign_ins(world: &World) -> Result<Admin> {
    let settings = JustInTimeSettings {
        name: format!("tenants/{TENANT}/justInTimeSettings"),
        enabled: true,
        deadline: std::time::Duration::from_secs(30).try_into().ok(),
        ..Default::default()
    };
    let request = UpdateJustInTimeSettingsRequest { just_in_time_settings: Some(settings) };
    world.admin.just_in_time.clone().update_just_in_time_settings(request).await?;
    world.admin_as(&world.files.issue_authenticator("signin")?)
}

async fn sign_in(service: &Admin, person: &Person) -> Result<(Outcome, bool)> {
    let request = SyncAtSignInRequest { parent: format!("tenants/{TENANT}"), login: person.uid.clone() };
    let answer = service.just_in_time.clone().sync_at_sign_in(request).await?.into_inner();
    let sync = answer.sync.unwrap_or_default();
    Ok((sync.outcome(), sync.allowed))
}

async fn count_let_in(service: &Admin, people: &[Person]) -> Result<usize> {
    let mut count = 0;
    for person in people {
        count += usize::from(sign_in(service, person).await?.1);
    }
    Ok(count)
}

async fn users(world: &World) -> Result<BTreeMap<String, User>> {
    let users = world.users().await?;
    Ok(users.into_iter().map(|user| (user.user_name.clone(), user)).collect())
}

async fn source(world: &World) -> Result<IdentitySource> {
    let request = GetIdentitySourceRequest { name: SOURCE.to_owned() };
    Ok(world.admin.sources.clone().get_identity_source(request).await?.into_inner())
}

/// How many users have this status now and had the other one, or were not there, before.
fn changed(before: &BTreeMap<String, User>, after: &BTreeMap<String, User>, status: Status) -> usize {
    let had = |user: &User| before.values().find(|old| old.name == user.name).map(User::status);
    let new = |user: &&User| match had(user) {
        Some(old) => old != status,
        None => status == Status::Enabled,
    };
    after.values().filter(|user| user.status() == status).filter(new).count()
}

/// A job's state, and why it ended so.
fn ended(job: &SyncJob) -> String {
    let state = job.state().as_str_name();
    match (&job.error, &job.hold) {
        (Some(error), _) => format!("{state} {}", error.reason().as_str_name()),
        (_, Some(hold)) if job.state() == State::Held => format!("{state} {}", hold.reason().as_str_name()),
        _ => state.to_owned(),
    }
}
