//! Writes down what the directory has of a single user. No clocks are compared: an observation is written only over the very version of the
//! user that was there before the directory was asked, and it notes during which stage of which job that was, so that the job leaves
//! the user alone. The rows of source and tenant, which every write of users locks, come first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{AssertSqlSafe, FromRow};

use super::engine::Connection;
use super::jit_settings::{self, SettingsRow};
use super::rows::{self, Row, sixteen};
use super::users::{COLUMNS, FROM, UserRow};
use super::{apply, audit, catalog, holds, seats};
use crate::model::{
    Absence, Event, EventType, Fence, JobNo, NameKind, Record, Sighting, SingleOutcome, SourceNo, Status,
    TenantId, TenantNo, Timestamp, Trail, User, UserNo, UserVersion, Whom, names, spelled,
};
use crate::reconcile::batch::{self, Mode, View};
use crate::reconcile::{guard, single};
use crate::store::{Observation, Result, SignIn, SingleWrite, StoreError, Written};

/// The job of what no job does: none has counted a user for it.
const NO_JOB: JobNo = JobNo(-1);
/// How far back disables count for the guard.
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Disables that no guard asks for any more.
const FORGOTTEN: Duration = Duration::from_secs(25 * 3_600);
/// Where the age of an observation matters, one that is younger than this is young enough not to be written down again.
const YOUNG: Duration = Duration::from_secs(60);

/// Columns that make a version of a user, besides those of the user, and of its source.
const VERSION: &str =
    "u.digest, u.observed_at, u.fetched_job, u.fetched_stage, s.source_no, s.published_revision";

#[derive(FromRow)]
struct SightingRow {
    #[sqlx(flatten)]
    user: UserRow,
    digest: Vec<u8>,
    observed_at: i64,
    fetched_job: i64,
    fetched_stage: i64,
    source_no: i64,
    published_revision: i64,
}

impl TryFrom<SightingRow> for Sighting {
    type Error = StoreError;

    fn try_from(row: SightingRow) -> Result<Self> {
        let user = User::try_from(row.user)?;
        let version = UserVersion {
            user: user.number,
            digest: sixteen(row.digest)?,
            status: user.status,
            updated_at: user.updated_at,
            observed_at: Timestamp(row.observed_at),
            fetched: (JobNo(row.fetched_job), row.fetched_stage),
        };
        let revision = i32::try_from(row.published_revision).unwrap_or_default();
        Ok(Self { user, source: (SourceNo(row.source_no), revision), version })
    }
}

async fn sighting(connection: &mut Connection, tenant: TenantNo, user: UserNo) -> Result<Option<Sighting>> {
    let text = format!("SELECT {COLUMNS}, {VERSION} {FROM} AND u.user_no = $2");
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(tenant.0).bind(user.0);
    let row: Option<SightingRow> = query.fetch_optional(connection).await?;
    row.map(TryInto::try_into).transpose()
}

/// The user of this number, or the one that holds the name; a user name comes before a mail address.
pub(super) async fn sight(
    connection: &mut Connection,
    tenant: TenantNo,
    whom: &Whom,
) -> Result<Option<Sighting>> {
    if let Whom::User(user) = whom {
        return sighting(connection, tenant, *user).await;
    }
    let text = format!("SELECT {COLUMNS}, {VERSION} {FROM} AND u.user_no = {NAMED}");
    let (user_name, mail) = keys(tenant, whom);
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(tenant.0).bind(user_name).bind(mail);
    let row: Option<SightingRow> = query.fetch_optional(connection).await?;
    row.map(TryInto::try_into).transpose()
}

/// The number of who holds a name, by the keys of a user name and of a mail address: one look-up in an index each. The tenant is part of
/// the keys.
const NAMED: &str = "COALESCE((SELECT user_no FROM users WHERE user_name_key = $2), (SELECT user_no FROM users WHERE mail_key = $3))";

/// The keys for [`NAMED`].
fn keys(tenant: TenantNo, whom: &Whom) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut user_name, mut mail) = (None, None);
    for (kind, key) in single::keys(tenant, whom) {
        match kind {
            NameKind::UserName => user_name = Some(key.0.to_vec()),
            NameKind::Mail => mail = Some(key.0.to_vec()),
        }
    }
    (user_name, mail)
}

/// Numbers of tenants, which never change: with the number a sign-in of a known user begins with one statement.
pub(super) type Numbers = Mutex<HashMap<TenantId, TenantNo>>;

