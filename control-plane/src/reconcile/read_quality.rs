//! Whether a read saw with the same eyes as the one before: attributes that were there and are not
//! any more, and a server that may be behind. A lost right to read looks like a changed directory;
//! only the comparison tells.

use crate::model::{Freshness, ReadFacts};

/// Fewer missing values than this are everyday changes.
const MANY: u64 = 10;

/// An attribute that is suddenly missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Its name.
    pub attribute: String,
    /// Entries that had it, of as many as were read now.
    pub had: u64,
    /// Entries that have it.
    pub has: u64,
}

/// Attributes that entries lost which are still there: of a required one more than half a percent,
/// of any other more than a fifth. Compared are shares of the entries read: entries that are gone
/// took theirs with them, and entries that joined without one lost nothing.
#[must_use]
pub fn attribute_losses(before: &ReadFacts, read: &ReadFacts, required: &[&str]) -> Vec<Loss> {
    let (were, are) = (before.entries(), read.entries());
    let loss = |(attribute, had): (&String, &u64)| {
        let has = read.attributes.get(attribute).copied()?;
        let share = u128::from(*had) * u128::from(are) / u128::from(were.max(1));
        let had = u64::try_from(share).unwrap_or(u64::MAX).min(*had);
        let missing = had.saturating_sub(has);
        let permille = if required.iter().any(|name| name.eq_ignore_ascii_case(attribute)) { 5 } else { 200 };
        let suddenly = missing >= MANY && u128::from(missing) * 1_000 > u128::from(had) * permille;
        suddenly.then(|| Loss { attribute: attribute.clone(), had, has })
    };
    before.attributes.iter().filter_map(loss).collect()
}

/// Whether a server's data is as recent as that of the last trusted read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recency {
    /// It is at least as recent, or it is the same server and shows nothing else.
    Current,
    /// It is older: by how much, for people.
    Older(String),
    /// Another server, and the two do not show which one is more recent.
    Incomparable,
}

impl Recency {
    /// Of a read compared with the last trusted one.
    #[must_use]
    pub fn of(before: &ReadFacts, read: &ReadFacts) -> Self {
        let (was, is) = (&before.freshness, &read.freshness);
        if !was.context_csns.is_empty() && !is.context_csns.is_empty() {
            return Self::of_csns(was, is);
        }
        // What was shown and is hidden now says nothing.
        let is_hidden = !was.context_csns.is_empty() && is.context_csns.is_empty()
            || !was.invocation_id.is_empty() && is.invocation_id.is_empty()
            || was.last_usn > 0 && is.last_usn <= 0;
        if is_hidden {
            return Self::Incomparable;
        }
        if !was.invocation_id.is_empty() && !is.invocation_id.is_empty() {
            // Another domain controller, or one that was rebuilt: its change numbers say nothing of
            // the other's.
            return match was.invocation_id == is.invocation_id {
                true => Self::of_numbers(was.highest_usn, is.highest_usn),
                false => Self::Incomparable,
            };
        }
        if before.server != read.server {
            return Self::Incomparable;
        }
        match was.last_usn > 0 && is.last_usn > 0 {
            true => Self::of_numbers(was.last_usn, is.last_usn),
            false => Self::Current,
        }
    }

    /// Change numbers of `OpenLDAP`: time # count # provider # modification. Those of one provider
    /// compare as text.
    fn of_csns(was: &Freshness, is: &Freshness) -> Self {
        let provider = |csn: &str| csn.split('#').nth(2).unwrap_or_default().to_owned();
        let older = was.context_csns.iter().find_map(|was| {
            let of_provider = is.context_csns.iter().filter(|is| provider(is) == provider(was));
            let newest = of_provider.max();
            (newest < Some(was)).then_some((was, newest))
        });
        match older {
            None => Self::Current,
            Some((was, Some(is))) => Self::Older(format!(
                "its newest change is of {}, and a change of {} was seen before",
                readable_time(is),
                readable_time(was)
            )),
            Some((was, None)) => Self::Older(format!(
                "it has none of the changes of server id {}, of which one of {} was seen before",
                provider(was),
                readable_time(was)
            )),
        }
    }

    fn of_numbers(was: i64, is: i64) -> Self {
        match is >= was {
            true => Self::Current,
            false => Self::Older(format!("its highest change number is {is}, and {was} was seen before")),
        }
    }
}

