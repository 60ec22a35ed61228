//! What became of a job, told where people and programs look for it: in the audit trail, and to
//! webhooks. Users are counted, and where they are few, named by number.

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::license::limit;
use super::super::statement;
use super::super::statement::sql;
use super::super::webhooks::outbox;
use super::super::words::CATEGORY_NOT_SYNCHRONIZED;
use crate::model::{
    Call, Category, Counts, Event, EventType, JobKind, JobState, NotSynchronizedReason, SyncJob, Timestamp,
    WebhookEvent, names, spelled, webhook_message as message,
};
use crate::store::Result;

/// So many users of a kind are named by number.
const FEW: i64 = 10;

/// Tells that a job succeeded or failed.
pub(crate) async fn ended(connection: &mut Connection, job: &SyncJob, now: Timestamp) -> Result<()> {
    let kind = match (job.state, job.kind) {
        (JobState::Succeeded, JobKind::DryRun) => EventType::SyncPlanned,
        (JobState::Succeeded, _) => EventType::SyncSucceeded,
        _ => EventType::SyncFailed,
    };
    let mut event = append::of_job(kind, job);
    if let Some(failure) = &job.failure {
        event = event.with("reason", spelled(failure.reason));
    }
    if let Some(withheld) = &job.withheld {
        event = event.with("withheld", withheld.users);
    }
    publish(connection, job, &Call::system(now), event).await
}

/// Tells that a job was stopped.
pub(crate) async fn stopped(connection: &mut Connection, job: &SyncJob, call: &Call) -> Result<()> {
    publish(connection, job, call, append::of_job(EventType::SyncStopped, job)).await
}

/// Tells that a job holds disables, or what became of those it held; `job` is as it is now.
pub(crate) async fn of_hold(
    connection: &mut Connection,
    kind: EventType,
    job: &SyncJob,
    call: &Call,
) -> Result<()> {
    let mut event = append::of_job(kind, job);
    if let Some(hold) = &job.hold {
        if job.state == JobState::Held {
            event = event.with("reason", spelled(hold.reason));
        }
        event = event.with("users", hold.users);
    }
    publish(connection, job, call, event).await
}

async fn publish(connection: &mut Connection, job: &SyncJob, call: &Call, event: Event) -> Result<()> {
    let reasons = reasons(connection, job).await?;
    let mut event = with_counts(event, job.counts);
    for (reason, records) in &reasons {
        event = event.with(&spelled(reason).to_ascii_lowercase(), records);
    }
    for (name, category, users) in [
        ("added_users", Category::Added, job.counts.added),
        ("updated_users", Category::Updated, job.counts.updated),
        ("disabled_users", Category::Disabled, job.counts.disabled),
    ] {
        if (1..=FEW).contains(&users) {
            event = event.with(name, numbers(connection, job, category).await?);
        }
    }
    let left_out = reasons.iter().find(|(reason, _)| *reason == NotSynchronizedReason::LicenseLimit);
    let left_out = left_out.map(|(_, records)| *records);
    // A dry run has left nobody out yet.
    let left_out = left_out
        .filter(|_| matches!(job.state, JobState::Succeeded | JobState::Held) && job.kind != JobKind::DryRun);

    let data = message::of_job(job, &reasons);
    let told = match job.state {
        JobState::Held => WebhookEvent::SyncJobHeld,
        JobState::Stopped => WebhookEvent::SyncJobStopped,
        JobState::Failed => WebhookEvent::SyncJobFailed,
        JobState::Queued | JobState::Running | JobState::Succeeded => WebhookEvent::SyncJobSucceeded,
    };
    outbox::enqueue(connection, job.tenant_no, told, &data, call.now).await?;
    let license = match left_out {
        None => None,
        Some(users) => {
            let license = limit::use_of(connection, job.tenant_no).await?;
            let mut data = data;
            data["left_out_users"] = users.into();
            data["license"] = message::of_license(&job.tenant, license.used, license.limit);
            outbox::enqueue(connection, job.tenant_no, WebhookEvent::SyncJobOverLicense, &data, call.now)
                .await?;
            Some((users, license))
        }
    };
    append::record_of_job(connection, job, call, event).await?;
    if let Some((users, license)) = license {
        let event = Event::done(EventType::SyncOverLicense, names::job(job));
        let event = event.with("users", users).with("used", license.used).with("limit", license.limit);
        append::record_of_job(connection, job, &Call::system(call.now), event).await?;
    }
    Ok(())
}

/// With what a job has done so far.
fn with_counts(event: Event, counts: Counts) -> Event {
    event
        .with("added", counts.added)
        .with("updated", counts.updated)
        .with("unchanged", counts.unchanged)
        .with("not_synchronized", counts.not_synchronized)
        .with("disabled", counts.disabled)
        .with("reenabled", counts.reenabled)
        .with("disabled_in_directory", counts.disabled_in_directory)
        .with("still_in_scope", counts.still_in_scope)
}

/// How many records are not synchronized for each reason.
async fn reasons(connection: &mut Connection, job: &SyncJob) -> Result<Vec<(NotSynchronizedReason, i64)>> {
    if job.counts.not_synchronized == 0 {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, i64)> = statement::query_as(sql!(
        "SELECT reason, COUNT(*) FROM job_details WHERE job_no = $1 AND category = \
             {CATEGORY_NOT_SYNCHRONIZED} AND reason IS NOT NULL GROUP BY reason ORDER BY reason"
    ))
    .bind(job.number.0)
    .fetch_all(connection)
    .await?;
    let reason = |number| i16::try_from(number).ok().and_then(NotSynchronizedReason::from_number);
    Ok(rows.into_iter().filter_map(|(number, records)| Some((reason(number)?, records))).collect())
}

/// The users of a short list, by number.
async fn numbers(connection: &mut Connection, job: &SyncJob, category: Category) -> Result<String> {
    let users = statement::query_scalar(
        "SELECT user_no FROM job_details WHERE job_no = $1 AND category = $2 AND user_no IS NOT \
         NULL ORDER BY user_no LIMIT $3",
    );
    let users = users.bind(job.number.0).bind(i64::from(category.number())).bind(FEW);
    let users: Vec<i64> = users.fetch_all(connection).await?;
    Ok(users.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}
