//! Whether a record may enable a user. What cannot be read is never permission: the entry itself
//! must show that it has no mark of a disabled account.

use crate::model::Record;

/// Whether a record may enable a user: a new one, or a known one that is not enabled.
#[must_use]
pub fn may_enable(record: &Record) -> bool {
    !record.disabled && record.mark_proved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ImmutableId, NameKey, UserValues};

    fn record(disabled: bool, mark_proved: bool) -> Record {
        Record {
            id: ImmutableId(vec![1; 16].into()),
            digest: [0; 16],
            values: UserValues::default(),
            disabled,
            mark_proved,
            warnings: Vec::new(),
            version: None,
            user_name_key: NameKey([0; 16]),
            mail_key: None,
        }
    }

    #[test]
    fn only_a_record_that_shows_no_mark_enables() {
        assert!(may_enable(&record(false, true)));
        assert!(!may_enable(&record(false, false)), "the mark may be hidden");
        assert!(!may_enable(&record(true, true)));
        assert!(!may_enable(&record(true, false)));
    }
}
