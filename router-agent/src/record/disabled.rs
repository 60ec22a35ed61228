//! Whether an entry says that its account is disabled. A value that cannot be read never enables
//! anyone: it is an error.

use rollcall_proto::admin::v1::{DisabledRule, disabled_rule};

use super::Entry;

/// How the directory marks disabled accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) attribute: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    AnyValueOf(Vec<String>),
    Present,
    BitsSet(i64),
}

impl Rule {
    /// The rule of a mapping; none if it says nothing that could be tested.
    pub(super) fn new(rule: &DisabledRule) -> Option<Self> {
        let test = match rule.test.as_ref()? {
            disabled_rule::Test::AnyValueOf(list) => {
                Test::AnyValueOf(list.values.iter().map(|value| value.to_lowercase()).collect())
            }
            disabled_rule::Test::Present(_) => Test::Present,
            disabled_rule::Test::BitsSet(bits) => Test::BitsSet(i64::from(*bits)),
        };
        Some(Self { attribute: rule.attribute.clone(), test })
    }

    /// Whether the entry is disabled; `Err` if a value cannot be read and no other says so. The
    /// order of the values has no say.
    pub(super) fn is_disabled(&self, entry: &Entry) -> Result<bool, ()> {
        let mut answer = Ok(false);
        for value in entry.values(&self.attribute) {
            match self.marks(value) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(()) => answer = Err(()),
            }
        }
        answer
    }

    /// Whether this value marks a disabled account.
    fn marks(&self, value: &[u8]) -> Result<bool, ()> {
        let text = || std::str::from_utf8(value).map(str::trim).map_err(|_| ());
        match &self.test {
            Test::Present => Ok(true),
            Test::AnyValueOf(marks) => Ok(marks.contains(&text()?.to_lowercase())),
            Test::BitsSet(bits) => {
                let number: i64 = text()?.parse().map_err(|_| ())?;
                Ok(number & bits == *bits)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &[u8]) -> Entry {
        Entry::from_parts("", &[("UserAccountControl", &[value])])
    }

    fn rule(test: disabled_rule::Test) -> Rule {
        let rule = DisabledRule { attribute: "userAccountControl".to_owned(), test: Some(test) };
        Rule::new(&rule).expect("a rule")
    }

    #[test]
    fn active_directorys_account_control_bit_is_read() {
        let rule = rule(disabled_rule::Test::BitsSet(2));
        assert_eq!(rule.is_disabled(&entry(b"512")), Ok(false));
        assert_eq!(rule.is_disabled(&entry(b"514")), Ok(true));
        assert_eq!(rule.is_disabled(&entry(b"66050")), Ok(true));
        assert_eq!(rule.is_disabled(&Entry::default()), Ok(false));
    }

    #[test]
    fn a_status_that_cannot_be_read_does_not_mean_enabled() {
        let rule = rule(disabled_rule::Test::BitsSet(2));
        assert_eq!(rule.is_disabled(&entry(b"lots")), Err(()));
        assert_eq!(rule.is_disabled(&entry(b"\xff")), Err(()));
    }

    #[test]
    fn the_order_of_the_values_does_not_change_the_status() {
        let bits = rule(disabled_rule::Test::BitsSet(2));
        for (values, expected) in [
            ([&b"512"[..], b"514"], Ok(true)),
            ([b"514", b"lots"], Ok(true)),
            ([b"512", b"lots"], Err(())),
            ([b"512", b"66048"], Ok(false)),
        ] {
            let [one, other] = values;
            for values in [[one, other], [other, one]] {
                let entry = Entry::from_parts("", &[("userAccountControl", &values)]);
                assert_eq!(bits.is_disabled(&entry), expected, "{values:?}");
            }
        }
    }

    #[test]
    fn marks_are_compared_without_regard_to_case_and_presence_is_enough() {
        let values = rollcall_proto::admin::v1::ValueList { values: vec!["Inactive".to_owned()] };
        assert_eq!(rule(disabled_rule::Test::AnyValueOf(values)).is_disabled(&entry(b"INACTIVE")), Ok(true));
        assert_eq!(rule(disabled_rule::Test::Present(true)).is_disabled(&entry(b"")), Ok(true));
        assert_eq!(rule(disabled_rule::Test::Present(true)).is_disabled(&Entry::default()), Ok(false));
    }
}
