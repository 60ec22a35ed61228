//! When a read, or look-ups, are ordered again that the directory broke off: a server that restarts
//! is back after a while, and one that is gone ends the job.

use std::time::Duration;

use crate::model::FailureReason;

/// Pauses before a read is ordered again.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];

/// The waits of one job for its directory.
pub(super) struct DirectoryRetry {
    left: Duration,
    broken_off: usize,
}

impl DirectoryRetry {
    /// With pauses of at most this in all.
    pub(super) fn new(deadline: Duration) -> Self {
        Self { left: deadline, broken_off: 0 }
    }

    /// How long to wait after a read that the directory broke off; none if it was long enough.
    pub(super) fn broken_off(&mut self) -> Option<Duration> {
        let pause = PAUSES.get(self.broken_off).map(|pause| self.left.min(*pause))?;
        self.broken_off += 1;
        self.left -= pause;
        (!pause.is_zero()).then_some(pause)
    }

    /// The same after look-ups that failed for this reason.
    pub(super) fn unreachable(&mut self, reason: FailureReason) -> Option<Duration> {
        if reason == FailureReason::DirectoryUnreachable { self.broken_off() } else { None }
    }

    /// The same after a read that failed before it began: only a directory that broke off before,
    /// and is not back, is waited for.
    pub(super) fn failed(&mut self, reason: FailureReason) -> Option<Duration> {
        if self.broken_off > 0 { self.unreachable(reason) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREACHABLE: FailureReason = FailureReason::DirectoryUnreachable;

    #[test]
    fn a_directory_that_breaks_off_is_waited_for_longer_each_time_and_not_for_ever() {
        let mut retry = DirectoryRetry::new(Duration::from_secs(71));
        let mut pauses = vec![retry.broken_off()];
        pauses.extend([retry.failed(UNREACHABLE), retry.broken_off()]);
        pauses.push(retry.failed(UNREACHABLE));
        let seconds: Vec<_> = pauses.into_iter().map(|pause| pause.map(|pause| pause.as_secs())).collect();
        assert_eq!(seconds, [Some(1), Some(10), Some(60), None]);
    }

    #[test]
    fn a_directory_that_was_never_there_or_fails_otherwise_is_not_waited_for() {
        let mut retry = DirectoryRetry::new(Duration::from_secs(71));
        assert_eq!(retry.failed(UNREACHABLE), None);
        assert!(retry.broken_off().is_some());
        for other in [FailureReason::BindRejected, FailureReason::DirectoryTls] {
            assert_eq!(retry.failed(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_pauses_end_at_the_deadline() {
        let mut retry = DirectoryRetry::new(Duration::from_secs(5));
        let pauses = [retry.broken_off(), retry.broken_off(), retry.broken_off()];
        assert_eq!(pauses, [Some(Duration::from_secs(1)), Some(Duration::from_secs(4)), None]);
    }
}