/// More tenants than sign in at one replica; then it begins anew.
const MANY: usize = 10_000;

#[derive(FromRow)]
struct SignInRow {
    #[sqlx(flatten)]
    settings: SettingsRow,
    #[sqlx(flatten)]
    known: SightingRow,
}

pub(super) async fn begin_sign_in(
    connection: &mut Connection,
    numbers: &Numbers,
    tenant: &TenantId,
    whom: &Whom,
) -> Result<SignIn> {
    let number = numbers.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
    if let Some(number) = number {
        let text = format!(
            "SELECT {}, {COLUMNS}, {VERSION} FROM users u JOIN identity_sources s ON s.source_no = u.source_no \
             JOIN tenants t ON t.tenant_no = u.tenant_no WHERE u.tenant_no = $1 AND u.user_no = {NAMED} AND t.id = $4",
            jit_settings::COLUMNS
        );
        let (user_name, mail) = keys(number, whom);
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(number.0).bind(user_name).bind(mail);
        let row: Option<SignInRow> = query.bind(tenant.0.clone()).fetch_optional(&mut *connection).await?;
        if let Some(SignInRow { settings, known }) = row {
            let (tenant, settings, suspended) = settings.into();
            return Ok(SignIn { tenant, settings, suspended, known: Some(known.try_into()?) });
        }
    }
    let (number, settings, suspended) = jit_settings::get(connection, tenant).await?;
    {
        let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.len() >= MANY {
            numbers.clear();
        }
        numbers.insert(tenant.clone(), number);
    }
    let known = sight(connection, number, whom).await?;
    Ok(SignIn { tenant: number, settings, suspended, known })
}

/// Columns of a [`JobRow`].
const JOB: &str = "j.job_no, j.state, j.phase, j.reads";

/// The newest job of a source, if there is one.
#[derive(FromRow)]
struct JobRow {
    job_no: Option<i64>,
    state: Option<i64>,
    phase: Option<i64>,
    reads: Option<i64>,
}

impl JobRow {
    fn pending(self) -> Option<((JobNo, i64), bool)> {
        let (job, state, reads) = (self.job_no?, self.state?, self.reads?);
        let runs = state == 2;
        let reading = runs && self.phase == Some(1);
        (runs || state == 6).then(|| ((JobNo(job), 2 * reads + i64::from(!reading)), runs))
    }
}

/// A user, the published revision of its source, and the newest job of that.
#[derive(FromRow)]
struct NowRow {
    #[sqlx(flatten)]
    sighting: SightingRow,
    #[sqlx(flatten)]
    job: JobRow,
}

/// The job of a source that is under way or held, as users are marked with it: its number and its stage, and whether it runs.
async fn pending(connection: &mut Connection, source: SourceNo) -> Result<Option<((JobNo, i64), bool)>> {
    // Only the newest job can be. A dry run changes nobody, so it need not know.
    let text = format!(
        "SELECT {JOB} FROM sync_jobs j WHERE j.source_no = $1 AND j.kind <> 2 ORDER BY j.job_no DESC LIMIT 1"
    );
    let newest: Option<JobRow> =
        sqlx::query_as(AssertSqlSafe(text)).bind(source.0).fetch_optional(connection).await?;
    Ok(newest.and_then(JobRow::pending))
}

/// Whether an observation that changes nothing must be written down: a job that is under way must know of it, or its age matters.
fn must_stamp(
    observation: &Observation,
    version: &UserVersion,
    pending: Option<((JobNo, i64), bool)>,
) -> bool {
    pending.is_some_and(|(stage, _)| version.fetched != stage)
        || observation.keep_fresh && version.observed_at < observation.asked_at.minus(YOUNG)
}

