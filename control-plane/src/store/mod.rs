//! Where everything is kept: one trait in the words of the domain, two engines behind it. SQL lives in here and nowhere else.
//!
//! Every method is one transaction (or a few, where it says so) that runs in a task of its own: a caller that goes away cannot cancel
//! it half-way. Whatever a job writes carries its [`Fence`], checked in the same transaction: after StopSync has answered, or
//! after another read of the job has begun, nothing of the old one can be written any more.

mod error;
mod open;
mod postgres;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::{
    Category, Counts, Detail, Failure, Fence, IdentityRouter, IdentitySource, ImmutableId, JobNo, JobSummary,
    KnownUser, License, ReadStart, Record, Rejected, RouterId, SourceId, SourceSettings, Status, SyncJob,
    TenantId, Timestamp, User, UserFilter, UserNo, Withheld,
};

pub use error::StoreError;
pub use open::{OpenError, backup, open};

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
    pub started_by: String,
    /// The caller's request id: a job with the same one is returned instead of a second.
    pub request_id: Option<String>,
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
        /// The base entries' fingerprints, remembered for the next read of this revision.
        base_fingerprints: Vec<[u8; 16]>,
    },
    /// Not.
    Failed(Failure),
}

/// Everything that is kept.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // --- tenants and licenses ---

    /// Whether there is such a tenant.
    async fn tenant_exists(&self, tenant: &TenantId) -> Result<bool>;
    /// Limit and use.
    async fn license(&self, tenant: &TenantId) -> Result<License>;
    /// Sets the limit; makes the tenant if `create` and there is none.
    async fn set_license_limit(
        &self,
        tenant: &TenantId,
        limit: i64,
        create: bool,
        now: Timestamp,
    ) -> Result<()>;

    // --- identity sources ---

    /// Creates a source, at most `most` a tenant.
    async fn create_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        change: SourceChange,
        most: i64,
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
        now: Timestamp,
    ) -> Result<IdentitySource>;
    /// Publishes the draft of a source; at `version` if given.
    async fn publish_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        version: Option<i64>,
        now: Timestamp,
    ) -> Result<IdentitySource>;
    /// Deletes a source with its jobs; with its users only if `with_users`. Refused while a job runs.
    async fn delete_source(&self, tenant: &TenantId, source: &SourceId, with_users: bool) -> Result<()>;

    // --- identity routers ---

    /// Notes that a router is connected.
    async fn router_seen(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        version: &str,
        certificate_expires: Timestamp,
        now: Timestamp,
    ) -> Result<()>;
    /// Notes that a router's session ended.
    async fn router_gone(&self, tenant: &TenantId, router: &RouterId, now: Timestamp) -> Result<()>;
    /// Routers by id, after `after`.
    async fn list_routers(
        &self,
        tenant: &TenantId,
        after: Option<&RouterId>,
        limit: i64,
    ) -> Result<Vec<IdentityRouter>>;

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
    /// Ends a job that has not ended; an ended one is returned as it is.
    async fn stop_job(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        id: Option<Uuid>,
        by: &str,
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

    // --- the work of a job; everything below checks the fence ---

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
    /// Takes these users out of scope: enabled ones are disabled and counted, all give up their names.
    async fn disable_absent(&self, fence: Fence, users: Vec<UserNo>, now: Timestamp) -> Result<Counts>;
    /// Decides who gets the names that records wait for, as [`crate::reconcile::settle::resolve`] says; users in scope are
    /// changed at once, others move on to the queues for seats.
    async fn settle_names(&self, fence: Fence, now: Timestamp) -> Result<Counts>;
    /// Settles the next records that wait for a seat, at most `limit`, in their fixed order. False once none is left.
    async fn settle_seats(&self, fence: Fence, limit: i64, now: Timestamp) -> Result<bool>;
    /// Ends the job. Refused with [`StoreError::ConfigChanged`] for a success if the source was published anew.
    async fn finish_job(&self, fence: Fence, outcome: Outcome, now: Timestamp) -> Result<SyncJob>;
}
