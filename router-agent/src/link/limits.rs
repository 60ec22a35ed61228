//! What one session may order, whoever the control plane is by now: how large an order may be, and how many are carried out at a time.
//! An honest control plane never comes near any of it. Says nothing about what an order is for; that is the policy's.

use std::sync::Arc;

use rollcall_proto::admin::v1::IdentitySourceSettings;
use rollcall_proto::limits::BATCH_RECORDS;
use rollcall_proto::prost::Message;
use rollcall_proto::router::v1::SyncOrder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reads at a time, each with a connection to a directory and up to [`WINDOW`] batches in memory.
const READS: usize = 32;
/// Look-ups and tests that wait or are carried out.
const QUESTIONS: usize = 64;
/// Of those, how many have a connection to a directory.
const QUESTIONS_AT_ONCE: usize = 8;
/// Bytes of settings: 20 roots and a filter of 4 KiB each, and some more.
const SETTINGS: usize = 256 << 10;
/// Bytes of a name or id that comes back in an answer.
const NAME: usize = 512;
/// Batches in flight. Each may have a MiB.
const WINDOW: usize = 16;

/// Why an order is not carried out, in the words of the audit and for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Beyond {
    /// Too many at a time.
    #[error("The identity router is carrying out as many orders as it does at a time. Try again later.")]
    Busy,
    /// Larger than any that an honest control plane sends.
    #[error("The order is larger than the identity router's limits. Shorten the source's settings.")]
    Size,
}

/// The places of one session.
pub(super) struct Limits {
    reads: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { reads: places(READS), questions: places(QUESTIONS), at_once: places(QUESTIONS_AT_ONCE) }
    }
}

/// The place of a look-up or a test, first in the queue and then at a directory.
pub(super) struct Place {
    at_once: Arc<Semaphore>,
    _queued: OwnedSemaphorePermit,
}

impl Place {
    /// Waits until there are few enough before it; held until what it returns is dropped.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.at_once).acquire_owned().await.ok()
    }
}

impl Limits {
    /// A place for a read.
    pub(super) fn read(&self, order: &SyncOrder) -> Result<OwnedSemaphorePermit, Beyond> {
        fits(&order.sync_job, order.settings.as_ref())?;
        Arc::clone(&self.reads).try_acquire_owned().map_err(|_| Beyond::Busy)
    }

    /// A place for a look-up or a test.
    pub(super) fn question(
        &self,
        request_id: &str,
        settings: Option<&IdentitySourceSettings>,
    ) -> Result<Place, Beyond> {
        fits(request_id, settings)?;
        let queued = Arc::clone(&self.questions).try_acquire_owned().map_err(|_| Beyond::Busy)?;
        Ok(Place { at_once: Arc::clone(&self.at_once), _queued: queued })
    }
}

/// Whether a name may come back in an answer.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME && !name.chars().any(char::is_control)
}

/// Whether an order is no larger than any that an honest control plane sends.
pub(super) fn fits(name: &str, settings: Option<&IdentitySourceSettings>) -> Result<(), Beyond> {
    match is_name(name) && settings.is_none_or(|settings| settings.encoded_len() <= SETTINGS) {
        true => Ok(()),
        false => Err(Beyond::Size),
    }
}

/// How many batches may be unfinished, and how many records each may have, whatever is ordered.
pub(super) fn window_and_batch(order: &SyncOrder) -> (usize, usize) {
    let within = |ordered: i32, most| usize::try_from(ordered).unwrap_or_default().clamp(1, most);
    (within(order.window, WINDOW), within(order.batch_records, BATCH_RECORDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sync_job: &str) -> SyncOrder {
        SyncOrder { sync_job: sync_job.to_owned(), ..SyncOrder::default() }
    }

    #[test]
    fn places_are_given_back_and_no_more_are_given_than_there_are() {
        let limits = Limits::default();
        let mut reads: Vec<_> = (0..READS).map(|_| limits.read(&order("j")).expect("a place")).collect();
        assert_eq!(limits.read(&order("j")).expect_err("none left"), Beyond::Busy);
        reads.pop();
        assert!(limits.read(&order("j")).is_ok());
        let questions: Vec<_> = (0..QUESTIONS).map(|_| limits.question("r", None)).collect();
        assert!(questions.iter().all(Result::is_ok));
        assert_eq!(limits.question("r", None).err(), Some(Beyond::Busy));
    }

    #[test]
    fn what_is_too_large_to_be_carried_out_or_answered_has_no_place() {
        let limits = Limits::default();
        for name in ["", "a\nb", &"j".repeat(NAME + 1)] {
            assert_eq!(limits.read(&order(name)).err(), Some(Beyond::Size), "{name:?}");
        }
        let settings = IdentitySourceSettings {
            extra_filter: "x".repeat(SETTINGS),
            ..IdentitySourceSettings::default()
        };
        assert_eq!(limits.question("r", Some(&settings)).err(), Some(Beyond::Size));
    }

    #[test]
    fn no_number_in_an_order_makes_a_window_or_a_batch_of_its_own_size() {
        for (ordered, expected) in
            [(i32::MIN, (1, 1)), (-1, (1, 1)), (0, (1, 1)), (8, (8, 8)), (i32::MAX, (WINDOW, BATCH_RECORDS))]
        {
            let order = SyncOrder { window: ordered, batch_records: ordered, ..SyncOrder::default() };
            assert_eq!(window_and_batch(&order), expected, "{ordered}");
        }
    }
}