/// What an observation comes to that shows nothing new and need not be written down; none if it must.
pub(super) async fn nothing_new(
    connection: &mut Connection,
    observation: &Observation,
    record: &Record,
) -> Result<Option<SingleWrite>> {
    let Some(version) = observation.version else { return Ok(None) };
    if version.digest != record.digest || version.status != record.status() {
        return Ok(None);
    }
    let text = format!(
        "SELECT {COLUMNS}, {VERSION}, {JOB} FROM users u JOIN identity_sources s ON s.source_no = u.source_no \
         JOIN tenants t ON t.tenant_no = u.tenant_no LEFT JOIN sync_jobs j ON j.job_no = (SELECT MAX(l.job_no) FROM sync_jobs l \
         WHERE l.source_no = u.source_no AND l.kind <> 2) WHERE t.id = $1 AND u.user_no = $2"
    );
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(observation.tenant.0.clone()).bind(version.user.0);
    let row: Option<NowRow> = query.fetch_optional(connection).await?;
    let Some(NowRow { sighting, job }) = row else { return Ok(None) };
    let (user, pending) = (Sighting::try_from(sighting)?, job.pending());
    let same_revision = user.source.1 == observation.revision;
    let user = Some(user).filter(|now| now.version == version);
    Ok(user.filter(|_| same_revision && !must_stamp(observation, &version, pending)).map(|user| {
        done(Written { outcome: SingleOutcome::Unchanged, message: None, user: Some(user), confirm: false })
    }))
}

fn done(written: Written) -> SingleWrite {
    SingleWrite::Done(Box::new(written))
}

/// What a write of one user begins with.
struct Begun {
    fence: Fence,
    source: catalog::SourceRow,
    pending: Option<((JobNo, i64), bool)>,
}

/// Locks the source's row and the tenant's. None if the source is no longer published as it was asked.
async fn begin(connection: &mut Connection, observation: &Observation) -> Result<Option<Begun>> {
    let source = catalog::row(connection, &observation.tenant, &observation.source, true).await?;
    if source.published_revision != i64::from(observation.revision) {
        return Ok(None);
    }
    let tenant = catalog::lock_tenant(connection, &observation.tenant).await?;
    let number = SourceNo(source.source_no);
    let pending = pending(connection, number).await?;
    let fence = Fence { job: NO_JOB, epoch: 0, tenant, source: number };
    Ok(Some(Begun { fence, source, pending }))
}

/// Applies the record.
pub(super) async fn apply(
    connection: &mut Connection,
    observation: &Observation,
    record: &Record,
) -> Result<SingleWrite> {
    let Some(Begun { fence, pending, .. }) = begin(connection, observation).await? else {
        return Ok(SingleWrite::AskAgain(observation.version.map(|version| version.user)));
    };
    let records = std::slice::from_ref(record);
    let mut view = View { quota: i64::MAX, ..apply::view(connection, fence, records, &[]).await? };
    let values = apply::changed_values(connection, fence, records, &view).await?;
    view.same = apply::same(records, &view, &values);
    let known = view.known.get(&record.id).map(|user| user.number);
    let before = match known {
        Some(user) => sighting(connection, fence.tenant, user).await?,
        None => None,
    };
    if before.as_ref().map(|user| user.version) != observation.version {
        return Ok(SingleWrite::AskAgain(known));
    }
    let unchanged = |outcome, message| {
        let user = before.clone();
        Ok(done(Written { outcome, message, user, confirm: false }))
    };
    if before.is_none() && record.disabled {
        return unchanged(SingleOutcome::DisabledNotAdded, None);
    }
    let plan = batch::plan(fence.job, Mode::Final, records, &view);
    let refused = apply::refusals(connection, fence, records, &plan.refusals).await?;
    if let Some((refusal, detail)) = plan.refusals.first().zip(refused.into_iter().next()) {
        return unchanged(SingleOutcome::refused(refusal.reason), Some(detail.message));
    }
    let (user, outcome) = if let Some((_, status)) = plan.adds.first() {
        let number = seats::take_numbers(connection, fence.tenant, 1).await?;
        let row = Row::of(record, number, *status, 0);
        let by_no_job = Fence { job: JobNo(0), ..fence };
        rows::insert_users(connection, by_no_job, observation.now, &[row]).await?;
        (UserNo(number), SingleOutcome::Added)
    } else if let Some(update) = plan.updates.first() {
        let user = &update.before;
        // As if by the job that changed the user last, so that a job under way neither forgets whom it counted nor counts twice.
        let by_its_job = Fence { job: user.changed_job, ..fence };
        let status_job = status_job(connection, fence.tenant, user.number).await?;
        if update.status_only {
            rows::disable_in_directory(connection, by_its_job, &[user.number.0], observation.now).await?;
        } else {
            if !user.names().eq(record.names()) {
                rows::release_names(connection, fence.tenant, &[user.number.0]).await?;
            }
            let row = Row::of(record, user.number.0, update.status, 0);
            rows::update_users(connection, by_its_job, observation.now, &[row]).await?;
        }
        restore_status_job(connection, fence.tenant, user.number, status_job).await?;
        (user.number, single::changed(user.status, update.status))
    } else {
        let Some(before) = &before else {
            return Err(StoreError::Broken("a record of one user that came to nothing".into()));
        };
        // Only looks different: the source was published anew.
        if let Some((_, user)) = plan.refreshed.first() {
            let row = Row::of(record, user.0, before.user.status, 0);
            rows::refresh_digests(connection, fence, observation.now, &[row]).await?;
        }
        if must_stamp(observation, &before.version, pending) {
            stamp(connection, fence.tenant, before.user.number, observation.asked_at, pending, false).await?;
        }
        (before.user.number, SingleOutcome::Unchanged)
    };
    let taken = seats::take(connection, fence.tenant, Some(fence.source), plan.seats_taken).await?;
    if outcome.changed() {
        stamp(connection, fence.tenant, user, observation.asked_at, pending, true).await?;
        let alarm = taken.tell_webhooks(connection, observation.now).await?;
        write_trail(connection, observation, user, outcome).await?;
        alarm.record(connection, observation.now).await?;
    }
    let user = sighting(connection, fence.tenant, user).await?;
    let confirm = outcome.changed() && pending.is_some_and(|(_, runs)| runs);
    Ok(done(Written { outcome, message: None, user, confirm }))
}

