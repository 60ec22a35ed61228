//! Sync jobs as rows.

use uuid::Uuid;

use super::super::dialect::Connection;
use super::super::sources::source;
use super::super::statement::sql;
use super::super::words::{JOB_QUEUED, JOB_RUNNING};
use super::super::{codec, statement};
use crate::model::{
    BrokenCheck, Counts, Decision, Failure, FailureReason, Hold, HoldReason, JobKind, JobNo, JobState,
    JobSummary, Phase, RouterId, SourceId, SourceNo, SyncJob, SyncPlan, TenantId, TenantNo, Timestamp,
    Withheld,
};
use crate::store::{Result, StoreError};

const JOB: &str = "SELECT j.job_no, j.id, t.id AS tenant, j.tenant_no, s.id AS source, j.source_no, j.state, \
     j.phase, j.revision, j.router, j.reads, j.added, j.updated, j.unchanged, j.disabled, \
     j.not_synchronized, j.reenabled, j.disabled_in_directory, j.waiting, j.still_in_scope, j.not_visible, \
     j.expected, j.failure_reason, j.failure_message, j.withheld_users, j.withheld_message, \
     j.hold_reason, j.hold_message, j.hold_users, j.hold_etag, j.held_at, j.hold_expires_at, \
     j.hold_decision, j.hold_decided_by, j.hold_checks, j.started_by, j.stopped_by, j.created_at, j.started_at, \
     j.progress_at, j.ended_at, j.kind, o.id AS origin, j.plan_expires_at, j.plan_reason, \
     j.plan_message, j.warnings, j.settings IS NOT NULL AS of_draft FROM sync_jobs j LEFT JOIN sync_jobs o ON \
     o.job_no = j.origin JOIN tenants t ON t.tenant_no = j.tenant_no JOIN identity_sources s ON \
     s.source_no = j.source_no";

#[derive(sqlx::FromRow)]
struct JobRow {
    job_no: i64,
    id: Vec<u8>,
    tenant: String,
    tenant_no: i64,
    source: String,
    source_no: i64,
    state: i64,
    phase: Option<i64>,
    revision: i64,
    router: Option<String>,
    reads: i64,
    added: i64,
    updated: i64,
    unchanged: i64,
    disabled: i64,
    not_synchronized: i64,
    reenabled: i64,
    disabled_in_directory: i64,
    waiting: i64,
    still_in_scope: i64,
    not_visible: i64,
    expected: i64,
    failure_reason: Option<i64>,
    failure_message: Option<String>,
    withheld_users: Option<i64>,
    withheld_message: Option<String>,
    hold_reason: Option<i64>,
    hold_message: Option<String>,
    hold_users: Option<i64>,
    hold_etag: Option<String>,
    held_at: Option<i64>,
    hold_expires_at: Option<i64>,
    hold_decision: i64,
    hold_decided_by: String,
    hold_checks: Option<String>,
    started_by: String,
    stopped_by: String,
    created_at: i64,
    started_at: Option<i64>,
    progress_at: i64,
    ended_at: Option<i64>,
    kind: i64,
    origin: Option<Vec<u8>>,
    plan_expires_at: Option<i64>,
    plan_reason: Option<i64>,
    plan_message: Option<String>,
    warnings: Option<i64>,
    of_draft: bool,
}

/// What a plan was doubted for before every check was kept.
fn of_plan(reason: Option<i64>, message: Option<String>) -> Vec<BrokenCheck> {
    let reason = reason.and_then(|reason| HoldReason::from_number(codec::to_i16(reason)));
    let check = |reason| BrokenCheck { reason, message: message.unwrap_or_default(), users: 0 };
    reason.map(check).into_iter().collect()
}

