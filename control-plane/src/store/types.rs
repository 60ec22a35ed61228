//! What operations of the store take and return, beside the words of the model.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringTreemap;
use uuid::Uuid;

use crate::model::{
    Actor, Counts, Failure, Fence, ImmutableId, Offered, PlannedRun, ReadFacts, RouterDenied, Schedule,
    SingleOutcome, SingleUserSettings, SourceId, SourceSettings, SyncPlan, TenantId, TenantNo, Timestamp,
    Trail, UserNo, UserSnapshot, UserVersion, WebhookEvent, WebhookId, Withheld,
};

/// A new or changed identity source.
#[derive(Clone, Debug)]
pub struct SourceChange {
    /// Name for people.
    pub display_name: String,
    /// The draft.
    pub draft: SourceSettings,
}

/// What a job is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// Bring the users in line with the directory.
    #[default]
    Sync,
    /// Find out what a sync would do.
    DryRun {
        /// Read as the draft says, not as published.
        draft: bool,
    },
    /// Apply the plan of this dry run.
    Plan(Uuid),
    /// Undo this job.
    Undo(Uuid),
}

/// A job to be queued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: Uuid,
    /// The tenant.
    pub tenant: TenantId,
    /// The source.
    pub source: SourceId,
    /// Who starts it.
    pub started_by: Actor,
    /// The caller's request id: a job with the same one is returned instead of a second.
    pub request_id: Option<String>,
    /// What it is to do.
    pub work: Work,
    /// Whole lists are kept of so many of the source's newest jobs.
    pub full_lists_kept: i64,
    /// Now.
    pub now: Timestamp,
}

/// What one batch did.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Users that occur in the batch: known ones and those it added.
    pub seen: Vec<UserNo>,
    /// The job's counts after it.
    pub counts: Counts,
}

/// What a read knows of the entries of a batch that came before in it, perhaps.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    /// Ids of records and rejected entries that came before; a few did not.
    pub ids: HashSet<ImmutableId>,
    /// Ids of which a record was asked for and has not arrived.
    pub in_flight: HashSet<ImmutableId>,
    /// Users that the read has seen.
    pub seen: Arc<RoaringTreemap>,
    /// Offered records that are not asked for, since their ids came before.
    pub offered: Vec<Offered>,
}

/// How a job ends.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As it should.
    Succeeded {
        /// Leavers that were left alone.
        withheld: Option<Withheld>,
        /// What the next read of this revision is to be compared with, if that changes.
        facts: Option<ReadFacts>,
    },
    /// With a plan.
    Planned {
        /// The plan.
        plan: SyncPlan,
        /// Leavers that a sync would leave alone.
        withheld: Option<Withheld>,
    },
    /// Not.
    Failed(Failure),
}

/// What an approved job goes on with.
#[derive(Clone, Debug)]
pub struct ApprovedStart {
    /// The right to write.
    pub fence: Fence,
    /// When its list was made.
    pub held_at: Timestamp,
    /// What its read found.
    pub facts: ReadFacts,
}

/// Users that syncs disabled for absence lately without having been approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentDisables {
    /// All.
    pub all: i64,
    /// Those for whom the directory did not show what became of them.
    pub unexplained: i64,
}

/// Users that a job would enable again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reenables {
    /// Those whom the directory had disabled.
    pub waiting: i64,
    /// Users of the source that the directory had disabled before the job; none counted where none
    /// waits.
    pub disabled: i64,
    /// All whose waiting record would enable them, whatever they were disabled for.
    pub all: i64,
}

/// A held job by name: tenant, source, and its id or none for the newest.
pub type JobName<'a> = (&'a TenantId, &'a SourceId, Option<Uuid>);

/// A trail as the tables have it, whether or not they are sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTrail {
    /// Its number; 0 for the installation's own.
    pub number: TenantNo,
    /// Whose it is; none if there is no tenant of this number.
    pub trail: Option<Trail>,
}

/// The right to delete and to mark by itself in a tenant, for a while. It is taken, or taken over
/// once it is over, in the transaction that makes use of it.
#[derive(Clone, Debug)]
pub struct DeletionLease {
    /// Who.
    pub owner: String,
    /// For how long.
    pub lease: Duration,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Users that are gone.
    pub deleted: usize,
    /// Users whose automatic marks were taken off instead, since they came back.
    pub lifted: usize,
}

/// What is known of an observation of one user, besides what was seen.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The tenant.
    pub tenant: TenantId,
    /// The source that was asked.
    pub source: SourceId,
    /// By which revision of its settings.
    pub revision: i32,
    /// The user as it was before the directory was asked; none if it was not known then.
    pub version: Option<UserVersion>,
    /// When the directory was asked.
    pub asked_at: Timestamp,
    /// Whether it matters how old the last observation is, also if nothing changed.
    pub keep_fresh: bool,
    /// On whose behalf.
    pub by: Actor,
    /// Now.
    pub now: Timestamp,
}

/// What writing an observation down came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What became of the user.
    pub outcome: SingleOutcome,
    /// For people, where there is more to say than the outcome.
    pub message: Option<String>,
    /// The user as it is now; none if there is none.
    pub user: Option<UserSnapshot>,
    /// A bulk job may have seen the user meanwhile, and written nothing since it was as it was
    /// then: only another observation can tell.
    pub confirm: bool,
}

/// Whether an observation could be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SingleWrite {
    /// It was.
    Done(Box<Written>),
    /// Someone else wrote the user since the directory was asked, or the source was published anew:
    /// ask again, for this user if one is known by the id.
    AskAgain(Option<UserNo>),
}

/// What a sign-in begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The tenant's number, by which names are keyed.
    pub tenant: TenantNo,
    /// Its settings.
    pub settings: SingleUserSettings,
    /// Whether the tenant is suspended.
    pub suspended: bool,
    /// The user in scope that holds the name, if there is one: of two, the one who had it first.
    pub known: Option<UserSnapshot>,
    /// Whether two users hold it, one as user name and one as mail address, and neither had it
    /// first: then it is the login of neither.
    pub is_taken: bool,
}

/// Whether a router gets what it asks for.
pub type Admission<T> = std::result::Result<T, RouterDenied>;

/// A schedule to be set.
#[derive(Clone, Debug)]
pub struct ScheduleChange {
    /// The version that it replaces; none for whichever is there.
    pub version: Option<i64>,
    /// The schedule.
    pub schedule: Schedule,
    /// Its next run.
    pub next: Option<PlannedRun>,
}

/// A webhook to be made.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Its id.
    pub id: WebhookId,
    /// Sixteen random bytes of its own, for which its secret is sealed.
    pub uid: [u8; 16],
    /// Its secret, sealed.
    pub secret: Vec<u8>,
    /// Name for people.
    pub display_name: String,
    /// The address.
    pub url: String,
    /// Which events; none means all.
    pub events: Vec<WebhookEvent>,
    /// Whether it sends.
    pub enabled: bool,
}

/// What of a webhook is to be changed.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// The version that it is made of; none for whichever is there.
    pub version: Option<i64>,
    /// Name for people.
    pub display_name: Option<String>,
    /// The address.
    pub url: Option<String>,
    /// Which events.
    pub events: Option<Vec<WebhookEvent>>,
    /// Whether it sends.
    pub enabled: Option<bool>,
}
