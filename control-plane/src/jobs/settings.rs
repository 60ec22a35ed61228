//! The deadlines and limits of jobs.

use std::time::Duration;

/// The deadlines and limits of jobs.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// How long a job waits for a router to come, or to come back.
    pub router_deadline: Duration,
    /// How long a replica that fell silent keeps its jobs.
    pub lease: Duration,
    /// How long a router may take to open the upload it was ordered.
    pub open_deadline: Duration,
    /// How long a directory may say nothing new.
    pub idle_deadline: Duration,
    /// How long a router may take to test a connection, or to look users up.
    pub test_deadline: Duration,
    /// How long a job waits for a directory that broke off a read.
    pub directory_deadline: Duration,
    /// How long a job may take.
    pub job_deadline: Duration,
    /// How long a held job waits for a decision.
    pub hold_expiry: Duration,
    /// How long the plan of a dry run can be applied.
    pub plan_expiry: Duration,
    /// Whole lists are kept of so many of a source's newest jobs.
    pub full_lists_kept: u32,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            router_deadline: Duration::from_secs(600),
            lease: Duration::from_secs(15),
            open_deadline: Duration::from_secs(30),
            idle_deadline: Duration::from_secs(300),
            test_deadline: Duration::from_secs(60),
            directory_deadline: Duration::from_secs(71),
            job_deadline: Duration::from_secs(12 * 3_600),
            hold_expiry: Duration::from_secs(24 * 3_600),
            plan_expiry: Duration::from_secs(24 * 3_600),
            full_lists_kept: 5,
        }
    }
}
