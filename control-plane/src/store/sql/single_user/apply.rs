//! Writes down what the directory has of a single user. No clocks are compared: an observation is
//! written only over the very version of the user that was there before the directory was asked,
//! and it notes during which stage of which job that was, so that the job leaves the user alone.
//! The rows of source and tenant, which every write of users locks, come first.

use super::super::audit::append;
use super::super::codec::SourceRow;
use super::super::dialect::Connection;
use super::super::license::seats;
use super::super::sync::apply;
use super::super::transaction::Engine;
use super::super::users::versions::{self, Seen};
use super::super::users::write;
use super::super::{locks, statement};
use super::{lookup, pending};
use crate::model::{
    Call, Event, EventType, Fence, JobNo, Record, SingleOutcome, SourceNo, Status, TenantNo, Trail, UserNo,
    UserSnapshot, names, spelled,
};
use crate::reconcile::batch::{Mode, View};
use crate::reconcile::{batch, enabling, entry_version, single_user};
use crate::store::row::Row;
use crate::store::{Observation, Result, SingleWrite, StoreError, Written};

/// The job of what no job does: none has counted a user for it.
const NO_JOB: JobNo = JobNo(-1);

/// What a write of one user begins with.
pub(crate) struct Begun {
    pub(crate) fence: Fence,
    pub(crate) source: SourceRow,
    pub(crate) pending: Option<((JobNo, i64), bool)>,
}

/// Locks the source's row and the tenant's. None if the source is no longer published as it was
/// asked.
pub(crate) async fn begin(connection: &mut Connection, observation: &Observation) -> Result<Option<Begun>> {
    let source = locks::lock_source(connection, &observation.tenant, &observation.source).await?;
    if source.published_revision != i64::from(observation.revision) {
        return Ok(None);
    }
    let tenant = locks::lock_tenant(connection, &observation.tenant).await?.number;
    let number = SourceNo(source.source_no);
    let pending = pending::pending(connection, number).await?;
    let fence = Fence { job: NO_JOB, epoch: 0, tenant, source: number };
    Ok(Some(Begun { fence, source, pending }))
}

/// Writes down what the directory has of a user. Mostly nothing has changed: then nothing is
/// locked, nor written.
pub(crate) async fn observe(
    engine: &Engine,
    observation: Observation,
    mut record: Record,
) -> Result<SingleWrite> {
    entry_version::forget_unkept(&mut record, observation.now);
    if let Some(done) = pending::nothing_new(&mut *engine.reader().await?, &observation, &record).await? {
        return Ok(done);
    }
    let arguments = (observation, record);
    engine
        .write(arguments, |connection, (observation, record)| {
            Box::pin(apply(connection, observation, record))
        })
        .await
}

