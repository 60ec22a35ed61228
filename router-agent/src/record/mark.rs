//! What an entry shows of the mark of disabled accounts. An attribute that is not there may be
//! hidden, so its absence is an outcome of its own: it enables no account until it is proved.

use super::Entry;

/// Attributes that every account has: an entry without one hides it.
const ALWAYS_PRESENT: [&str; 3] = ["userAccountControl", "accountExpires", "msDS-UserAccountDisabled"];

/// What an entry shows of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkSight {
    /// The account is marked.
    Marked,
    /// The attribute was read whole, and does not mark the account.
    NotMarked,
    /// The attribute is not there, or only a part of its values.
    Absent,
}

/// Rules of a mapping whose attribute an entry does not show whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnseenMarks {
    /// The rule for disabled accounts.
    pub disabled: bool,
    /// The rule for expired accounts.
    pub expires: bool,
}

impl UnseenMarks {
    /// Whether every rule was seen.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Whether every account of a directory has this attribute, so that it is never absent.
#[must_use]
pub fn is_always_present(attribute: &str) -> bool {
    ALWAYS_PRESENT.iter().any(|name| name.eq_ignore_ascii_case(attribute))
}

/// Judges each value of an attribute; `Err` if one cannot be read and no other marks the account.
pub(super) fn sight(
    entry: &Entry,
    attribute: &str,
    marks: impl Fn(&[u8]) -> Result<bool, ()>,
) -> Result<MarkSight, ()> {
    let mut answer = Ok(MarkSight::Absent);
    for value in entry.values(attribute) {
        match (marks(value), answer) {
            (Ok(true), _) => return Ok(MarkSight::Marked),
            (Ok(false), Ok(_)) => answer = Ok(MarkSight::NotMarked),
            (Ok(false), Err(())) => {}
            (Err(()), _) => answer = Err(()),
        }
    }
    if !entry.has_range(attribute) {
        return answer;
    }
    // Of a part of the values, one that marks is enough. The rest cannot clear the account.
    let marked = entry.range_values(attribute).any(|value| marks(value) == Ok(true));
    if marked { Ok(MarkSight::Marked) } else { answer.map(|_| MarkSight::Absent) }
}
