//! Checks for tests and fuzzing: every message of an upload is refused, or its result is within the
//! limits that the rest of the control plane relies on.

use rollcall_proto::limits;
use rollcall_proto::prost::Message as _;
use rollcall_proto::router::v1::{UploadRequest, upload_request::Message};

use super::convert;
use crate::model::{ImmutableId, Record, Rejected, TenantId, TenantNo};

/// Decodes bytes as a message of an upload, and checks what becomes of it.
pub(crate) fn check_bytes(bytes: &[u8]) {
    let Ok(UploadRequest { message: Some(message) }) = UploadRequest::decode(bytes) else { return };
    check_message(message);
}

/// Checks what becomes of a message. Panics where something is beyond its limit.
pub(crate) fn check_message(message: Message) {
    match message {
        Message::Open(open) => {
            let _ = convert::parse_job_id(&TenantId::from("acme"), &open.sync_job);
        }
        Message::Offer(offer) => {
            let ids = offer.immutable_ids.len();
            let Ok((_, offered, refused)) = convert::offer_from_proto(offer) else { return };
            assert_eq!(offered.len(), ids);
            offered.iter().for_each(|offered| id(&offered.id));
            refused.iter().for_each(rejected);
        }
        Message::Records(records) => {
            let all = records.records.len() + records.rejected.len();
            // The same messages in a dry run that reads both ids.
            for one in convert::paired_from_proto(TenantNo(1), records.clone()).unwrap_or_default() {
                [&one.ids.former, &one.ids.new].into_iter().flatten().for_each(id);
                match &one.found {
                    Ok(found) => record(found),
                    Err(refused) => rejected(refused),
                }
            }
            let Ok((usable, refused)) = convert::records_from_proto(TenantNo(1), records) else { return };
            assert_eq!(usable.len() + refused.len(), all, "each is one or the other");
            usable.iter().for_each(record);
            refused.iter().for_each(rejected);
        }
        Message::Complete(complete) => {
            let Ok(completed) = convert::completed_from_proto(complete) else { return };
            text(&completed.facts.server, 300);
            completed.facts.attributes.iter().for_each(|(attribute, _)| text(attribute, 256));
            assert!(completed.facts.attributes.len() <= 256);
            assert!(completed.facts.freshness.context_csns.len() <= 1_000);
            completed.facts.freshness.context_csns.iter().for_each(|csn| text(csn, 100));
        }
        Message::Failed(failure) => {
            let failure = convert::failure_from_proto(failure);
            assert!(!failure.message.is_empty(), "a failure without a sentence");
            text(&failure.message, 2_000);
        }
    }
}

fn record(record: &Record) {
    id(&record.id);
    let values = &record.values;
    assert!(!values.user_name.is_empty());
    assert_eq!(record.mail_key.is_some(), !values.mail.is_empty());
    text(&values.user_name, limits::USER_NAME);
    text(&values.mail, limits::MAIL);
    for name in [&values.first_name, &values.last_name, &values.display_name, &values.phone] {
        text(name, limits::NAME);
    }
    text(&values.distinguished_name, limits::DISTINGUISHED_NAME);
    // JSON, so what a table could not hold is escaped.
    assert!(values.policy_attributes.len() <= limits::POLICY_BYTES);
    assert!(!values.policy_attributes.contains('\0'));
}

fn rejected(rejected: &Rejected) {
    rejected.id.iter().for_each(id);
    assert!(!rejected.message.is_empty(), "a reason without a sentence");
    text(&rejected.message, 1_000);
    text(&rejected.user_name, 256);
    text(&rejected.mail, 256);
}

fn id(id: &ImmutableId) {
    assert!((1..=ImmutableId::MAX).contains(&id.0.len()));
    let _ = id.text();
}

