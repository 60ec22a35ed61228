//! Cuts mapped records into batches: at most so many records, and few enough bytes for one message.
//! Pure.

use rollcall_proto::prost::Message;
use rollcall_proto::router::v1::{RejectedEntry, UserRecord};

use crate::record::{Mapped, UnseenMarks};

/// Bytes of a batch, encoded: a quarter of the largest message.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// A record, and the rules of the mapping that its entry does not show.
#[derive(Debug, Default, PartialEq)]
pub(super) struct MappedRecord {
    pub(super) record: UserRecord,
    pub(super) unseen: UnseenMarks,
}

/// Records and rejected entries that travel together.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) records: Vec<MappedRecord>,
    pub(super) rejected: Vec<RejectedEntry>,
    bytes: usize,
}

impl Batch {
    fn len(&self) -> usize {
        self.records.len() + self.rejected.len()
    }
}

/// Collects until a batch is full.
pub(super) struct Batches {
    max_records: usize,
    open: Batch,
}

impl Batches {
    pub(super) fn new(max_records: usize) -> Self {
        Self { max_records: max_records.max(1), open: Batch::default() }
    }

    /// Adds one; returns the batch before it if that is full.
    pub(super) fn push(&mut self, mapped: Mapped, unseen: UnseenMarks) -> Option<Batch> {
        let bytes = match &mapped {
            Mapped::Record(record) => record.encoded_len(),
            Mapped::Rejected(rejected) => rejected.encoded_len(),
        };
        let full = self.open.len() == self.max_records
            || (self.open.len() > 0 && self.open.bytes + bytes > MAX_BATCH_BYTES);
        let done = full.then(|| std::mem::take(&mut self.open));
        self.open.bytes += bytes;
        match mapped {
            Mapped::Record(record) => self.open.records.push(MappedRecord { record, unseen }),
            Mapped::Rejected(rejected) => self.open.rejected.push(rejected),
        }
        done
    }

    /// The rest.
    pub(super) fn finish(self) -> Option<Batch> {
        (self.open.len() > 0).then_some(self.open)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_record_is_in_exactly_one_batch_in_order_and_within_the_limits(
            sizes in proptest::collection::vec(0_usize..200_000, 0..60), most in 1_usize..20,
        ) {
            let mut batches = Batches::new(most);
            let mut done = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                let record = UserRecord {
                    user_name: number.to_string(),
                    display_name: "x".repeat(*size),
                    ..UserRecord::default()
                };
                done.extend(batches.push(Mapped::Record(record), UnseenMarks::default()));
            }
            done.extend(batches.finish());
            for batch in &done {
                prop_assert!(batch.len() <= most && batch.len() > 0);
                prop_assert!(batch.bytes <= MAX_BATCH_BYTES);
            }
            let seen: Vec<_> = done.iter().flat_map(|batch| &batch.records).map(|one| one.record.user_name.clone()).collect();
            let sent: Vec<_> = (0..sizes.len()).map(|number| number.to_string()).collect();
            prop_assert_eq!(seen, sent);
        }
    }
}