/// Applies the record.
pub(crate) async fn apply(
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
        Some(user) => lookup::by_number(connection, fence.tenant, user).await?,
        None => None,
    };
    if before.as_ref().map(|user| user.version) != observation.version {
        return Ok(SingleWrite::AskAgain(known));
    }
    if before.is_none() && record.disabled {
        return left_as_is(connection, fence, before, SingleOutcome::DisabledNotAdded, None).await;
    }
    let enables = before.as_ref().is_none_or(|before| before.user.status != Status::Enabled);
    let seen = Seen::of_record(record, &view.known, None).into_iter().collect();
    let compared = versions::compare(connection, fence.tenant, seen).await?;
    // What may be of a server that is behind enables no user either: only a sync of all tells.
    let is_doubtful = enables && !record.disabled && !compared.incomparable.is_empty();
    if !compared.older.is_empty() || is_doubtful {
        return left_as_is(connection, fence, before, SingleOutcome::OlderServer, None).await;
    }
    if enables && !record.disabled && !enabling::may_enable(record) {
        // What a job that is under way has of the entry proves nothing any more either.
        if let Some(before) = before.as_ref().filter(|_| pending.is_some()) {
            let (tenant, user) = (fence.tenant, before.user.number);
            pending::record_observation(connection, tenant, user, observation.asked_at, pending, false)
                .await?;
        }
        return left_as_is(connection, fence, before, SingleOutcome::MarkNotVisible, None).await;
    }
    let plan = batch::plan(fence.job, Mode::Final, records, &view);
    let refused = apply::refusals(connection, fence, records, &plan.refusals).await?;
    if let Some((refusal, detail)) = plan.refusals.first().zip(refused.into_iter().next()) {
        let outcome = SingleOutcome::refused(refusal.reason);
        return left_as_is(connection, fence, before, outcome, Some(detail.message)).await;
    }
    let (user, outcome) = if let Some((_, status)) = plan.adds.first() {
        let (number, position) = seats::take_numbers(connection, fence.tenant, 1).await?;
        let row = Row::of(fence.tenant, record, number, *status, 0);
        let by_no_job = Fence { job: JobNo(0), ..fence };
        write::insert_users(connection, by_no_job, (observation.now, position), &[row]).await?;
        (UserNo(number), SingleOutcome::Added)
    } else if let Some(update) = plan.updates.first() {
        let user = &update.before;
        // As if by the job that changed the user last, so that a job under way neither forgets whom
        // it counted nor counts twice.
        let by_its_job = Fence { job: user.changed_job, ..fence };
        let status_job = status_job(connection, fence.tenant, user.number).await?;
        let mut position = 0;
        if update.status_only.is_some() {
            write::disable_in_directory(connection, by_its_job, &[user.number.0], observation.now).await?;
        } else {
            if write::gets_a_name(user, record) {
                (_, position) = seats::take_numbers(connection, fence.tenant, 0).await?;
            }
            let given_up = write::names_given_up(user, record);
            write::release_names(connection, fence.tenant, &given_up).await?;
            let row = Row::of(fence.tenant, record, user.number.0, update.status, 0);
            write::update_users(connection, by_its_job, (observation.now, position), &[row]).await?;
        }
        restore_status_job(connection, fence.tenant, user.number, status_job, position).await?;
        (user.number, single_user::changed(user.status, update.status))
    } else {
        let Some(before) = &before else {
            return Err(StoreError::Broken("a record of one user that came to nothing".into()));
        };
        // Only looks different: the source was published anew.
        if let Some((_, user)) = plan.refreshed.first() {
            let row = Row::of(fence.tenant, record, user.0, before.user.status, 0);
            write::refresh_digests(connection, fence, observation.now, &[row]).await?;
        }
        if pending::must_record(observation, &before.version, pending) {
            pending::record_observation(
                connection,
                fence.tenant,
                before.user.number,
                observation.asked_at,
                pending,
                false,
            )
            .await?;
        }
        (before.user.number, SingleOutcome::Unchanged)
    };
    let taken = seats::take(connection, fence.tenant, Some(fence.source), plan.seats_taken).await?;
    if outcome.changed() {
        pending::record_observation(connection, fence.tenant, user, observation.asked_at, pending, true)
            .await?;
        let alarm = taken.enqueue_messages(connection, observation.now).await?;
        write_trail(connection, observation, user, outcome).await?;
        alarm.record(connection, observation.now).await?;
    }
    let user = lookup::by_number(connection, fence.tenant, user).await?;
    let confirm = outcome.changed() && pending.is_some_and(|(_, runs)| runs);
    Ok(pending::done(Written { outcome, message: None, user, confirm }))
}

/// What it comes to that a record is not applied. Its entry was seen all the same.
async fn left_as_is(
    connection: &mut Connection,
    fence: Fence,
    before: Option<UserSnapshot>,
    outcome: SingleOutcome,
    message: Option<String>,
) -> Result<SingleWrite> {
    let user = match before {
        Some(before) => Some(pending::seen(connection, fence.tenant, before).await?),
        None => None,
    };
    Ok(pending::done(Written { outcome, message, user, confirm: false }))
}

pub(crate) async fn status_job(connection: &mut Connection, tenant: TenantNo, user: UserNo) -> Result<i64> {
    let query = statement::query_scalar("SELECT status_job FROM users WHERE tenant_no = $1 AND user_no = $2");
    Ok(query.bind(tenant.0).bind(user.0).fetch_one(connection).await?)
}

/// Gives a user that was written as if by its job the job back that last changed its status. The
/// names that it got at this position are of no job.
pub(crate) async fn restore_status_job(
    connection: &mut Connection,
    tenant: TenantNo,
    user: UserNo,
    job: i64,
    position: i64,
) -> Result<()> {
    let text = "UPDATE users SET status_job = $3, user_name_job = CASE WHEN user_name_position = $4 THEN 0 \
         ELSE user_name_job END, mail_job = CASE WHEN mail_position = $4 THEN 0 ELSE mail_job END WHERE \
         tenant_no = $1 AND user_no = $2";
    let query = statement::query(text).bind(tenant.0).bind(user.0);
    query.bind(job).bind(position).execute(connection).await?;
    Ok(())
}

/// Number and outcome only: the trail has no personal data.
pub(crate) async fn write_trail(
    connection: &mut Connection,
    observation: &Observation,
    user: UserNo,
    outcome: SingleOutcome,
) -> Result<()> {
    let Observation { tenant, by, now, .. } = observation;
    let event = Event::done(EventType::UserSynced, names::user(tenant, user));
    let event = event.with("outcome", spelled(outcome));
    let call = Call { by: by.clone(), now: *now };
    append::record(connection, &Trail::Tenant(tenant.clone()), &call, event).await
}