impl TryFrom<JobRow> for SyncJob {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<Self> {
        let unknown = || StoreError::Broken("a job with an unknown state".into());
        let failure = row.failure_reason.map(|reason| Failure {
            reason: FailureReason::from_number(codec::to_i16(reason)).unwrap_or(FailureReason::Internal),
            message: row.failure_message.unwrap_or_default(),
        });
        let withheld = row
            .withheld_users
            .map(|users| Withheld { users, message: row.withheld_message.unwrap_or_default() });
        let broken = row.hold_checks.as_deref().map(codec::broken_checks).transpose()?.unwrap_or_default();
        let hold =
            row.hold_reason.and_then(|reason| HoldReason::from_number(codec::to_i16(reason))).map(|reason| {
                Hold {
                    reason,
                    message: row.hold_message.unwrap_or_default(),
                    broken: broken.clone(),
                    users: row.hold_users.unwrap_or_default(),
                    etag: row.hold_etag.unwrap_or_default(),
                    since: Timestamp(row.held_at.unwrap_or_default()),
                    expires_at: Timestamp(row.hold_expires_at.unwrap_or_default()),
                    decision: Decision::from_number(codec::to_i16(row.hold_decision))
                        .unwrap_or(Decision::Pending),
                    decided_by: row.hold_decided_by,
                }
            });
        let plan = row.plan_expires_at.map(|expires_at| SyncPlan {
            expires_at: Timestamp(expires_at),
            doubts: if broken.is_empty() { of_plan(row.plan_reason, row.plan_message) } else { broken },
            of_draft: row.of_draft,
        });
        Ok(Self {
            kind: JobKind::from_number(codec::to_i16(row.kind)).ok_or_else(unknown)?,
            origin: row.origin.as_deref().map(codec::uuid).transpose()?,
            plan,
            number: JobNo(row.job_no),
            id: codec::uuid(&row.id)?,
            tenant: TenantId(row.tenant),
            tenant_no: TenantNo(row.tenant_no),
            source: SourceId(row.source),
            source_no: SourceNo(row.source_no),
            state: JobState::from_number(codec::to_i16(row.state)).ok_or_else(unknown)?,
            phase: row
                .phase
                .map(|phase| Phase::from_number(codec::to_i16(phase)).ok_or_else(unknown))
                .transpose()?,
            counts: Counts {
                added: row.added,
                updated: row.updated,
                unchanged: row.unchanged,
                disabled: row.disabled,
                not_synchronized: row.not_synchronized,
                reenabled: row.reenabled,
                disabled_in_directory: row.disabled_in_directory,
                waiting: row.waiting,
                still_in_scope: row.still_in_scope,
                warnings: row.warnings,
                not_visible: row.not_visible,
            },
            expected: row.expected,
            failure,
            withheld,
            hold,
            revision: i32::try_from(row.revision).unwrap_or(i32::MAX),
            router: row.router.map(RouterId),
            reads: row.reads,
            started_by: row.started_by,
            stopped_by: row.stopped_by,
            created_at: Timestamp(row.created_at),
            started_at: row.started_at.map(Timestamp),
            progress_at: Timestamp(row.progress_at.max(row.created_at)),
            ended_at: row.ended_at.map(Timestamp),
        })
    }
}

pub(crate) async fn by_number(connection: &mut Connection, job: JobNo) -> Result<SyncJob> {
    let query = statement::query_as(sql!("{JOB} WHERE j.job_no = $1")).bind(job.0);
    let row: Option<JobRow> = query.fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("sync job"))?.try_into()
}

pub(crate) async fn job(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    id: Option<Uuid>,
) -> Result<SyncJob> {
    let source = source::row(connection, tenant, source).await?.source_no;
    let row: Option<JobRow> = match id {
        Some(id) => {
            let query = statement::query_as(sql!("{JOB} WHERE j.source_no = $1 AND j.id = $2"));
            query.bind(source).bind(id.as_bytes().to_vec()).fetch_optional(connection).await?
        }
        None => {
            let text = sql!("{JOB} WHERE j.source_no = $1 ORDER BY j.job_no DESC LIMIT 1");
            statement::query_as(text).bind(source).fetch_optional(connection).await?
        }
    };
    row.ok_or(StoreError::NotFound("sync job"))?.try_into()
}

pub(crate) async fn list(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    before: Option<JobNo>,
    limit: i64,
) -> Result<Vec<SyncJob>> {
    let source = source::row(connection, tenant, source).await?.source_no;
    let text = sql!("{JOB} WHERE j.source_no = $1 AND j.job_no < $2 ORDER BY j.job_no DESC LIMIT $3");
    let query = statement::query_as(text).bind(source).bind(before.map_or(i64::MAX, |job| job.0)).bind(limit);
    let rows: Vec<JobRow> = query.fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

#[derive(sqlx::FromRow)]
struct SummaryRow {
    job_no: i64,
    tenant: String,
    source: String,
    created_at: i64,
    progress_at: i64,
    kind: i64,
    last_router: Option<String>,
}

pub(crate) async fn unowned(
    connection: &mut Connection,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<JobSummary>> {
    let rows: Vec<SummaryRow> = statement::query_as(sql!(
        "SELECT j.job_no, t.id AS tenant, s.id AS source, j.created_at, j.progress_at, j.kind, \
             (SELECT l.router FROM sync_jobs l WHERE l.source_no = j.source_no AND l.router IS NOT \
             NULL ORDER BY l.job_no DESC LIMIT 1) AS last_router FROM sync_jobs j JOIN tenants t \
             ON t.tenant_no = j.tenant_no JOIN identity_sources s ON s.source_no = j.source_no \
             WHERE j.state = {JOB_QUEUED} OR (j.state = {JOB_RUNNING} AND j.lease_expires_at <= \
             $1) ORDER BY j.job_no LIMIT $2"
    ))
    .bind(now.0)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let summary = |row: SummaryRow| JobSummary {
        number: JobNo(row.job_no),
        tenant: TenantId(row.tenant),
        source: SourceId(row.source),
        kind: JobKind::from_number(codec::to_i16(row.kind)).unwrap_or(JobKind::Sync),
        progress_at: Timestamp(row.progress_at.max(row.created_at)),
        last_router: row.last_router.map(RouterId),
    };
    Ok(rows.into_iter().map(summary).collect())
}
