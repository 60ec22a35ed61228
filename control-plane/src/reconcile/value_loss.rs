//! Changes that take something away, and may come from a lost right to read rather than from the
//! directory: they wait for the end of the read, when the counts of each attribute tell.

use std::collections::BTreeMap;

use crate::model::{Record, UserValues};

/// Whether a record lacks a value that the user has.
#[must_use]
pub fn removes_value(before: &UserValues, record: &Record) -> bool {
    let after = &record.values;
    let pairs = [
        (&before.mail, &after.mail),
        (&before.first_name, &after.first_name),
        (&before.last_name, &after.last_name),
        (&before.display_name, &after.display_name),
        (&before.phone, &after.phone),
    ];
    pairs.iter().any(|(before, after)| !before.is_empty() && after.is_empty())
        || takes_policy_attribute_away(&before.policy_attributes, &after.policy_attributes)
}

fn takes_policy_attribute_away(before: &str, after: &str) -> bool {
    if before.is_empty() || before == after {
        return false;
    }
    let names = |json: &str| -> BTreeMap<String, serde_json::Value> {
        serde_json::from_str(json).unwrap_or_default()
    };
    let after = names(after);
    names(before).keys().any(|name| !after.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ImmutableId, NameKey};

    fn values(phone: &str, policy: &str) -> UserValues {
        UserValues { phone: phone.to_owned(), policy_attributes: policy.to_owned(), ..UserValues::default() }
    }

    fn doubtful(before: (&str, &str), after: (&str, &str)) -> bool {
        let record = Record {
            id: ImmutableId(vec![1; 16].into()),
            digest: [0; 16],
            values: values(after.0, after.1),
            disabled: false,
            mark_proved: true,
            warnings: Vec::new(),
            version: None,
            user_name_key: NameKey([0; 16]),
            mail_key: None,
        };
        removes_value(&values(before.0, before.1), &record)
    }

    #[test]
    fn only_what_takes_a_value_away_is_doubtful() {
        assert!(doubtful(("1", ""), ("", "")));
        assert!(!doubtful(("", ""), ("1", "")));
        assert!(!doubtful(("1", ""), ("2", "")));
        assert!(doubtful(("", r#"{"a":["1"],"b":["2"]}"#), ("", r#"{"a":["1"]}"#)));
        assert!(doubtful(("", r#"{"a":["1"]}"#), ("", "")));
        assert!(!doubtful(("", r#"{"a":["1"]}"#), ("", r#"{"a":["2"],"b":["3"]}"#)));
    }
}
