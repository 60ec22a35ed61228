//! When a schedule runs next. Pure: it follows from the schedule, the time and a seed.
//! `jobs::scheduler` starts the runs.
//!
//! Every recurrence becomes cron expressions, one for each time of a day, so that daylight saving
//! means the same for all: a time that the change skips becomes the moment after it, and one that
//! comes twice counts once. Only fields with `*` for the hour or minute go by elapsed time.

use std::collections::BTreeSet;
#[cfg(test)]
use std::str::FromStr;
use std::time::Duration;

use croner::parser::{CronParser, Seconds};
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::model::{PlannedRun, Recurrence, Schedule, Timestamp};

/// The longest delay of a run.
pub const MAX_JITTER: Duration = Duration::from_secs(3_600);
/// The shortest time between two runs.
pub const MIN_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Runs that are looked at to find two that are too close.
const MAX_CHECKED_RUNS: usize = 100;

/// What is wrong with a schedule: the field of the API and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct ScheduleError {
    /// The field.
    pub field: &'static str,
    /// Why.
    pub why: String,
}

impl ScheduleError {
    fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

/// A schedule that is understood.
#[derive(Debug)]
pub struct Timetable {
    zone: TimeZone,
    patterns: Vec<croner::Cron>,
    jitter: Duration,
}

impl Timetable {
    /// Understands a schedule; none if it has no recurrence.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_schedule(schedule: &Schedule) -> Result<Option<Self>, ScheduleError> {
        let zone = TimeZone::get(&schedule.time_zone).map_err(|_| {
            ScheduleError::new(
                "time_zone",
                "must be a name of the IANA time zone database, such as Europe/Berlin or America/New_York",
            )
        })?;
        if schedule.jitter > MAX_JITTER {
            return Err(ScheduleError::new("jitter", "must be at most 3600s"));
        }
        let Some(recurrence) = &schedule.recurrence else { return Ok(None) };
        let patterns = patterns(recurrence)?
            .iter()
            .map(|pattern| {
                CronParser::builder().seconds(Seconds::Disallowed).build().parse(pattern).map_err(|error| {
                    ScheduleError::new(
                        "cron",
                        format!(
                            "is not understood: {error}. It has five fields, such as \"30 2 * * MON-FRI\""
                        ),
                    )
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self { zone, patterns, jitter: schedule.jitter }))
    }

    /// Refuses a timetable that never runs, whose runs are too close, or whose runs may come so
    /// late that the next one is due before.
    ///
    /// # Errors
    /// Which of them.
    pub fn check(&self, now: Timestamp) -> Result<(), ScheduleError> {
        // On clocks that never change: what is refused in summer is refused in winter.
        let steady = Self { zone: TimeZone::UTC, patterns: self.patterns.clone(), jitter: self.jitter };
        let times = steady.upcoming(now, MAX_CHECKED_RUNS);
        if times.is_empty() {
            return Err(ScheduleError::new("cron", "names a time that never comes"));
        }
        let Some(shortest) = times.windows(2).map(|pair| pair[1].since(pair[0])).min() else { return Ok(()) };
        if shortest < MIN_INTERVAL {
            return Err(ScheduleError::new("cron", "runs more often than each 15 minutes"));
        }
        if self.jitter > shortest {
            let why = format!("must be at most the shortest time between two runs, {}s", shortest.as_secs());
            return Err(ScheduleError::new("jitter", why));
        }
        Ok(())
    }

    /// The next time after one; none if there is none.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = self.zoned(after)?;
        let next = |pattern: &croner::Cron| pattern.find_next_occurrence(&after, false).ok();
        let next = self.patterns.iter().filter_map(next).min()?;
        Some(Timestamp(next.timestamp().as_microsecond()))
    }

    /// The next times after one, at most `count`.
    #[must_use]
    pub fn upcoming(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next(after), |time| self.next(*time)).take(count).collect()
    }

    fn zoned(&self, time: Timestamp) -> Option<Zoned> {
        Some(jiff::Timestamp::from_microsecond(time.0).ok()?.to_zoned(self.zone.clone()))
    }
}

/// The next run of a schedule after a time, with its delay; none if it is off. The delay follows
/// from the seed and the time, so that every replica comes to the same.
///
/// # Errors
/// If the schedule is not understood.
pub fn next_run(
    schedule: &Schedule,
    seed: &str,
    after: Timestamp,
) -> Result<Option<PlannedRun>, ScheduleError> {
    let timetable = Timetable::from_schedule(schedule)?.filter(|_| schedule.enabled);
    let planned = timetable.and_then(|timetable| timetable.next(after));
    Ok(planned.map(|planned| PlannedRun { planned, at: planned.plus(delay(schedule.jitter, seed, planned)) }))
}

fn delay(jitter: Duration, seed: &str, planned: Timestamp) -> Duration {
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed.as_bytes()).update(&planned.0.to_be_bytes());
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..4]);
    jitter.mul_f64(f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX))
}

/// A recurrence as cron expressions; any of them counts.
fn patterns(recurrence: &Recurrence) -> Result<Vec<String>, ScheduleError> {
    Ok(match recurrence {
        Recurrence::Daily { hour, minute } => vec![format!("{minute} {hour} * * *")],
        Recurrence::Weekly { days, hour, minute } => {
            let days: Vec<String> = days.iter().map(ToString::to_string).collect();
            vec![format!("{minute} {hour} * * {}", days.join(","))]
        }
        Recurrence::Monthly { day: 31, hour, minute } => vec![format!("{minute} {hour} L * *")],
        // February has no such day, in most years.
        Recurrence::Monthly { day: day @ 29..=30, hour, minute } => {
            vec![format!("{minute} {hour} {day} * *"), format!("{minute} {hour} L 2 *")]
        }
        Recurrence::Monthly { day, hour, minute } => vec![format!("{minute} {hour} {day} * *")],
        Recurrence::Cron(text) => {
            // A sixth field would be seconds, and names such as @hourly hide how often that is.
            if text.split_whitespace().count() != 5 || text.len() > 100 {
                return Err(ScheduleError::new(
                    "cron",
                    "must have five fields, such as \"30 2 * * MON-FRI\"",
                ));
            }
            one_for_each_time(text)
        }
    })
}

/// A cron expression as one for each time of a day, unless it says something of every hour or
/// minute.
fn one_for_each_time(text: &str) -> Vec<String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let (Some(minutes), Some(hours)) = (numbers(fields[0], 59), numbers(fields[1], 23)) else {
        return vec![text.to_owned()];
    };
    // More than each quarter of an hour: it is refused anyway.
    if minutes.len() * hours.len() > 96 {
        return vec![text.to_owned()];
    }
    let days = fields[2..].join(" ");
    let times = hours.iter().flat_map(|hour| minutes.iter().map(move |minute| (minute, hour)));
    times.map(|(minute, hour)| format!("{minute} {hour} {days}")).collect()
}

/// The numbers of a field such as `1,3-5,10-20/5`; none if it is another one.
fn numbers(field: &str, max: u8) -> Option<BTreeSet<u8>> {
    let mut all = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last): (u8, u8) = match range.split_once('-') {
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            // What a single number with a step means, parsers do not agree on.
            None if step == 1 => (range.parse().ok()?, range.parse().ok()?),
            None => return None,
        };
        if first > last || last > max {
            return None;
        }
        all.extend((first..=last).step_by(step));
    }
    Some(all)
}

/// A point in time from RFC 3339, for tests.
#[cfg(test)]
pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp(jiff::Timestamp::from_str(text).expect("a time").as_microsecond())
}

#[cfg(test)]
mod tests;
