//! When a schedule runs next: pure, of the schedule, the time and a seed. What starts the runs is `jobs::scheduler`.
//!
//! Every recurrence is written as cron expressions, so that a change to daylight saving means the same for all: a time that it leaves
//! out is taken for the moment after the change, one that comes twice counts once.

#[cfg(test)]
use std::str::FromStr;
use std::time::Duration;

use croner::parser::{CronParser, Seconds};
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::model::{PlannedRun, Recurrence, Schedule, Timestamp};

/// The longest delay of a run.
pub const MOST_JITTER: Duration = Duration::from_secs(3_600);
/// The shortest time between two runs.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Runs that are looked at to find two that are too close.
const LOOKED_AT: usize = 100;

/// What is wrong with a schedule: the field of the API and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct Wrong {
    /// The field.
    pub field: &'static str,
    /// Why.
    pub why: String,
}

impl Wrong {
    fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

/// A schedule that is understood.
#[derive(Debug)]
pub struct Timetable {
    zone: TimeZone,
    patterns: Vec<croner::Cron>,
}

impl Timetable {
    /// Understands a schedule; none if it has no recurrence.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(schedule: &Schedule) -> Result<Option<Self>, Wrong> {
        let zone = TimeZone::get(&schedule.time_zone).map_err(|_| {
            Wrong::new(
                "time_zone",
                "must be a name of the IANA time zone database, such as Europe/Berlin or America/New_York",
            )
        })?;
        if schedule.jitter > MOST_JITTER {
            return Err(Wrong::new("jitter", "must be at most 3600s"));
        }
        let Some(recurrence) = &schedule.recurrence else { return Ok(None) };
        let patterns = patterns(recurrence)?
            .iter()
            .map(|pattern| {
                CronParser::builder().seconds(Seconds::Disallowed).build().parse(pattern).map_err(|error| {
                    Wrong::new(
                        "cron",
                        format!(
                            "is not understood: {error}. It has five fields, such as \"30 2 * * MON-FRI\""
                        ),
                    )
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self { zone, patterns }))
    }

    /// Refuses a timetable that never runs, or whose runs are too close.
    ///
    /// # Errors
    /// Which of both.
    pub fn check(&self, now: Timestamp) -> Result<(), Wrong> {
        let times = self.upcoming(now, LOOKED_AT);
        if times.is_empty() {
            return Err(Wrong::new("cron", "names a time that never comes"));
        }
        let close = times.windows(2).any(|pair| pair[0].plus(SHORTEST_INTERVAL) > pair[1]);
        if close { Err(Wrong::new("cron", "runs more often than each 15 minutes")) } else { Ok(()) }
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

/// The next run of a schedule after a time, with its delay; none if it is off. The delay follows from the seed and the time, so that
/// every replica comes to the same.
///
/// # Errors
/// If the schedule is not understood.
pub fn next_run(schedule: &Schedule, seed: &str, after: Timestamp) -> Result<Option<PlannedRun>, Wrong> {
    let timetable = Timetable::of(schedule)?.filter(|_| schedule.enabled);
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
fn patterns(recurrence: &Recurrence) -> Result<Vec<String>, Wrong> {
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
                return Err(Wrong::new("cron", "must have five fields, such as \"30 2 * * MON-FRI\""));
            }
            vec![text.clone()]
        }
    })
}

/// A point in time from RFC 3339, for tests.
#[cfg(test)]
pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp(jiff::Timestamp::from_str(text).expect("a time").as_microsecond())
}

#[cfg(test)]
mod tests;
