//! The job of a source that runs or is held, which a write of one user must tell.

use std::time::Duration;

use super::super::dialect::Connection;
use super::super::statement;
use super::super::statement::sql;
use super::super::users::user::COLUMNS;
use super::super::words::{JOB_HELD, JOB_RUNNING, KIND_DRY_RUN, PHASE_READING};
use super::lookup::{self, SnapshotRow, VERSION};
use crate::model::{
    JobNo, Record, SingleOutcome, SourceNo, TenantNo, Timestamp, UserNo, UserSnapshot, UserVersion,
};
use crate::store::{Observation, Result, SingleWrite, Written};

/// Columns of a [`JobRow`].
const JOB: &str = "j.job_no, j.state, j.phase, j.reads";

/// The newest job of a source, if there is one.
#[derive(sqlx::FromRow)]
struct JobRow {
    job_no: Option<i64>,
    state: Option<i64>,
    phase: Option<i64>,
    reads: Option<i64>,
}

impl JobRow {
    fn pending(self) -> Option<((JobNo, i64), bool)> {
        let (job, state, reads) = (self.job_no?, self.state?, self.reads?);
        let runs = state == i64::from(JOB_RUNNING);
        let reading = runs && self.phase == Some(i64::from(PHASE_READING));
        (runs || state == i64::from(JOB_HELD)).then(|| ((JobNo(job), 2 * reads + i64::from(!reading)), runs))
    }
}

/// A user, its source, and the newest job of that.
#[derive(sqlx::FromRow)]
struct NowRow {
    #[sqlx(flatten)]
    sighting: SnapshotRow,
    #[sqlx(flatten)]
    job: JobRow,
    sync_due_at: Option<i64>,
}

/// The job of a source that is under way or held, as users are marked with it: its number and its
/// stage, and whether it runs.
pub(crate) async fn pending(
    connection: &mut Connection,
    source: SourceNo,
) -> Result<Option<((JobNo, i64), bool)>> {
    // Only the newest job can be. A dry run changes nobody, so it need not know.
    let text = sql!(
        "SELECT {JOB} FROM sync_jobs j WHERE j.source_no = $1 AND j.kind <> {KIND_DRY_RUN} ORDER \
         BY j.job_no DESC LIMIT 1"
    );
    let newest: Option<JobRow> = statement::query_as(text).bind(source.0).fetch_optional(connection).await?;
    Ok(newest.and_then(JobRow::pending))
}

/// Whether an observation that changes nothing must be written down: the user was not found before,
/// a job that is under way must know of it, or its age matters.
pub(crate) fn must_record(
    observation: &Observation,
    version: &UserVersion,
    pending: Option<((JobNo, i64), bool)>,
) -> bool {
    version.absent_since.is_some()
        || pending.is_some_and(|(stage, _)| version.fetched != stage)
        || observation.keep_fresh && version.observed_at < observation.asked_at.minus(MIN_RECORDED_AGE)
}

/// What an observation comes to that shows nothing new and need not be written down; none if it
/// must.
pub(crate) async fn nothing_new(
    connection: &mut Connection,
    observation: &Observation,
    record: &Record,
) -> Result<Option<SingleWrite>> {
    let Some(version) = observation.version else { return Ok(None) };
    if version.digest != record.digest || version.status != record.status() {
        return Ok(None);
    }
    let Some(now) = now(connection, observation, version.user).await? else { return Ok(None) };
    let NowRow { sighting, job, .. } = now;
    let (user, pending) = (UserSnapshot::try_from(sighting)?, job.pending());
    let same_revision = user.source.1 == observation.revision;
    let user = Some(user).filter(|now| now.version == version);
    Ok(user.filter(|_| same_revision && !must_record(observation, &version, pending)).map(|user| {
        done(Written { outcome: SingleOutcome::Unchanged, message: None, user: Some(user), confirm: false })
    }))
}

/// The user, where it is already marked as not found and everything that has to know does: its
/// source, and the job that is under way. None if something is to be written down.
pub(crate) async fn absent_already(
    connection: &mut Connection,
    observation: &Observation,
    user: UserNo,
) -> Result<Option<UserSnapshot>> {
    let Some(version) = observation.version.filter(|version| version.absent_since.is_some()) else {
        return Ok(None);
    };
    let Some(now) = now(connection, observation, user).await? else { return Ok(None) };
    let NowRow { sighting, job, sync_due_at } = now;
    let (user, pending) = (UserSnapshot::try_from(sighting)?, job.pending());
    let known = user.version == version
        && user.source.1 == observation.revision
        && sync_due_at.is_some()
        && pending.is_none_or(|(stage, _)| version.absent_during == stage);
    Ok(known.then_some(user))
}

async fn now(connection: &mut Connection, observation: &Observation, user: UserNo) -> Result<Option<NowRow>> {
    let text = sql!(
        "SELECT {COLUMNS}, {VERSION}, {JOB}, s.sync_due_at FROM users u JOIN identity_sources s ON \
         s.source_no = u.source_no JOIN tenants t ON t.tenant_no = u.tenant_no LEFT JOIN sync_jobs \
         j ON j.job_no = (SELECT MAX(l.job_no) FROM sync_jobs l WHERE l.source_no = u.source_no \
         AND l.kind <> {KIND_DRY_RUN}) WHERE t.id = $1 AND u.user_no = $2"
    );
    let query = statement::query_as(text).bind(observation.tenant.0.clone()).bind(user.0);
    Ok(query.fetch_optional(connection).await?)
}

/// The user after an observation that saw its entry and writes nothing of it: it is no longer
/// marked as not found.
pub(crate) async fn seen(
    connection: &mut Connection,
    tenant: TenantNo,
    user: UserSnapshot,
) -> Result<UserSnapshot> {
    if user.user.absent_since.is_none() {
        return Ok(user);
    }
    statement::query("UPDATE users SET absent_since = NULL WHERE tenant_no = $1 AND user_no = $2")
        .bind(tenant.0)
        .bind(user.user.number.0)
        .execute(&mut *connection)
        .await?;
    let seen = lookup::by_number(connection, tenant, user.user.number).await?;
    Ok(seen.unwrap_or(user))
}

/// Notes when the directory was asked for a user alone and had it, which job was under way or held
/// then, and whether that changed the user, whatever job it was in the name of.
pub(crate) async fn record_observation(
    connection: &mut Connection,
    tenant: TenantNo,
    user: UserNo,
    asked_at: Timestamp,
    pending: Option<((JobNo, i64), bool)>,
    changed: bool,
) -> Result<()> {
    let (job, stage) = pending.map_or((JobNo(0), 0), |(stage, _)| stage);
    let text = if changed {
        "UPDATE users SET observed_at = $3, fetched_job = $4, fetched_stage = $5, absent_since = \
         NULL, alone_at = updated_at WHERE tenant_no = $1 AND user_no = $2"
    } else {
        "UPDATE users SET observed_at = $3, fetched_job = $4, fetched_stage = $5, absent_since = \
         NULL WHERE tenant_no = $1 AND user_no = $2"
    };
    let stamp = statement::query(text).bind(tenant.0).bind(user.0);
    stamp.bind(asked_at.0).bind(job.0).bind(stage).execute(connection).await?;
    Ok(())
}

pub(crate) fn done(written: Written) -> SingleWrite {
    SingleWrite::Done(Box::new(written))
}

/// Where the age of an observation matters, one that is younger than this is young enough not to be
/// written down again.
const MIN_RECORDED_AGE: Duration = Duration::from_secs(60);
