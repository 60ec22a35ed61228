//! The trait's methods, each handed to the module that has its statements: reads outside of a transaction, writes inside one.
//! A write may be run again, so it keeps its arguments and works on copies; large ones are shared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::engine::Connection;
use super::{
    Engine, apply, catalog, details, doubtful, export, holds, jobs, leavers, names, reads, rows, seats,
    settle, users,
};
use crate::model::{
    Absence, Absentee, Actor, Category, Counts, Detail, Failure, Fence, Hold, IdentitySource, ImmutableId,
    JobNo, JobSummary, KnownUser, ReadFacts, ReadStart, Record, Rejected, RouterId, SourceId, Status,
    SyncJob, TenantId, Timestamp, User, UserFilter, UserNo,
};
use crate::store::{
    Applied, ApprovedStart, JobName, NewJob, Outcome, RecentDisables, Result, SourceChange, Store,
};

#[async_trait]
impl Store for Engine {
    async fn create_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        change: SourceChange,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<IdentitySource> {
        let tenant = tenant.clone();
        let source = source.clone();
        let by = by.clone();
        self.write(move |c| {
            let tenant = tenant.clone();
            let source = source.clone();
            let change = change.clone();
            let by = by.clone();
            Box::pin(async move { catalog::create(c, &tenant, &source, &change, most, &by, now).await })
        })
        .await
    }

    async fn source(&self, tenant: &TenantId, source: &SourceId) -> Result<IdentitySource> {
        let tenant = tenant.clone();
        let source = source.clone();
        self.read(move |c| Box::pin(async move { catalog::source(c, &tenant, &source).await })).await
    }

    async fn list_sources(
        &self,
        tenant: &TenantId,
        after: Option<&SourceId>,
        limit: i64,
    ) -> Result<Vec<IdentitySource>> {
        let tenant = tenant.clone();
        let after = after.cloned();
        self.read(move |c| Box::pin(async move { catalog::list(c, &tenant, after.as_ref(), limit).await }))
            .await
    }