/// The time of a change number, `20261124100000.000000Z#…`, for people; as it is if it has none.
fn readable_time(csn: &str) -> String {
    let digits = csn.get(..14).filter(|time| time.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(time) = digits else { return csn.to_owned() };
    let part = |from: usize, to: usize| time.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{} {}:{}:{} UTC",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::RootFacts;

    /// A read of so many entries, of which so many had a mail address.
    fn mails(entries: u64, mails: u64) -> ReadFacts {
        let root = RootFacts {
            root: "dc=c".to_owned(),
            fingerprint: [1; 16],
            fingerprint_attribute: String::new(),
            entries,
            missing: false,
        };
        let attributes = BTreeMap::from([("mail".to_owned(), mails)]);
        ReadFacts { attributes, roots: vec![root], ..ReadFacts::default() }
    }

    #[test]
    fn an_attribute_is_lost_by_the_entries_that_were_read() {
        let losses = |before: &ReadFacts, read: &ReadFacts, required: &[&str]| {
            attribute_losses(before, read, required).len()
        };
        let all = mails(1_000, 1_000);
        assert_eq!(losses(&all, &mails(1_000, 991), &["mail"]), 0, "a few are everyday changes");
        assert_eq!(losses(&all, &mails(1_000, 990), &["MAIL"]), 1);
        assert_eq!(losses(&all, &mails(1_000, 800), &[]), 0);
        assert_eq!(losses(&all, &mails(1_000, 799), &[]), 1);
        assert_eq!(losses(&all, &mails(100, 100), &["mail"]), 0, "900 entries took theirs with them");
        assert_eq!(losses(&all, &mails(900, 800), &["mail"]), 1, "entries that are there lost it");
        assert_eq!(losses(&all, &mails(2_000, 1_000), &["mail"]), 0, "who joined without one lost nothing");
        assert_eq!(losses(&mails(1_000, 500), &mails(500, 250), &["mail"]), 0);
        assert_eq!(losses(&all, &ReadFacts::default(), &["mail"]), 0, "no longer asked for");
    }

    fn csns(server: &str, csns: &[&str]) -> ReadFacts {
        let context_csns = csns.iter().map(|csn| (*csn).to_owned()).collect();
        let freshness = Freshness { context_csns, ..Freshness::default() };
        ReadFacts { server: server.to_owned(), freshness, ..ReadFacts::default() }
    }

    const OLD: &str = "20261124100000.000000Z#000000#001#000000";
    const NEW: &str = "20261124110000.000000Z#000000#001#000000";
    const OTHER: &str = "20261124090000.000000Z#000000#002#000000";

    fn older(before: &ReadFacts, read: &ReadFacts) -> bool {
        matches!(Recency::of(before, read), Recency::Older(_))
    }

    #[test]
    fn a_replica_is_current_if_it_has_every_providers_changes() {
        assert_eq!(Recency::of(&csns("a", &[OLD]), &csns("b", &[NEW])), Recency::Current);
        assert_eq!(Recency::of(&csns("a", &[OLD]), &csns("b", &[OLD, OTHER])), Recency::Current);
        assert!(older(&csns("a", &[NEW]), &csns("b", &[OLD])));
        assert!(older(&csns("a", &[NEW, OTHER]), &csns("b", &[NEW])), "it lacks a provider");
        assert!(older(&csns("a", &[NEW]), &csns("a", &[OLD])), "the same server, restored from a backup");
        assert_eq!(Recency::of(&csns("a", &[]), &csns("a", &[])), Recency::Current, "the same server");
        assert_eq!(Recency::of(&csns("a", &[]), &csns("b", &[])), Recency::Incomparable);
    }

    #[test]
    fn a_sign_that_is_hidden_now_says_nothing() {
        let none = csns("a", &[]);
        let freshness = Freshness { invocation_id: vec![1; 16], highest_usn: 10, ..Freshness::default() };
        let controller = ReadFacts { server: "a".to_owned(), freshness, ..ReadFacts::default() };
        for before in [csns("a", &[NEW]), controller] {
            assert_eq!(Recency::of(&before, &none), Recency::Incomparable, "{before:?}");
            assert_eq!(Recency::of(&none, &before), Recency::Current, "it was hidden before");
        }
    }

    #[test]
    fn an_older_server_says_by_how_much() {
        let Recency::Older(by) = Recency::of(&csns("a", &[NEW]), &csns("b", &[OLD])) else {
            panic!("not older")
        };
        assert_eq!(
            by,
            "its newest change is of 2026-11-24 10:00:00 UTC, and a change of 2026-11-24 11:00:00 UTC was seen before"
        );
        let Recency::Older(by) = Recency::of(&csns("a", &[NEW, OTHER]), &csns("b", &[NEW])) else {
            panic!("not older")
        };
        assert!(by.contains("server id 002"), "{by}");
        assert_eq!(readable_time("no time at all"), "no time at all");
        assert_eq!(readable_time("ä2026112410000"), "ä2026112410000");
    }

    #[test]
    fn change_numbers_of_active_directory_compare_within_one_copy_only() {
        let of = |server: &str, copy: u8, usn| {
            let freshness =
                Freshness { invocation_id: vec![copy; 16], highest_usn: usn, ..Freshness::default() };
            ReadFacts { server: server.to_owned(), freshness, ..ReadFacts::default() }
        };
        assert_eq!(Recency::of(&of("a", 1, 10), &of("a", 1, 10)), Recency::Current);
        assert_eq!(Recency::of(&of("a", 1, 10), &of("other name", 1, 11)), Recency::Current);
        assert!(older(&of("a", 1, 10), &of("a", 1, 9)), "a snapshot was restored");
        assert_eq!(Recency::of(&of("a", 1, 10), &of("b", 2, 99)), Recency::Incomparable);
        assert_eq!(Recency::of(&of("a", 1, 10), &of("a", 2, 99)), Recency::Incomparable, "rebuilt");
    }

    #[test]
    fn change_numbers_of_389_directory_server_compare_within_one_server_only() {
        let of = |server: &str, last_usn| {
            let freshness = Freshness { last_usn, ..Freshness::default() };
            ReadFacts { server: server.to_owned(), freshness, ..ReadFacts::default() }
        };
        assert_eq!(Recency::of(&of("a", 10), &of("a", 10)), Recency::Current);
        assert!(older(&of("a", 10), &of("a", 9)), "restored from a backup");
        assert_eq!(Recency::of(&of("a", 10), &of("b", 99)), Recency::Incomparable);
        assert_eq!(Recency::of(&of("a", 10), &of("a", 0)), Recency::Incomparable, "it is hidden now");
        assert_eq!(Recency::of(&of("a", 0), &of("a", 10)), Recency::Current, "it was hidden before");
    }
}
