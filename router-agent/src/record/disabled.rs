//! Whether an entry says that its account is disabled. A value that cannot be read never enables an
//! account: it is an error.

use rollcall_proto::admin::v1::{DisabledRule, disabled_rule};

use super::Entry;
use super::mark::{MarkSight, sight};
use crate::ldap_syntax::normalize;

/// The groups of an entry: an attribute that is maintained from the groups.
pub(super) const MEMBER_OF: &str = "memberOf";

/// How the directory marks disabled accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) attribute: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// As they were given, and as they are compared.
    AnyValueOf(Vec<String>, Vec<String>),
    Present,
    BitsSet(i64),
}

impl Rule {
    /// The rule of a mapping; none if it says nothing that could be tested.
    pub(super) fn new(rule: &DisabledRule) -> Option<Self> {
        let test = match rule.test.as_ref()? {
            disabled_rule::Test::AnyValueOf(list) => {
                let compared = list.values.iter().map(|value| comparable(&rule.attribute, value)).collect();
                Test::AnyValueOf(list.values.clone(), compared)
            }
            disabled_rule::Test::Present(_) => Test::Present,
            disabled_rule::Test::BitsSet(bits) => Test::BitsSet(i64::from(*bits)),
        };
        Some(Self { attribute: rule.attribute.clone(), test })
    }

    /// What the entry shows of the mark; `Err` if a value cannot be read and no other marks the
    /// account. The order of the values has no say.
    pub(super) fn sight(&self, entry: &Entry) -> Result<MarkSight, ()> {
        sight(entry, &self.attribute, |value| self.marks(value))
    }

    /// The groups whose members are disabled, if the rule is about groups and names them.
    pub(super) fn groups(&self) -> Option<&[String]> {
        match &self.test {
            Test::AnyValueOf(given, _) if self.attribute.eq_ignore_ascii_case(MEMBER_OF) => Some(given),
            _ => None,
        }
    }

    /// Whether this value marks a disabled account.
    fn marks(&self, value: &[u8]) -> Result<bool, ()> {
        let text = || std::str::from_utf8(value).map(str::trim).map_err(|_| ());
        match &self.test {
            Test::Present => Ok(true),
            Test::AnyValueOf(_, marks) => Ok(marks.contains(&comparable(&self.attribute, text()?))),
            Test::BitsSet(bits) => {
                let number: i64 = text()?.parse().map_err(|_| ())?;
                Ok(number & bits == *bits)
            }
        }
    }
}

/// A value as it is compared: names of groups as directories compare names.
fn comparable(attribute: &str, value: &str) -> String {
    let name = attribute.eq_ignore_ascii_case(MEMBER_OF).then(|| normalize(value)).flatten();
    name.map_or_else(|| value.trim().to_lowercase(), |rdns| rdns.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use MarkSight::{Absent, Marked, NotMarked};

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
        assert_eq!(rule.sight(&entry(b"512")), Ok(NotMarked));
        assert_eq!(rule.sight(&entry(b"514")), Ok(Marked));
        assert_eq!(rule.sight(&entry(b"66050")), Ok(Marked));
        assert_eq!(rule.sight(&Entry::default()), Ok(Absent));
    }

    #[test]
    fn a_status_that_cannot_be_read_does_not_mean_enabled() {
        let rule = rule(disabled_rule::Test::BitsSet(2));
        assert_eq!(rule.sight(&entry(b"lots")), Err(()));
        assert_eq!(rule.sight(&entry(b"\xff")), Err(()));
    }

    #[test]
    fn the_order_of_the_values_does_not_change_the_status() {
        let bits = rule(disabled_rule::Test::BitsSet(2));
        for (values, expected) in [
            ([&b"512"[..], b"514"], Ok(Marked)),
            ([b"514", b"lots"], Ok(Marked)),
            ([b"512", b"lots"], Err(())),
            ([b"512", b"66048"], Ok(NotMarked)),
        ] {
            let [one, other] = values;
            for values in [[one, other], [other, one]] {
                let entry = Entry::from_parts("", &[("userAccountControl", &values)]);
                assert_eq!(bits.sight(&entry), expected, "{values:?}");
            }
        }
    }

    #[test]
    fn marks_are_compared_without_regard_to_case_and_presence_is_enough() {
        let values = rollcall_proto::admin::v1::ValueList { values: vec!["Inactive".to_owned()] };
        assert_eq!(rule(disabled_rule::Test::AnyValueOf(values)).sight(&entry(b"INACTIVE")), Ok(Marked));
        assert_eq!(rule(disabled_rule::Test::Present(true)).sight(&entry(b"")), Ok(Marked));
        assert_eq!(rule(disabled_rule::Test::Present(true)).sight(&Entry::default()), Ok(Absent));
    }

    #[test]
    fn a_part_of_the_values_may_mark_an_account_and_never_clears_it() {
        let bits = rule(disabled_rule::Test::BitsSet(2));
        let part = |value: &[u8]| Entry::from_parts("", &[("userAccountControl;range=0-0", &[value])]);
        assert_eq!(bits.sight(&part(b"514")), Ok(Marked));
        assert_eq!(bits.sight(&part(b"512")), Ok(Absent));
        assert_eq!(rule(disabled_rule::Test::Present(true)).sight(&part(b"512")), Ok(Marked));
    }

    #[test]
    fn names_of_groups_are_compared_as_directories_compare_names() {
        let values = vec!["cn=left, ou=Groups, dc=example".to_owned()];
        let rule = DisabledRule {
            attribute: "memberof".to_owned(),
            test: Some(disabled_rule::Test::AnyValueOf(rollcall_proto::admin::v1::ValueList { values })),
        };
        let rule = Rule::new(&rule).expect("a rule");
        let member = |group: &[u8]| Entry::from_parts("", &[("memberOf", &[group])]);
        assert_eq!(rule.sight(&member(b"CN=Left,ou=groups,DC=example")), Ok(Marked));
        assert_eq!(rule.sight(&member(b"CN=Left,ou=other,DC=example")), Ok(NotMarked));
        assert_eq!(rule.groups().map(<[String]>::len), Some(1));
    }
}