async fn status_job(connection: &mut Connection, tenant: TenantNo, user: UserNo) -> Result<i64> {
    let query = sqlx::query_scalar("SELECT status_job FROM users WHERE tenant_no = $1 AND user_no = $2");
    Ok(query.bind(tenant.0).bind(user.0).fetch_one(connection).await?)
}

async fn restore_status_job(
    connection: &mut Connection,
    tenant: TenantNo,
    user: UserNo,
    job: i64,
) -> Result<()> {
    sqlx::query("UPDATE users SET status_job = $3 WHERE tenant_no = $1 AND user_no = $2")
        .bind(tenant.0)
        .bind(user.0)
        .bind(job)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes when the directory was asked for a user alone, which job was under way or held then, and whether that changed the user, whatever
/// job it was in the name of.
async fn stamp(
    connection: &mut Connection,
    tenant: TenantNo,
    user: UserNo,
    asked_at: Timestamp,
    pending: Option<((JobNo, i64), bool)>,
    changed: bool,
) -> Result<()> {
    let (job, stage) = pending.map_or((JobNo(0), 0), |(stage, _)| stage);
    let text = format!(
        "UPDATE users SET observed_at = $3, fetched_job = $4, fetched_stage = $5{} WHERE tenant_no = $1 AND user_no = $2",
        if changed { ", alone_at = updated_at" } else { "" }
    );
    let stamp = sqlx::query(AssertSqlSafe(text)).bind(tenant.0).bind(user.0);
    stamp.bind(asked_at.0).bind(job.0).bind(stage).execute(connection).await?;
    Ok(())
}

/// Number and outcome only: the trail has no personal data.
async fn write_trail(
    connection: &mut Connection,
    observation: &Observation,
    user: UserNo,
    outcome: SingleOutcome,
) -> Result<()> {
    let Observation { tenant, by, now, .. } = observation;
    let event = Event::done(EventType::UserSynced, names::user(tenant, user));
    let event = event.with("outcome", spelled(outcome));
    audit::record(connection, &Trail::Tenant(tenant.clone()), by, event, *now).await
}

/// Takes the user out of scope, if the guard allows it.
pub(super) async fn disable(
    connection: &mut Connection,
    observation: &Observation,
    user: UserNo,
    absence: Absence,
) -> Result<SingleWrite> {
    let Some(Begun { fence, source, pending }) = begin(connection, observation).await? else {
        return Ok(SingleWrite::AskAgain(Some(user)));
    };
    let before = sighting(connection, fence.tenant, user).await?;
    let Some(before) = before.filter(|now| Some(now.version) == observation.version) else {
        return Ok(SingleWrite::AskAgain(Some(user)));
    };
    let enabled = before.user.status == Status::Enabled;
    if before.user.status == Status::OutOfScope
        || enabled && !allowed(connection, observation, fence, &source, absence).await?
    {
        let held = before.user.status != Status::OutOfScope;
        let outcome = if held { SingleOutcome::Held } else { SingleOutcome::Unchanged };
        return Ok(done(Written { outcome, message: None, user: Some(before), confirm: false }));
    }
    sqlx::query(
        "UPDATE users SET status = 3, user_name_key = NULL, mail_key = NULL, updated_at = $3, disabled_at = COALESCE(disabled_at, $3) \
         WHERE tenant_no = $1 AND user_no = $2",
    )
    .bind(fence.tenant.0)
    .bind(user.0)
    .bind(observation.now.0)
    .execute(&mut *connection)
    .await?;
    stamp(connection, fence.tenant, user, observation.asked_at, pending, true).await?;
    let taken = seats::take(connection, fence.tenant, Some(fence.source), -i64::from(enabled)).await?;
    if enabled {
        remember(connection, fence.source, user, absence, observation.now).await?;
    }
    let alarm = taken.tell_webhooks(connection, observation.now).await?;
    let outcome = SingleOutcome::DisabledOutOfScope;
    write_trail(connection, observation, user, outcome).await?;
    alarm.record(connection, observation.now).await?;
    let user = sighting(connection, fence.tenant, user).await?;
    let confirm = pending.is_some_and(|(_, runs)| runs);
    let message = Some(format!("The user was disabled: {}.", absence.text()));
    Ok(done(Written { outcome, message, user, confirm }))
}

/// Whether the source's guard lets one more enabled user go.
async fn allowed(
    connection: &mut Connection,
    observation: &Observation,
    fence: Fence,
    source: &catalog::SourceRow,
    absence: Absence,
) -> Result<bool> {
    let published = source.published.as_deref().ok_or(StoreError::SourceNotPublished)?;
    let guard = catalog::settings(published)?.disable_guard;
    let enabled = sqlx::query_scalar("SELECT enabled_users FROM identity_sources WHERE source_no = $1");
    let enabled: i64 = enabled.bind(fence.source.0).fetch_one(&mut *connection).await?;
    let recent = holds::recent(connection, fence.source, fence.job, observation.now.minus(DAY)).await?;
    let unexplained = absence == Absence::Unexplained;
    Ok(guard::one_more(guard, enabled, (recent.all, recent.unexplained), unexplained))
}

/// Adds a disable to those of the day.
async fn remember(
    connection: &mut Connection,
    source: SourceNo,
    user: UserNo,
    absence: Absence,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("DELETE FROM single_disables WHERE source_no = $1 AND disabled_at < $2")
        .bind(source.0)
        .bind(now.minus(FORGOTTEN).0)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO single_disables (source_no, disabled_at, user_no, unexplained) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (source_no, disabled_at, user_no) DO NOTHING",
    )
    .bind(source.0)
    .bind(now.0)
    .bind(user.0)
    .bind(i64::from(absence == Absence::Unexplained))
    .execute(connection)
    .await?;
    Ok(())
}

