//! Where everything is kept: one trait in the words of the domain, two engines behind it. SQL lives in here and nowhere else.
//!
//! Every method is one transaction (or a few, where it says so) that runs in a task of its own: a caller that goes away cannot cancel
//! it half-way. Whatever a job writes carries its [`Fence`], checked in the same transaction: after StopSync has answered, or
//! after another read of the job has begun, nothing of the old one can be written any more. Whatever somebody does is written to the
//! audit trail in the transaction that does it.

mod audit_store;
mod deletion_store;
mod error;
mod jit_store;
mod open;
mod plan_store;
mod postgres;
mod replica_store;
mod router_store;
mod schedule_store;
mod sqlite;
mod tenant_store;
mod webhook_store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::{
    Absence, Absentee, Actor, Category, Counts, Detail, Failure, Fence, Hold, IdentitySource, ImmutableId,
    JobNo, JobSummary, KnownUser, ReadFacts, ReadStart, Record, Rejected, RouterId, SourceId, SourceSettings,
    Status, SyncJob, SyncPlan, TenantId, Timestamp, User, UserFilter, UserNo, Withheld,
};

pub use audit_store::{AuditStore, StoredTrail};
pub use deletion_store::{DeletionLease, DeletionStore, Purged};
pub use error::StoreError;
pub use jit_store::{JitStore, Observation, SignIn, SingleWrite, Written};
pub use open::{OpenError, backup, open, open_trail};
pub use plan_store::PlanStore;
pub use replica_store::ReplicaStore;
pub use router_store::{Admission, RouterStore};
pub use schedule_store::{ScheduleChange, ScheduleStore};
pub use tenant_store::TenantStore;
pub use webhook_store::{NewWebhook, WebhookChange, WebhookStore};

/// Result of a store method.
pub type Result<T> = std::result::Result<T, StoreError>;

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

/// A held job by name: tenant, source, and its id or none for the newest.
pub type JobName<'a> = (&'a TenantId, &'a SourceId, Option<Uuid>);

