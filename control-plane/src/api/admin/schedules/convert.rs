//! Converts schedules from and to messages. Reports everything that is wrong with a schedule at
//! once.

use std::time::Duration;

use rollcall_proto::admin::v1::sync_schedule::{self, LastRun, Outcome};
use rollcall_proto::admin::v1::{
    DailyRecurrence, DayOfWeek, MonthlyRecurrence, ScheduleTime, SyncSchedule, WeeklyRecurrence,
};
use tonic::Status;

use crate::api::common::convert::{duration_to_proto, timestamp_to_proto};
use crate::api::common::{resource_names, status};
use crate::model::{self, Recurrence, RunOutcome, Schedule, SourceId, TenantId, Timestamp};
use crate::schedule::{ScheduleError, Timetable};

/// Times that are shown ahead.
const UPCOMING_TIMES: usize = 5;

/// What an administrator sets.
pub(super) fn schedule_from_proto(message: SyncSchedule, now: Timestamp) -> Result<Schedule, Status> {
    let mut violations = Vec::new();
    let mut wrong =
        |field: &str, why: &str| violations.push((format!("sync_schedule.{field}"), why.to_owned()));
    let default = Schedule::default();
    let jitter = match message.jitter {
        None => default.jitter,
        Some(jitter) => Duration::try_from(jitter).unwrap_or_else(|_| {
            wrong("jitter", "must not be negative");
            default.jitter
        }),
    };
    let recurrence = match message.recurrence {
        None => None,
        Some(sync_schedule::Recurrence::Cron(text)) => Some(Recurrence::Cron(text.trim().to_owned())),
        Some(sync_schedule::Recurrence::Daily(DailyRecurrence { time })) => {
            let (hour, minute) = time_of_day("daily", time, &mut wrong);
            Some(Recurrence::Daily { hour, minute })
        }
        Some(sync_schedule::Recurrence::Weekly(WeeklyRecurrence { days, time })) => {
            let (hour, minute) = time_of_day("weekly", time, &mut wrong);
            let mut days: Vec<u8> = days.into_iter().map(|day| u8::try_from(day).unwrap_or(0)).collect();
            days.sort_unstable();
            days.dedup();
            if days.is_empty() || days.iter().any(|day| !(1..=7).contains(day)) {
                wrong("weekly.days", "must name at least one day, MONDAY to SUNDAY");
            }
            Some(Recurrence::Weekly { days, hour, minute })
        }
        Some(sync_schedule::Recurrence::Monthly(MonthlyRecurrence { day, time })) => {
            let (hour, minute) = time_of_day("monthly", time, &mut wrong);
            let day = u8::try_from(day).ok().filter(|day| (1..=31).contains(day)).unwrap_or_else(|| {
                wrong("monthly.day", "must be 1 to 31");
                1
            });
            Some(Recurrence::Monthly { day, hour, minute })
        }
    };
    if message.enabled && recurrence.is_none() {
        wrong("recurrence", "is required: daily, weekly, monthly or cron");
    }
    let time_zone = if message.time_zone.is_empty() { default.time_zone } else { message.time_zone };
    let schedule = Schedule { enabled: message.enabled, recurrence, time_zone, jitter };
    if violations.is_empty() {
        let timetable = Timetable::from_schedule(&schedule);
        match timetable.and_then(|timetable| timetable.map_or(Ok(()), |timetable| timetable.check(now))) {
            Ok(()) => return Ok(schedule),
            Err(ScheduleError { field, why }) => violations.push((format!("sync_schedule.{field}"), why)),
        }
    }
    Err(status::invalid(violations))
}

fn time_of_day(field: &str, time: Option<ScheduleTime>, wrong: &mut impl FnMut(&str, &str)) -> (u8, u8) {
    let time = time.unwrap_or_default();
    let part = |value: i32, most: u8| u8::try_from(value).ok().filter(|value| *value <= most);
    match (part(time.hour, 23), part(time.minute, 59)) {
        (Some(hour), Some(minute)) => (hour, minute),
        _ => {
            wrong(&format!("{field}.time"), "must have an hour of 0 to 23 and a minute of 0 to 59");
            (0, 0)
        }
    }
}

/// What an administrator sees.
pub(super) fn schedule_to_proto(
    tenant: &TenantId,
    source: &SourceId,
    found: model::SyncSchedule,
    now: Timestamp,
) -> SyncSchedule {
    let model::SyncSchedule { schedule, version, next, last } = found;
    let timetable = Timetable::from_schedule(&schedule).ok().flatten().filter(|_| schedule.enabled);
    let upcoming = timetable.map(|timetable| timetable.upcoming(now, UPCOMING_TIMES)).unwrap_or_default();
    let time = |hour: u8, minute: u8| Some(ScheduleTime { hour: hour.into(), minute: minute.into() });
    let recurrence = schedule.recurrence.map(|recurrence| match recurrence {
        Recurrence::Cron(text) => sync_schedule::Recurrence::Cron(text),
        Recurrence::Daily { hour, minute } => {
            sync_schedule::Recurrence::Daily(DailyRecurrence { time: time(hour, minute) })
        }
        Recurrence::Weekly { days, hour, minute } => sync_schedule::Recurrence::Weekly(WeeklyRecurrence {
            days: days
                .into_iter()
                .map(|day| DayOfWeek::try_from(i32::from(day)).unwrap_or_default().into())
                .collect(),
            time: time(hour, minute),
        }),
        Recurrence::Monthly { day, hour, minute } => sync_schedule::Recurrence::Monthly(MonthlyRecurrence {
            day: day.into(),
            time: time(hour, minute),
        }),
    });
    SyncSchedule {
        name: resource_names::schedule_name(tenant, source),
        enabled: schedule.enabled,
        recurrence,
        time_zone: schedule.time_zone,
        jitter: duration_to_proto(schedule.jitter),
        next_run_time: next.map(|run| timestamp_to_proto(run.at)),
        upcoming_times: upcoming.into_iter().map(timestamp_to_proto).collect(),
        last_run: last.map(|run| last_run_to_proto(tenant, source, &run)),
        etag: version.to_string(),
    }
}

fn last_run_to_proto(tenant: &TenantId, source: &SourceId, run: &model::LastRun) -> LastRun {
    let (outcome, message) = match run.outcome {
        RunOutcome::Started => {
            (Outcome::Started, "Started the job that sync_job names; GetSyncJob shows how it went.")
        }
        RunOutcome::SkippedRunning => (
            Outcome::SkippedRunning,
            "Left out, since a job of the source was running. If that comes often, let the schedule run less often.",
        ),
        RunOutcome::SkippedNotPublished => (
            Outcome::SkippedNotPublished,
            "Left out, since the identity source is not published. Call PublishIdentitySource.",
        ),
    };
    LastRun {
        planned_time: Some(timestamp_to_proto(run.planned)),
        run_time: Some(timestamp_to_proto(run.at)),
        outcome: outcome.into(),
        sync_job: run.job.map(|job| resource_names::job_name(tenant, source, job)).unwrap_or_default(),
        message: message.to_owned(),
    }
}
