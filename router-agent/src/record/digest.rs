//! The digest of a record: equal digests mean that nothing has to be sent. Made over a canonical
//! form in which every field is preceded by its length, so that no two different records have the
//! same form; the revision of the mapping is part of it.

use rollcall_proto::router::v1::UserRecord;

/// 16 bytes of BLAKE3 over the canonical form of everything but the digest itself.
pub(super) fn digest(record: &UserRecord, revision: i32) -> [u8; 16] {
    // Taken apart, so that a new field is a compile error until it is part of the digest.
    let UserRecord {
        immutable_id,
        digest: _,
        user_name,
        mail,
        first_name,
        last_name,
        display_name,
        phone,
        distinguished_name,
        policy_attributes,
        disabled,
        // It says who the record was taken for before, and nothing of the record.
        former_id: _,
        // How the entry was observed, not what it says.
        mark_proved: _,
        version: _,
        warnings,
    } = record;
    let mut form = Vec::with_capacity(512);
    form.extend_from_slice(b"rollcall record 1\0");
    form.extend_from_slice(&revision.to_le_bytes());
    form.push(u8::from(*disabled));
    field(&mut form, immutable_id);
    for text in [user_name, mail, first_name, last_name, display_name, phone, distinguished_name] {
        field(&mut form, text.as_bytes());
    }
    for attribute in policy_attributes {
        field(&mut form, attribute.name.as_bytes());
        form.extend_from_slice(&length(attribute.values.len()));
        for value in &attribute.values {
            field(&mut form, value.as_bytes());
        }
    }
    // Only where there are any: a record without warnings keeps the digest that it had before there
    // were warnings. The mark keeps it apart from a policy attribute.
    if !warnings.is_empty() {
        form.extend_from_slice(b"\0warnings\0");
        for warning in warnings {
            field(&mut form, warning.attribute.as_bytes());
            field(&mut form, warning.message.as_bytes());
        }
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(&form).as_bytes()[..16]);
    digest
}

fn field(form: &mut Vec<u8>, bytes: &[u8]) {
    form.extend_from_slice(&length(bytes.len()));
    form.extend_from_slice(bytes);
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(fields: &[String; 7], disabled: bool) -> UserRecord {
        let [user_name, mail, first_name, last_name, display_name, phone, distinguished_name] =
            fields.clone();
        UserRecord {
            user_name,
            mail,
            first_name,
            last_name,
            display_name,
            phone,
            distinguished_name,
            disabled,
            ..UserRecord::default()
        }
    }

    #[test]
    fn a_warning_changes_the_digest_and_a_record_without_one_keeps_its_own() {
        let plain = UserRecord { user_name: "anna".to_owned(), ..UserRecord::default() };
        let warning = |attribute: &str, message: &str| rollcall_proto::router::v1::Warning {
            attribute: attribute.to_owned(),
            message: message.to_owned(),
        };
        let with = |warnings| digest(&UserRecord { warnings, ..plain.clone() }, 1);
        assert_ne!(with(vec![warning("a", "b")]), digest(&plain, 1));
        assert_ne!(with(vec![warning("a", "b")]), with(vec![warning("ab", "")]));
        // As it was before records had warnings.
        let known = "4f84cc03";
        let hex: String = digest(&plain, 1)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, known);
    }

    proptest! {
        #[test]
        fn every_change_of_a_field_changes_the_digest(
            fields in proptest::array::uniform7("[a-c]{0,4}"), other in proptest::array::uniform7("[a-c]{0,4}"),
            disabled in any::<bool>(),
        ) {
            let same = fields == other;
            prop_assert_eq!(digest(&record(&fields, disabled), 1) == digest(&record(&other, disabled), 1), same);
            prop_assert_ne!(digest(&record(&fields, disabled), 1), digest(&record(&fields, !disabled), 1));
            prop_assert_ne!(digest(&record(&fields, disabled), 1), digest(&record(&fields, disabled), 2));
        }
    }
}
