//! Schedules as an administrator sets them. (When they run across clock changes and outages is
//! tested where the clock can be set.)

use std::time::Duration;

use anyhow::{Context, Result};
use harness::world::{SOURCE, World};
use rollcall_proto::admin::v1::sync_schedule::{Outcome, Recurrence};
use rollcall_proto::admin::v1::{
    DailyRecurrence, GetSyncScheduleRequest, MonthlyRecurrence, ScheduleTime, SyncSchedule,
    UpdateSyncScheduleRequest, WeeklyRecurrence, sync_job,
};
use tonic::{Code, Status};

use crate::expect::flawless;

fn named() -> SyncSchedule {
    SyncSchedule { name: format!("{SOURCE}/syncSchedule"), enabled: true, ..Default::default() }
}

async fn set(world: &World, schedule: SyncSchedule) -> Result<SyncSchedule, Status> {
    let request = UpdateSyncScheduleRequest { sync_schedule: Some(schedule) };
    Ok(world.admin.schedules.clone().update_sync_schedule(request).await?.into_inner())
}

async fn get(world: &World) -> Result<SyncSchedule, Status> {
    let request = GetSyncScheduleRequest { name: format!("{SOURCE}/syncSchedule") };
    Ok(world.admin.schedules.clone().get_sync_schedule(request).await?.into_inner())
}

fn at(hour: i32, minute: i32) -> Option<ScheduleTime> {
    Some(ScheduleTime { hour, minute })
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the schedule is one of the machine's own clock")]
fn now() -> Result<i64> {
    Ok(i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_synchronizes_the_source_by_itself_and_shows_its_last_and_next_run() -> Result<()> {
    let world = World::builder().these_people(flawless(50)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(
        get(&world).await?,
        SyncSchedule { enabled: false, ..get(&world).await? },
        "off until it is set"
    );
    // A minute that does not begin before the call is answered.
    let minute = (now()? + 10) / 60 + 1;
    let (hour, minute) = (i32::try_from(minute / 60 % 24)?, i32::try_from(minute % 60)?);
    let daily = Recurrence::Daily(DailyRecurrence { time: at(hour, minute) });
    let jitter = Some(Default::default());
    let shown = set(&world, SyncSchedule { recurrence: Some(daily), jitter, ..named() }).await?;
    let planned = shown.next_run_time.context("a next run")?;
    assert_eq!((planned.seconds / 60 % 60, planned.seconds % 60), (i64::from(minute), 0));
    assert_eq!(shown.upcoming_times.len(), 5);
    let mut run = get(&world).await?;
    let end = tokio::time::Instant::now() + Duration::from_secs(240);
    while run.last_run.is_none() {
        anyhow::ensure!(tokio::time::Instant::now() < end, "it never ran: {run:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        run = get(&world).await?;
    }
    let last = run.last_run.context("a run")?;
    assert_eq!((last.outcome(), last.planned_time), (Outcome::Started, Some(planned)));
    assert_eq!(run.next_run_time.context("a next run")?.seconds, planned.seconds + 86_400);
    let job = world.admin.watch(&last.sync_job, |_| ()).await?;
    assert_eq!((job.state(), job.started_by.as_str()), (sync_job::State::Succeeded, "schedule"));
    assert_eq!(job.counts.context("counts")?.added, Some(50));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_cannot_be_meant_is_refused_with_every_mistake_and_nothing_is_changed() -> Result<()>
{
    let world = World::builder().without_router().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for (schedule, part) in [
        (named(), "recurrence is required"),
        (
            SyncSchedule {
                recurrence: Some(Recurrence::Daily(DailyRecurrence { time: at(24, 0) })),
                ..named()
            },
            "daily.time must have an hour of 0 to 23",
        ),
        (
            SyncSchedule {
                recurrence: Some(Recurrence::Weekly(WeeklyRecurrence { days: vec![8], time: at(1, 0) })),
                ..named()
            },
            "weekly.days must name at least one day",
        ),
        (
            SyncSchedule {
                recurrence: Some(Recurrence::Monthly(MonthlyRecurrence { day: 32, time: at(1, 0) })),
                ..named()
            },
            "monthly.day must be 1 to 31",
        ),
        (
            SyncSchedule { recurrence: Some(Recurrence::Cron("* * * * *".to_owned())), ..named() },
            "more often than each 15 minutes",
        ),
        (
            SyncSchedule {
                recurrence: Some(Recurrence::Cron("0 2 * * *".to_owned())),
                time_zone: "Mars/Olympus".to_owned(),
                ..named()
            },
            "time_zone must be a name of the IANA time zone database",
        ),
    ] {
        let refused = set(&world, schedule).await.expect_err(part);
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(part), "{part}: {}", refused.message());
    }
    let before = get(&world).await?;
    assert_eq!((before.enabled, before.etag.as_str()), (false, "0"));
    let weekdays = Some(Recurrence::Cron("30 2 * * MON-FRI".to_owned()));
    let berlin = SyncSchedule { recurrence: weekdays, time_zone: "Europe/Berlin".to_owned(), ..named() };
    let first = set(&world, SyncSchedule { etag: before.etag, ..berlin.clone() }).await?;
    let stale = set(&world, SyncSchedule { etag: "0".to_owned(), ..berlin }).await.expect_err("stale");
    assert_eq!(stale.code(), Code::Aborted);
    assert_eq!(get(&world).await?.etag, first.etag);
    Ok(())
}