/// The user, and when the directory was last seen to have it as it is: when it was asked for it alone, or when the newest complete sync
/// of its source began to read, which found it so or made it so.
pub(super) async fn last_observed(
    connection: &mut Connection,
    tenant: TenantNo,
    whom: &Whom,
) -> Result<Option<(User, Timestamp)>> {
    let Some(Sighting { user, version, .. }) = sight(connection, tenant, whom).await? else {
        return Ok(None);
    };
    // A sync that left leavers alone did not see everyone whom it left; a record that it did not apply shows nothing, and where its list of
    // those is thrown away nobody knows.
    let synced = sqlx::query_scalar(
        "SELECT j.read_at FROM sync_jobs j JOIN users u ON u.source_no = j.source_no WHERE u.tenant_no = $1 AND u.user_no = $2 \
         AND j.state = 3 AND j.kind IN (1, 3) AND j.withheld_users IS NULL AND j.read_at IS NOT NULL AND j.lists_gone = 0 \
         AND u.added_job <= j.job_no AND NOT EXISTS \
         (SELECT 1 FROM job_details d WHERE d.job_no = j.job_no AND d.category = 4 AND d.immutable_id = u.immutable_id) \
         ORDER BY j.job_no DESC LIMIT 1",
    );
    let synced: Option<i64> = synced.bind(tenant.0).bind(user.number.0).fetch_optional(connection).await?;
    let observed_at = version.observed_at.max(Timestamp(synced.unwrap_or_default()));
    Ok(Some((user, observed_at)))
}