    async fn update_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        version: i64,
        change: SourceChange,
        by: &Actor,
        now: Timestamp,
    ) -> Result<IdentitySource> {
        let tenant = tenant.clone();
        let source = source.clone();
        let by = by.clone();
        self.write(move |c| {
            let tenant = tenant.clone();
            let source = source.clone();
            let change = change.clone();
            let by = by.clone();
            Box::pin(async move { catalog::update(c, &tenant, &source, version, &change, &by, now).await })
        })
        .await
    }

    async fn publish_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        version: Option<i64>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<IdentitySource> {
        let tenant = tenant.clone();
        let source = source.clone();
        let by = by.clone();
        self.write(move |c| {
            let tenant = tenant.clone();
            let source = source.clone();
            let by = by.clone();
            Box::pin(async move { catalog::publish(c, &tenant, &source, version, &by, now).await })
        })
        .await
    }

    async fn delete_source(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        with_users: bool,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        let tenant = tenant.clone();
        let source = source.clone();
        let by = by.clone();
        self.write(move |c| {
            let tenant = tenant.clone();
            let source = source.clone();
            let by = by.clone();
            Box::pin(async move { catalog::delete(c, &tenant, &source, with_users, &by, now).await })
        })
        .await
    }

    async fn user(&self, tenant: &TenantId, user: UserNo) -> Result<User> {
        let tenant = tenant.clone();
        self.read(move |c| Box::pin(async move { users::user(c, &tenant, user).await })).await
    }

    async fn list_users(
        &self,
        tenant: &TenantId,
        filter: &UserFilter,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<User>> {
        let tenant = tenant.clone();
        let filter = filter.clone();
        self.read(move |c| Box::pin(async move { users::list(c, &tenant, &filter, after, limit).await }))
            .await
    }

    async fn create_job(&self, job: NewJob) -> Result<SyncJob> {
        self.write(move |c| {
            let job = job.clone();
            Box::pin(async move { jobs::create(c, &job).await })
        })
        .await
    }

    async fn job(&self, tenant: &TenantId, source: &SourceId, id: Option<Uuid>) -> Result<SyncJob> {
        let tenant = tenant.clone();
        let source = source.clone();
        self.read(move |c| Box::pin(async move { jobs::job(c, &tenant, &source, id).await })).await
    }

    async fn job_by_number(&self, job: JobNo) -> Result<SyncJob> {
        self.read(move |c| Box::pin(async move { jobs::by_number(c, job).await })).await
    }

    async fn list_jobs(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        before: Option<JobNo>,
        limit: i64,
    ) -> Result<Vec<SyncJob>> {
        let tenant = tenant.clone();
        let source = source.clone();
        self.read(move |c| Box::pin(async move { jobs::list(c, &tenant, &source, before, limit).await }))
            .await
    }

    async fn list_details(
        &self,
        job: JobNo,
        category: Option<Category>,
        after: Option<(Category, i64)>,
        limit: i64,
    ) -> Result<Vec<(i64, Detail)>> {
        self.read(move |c| Box::pin(async move { details::list(c, job, category, after, limit).await })).await
    }

    async fn export_details(
        &self,
        job: JobNo,
        category: Category,
        kept: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Detail)>> {
        self.read(move |c| Box::pin(async move { export::page(c, job, category, kept, after, limit).await }))
            .await
    }

    async fn approve_job(
        &self,
        (tenant, source, id): JobName<'_>,
        etag: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<SyncJob> {
        let (tenant, source) = (tenant.clone(), source.clone());
        let (etag, by) = (etag.to_owned(), by.clone());
        self.write(move |c| {
            let (tenant, source) = (tenant.clone(), source.clone());
            let (etag, by) = (etag.clone(), by.clone());
            Box::pin(async move { holds::approve(c, (&tenant, &source, id), &etag, &by, now).await })
        })
        .await
    }

    async fn reject_job(
        &self,
        (tenant, source, id): JobName<'_>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<SyncJob> {
        let (tenant, source, by) = (tenant.clone(), source.clone(), by.clone());
        self.write(move |c| {
            let (tenant, source, by) = (tenant.clone(), source.clone(), by.clone());
            Box::pin(async move { holds::reject(c, (&tenant, &source, id), &by, now).await })
        })
        .await
    }

    async fn expire_holds(&self, now: Timestamp) -> Result<usize> {
        // Asked every second, and there is hardly ever one: reading keeps nobody from writing.
        if self.read(move |c| Box::pin(async move { holds::expired(c, now).await })).await?.is_none() {
            return Ok(0);
        }
        self.write(move |c| Box::pin(async move { holds::expire(c, now).await })).await
    }

    async fn stop_job(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        id: Option<Uuid>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<SyncJob> {
        let tenant = tenant.clone();
        let source = source.clone();
        let by = by.clone();
        self.write(move |c| {
            let tenant = tenant.clone();
            let source = source.clone();
            let by = by.clone();
            Box::pin(async move { jobs::stop(c, &tenant, &source, id, &by, now).await })
        })
        .await
    }

    async fn unowned_jobs(&self, now: Timestamp, limit: i64) -> Result<Vec<JobSummary>> {
        self.read(move |c| Box::pin(async move { jobs::unowned(c, now, limit).await })).await
    }

    async fn claim_job(&self, job: JobNo, owner: &str, lease: Duration, now: Timestamp) -> Result<bool> {
        let owner = owner.to_owned();
        self.write(move |c| {
            let owner = owner.clone();
            Box::pin(async move { jobs::claim(c, job, &owner, lease, now).await })
        })
        .await
    }

    async fn renew_lease(&self, job: JobNo, owner: &str, lease: Duration, now: Timestamp) -> Result<bool> {
        let owner = owner.to_owned();
        self.write(move |c| {
            let owner = owner.clone();
            Box::pin(async move { jobs::renew(c, job, &owner, lease, now).await })
        })
        .await
    }

    async fn fail_job(&self, job: JobNo, owner: &str, failure: Failure, now: Timestamp) -> Result<()> {
        let owner = owner.to_owned();
        self.write(move |c| {
            let owner = owner.clone();
            let failure = failure.clone();
            Box::pin(async move { jobs::fail(c, job, &owner, &failure, now).await })
        })
        .await
    }

    async fn begin_read(
        &self,
        job: JobNo,
        owner: &str,
        router: &RouterId,
        now: Timestamp,
    ) -> Result<ReadStart> {
        let owner = owner.to_owned();
        let router = router.clone();
        self.write(move |c| {
            let owner = owner.clone();
            let router = router.clone();
            Box::pin(async move { reads::begin_read(c, job, &owner, &router, now).await })
        })
        .await
    }

    async fn known_users(&self, fence: Fence, ids: Vec<ImmutableId>) -> Result<Vec<Option<KnownUser>>> {
        self.read(move |c| Box::pin(async move { known_users(c, fence, &ids).await })).await
    }

    async fn waiting_digests(
        &self,
        fence: Fence,
        ids: Vec<ImmutableId>,
    ) -> Result<HashMap<ImmutableId, [u8; 16]>> {
        self.read(move |c| Box::pin(async move { rows::waiting_digests(c, fence, &ids).await })).await
    }

    async fn apply(
        &self,
        fence: Fence,
        records: Arc<Vec<Record>>,
        rejected: Vec<Rejected>,
        unchanged: i64,
        now: Timestamp,
    ) -> Result<Applied> {
        self.write(move |c| {
            let records = records.clone();
            let rejected = rejected.clone();
            Box::pin(async move { apply::apply(c, fence, &records, &rejected, unchanged, now).await })
        })
        .await
    }

    async fn begin_reconciling(&self, fence: Fence) -> Result<()> {
        self.write(move |c| Box::pin(async move { reads::begin_reconciling(c, fence).await })).await
    }

    async fn users_in_scope(
        &self,
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<(UserNo, Status)>> {
        self.read(move |c| Box::pin(async move { leavers::in_scope(c, fence, after, limit).await })).await
    }

    async fn distinguished_names(
        &self,
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<(UserNo, String)>> {
        self.read(move |c| {
            Box::pin(async move { leavers::distinguished_names(c, fence, after, limit).await })
        })
        .await
    }

    async fn absentees(&self, fence: Fence, users: Vec<UserNo>) -> Result<Vec<Absentee>> {
        self.read(move |c| Box::pin(async move { holds::absentees(c, fence, &users).await })).await
    }

    async fn note_absent(&self, fence: Fence, users: Vec<(UserNo, Absence)>) -> Result<()> {
        self.write(move |c| {
            let users = users.clone();
            Box::pin(async move { holds::note(c, fence, &users).await })
        })
        .await
    }

    async fn noted_absent(
        &self,
        fence: Fence,
        job: JobNo,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<(UserNo, Absence)>> {
        self.read(move |c| Box::pin(async move { holds::noted(c, fence.source, job, after, limit).await }))
            .await
    }

    async fn count_still_in_scope(&self, fence: Fence, users: i64, now: Timestamp) -> Result<()> {
        let counts = Counts { still_in_scope: users, ..Counts::default() };
        self.write(move |c| {
            Box::pin(async move {
                seats::lock_job(c, fence).await?;
                seats::count(c, fence, counts, None, now).await
            })
        })
        .await
    }

    async fn strike_absent(&self, fence: Fence, users: Vec<UserNo>, now: Timestamp) -> Result<()> {
        self.write(move |c| {
            let users = users.clone();
            Box::pin(async move { holds::strike(c, fence, &users, now).await })
        })
        .await
    }

    async fn recent_disables(&self, fence: Fence, since: Timestamp) -> Result<RecentDisables> {
        self.read(move |c| Box::pin(async move { holds::recent(c, fence.source, fence.job, since).await }))
            .await
    }

    async fn disable_absent(
        &self,
        fence: Fence,
        users: Vec<(UserNo, Absence)>,
        unchanged_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Counts> {
        self.write(move |c| {
            let users = users.clone();
            Box::pin(async move { leavers::disable(c, fence, &users, unchanged_since, now).await })
        })
        .await
    }

    async fn count_doubtful(&self, fence: Fence) -> Result<i64> {
        self.read(move |c| Box::pin(async move { doubtful::count(c, fence).await })).await
    }

    async fn trust_doubtful(&self, fence: Fence) -> Result<()> {
        self.write(move |c| Box::pin(async move { doubtful::trust(c, fence).await })).await
    }

    async fn refuse_doubtful(&self, fence: Fence, limit: i64, now: Timestamp) -> Result<bool> {
        self.write(move |c| Box::pin(async move { doubtful::refuse(c, fence, limit, now).await })).await
    }

    async fn settle_names(&self, fence: Fence, held: bool, now: Timestamp) -> Result<Counts> {
        self.write(move |c| Box::pin(async move { names::names(c, fence, held, now).await })).await
    }

    async fn settle_seats(&self, fence: Fence, limit: i64, held: bool, now: Timestamp) -> Result<bool> {
        self.write(move |c| Box::pin(async move { settle::seats(c, fence, limit, held, now).await })).await
    }

    async fn hold_job(&self, fence: Fence, hold: Hold, facts: ReadFacts) -> Result<SyncJob> {
        self.write(move |c| {
            let (hold, facts) = (hold.clone(), facts.clone());
            Box::pin(async move { holds::hold(c, fence, &hold, &facts).await })
        })
        .await
    }

    async fn begin_approved(&self, job: JobNo, owner: &str, now: Timestamp) -> Result<ApprovedStart> {
        let owner = owner.to_owned();
        self.write(move |c| {
            let owner = owner.clone();
            Box::pin(async move { holds::begin_approved(c, job, &owner, now).await })
        })
        .await
    }

    async fn recall_kept(&self, fence: Fence, now: Timestamp) -> Result<()> {
        self.write(move |c| Box::pin(async move { holds::recall(c, fence, now).await })).await
    }

    async fn finish_job(&self, fence: Fence, outcome: Outcome, now: Timestamp) -> Result<SyncJob> {
        self.write(move |c| {
            let outcome = outcome.clone();
            Box::pin(async move { jobs::finish(c, fence, &outcome, now).await })
        })
        .await
    }
}

async fn known_users(
    connection: &mut Connection,
    fence: Fence,
    ids: &[ImmutableId],
) -> Result<Vec<Option<KnownUser>>> {
    seats::check_job(connection, fence).await?;
    let found = rows::known_by_id(connection, fence.source, ids.iter()).await?;
    let found: std::collections::HashMap<_, _> =
        found.into_iter().map(|user| (user.id.clone(), user)).collect();
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}
