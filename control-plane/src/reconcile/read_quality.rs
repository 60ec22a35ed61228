//! Whether a read saw with the same eyes as the one before: attributes that were there and are not
//! any more, and a server that may be behind. A lost right to read looks like a changed directory;
//! only the comparison tells.

use crate::model::{Freshness, ReadFacts, Timestamp};

/// Fewer missing values than this are everyday changes.
const MANY: u64 = 10;
/// A server that could not be compared is believed once it has shown the same absences again after
/// this long.
pub const STALE_SERVER_CONFIRMATION: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// An attribute that is suddenly missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Its name.
    pub attribute: String,
    /// Entries that had it.
    pub had: u64,
    /// Entries that have it.
    pub has: u64,
}

/// Attributes that entries lost which are still there: of a required one more than half a percent,
/// of any other more than a fifth. `absent` users took theirs with them.
#[must_use]
pub fn attribute_losses(before: &ReadFacts, read: &ReadFacts, required: &[&str], absent: i64) -> Vec<Loss> {
    let absent = absent.unsigned_abs();
    let loss = |(attribute, had): (&String, &u64)| {
        let has = read.attributes.get(attribute).copied()?;
        let missing = had.saturating_sub(has).saturating_sub(absent);
        let permille = if required.iter().any(|name| name.eq_ignore_ascii_case(attribute)) { 5 } else { 200 };
        let suddenly = missing >= MANY && u128::from(missing) * 1_000 > u128::from(*had) * permille;
        suddenly.then(|| Loss { attribute: attribute.clone(), had: *had, has })
    };
    before.attributes.iter().filter_map(loss).collect()
}

/// Whether the server's data is provably not older than that of the last trusted read, or is the
/// same server's.
#[must_use]
pub fn is_current(before: &ReadFacts, read: &ReadFacts) -> bool {
    match not_older(&before.freshness, &read.freshness) {
        Some(not_older) => not_older,
        None => before.server == read.server,
    }
}

/// Whether `now` is at least as recent as `before`; none if the two cannot be compared.
fn not_older(before: &Freshness, now: &Freshness) -> Option<bool> {
    if !before.context_csns.is_empty() && !now.context_csns.is_empty() {
        // time # count # provider # modification: equal providers compare as text.
        let provider = |csn: &str| csn.split('#').nth(2).map(str::to_owned);
        return Some(before.context_csns.iter().all(|was| {
            now.context_csns.iter().any(|is| provider(is) == provider(was) && is.as_str() >= was.as_str())
        }));
    }
    if !before.invocation_id.is_empty() && before.invocation_id == now.invocation_id {
        return Some(now.highest_usn >= before.highest_usn);
    }
    // A domain controller that was rebuilt, or another one: its change numbers say nothing of the
    // other's.
    (!before.invocation_id.is_empty() && !now.invocation_id.is_empty()).then_some(false)
}

/// The job whose absences count as seen before, if this read is of a server that was read to the
/// end long enough ago and is not trusted yet.
#[must_use]
pub fn seen_before(before: &ReadFacts, read: &ReadFacts, now: Timestamp) -> Option<i64> {
    let newcomer = before.newcomer.as_ref()?;
    let long_ago = Timestamp(newcomer.since).plus(STALE_SERVER_CONFIRMATION) <= now;
    (newcomer.server == read.server && long_ago).then_some(newcomer.job)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::UnverifiedServer;

    fn mails(entries: u64) -> ReadFacts {
        ReadFacts { attributes: BTreeMap::from([("mail".to_owned(), entries)]), ..ReadFacts::default() }
    }

    #[test]
    fn what_leavers_took_with_them_is_not_lost_and_a_few_never_are() {
        assert_eq!(attribute_losses(&mails(1_000), &mails(900), &["MAIL"], 100), []);
        assert_eq!(attribute_losses(&mails(1_000), &mails(991), &["mail"], 0), []);
        assert_eq!(attribute_losses(&mails(1_000), &mails(990), &["mail"], 0).len(), 1);
        assert_eq!(attribute_losses(&mails(1_000), &mails(800), &[], 0), []);
        assert_eq!(attribute_losses(&mails(1_000), &mails(799), &[], 0).len(), 1);
        assert_eq!(
            attribute_losses(&mails(1_000), &ReadFacts::default(), &["mail"], 0),
            [],
            "no longer asked for"
        );
    }

    fn csns(server: &str, csns: &[&str]) -> ReadFacts {
        let context_csns = csns.iter().map(|csn| (*csn).to_owned()).collect();
        let freshness = Freshness { context_csns, ..Freshness::default() };
        ReadFacts { server: server.to_owned(), freshness, ..ReadFacts::default() }
    }

    const OLD: &str = "20261124100000.000000Z#000000#001#000000";
    const NEW: &str = "20261124110000.000000Z#000000#001#000000";
    const OTHER: &str = "20261124090000.000000Z#000000#002#000000";

    #[test]
    fn a_replica_is_fresh_if_it_has_every_providers_changes() {
        assert!(is_current(&csns("a", &[OLD]), &csns("b", &[NEW])));
        assert!(is_current(&csns("a", &[OLD]), &csns("b", &[OLD, OTHER])));
        assert!(!is_current(&csns("a", &[NEW]), &csns("b", &[OLD])));
        assert!(!is_current(&csns("a", &[NEW, OTHER]), &csns("b", &[NEW])), "it lacks a provider");
        assert!(
            !is_current(&csns("a", &[NEW]), &csns("a", &[OLD])),
            "the same server, restored from a backup"
        );
        assert!(is_current(&csns("a", &[]), &csns("a", &[])), "the same server");
        assert!(!is_current(&csns("a", &[]), &csns("b", &[])), "another, and nothing to compare");
    }

    #[test]
    fn change_numbers_of_active_directory_compare_within_one_copy_only() {
        let of = |server: &str, copy: u8, usn| {
            let freshness =
                Freshness { invocation_id: vec![copy; 16], highest_usn: usn, ..Freshness::default() };
            ReadFacts { server: server.to_owned(), freshness, ..ReadFacts::default() }
        };
        assert!(is_current(&of("a", 1, 10), &of("a", 1, 10)));
        assert!(!is_current(&of("a", 1, 10), &of("a", 1, 9)), "a snapshot was restored");
        assert!(!is_current(&of("a", 1, 10), &of("b", 2, 99)));
        assert!(!is_current(&of("a", 1, 10), &of("a", 2, 99)), "rebuilt under the same name");
    }

    #[test]
    fn another_server_is_believed_when_it_says_the_same_half_an_hour_later() {
        let newcomer = UnverifiedServer { server: "b".to_owned(), since: 0, job: 7 };
        let before = ReadFacts { newcomer: Some(newcomer), ..csns("a", &[]) };
        let later = Timestamp(0).plus(STALE_SERVER_CONFIRMATION);
        assert_eq!(seen_before(&before, &csns("b", &[]), later), Some(7));
        assert_eq!(seen_before(&before, &csns("b", &[]), Timestamp(later.0 - 1)), None);
        assert_eq!(seen_before(&before, &csns("c", &[]), later), None);
    }
}