/// Everything that is kept: sources, users and the work of jobs in here, the rest in the traits that it builds on.
#[async_trait]
pub trait Store:
    TenantStore
    + RouterStore
    + ReplicaStore
    + ScheduleStore
    + JitStore
    + PlanStore
    + DeletionStore
    + WebhookStore
    + AuditStore
    + Send
    + Sync
    + 'static
{
    // --- identity sources ---

    /// Creates a source, at most `most` a tenant.
    async fn create_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        change: SourceChange,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<IdentitySource>;
    /// A source.
    async fn source(&self, tenant: &TenantId, source: &SourceId) -> Result<IdentitySource>;
    /// Sources by id, after `after`.
    async fn list_sources(
        &self,
        tenant: &TenantId,
        after: Option<&SourceId>,
        limit: i64,
    ) -> Result<Vec<IdentitySource>>;
    /// Changes a source that is still at `version`.
    async fn update_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        version: i64,
        change: SourceChange,
        by: &Actor,
        now: Timestamp,
    ) -> Result<IdentitySource>;
    /// Publishes the draft of a source; at `version` if given.
    async fn publish_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        version: Option<i64>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<IdentitySource>;
    /// Deletes a source with its jobs; with its users only if `with_users`. Refused while a job runs.
    async fn delete_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        with_users: bool,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()>;

    // --- users ---

    /// A user.
    async fn user(&self, tenant: &TenantId, user: UserNo) -> Result<User>;
    /// Users by number, after `after`.
    async fn list_users(
        &self,
        tenant: &TenantId,
        filter: &UserFilter,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<User>>;

    // --- a job's life ---

    /// Queues a job of the published revision, at most one bulk job a source. Throws away the details of the source's earlier jobs.
    async fn create_job(&self, job: NewJob) -> Result<SyncJob>;
    /// A job; the newest of the source without `id`.
    async fn job(&self, tenant: &TenantId, source: &SourceId, id: Option<Uuid>) -> Result<SyncJob>;
    /// A job by its number.
    async fn job_by_number(&self, job: JobNo) -> Result<SyncJob>;
    /// Jobs of a source, newest first, before `before`.
    async fn list_jobs(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        before: Option<JobNo>,
        limit: i64,
    ) -> Result<Vec<SyncJob>>;
    /// Details of a job in the order of the categories, after the given category and position.
    async fn list_details(
        &self,
        job: JobNo,
        category: Option<Category>,
        after: Option<(Category, i64)>,
        limit: i64,
    ) -> Result<Vec<(i64, Detail)>>;
    /// The next page of a whole list of a job, behind a key; [`StoreError::DetailsReplaced`] if it is not among the newest `kept` ones.
    async fn export_details(
        &self,
        job: JobNo,
        category: Category,
        kept: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Detail)>>;
    /// Lets a held job go on, exactly with the list that `etag` names.
    async fn approve_job(&self, job: JobName<'_>, etag: &str, by: &Actor, now: Timestamp) -> Result<SyncJob>;
    /// Ends a held job without its disables.
    async fn reject_job(&self, job: JobName<'_>, by: &Actor, now: Timestamp) -> Result<SyncJob>;
    /// Ends held jobs that nobody decided on in time. How many.
    async fn expire_holds(&self, now: Timestamp) -> Result<usize>;
    /// Ends a job that has not ended; an ended one is returned as it is.
    async fn stop_job(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        id: Option<Uuid>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<SyncJob>;
    /// Jobs that nobody owns: queued, or with a lease that has run out.
    async fn unowned_jobs(&self, now: Timestamp, limit: i64) -> Result<Vec<JobSummary>>;
    /// Takes an unowned job. False if someone else was faster or the job has ended.
    async fn claim_job(&self, job: JobNo, owner: &str, lease: Duration, now: Timestamp) -> Result<bool>;
    /// Keeps a job. False if it is lost: taken by another, or ended.
    async fn renew_lease(&self, job: JobNo, owner: &str, lease: Duration, now: Timestamp) -> Result<bool>;
    /// Fails a job that the owner holds but has no read of.
    async fn fail_job(&self, job: JobNo, owner: &str, failure: Failure, now: Timestamp) -> Result<()>;

    // --- the work of a job; whatever is written below checks the fence, or the owner where it makes one ---

    /// Begins a read of the directory from its start: voids the fence of the read before and what that left undecided.
    async fn begin_read(
        &self,
        job: JobNo,
        owner: &str,
        router: &RouterId,
        now: Timestamp,
    ) -> Result<ReadStart>;
    /// The users of a source with these immutable ids, in the same order.
    async fn known_users(&self, fence: Fence, ids: Vec<ImmutableId>) -> Result<Vec<Option<KnownUser>>>;
    /// Digests of those of these records that wait undecided.
    async fn waiting_digests(
        &self,
        fence: Fence,
        ids: Vec<ImmutableId>,
    ) -> Result<HashMap<ImmutableId, [u8; 16]>>;
    /// Applies a batch as [`crate::reconcile::batch::plan`] decides while reading, and counts it: one transaction.
    /// `unchanged` adds users that were seen to be right already.
    async fn apply(
        &self,
        fence: Fence,
        records: Arc<Vec<Record>>,
        rejected: Vec<Rejected>,
        unchanged: i64,
        now: Timestamp,
    ) -> Result<Applied>;
    /// Ends the reading: from here on the job reconciles. Refused with [`StoreError::ConfigChanged`] if the source was published anew.
    async fn begin_reconciling(&self, fence: Fence) -> Result<()>;
    /// Users of the source that are in scope as far as is known, by number, after `after`.
    async fn users_in_scope(
        &self,
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<(UserNo, Status)>>;
    /// Distinguished names of those, in the same way.
    async fn distinguished_names(
        &self,
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<(UserNo, String)>>;
    /// Those of these users who are in scope as far as is known, by number.
    async fn absentees(&self, fence: Fence, users: Vec<UserNo>) -> Result<Vec<Absentee>>;
    /// Notes users whom the job found absent and does not disable, or not yet.
    async fn note_absent(&self, fence: Fence, users: Vec<(UserNo, Absence)>) -> Result<()>;
    /// Users that a job of the same source noted, by number, after `after`.
    async fn noted_absent(
        &self,
        fence: Fence,
        job: JobNo,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<(UserNo, Absence)>>;
    /// Counts users whom the read did not have and who are in scope all the same.
    async fn count_still_in_scope(&self, fence: Fence, users: i64, now: Timestamp) -> Result<()>;
    /// Takes users off the list that the job noted, since they are in scope again, and counts them.
    async fn strike_absent(&self, fence: Fence, users: Vec<UserNo>, now: Timestamp) -> Result<()>;
    /// What syncs of the source disabled for absence since then without having been approved, and this job whenever it did.
    async fn recent_disables(&self, fence: Fence, since: Timestamp) -> Result<RecentDisables>;
    /// Takes these users out of scope: enabled ones are disabled and counted, all give up their names. With `unchanged_since` only
    /// those whom nothing has changed since then.
    async fn disable_absent(
        &self,
        fence: Fence,
        users: Vec<(UserNo, Absence)>,
        unchanged_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Counts>;
    /// How many changes wait since they take something away: see [`crate::reconcile::doubt`].
    async fn count_doubtful(&self, fence: Fence) -> Result<i64>;
    /// Lets those changes take their course.
    async fn trust_doubtful(&self, fence: Fence) -> Result<()>;
    /// Leaves the users of the next such changes as they are, at most `limit`, and keeps the records. False once none is left.
    async fn refuse_doubtful(&self, fence: Fence, limit: i64, now: Timestamp) -> Result<bool>;
    /// Decides who gets the names that records wait for, as [`crate::reconcile::settle::resolve`] says; users in scope are
    /// changed at once, others move on to the queues for seats. With `held`, what is not synchronized is kept for another try.
    async fn settle_names(&self, fence: Fence, held: bool, now: Timestamp) -> Result<Counts>;
    /// Settles the next records that wait for a seat, at most `limit`, in their fixed order. False once none is left.
    async fn settle_seats(&self, fence: Fence, limit: i64, held: bool, now: Timestamp) -> Result<bool>;
    /// Holds the job: what it has applied stays, and the users that it noted wait for an administrator.
    async fn hold_job(&self, fence: Fence, hold: Hold, facts: ReadFacts) -> Result<SyncJob>;
    /// Takes up a job that an administrator approved.
    async fn begin_approved(&self, job: JobNo, owner: &str, now: Timestamp) -> Result<ApprovedStart>;
    /// Lets the records of a job that was held wait again which were kept for another try.
    async fn recall_kept(&self, fence: Fence, now: Timestamp) -> Result<()>;
    /// Ends the job. Refused with [`StoreError::ConfigChanged`] for a success if the source was published anew.
    async fn finish_job(&self, fence: Fence, outcome: Outcome, now: Timestamp) -> Result<SyncJob>;
}
