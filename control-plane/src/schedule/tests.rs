//! Times around changes to daylight saving, short months, and what is refused.

use proptest::prelude::*;

use super::*;

fn schedule(recurrence: Recurrence, zone: &str) -> Schedule {
    Schedule {
        enabled: true,
        recurrence: Some(recurrence),
        time_zone: zone.to_owned(),
        ..Schedule::default()
    }
}

fn times(recurrence: Recurrence, zone: &str, after: &str, count: usize) -> Vec<String> {
    let timetable =
        Timetable::from_schedule(&schedule(recurrence, zone)).expect("understood").expect("a recurrence");
    let text = |time: Timestamp| jiff::Timestamp::from_microsecond(time.0).expect("a time").to_string();
    timetable.upcoming(super::time(after), count).into_iter().map(text).collect()
}

fn daily(hour: u8, minute: u8) -> Recurrence {
    Recurrence::Daily { hour, minute }
}

/// Berlin goes from 02:00 to 03:00 on 2027-03-28.
#[test]
fn a_time_that_the_change_to_summer_leaves_out_is_the_moment_after_it_and_no_day_is_lost() {
    assert_eq!(
        times(daily(2, 30), "Europe/Berlin", "2027-03-26T12:00:00Z", 4),
        ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z", "2027-03-30T00:30:00Z"]
    );
}

/// Berlin goes from 03:00 back to 02:00 on 2027-10-31.
#[test]
fn a_time_that_comes_twice_when_summer_ends_counts_once_the_first_time() {
    assert_eq!(
        times(daily(2, 30), "Europe/Berlin", "2027-10-29T12:00:00Z", 4),
        ["2027-10-30T00:30:00Z", "2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z", "2027-11-02T01:30:00Z"]
    );
    // Also when the question is asked between the two.
    assert_eq!(
        times(daily(2, 30), "Europe/Berlin", "2027-10-31T00:45:00Z", 1),
        ["2027-11-01T01:30:00Z"],
        "the second 02:30 is none"
    );
}

#[test]
fn a_cron_expression_with_several_times_of_a_day_keeps_each_of_them_when_the_clocks_change() {
    let cron =
        |text: &str, after, count| times(Recurrence::Cron(text.to_owned()), "Europe/Berlin", after, count);
    for text in ["30 2,14 * * *", "30 2-14/12 * * *"] {
        assert_eq!(
            cron(text, "2027-03-27T12:00:00Z", 3),
            ["2027-03-27T13:30:00Z", "2027-03-28T01:00:00Z", "2027-03-28T12:30:00Z"]
        );
        assert_eq!(
            cron(text, "2027-10-30T13:00:00Z", 2),
            ["2027-10-31T00:30:00Z", "2027-10-31T13:30:00Z"],
            "the second 02:30 is none"
        );
    }
    // Each hour is each hour.
    assert_eq!(
        cron("0 * * * *", "2027-03-28T00:30:00Z", 2),
        ["2027-03-28T01:00:00Z", "2027-03-28T02:00:00Z"]
    );
    assert_eq!(
        cron("0 * * * *", "2027-10-30T23:30:00Z", 3),
        ["2027-10-31T00:00:00Z", "2027-10-31T01:00:00Z", "2027-10-31T02:00:00Z"]
    );
}

#[test]
fn what_is_refused_does_not_depend_on_when_the_clocks_change() {
    // Where 02:50 is left out, it is ten minutes after 01:50.
    let close = schedule(Recurrence::Cron("50 1,2 * * *".to_owned()), "Europe/Berlin");
    let timetable = Timetable::from_schedule(&close).expect("understood").expect("a recurrence");
    for now in ["2027-01-01T00:00:00Z", "2027-03-27T00:00:00Z", "2027-07-01T00:00:00Z"] {
        assert_eq!(timetable.check(time(now)), Ok(()), "{now}");
    }
}

proptest! {
    #[test]
    fn a_time_of_a_list_runs_as_if_it_were_alone(
        hours in prop::collection::btree_set(0_u8..24, 1..5), minute in 0_u8..60, day in 0_i64..800,
    ) {
        let list = hours.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let after = Timestamp(time("2027-01-01T00:00:00Z").0 + day * 86_400_000_000);
        let next = |recurrence| {
            let schedule = schedule(recurrence, "America/New_York");
            Timetable::from_schedule(&schedule).expect("understood").expect("a recurrence").next(after)
        };
        let alone = hours.iter().filter_map(|hour| next(daily(*hour, minute))).min();
        prop_assert_eq!(next(Recurrence::Cron(format!("{minute} {list} * * *"))), alone);
    }
}

#[test]
fn clocks_are_those_of_the_zone_whichever_half_of_the_year_it_is() {
    assert_eq!(times(daily(9, 0), "America/New_York", "2027-01-10T00:00:00Z", 1), ["2027-01-10T14:00:00Z"]);
    assert_eq!(times(daily(9, 0), "America/New_York", "2027-07-10T00:00:00Z", 1), ["2027-07-10T13:00:00Z"]);
    assert_eq!(times(daily(9, 0), "Asia/Kathmandu", "2027-07-10T00:00:00Z", 1), ["2027-07-10T03:15:00Z"]);
    assert_eq!(
        times(daily(9, 0), "UTC", "2027-07-10T09:00:00Z", 1),
        ["2027-07-11T09:00:00Z"],
        "after, not at"
    );
}

