//! What one session may order, whoever the control plane is by now: how large an order may be, and
//! how many are carried out at a time. An honest control plane never comes near any of it. Says
//! nothing about what an order is for; that is the policy's.

use std::sync::Arc;

use rollcall_proto::admin::v1::IdentitySourceSettings;
use rollcall_proto::limits::BATCH_RECORDS;
use rollcall_proto::prost::Message;
use rollcall_proto::router::v1::SyncOrder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reads at a time, each with a connection to a directory and up to [`MAX_WINDOW_BATCHES`] batches
/// in memory.
const MAX_READS: usize = 32;
/// Look-ups and tests that wait or are carried out.
const MAX_QUEUED_QUESTIONS: usize = 64;
/// Of those, how many have a connection to a directory.
const MAX_RUNNING_QUESTIONS: usize = 8;
/// Bytes of settings: 20 roots and a filter of 4 KiB each, and some more.
const MAX_SETTINGS_BYTES: usize = 256 << 10;
/// Bytes of a name or id that comes back in an answer.
const MAX_NAME_BYTES: usize = 512;
/// Batches in flight. Each may have a MiB.
const MAX_WINDOW_BATCHES: usize = 16;

/// Stands in the log of refused orders for what no policy allows.
pub(super) const LIMITS_KEY: &str = "limits";

/// Why an order is not carried out, in the words of the audit and for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitExceeded {
    /// Too many at a time.
    #[error("The identity router is carrying out as many orders as it does at a time. Try again later.")]
    Busy,
    /// Larger than any that an honest control plane sends.
    #[error("The order is larger than the identity router's limits. Shorten the source's settings.")]
    TooLarge,
}

/// The permits of one session.
pub(super) struct OrderLimits {
    reads: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Default for OrderLimits {
    fn default() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self {
            reads: permits(MAX_READS),
            questions: permits(MAX_QUEUED_QUESTIONS),
            running: permits(MAX_RUNNING_QUESTIONS),
        }
    }
}

/// The permit of a look-up or a test, first to wait and then to ask a directory.
pub(super) struct QueuePermit {
    running: Arc<Semaphore>,
    _queued: OwnedSemaphorePermit,
}

impl QueuePermit {
    /// Waits until there are few enough before it; held until what it returns is dropped.
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.running).acquire_owned().await.ok()
    }
}

impl OrderLimits {
    /// A permit for a read.
    pub(super) fn acquire_read(&self, order: &SyncOrder) -> Result<OwnedSemaphorePermit, LimitExceeded> {
        check_size(&order.sync_job, order.settings.as_ref())?;
        Arc::clone(&self.reads).try_acquire_owned().map_err(|_| LimitExceeded::Busy)
    }

    /// A permit for a look-up or a test.
    pub(super) fn enqueue_question(
        &self,
        request_id: &str,
        settings: Option<&IdentitySourceSettings>,
    ) -> Result<QueuePermit, LimitExceeded> {
        check_size(request_id, settings)?;
        let queued = Arc::clone(&self.questions).try_acquire_owned().map_err(|_| LimitExceeded::Busy)?;
        Ok(QueuePermit { running: Arc::clone(&self.running), _queued: queued })
    }
}

/// Whether a name may come back in an answer.
pub(super) fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}

/// Whether an order is no larger than any that an honest control plane sends.
pub(super) fn check_size(name: &str, settings: Option<&IdentitySourceSettings>) -> Result<(), LimitExceeded> {
    match is_valid_name(name) && settings.is_none_or(|settings| settings.encoded_len() <= MAX_SETTINGS_BYTES)
    {
        true => Ok(()),
        false => Err(LimitExceeded::TooLarge),
    }
}

/// How many batches may be unfinished, and how many records each may have, whatever is ordered.
pub(super) fn window_and_batch(order: &SyncOrder) -> (usize, usize) {
    let within = |ordered: i32, most| usize::try_from(ordered).unwrap_or_default().clamp(1, most);
    (within(order.window, MAX_WINDOW_BATCHES), within(order.batch_records, BATCH_RECORDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sync_job: &str) -> SyncOrder {
        SyncOrder { sync_job: sync_job.to_owned(), ..SyncOrder::default() }
    }

    #[test]
    fn places_are_given_back_and_no_more_are_given_than_there_are() {
        let limits = OrderLimits::default();
        let mut reads: Vec<_> =
            (0..MAX_READS).map(|_| limits.acquire_read(&order("j")).expect("a permit")).collect();
        assert_eq!(limits.acquire_read(&order("j")).expect_err("none left"), LimitExceeded::Busy);
        reads.pop();
        assert!(limits.acquire_read(&order("j")).is_ok());
        let questions: Vec<_> =
            (0..MAX_QUEUED_QUESTIONS).map(|_| limits.enqueue_question("r", None)).collect();
        assert!(questions.iter().all(Result::is_ok));
        assert_eq!(limits.enqueue_question("r", None).err(), Some(LimitExceeded::Busy));
    }

    #[test]
    fn what_is_too_large_to_be_carried_out_or_answered_has_no_place() {
        let limits = OrderLimits::default();
        for name in ["", "a\nb", &"j".repeat(MAX_NAME_BYTES + 1)] {
            assert_eq!(limits.acquire_read(&order(name)).err(), Some(LimitExceeded::TooLarge), "{name:?}");
        }
        let settings = IdentitySourceSettings {
            extra_filter: "x".repeat(MAX_SETTINGS_BYTES),
            ..IdentitySourceSettings::default()
        };
        assert_eq!(limits.enqueue_question("r", Some(&settings)).err(), Some(LimitExceeded::TooLarge));
    }

    #[test]
    fn no_number_in_an_order_makes_a_window_or_a_batch_of_its_own_size() {
        for (ordered, expected) in [
            (i32::MIN, (1, 1)),
            (-1, (1, 1)),
            (0, (1, 1)),
            (8, (8, 8)),
            (i32::MAX, (MAX_WINDOW_BATCHES, BATCH_RECORDS)),
        ] {
            let order = SyncOrder { window: ordered, batch_records: ordered, ..SyncOrder::default() };
            assert_eq!(window_and_batch(&order), expected, "{ordered}");
        }
    }
}
