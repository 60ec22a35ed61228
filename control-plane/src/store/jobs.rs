//! A job's life: queued, claimed, held, ended, listed.

use std::time::Duration;

use uuid::Uuid;

use super::operations::operations;
use super::{ApprovedStart, NewJob, Outcome};
use crate::model::{
    Actor, Category, Detail, Failure, Fence, Hold, JobNo, JobSummary, ReadFacts, SourceId, SyncJob, TenantId,
    Timestamp,
};

operations! {
    /// Queues a job of the published revision, at most one bulk job a source. Throws away the
    /// details of the source's earlier jobs.
    write fn create_job(job: move NewJob) -> SyncJob = jobs::lifecycle::create;
    /// A job; the newest of the source without `id`.
    read fn job(tenant: &TenantId, source: &SourceId, id: Option<Uuid>) -> SyncJob = jobs::job::job;
    /// A job by its number.
    read fn job_by_number(job: JobNo) -> SyncJob = jobs::job::by_number;
    /// Jobs of a source, newest first, before `before`.
    read fn list_jobs(
        tenant: &TenantId,
        source: &SourceId,
        before: Option<JobNo>,
        limit: i64,
    ) -> Vec<SyncJob> = jobs::job::list;
    /// Details of a job in the order of the categories, after the given category and position.
    read fn list_details(
        job: JobNo,
        category: Option<Category>,
        after: Option<(Category, i64)>,
        limit: i64,
    ) -> Vec<(i64, Detail)> = jobs::lists::list;
    /// The next page of a whole list of a job, behind a key;
    /// [`crate::store::StoreError::DetailsReplaced`] if it is not among the newest `kept` ones.
    read fn export_details(
        job: JobNo,
        category: Category,
        kept: i64,
        after: i64,
        limit: i64,
    ) -> Vec<(i64, Detail)> = jobs::lists::page;
    /// Lets a held job go on, exactly with the list that `etag` names.
    write fn approve_job(
        tenant: &TenantId,
        source: &SourceId,
        id: Option<Uuid>,
        etag: &str,
        by: &Actor,
        now: Timestamp,
    ) -> SyncJob = jobs::holds::approve;
    /// Ends a held job without its disables.
    write fn reject_job(
        tenant: &TenantId,
        source: &SourceId,
        id: Option<Uuid>,
        by: &Actor,
        now: Timestamp,
    ) -> SyncJob = jobs::holds::reject;
    /// Ends held jobs that nobody decided on in time. How many.
    steps fn expire_holds(now: Timestamp) -> usize = jobs::holds::expire_due;
    /// Ends a job that has not ended; an ended one is returned as it is.
    write fn stop_job(
        tenant: &TenantId,
        source: &SourceId,
        id: Option<Uuid>,
        by: &Actor,
        now: Timestamp,
    ) -> SyncJob = jobs::lifecycle::stop;
    /// Jobs that nobody owns: queued, or with a lease that has run out.
    read fn unowned_jobs(now: Timestamp, limit: i64) -> Vec<JobSummary> = jobs::job::unowned;
    /// Takes an unowned job. False if someone else was faster or the job has ended.
    write fn claim_job(
        job: JobNo,
        owner: &str,
        lease: Duration,
        now: Timestamp,
    ) -> bool = jobs::lifecycle::claim;
    /// Keeps a job. False if it is lost: taken by another, or ended.
    write fn renew_lease(
        job: JobNo,
        owner: &str,
        lease: Duration,
        now: Timestamp,
    ) -> bool = jobs::lifecycle::renew;
    /// Fails a job that the owner holds but has no read of.
    write fn fail_job(
        job: JobNo,
        owner: &str,
        failure: move Failure,
        now: Timestamp,
    ) -> () = jobs::lifecycle::fail;
    /// Holds the job: what it has applied stays, and the users that it noted wait for an
    /// administrator.
    write fn hold_job(
        fence: Fence,
        hold: move Hold,
        facts: move ReadFacts,
    ) -> SyncJob = jobs::holds::hold;
    /// Takes up a job that an administrator approved.
    write fn begin_approved(
        job: JobNo,
        owner: &str,
        now: Timestamp,
    ) -> ApprovedStart = jobs::holds::begin_approved;
    /// Ends the job. Refused with [`crate::store::StoreError::ConfigChanged`] for a success if the
    /// source was published anew.
    write fn finish_job(
        fence: Fence,
        outcome: move Outcome,
        now: Timestamp,
    ) -> SyncJob = jobs::lifecycle::finish;
}
