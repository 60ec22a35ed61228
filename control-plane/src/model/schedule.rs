//! When an identity source is synchronized by itself. Stored as JSON of these types: add fields
//! with a default, rename none.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::stored_enum::stored_enum;
use super::{SourceId, TenantId, Timestamp};

/// The schedule of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Whether it runs.
    pub enabled: bool,
    /// How often.
    pub recurrence: Option<Recurrence>,
    /// Name of the IANA time zone database.
    pub time_zone: String,
    /// Each run is late by a random part of this.
    pub jitter: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            enabled: false,
            recurrence: None,
            time_zone: "UTC".to_owned(),
            jitter: Duration::from_secs(5 * 60),
        }
    }
}

/// How often. Hours and minutes are those of clocks in the schedule's zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recurrence {
    /// Each day.
    Daily {
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
    /// On days of the week.
    Weekly {
        /// 1, Monday, to 7, Sunday; sorted.
        days: Vec<u8>,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
    /// Once a month, on its last day if it has no such day.
    Monthly {
        /// 1 to 31.
        day: u8,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
    /// As a cron expression of five fields says.
    Cron(String),
}

/// A run of a schedule: when it was planned, and when it is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRun {
    /// As the schedule says.
    pub planned: Timestamp,
    /// With its delay.
    pub at: Timestamp,
}

stored_enum! {
    /// What a run did.
    pub enum RunOutcome {
        /// It started a job.
        Started = 1,
        /// A job of the source was running.
        SkippedRunning = 2,
        /// The source is not published.
        SkippedNotPublished = 3,
    }
}

/// What became of the last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// When it was to be.
    pub planned: Timestamp,
    /// When it was.
    pub at: Timestamp,
    /// What it did.
    pub outcome: RunOutcome,
    /// The job that it started.
    pub job: Option<Uuid>,
}

/// A schedule with what is known of its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSchedule {
    /// The schedule.
    pub schedule: Schedule,
    /// Counts up with every change; 0 while there is none.
    pub version: i64,
    /// The next run.
    pub next: Option<PlannedRun>,
    /// The last run.
    pub last: Option<LastRun>,
}

/// A schedule whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueSchedule {
    /// The tenant.
    pub tenant: TenantId,
    /// The source.
    pub source: SourceId,
    /// The schedule.
    pub schedule: Schedule,
    /// Its version.
    pub version: i64,
    /// The run.
    pub run: PlannedRun,
}