fn text(text: &str, most: usize) {
    assert!(!limits::is_longer(text, most) && !text.contains(char::is_control), "{text:?} of at most {most}");
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use rollcall_proto::router::v1::{Offer, PolicyAttribute, Records, RejectedEntry, UserRecord};

    use super::*;
    use crate::model::NotSynchronizedReason;

    fn anna() -> UserRecord {
        UserRecord {
            immutable_id: vec![7; 16].into(),
            digest: vec![7; 16].into(),
            user_name: "anna".to_owned(),
            mail: "anna@lab.test".to_owned(),
            ..UserRecord::default()
        }
    }

    fn taken(record: UserRecord) -> Result<Record, Box<Rejected>> {
        let records = Records { sequence: 1, records: vec![record], rejected: Vec::new() };
        let (mut usable, mut refused) =
            convert::records_from_proto(TenantNo(1), records).expect("a regular message");
        usable.pop().ok_or_else(|| Box::new(refused.remove(0)))
    }

    #[test]
    fn a_distinguished_name_is_measured_in_characters_as_the_router_does_and_the_sentence_says_so() {
        let named = |characters| UserRecord { distinguished_name: "語".repeat(characters), ..anna() };
        assert!(taken(named(4_096)).is_ok());
        let refused = taken(named(4_097)).expect_err("too long");
        assert_eq!(refused.reason, NotSynchronizedReason::InvalidAttribute);
        assert_eq!(
            refused.message,
            "The distinguished name is longer than 4096 characters. Correct it in the directory."
        );
    }

    #[test]
    fn what_no_table_or_terminal_could_hold_is_one_record_that_is_not_synchronized() {
        let long = PolicyAttribute { name: "title".to_owned(), values: vec!["x".repeat(1_000); 66] };
        let cases = [
            (
                UserRecord { display_name: "a\0b".to_owned(), ..anna() },
                "The display name has a control character",
            ),
            (
                UserRecord { first_name: "\u{1b}[2J".to_owned(), ..anna() },
                "The first name has a control character",
            ),
            (UserRecord { user_name: String::new(), ..anna() }, "The user name is empty"),
            (
                UserRecord { mail: "m".repeat(255), ..anna() },
                "The mail address is longer than 254 characters",
            ),
            (
                UserRecord { policy_attributes: vec![long], ..anna() },
                "The policy attributes together are longer than 64 KiB",
            ),
        ];
        for (record, sentence) in cases {
            let refused = taken(record).expect_err(sentence);
            assert_eq!(refused.message, format!("{sentence}. Correct it in the directory."));
            assert!(refused.id.is_some(), "its user counts as seen");
        }
    }

    /// Texts of every kind: short and long, with control characters and without.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,8}",
            any::<String>(),
            ("[a語\u{1b}\0]", 0usize..5_000).prop_map(|(unit, times)| unit.repeat(times)),
        ]
    }

    fn any_id() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![vec(any::<u8>(), 16), vec(any::<u8>(), 0..300)]
    }

    fn any_record() -> impl Strategy<Value = UserRecord> {
        let policy = vec((any_text(), vec(any_text(), 0..4)), 0..3);
        let digest = prop_oneof![4 => vec(any::<u8>(), 16), 1 => vec(any::<u8>(), 0..20)];
        let ids = (any_id(), prop_oneof![Just(Vec::new()), any_id()]);
        (ids, digest, proptest::array::uniform7(any_text()), policy, any::<bool>()).prop_map(
            |((id, former_id), digest, texts, policy, disabled)| {
                let [user_name, mail, first_name, last_name, display_name, phone, distinguished_name] = texts;
                UserRecord {
                    immutable_id: id.into(),
                    digest: digest.into(),
                    user_name,
                    mail,
                    first_name,
                    last_name,
                    display_name,
                    phone,
                    distinguished_name,
                    policy_attributes: policy
                        .into_iter()
                        .map(|(name, values)| PolicyAttribute { name, values })
                        .collect(),
                    disabled,
                    former_id: former_id.into(),
                    mark_proved: !disabled,
                    warnings: Vec::new(),
                    version: None,
                }
            },
        )
    }

    fn any_rejected() -> impl Strategy<Value = RejectedEntry> {
        let ids = (any_id(), prop_oneof![Just(Vec::new()), any_id()]);
        (ids, any::<i32>(), any_text(), any_text(), any_text(), any::<bool>()).prop_map(
            |((id, former_id), reason, message, user_name, mail, disabled)| RejectedEntry {
                immutable_id: id.into(),
                reason,
                message,
                user_name,
                mail,
                former_id: former_id.into(),
                disabled,
                distinguished_name: String::new(),
                version: None,
            },
        )
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_become_something_within_the_limits(bytes in vec(any::<u8>(), 0..200)) {
            check_bytes(&bytes);
        }

        /// One byte of a regular message is another, or the message ends early.
        #[test]
        fn a_regular_message_that_was_changed_on_the_way_is_refused_or_within_the_limits(
            record in any_record(), at in any::<prop::sample::Index>(), byte in any::<u8>(), end in any::<prop::sample::Index>(),
        ) {
            let records = Records { sequence: 1, records: vec![record, anna()], rejected: Vec::new() };
            let mut bytes = UploadRequest { message: Some(Message::Records(records)) }.encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            check_bytes(&bytes);
            check_bytes(&bytes[..end.index(bytes.len())]);
        }

        #[test]
        fn any_records_and_rejections_are_refused_or_within_the_limits(
            records in vec(any_record(), 0..4), rejected in vec(any_rejected(), 0..4), ids in vec(any_id(), 0..4),
            digests in vec(any::<u8>(), 0..80),
        ) {
            check_message(Message::Records(Records { sequence: 1, records, rejected: rejected.clone() }));
            let immutable_ids = ids.into_iter().map(Into::into).collect();
            check_message(Message::Offer(Offer { sequence: 1, immutable_ids, digests: digests.into(), rejected }));
        }
    }
}
