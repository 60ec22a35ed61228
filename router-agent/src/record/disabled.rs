//! Whether an entry says that its account is disabled. A value that cannot be read never enables anyone: it is an error.

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

    /// Whether the entry is disabled; `Err` if its value cannot be read.
    pub(super) fn disabled(&self, entry: &Entry) -> Result<bool, ()> {
        let mut values = entry.values(&self.attribute);
        match &self.test {
            Test::Present => Ok(values.next().is_some()),
            Test::AnyValueOf(marks) => {
                for value in values {
                    let value = std::str::from_utf8(value).map_err(|_| ())?.trim().to_lowercase();
                    if marks.contains(&value) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::BitsSet(bits) => match values.next() {
                None => Ok(false),
                Some(value) => {
                    let number: i64 =
                        std::str::from_utf8(value).map_err(|_| ())?.trim().parse().map_err(|_| ())?;
                    Ok(number & bits == *bits)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &[u8]) -> Entry {
        Entry::of("", &[("UserAccountControl", &[value])])
    }

    fn rule(test: disabled_rule::Test) -> Rule {
        let rule = DisabledRule { attribute: "userAccountControl".to_owned(), test: Some(test) };
        Rule::new(&rule).expect("a rule")
    }

    #[test]
    fn active_directorys_account_control_bit_is_read() {
        let rule = rule(disabled_rule::Test::BitsSet(2));
        assert_eq!(rule.disabled(&entry(b"512")), Ok(false));
        assert_eq!(rule.disabled(&entry(b"514")), Ok(true));
        assert_eq!(rule.disabled(&entry(b"66050")), Ok(true));
        assert_eq!(rule.disabled(&Entry::default()), Ok(false));
    }

    #[test]
    fn a_status_that_cannot_be_read_does_not_mean_enabled() {
        let rule = rule(disabled_rule::Test::BitsSet(2));
        assert_eq!(rule.disabled(&entry(b"lots")), Err(()));
        assert_eq!(rule.disabled(&entry(b"\xff")), Err(()));
    }

    #[test]
    fn marks_are_compared_without_regard_to_case_and_presence_is_enough() {
        let values = rollcall_proto::admin::v1::ValueList { values: vec!["Inactive".to_owned()] };
        assert_eq!(rule(disabled_rule::Test::AnyValueOf(values)).disabled(&entry(b"INACTIVE")), Ok(true));
        assert_eq!(rule(disabled_rule::Test::Present(true)).disabled(&entry(b"")), Ok(true));
        assert_eq!(rule(disabled_rule::Test::Present(true)).disabled(&Entry::default()), Ok(false));
    }
}