#[test]
fn days_of_the_week_are_numbered_from_monday() {
    let weekly = Recurrence::Weekly { days: vec![1, 7], hour: 6, minute: 0 };
    // 2027-01-01 is a Friday.
    assert_eq!(
        times(weekly, "UTC", "2027-01-01T00:00:00Z", 3),
        ["2027-01-03T06:00:00Z", "2027-01-04T06:00:00Z", "2027-01-10T06:00:00Z"]
    );
}

#[test]
fn a_month_that_is_too_short_runs_on_its_last_day() {
    for (day, expected) in [
        (31, ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30"]),
        (30, ["2027-01-30", "2027-02-28", "2027-03-30", "2027-04-30"]),
        (29, ["2027-01-29", "2027-02-28", "2027-03-29", "2027-04-29"]),
        (28, ["2027-01-28", "2027-02-28", "2027-03-28", "2027-04-28"]),
    ] {
        let found = times(Recurrence::Monthly { day, hour: 4, minute: 5 }, "UTC", "2027-01-02T00:00:00Z", 4);
        assert_eq!(found, expected.map(|date| format!("{date}T04:05:00Z")), "day {day}");
    }
    let leap = Recurrence::Monthly { day: 29, hour: 4, minute: 5 };
    assert_eq!(
        times(leap, "UTC", "2028-02-01T00:00:00Z", 2),
        ["2028-02-29T04:05:00Z", "2028-03-29T04:05:00Z"]
    );
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_field_and_the_reason() {
    let now = time("2027-01-01T00:00:00Z");
    let refused = |schedule: Schedule| match Timetable::from_schedule(&schedule) {
        Err(wrong) => wrong,
        Ok(timetable) => timetable.expect("a recurrence").check(now).expect_err("a refusal"),
    };
    for (text, part) in [
        ("", "five fields"),
        ("@hourly", "five fields"),
        ("0 0 2 * * *", "five fields"),
        ("61 2 * * *", "not understood"),
        ("0 2 30 2 *", "never comes"),
        ("* * * * *", "each 15 minutes"),
        ("0,10 2 * * *", "each 15 minutes"),
    ] {
        let wrong = refused(schedule(Recurrence::Cron(text.to_owned()), "UTC"));
        assert!(wrong.field == "cron" && wrong.why.contains(part), "{text:?}: {wrong}");
    }
    assert_eq!(refused(schedule(daily(2, 0), "Berlin")).field, "time_zone");
    let late = Schedule { jitter: Duration::from_secs(3_601), ..schedule(daily(2, 0), "UTC") };
    assert_eq!(refused(late).field, "jitter");
    let quarters = schedule(Recurrence::Cron("*/15 * * * *".to_owned()), "UTC");
    let later_than_the_next = Schedule { jitter: Duration::from_secs(901), ..quarters.clone() };
    let wrong = refused(later_than_the_next);
    assert!(wrong.field == "jitter" && wrong.why.contains("900s"), "{wrong}");
    let all = Schedule { jitter: Duration::from_secs(900), ..quarters };
    assert_eq!(Timetable::from_schedule(&all).expect("understood").expect("a recurrence").check(now), Ok(()));
    assert!(Timetable::from_schedule(&schedule(Recurrence::Cron("*/15 * * * *".to_owned()), "UTC")).is_ok());
}

#[test]
fn a_schedule_that_is_off_has_no_next_run() {
    let off = Schedule { enabled: false, ..schedule(daily(2, 0), "UTC") };
    assert_eq!(next_run(&off, "acme/hq", Timestamp(0)), Ok(None));
}

#[test]
fn a_thousand_sources_do_not_start_at_once_and_every_replica_comes_to_the_same_times() {
    let nightly = schedule(daily(2, 0), "UTC");
    let now = time("2027-01-01T00:00:00Z");
    let runs: Vec<_> = (0..1_000)
        .map(|source| next_run(&nightly, &format!("t{source}/hq"), now).expect("understood").expect("a run"))
        .collect();
    assert_eq!(runs[7], next_run(&nightly, "t7/hq", now).expect("understood").expect("a run"));
    let mut each_minute = [0; 5];
    for run in &runs {
        let late = run.at.0 - run.planned.0;
        assert!((0..=300_000_000).contains(&late));
        each_minute[usize::try_from(late / 60_000_000).expect("a minute").min(4)] += 1;
    }
    assert!(each_minute.iter().all(|runs| (130..270).contains(runs)), "{each_minute:?}");
}

proptest! {
    /// From any moment, in any zone: the next run of a daily schedule is later, at most 25 hours
    /// away (a day with the hour that comes twice), and shows the wanted time on the clock unless
    /// the change leaves it out.
    #[test]
    fn a_daily_run_comes_once_a_day_from_whenever_one_asks(
        after in 1_750_000_000i64..2_000_000_000, hour in 0u8..24, minute in 0u8..60,
        zone in prop::sample::select(vec!["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/St_Johns", "UTC", "Asia/Gaza"]),
    ) {
        let timetable = Timetable::from_schedule(&schedule(daily(hour, minute), zone)).expect("understood").expect("a recurrence");
        let after = Timestamp(after * 1_000_000);
        let next = timetable.next(after).expect("a next run");
        prop_assert!(next > after && next.0 - after.0 <= 25 * 3_600_000_000, "{} h", (next.0 - after.0) / 3_600_000_000);
        let clock = jiff::Timestamp::from_microsecond(next.0).expect("a time").to_zoned(TimeZone::get(zone).expect("a zone"));
        let right = (clock.hour(), clock.minute()) == (hour.cast_signed(), minute.cast_signed());
        let before = timetable.zoned(Timestamp(next.0 - 1_000_000)).expect("a time");
        prop_assert!(right || before.offset() != clock.offset(), "{clock}");
    }
}
