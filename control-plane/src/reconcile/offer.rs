//! Which offered records are worth sending. An unchanged user costs a look-up and one bit; nothing
//! is written.

use std::collections::HashMap;

use crate::model::{ImmutableId, JobNo, KnownUser, Offered, Status, UserNo};

/// What to do with an offer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OfferPlan {
    /// Positions of the records to ask for.
    pub want: Vec<u32>,
    /// Of those, the positions of records that would enable a user: new ones, and known ones that
    /// are not enabled.
    pub prove_mark: Vec<u32>,
    /// Known users that occur in the offer.
    pub seen: Vec<UserNo>,
    /// Users that are right already and that the job has not counted before.
    pub unchanged: i64,
    /// Positions of users beyond the sync limit: seen, and not synchronized.
    pub beyond_limit: Vec<u32>,
    /// Positions of entries whose id came before in this read, as far as is known here: the same
    /// entries again, or others with the same id.
    pub repeats: Vec<u32>,
}

/// What this read had before the offer.
pub trait Earlier {
    /// Whether it had this user.
    fn has_seen(&self, user: UserNo) -> bool;
    /// The digest under which it asked for the record with this id, while that is not committed.
    fn asked(&self, id: &ImmutableId) -> Option<[u8; 16]>;
}

/// Plans the answer to an offer. `known` has the user of each offered id, in the same order. An
/// entry on two pages counts once; two entries with one id are told by their digests.
#[must_use]
pub fn plan(
    job: JobNo,
    offered: &[Offered],
    known: &[Option<KnownUser>],
    beyond_limit: Option<UserNo>,
    earlier: &impl Earlier,
) -> OfferPlan {
    let mut plan = OfferPlan::default();
    let mut in_this_offer: HashMap<&ImmutableId, [u8; 16]> = HashMap::new();
    for (position, (offer, known)) in (0u32..).zip(offered.iter().zip(known)) {
        let before = in_this_offer.insert(&offer.id, offer.digest).or_else(|| earlier.asked(&offer.id));
        if let Some(before) = before {
            if before != offer.digest {
                plan.repeats.push(position);
                in_this_offer.insert(&offer.id, before);
            }
            continue;
        }
        let Some(user) = known else {
            plan.want.push(position);
            plan.prove_mark.push(position);
            continue;
        };
        let out_of_scope = user.status == Status::OutOfScope;
        let beyond_limit = !out_of_scope && beyond_limit.is_some_and(|first| user.number >= first);
        if earlier.has_seen(user.number) {
            plan.repeats.push(position);
            continue;
        }
        plan.seen.push(user.number);
        if beyond_limit {
            // The record may have the mark of a disabled account.
            if user.status == Status::Enabled && user.digest != offer.digest {
                plan.want.push(position);
            } else {
                plan.beyond_limit.push(position);
            }
        } else if out_of_scope || user.digest != offer.digest {
            plan.want.push(position);
            if user.status != Status::Enabled {
                plan.prove_mark.push(position);
            }
        } else if !user.counted_by(job) {
            plan.unchanged += 1;
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// A read that had these users, and asked for these records.
    struct Had(&'static [i64], &'static [(u8, u8)]);

    impl Earlier for Had {
        fn has_seen(&self, user: UserNo) -> bool {
            self.0.contains(&user.0)
        }

        fn asked(&self, id: &ImmutableId) -> Option<[u8; 16]> {
            self.1.iter().find(|(asked, _)| id.0[0] == *asked).map(|(_, digest)| [*digest; 16])
        }
    }

    const NOTHING: Had = Had(&[], &[]);

    const JOB: JobNo = JobNo(7);

    fn offer(id: u8, digest: u8) -> Offered {
        Offered { id: ImmutableId(Bytes::from(vec![id; 16])), digest: [digest; 16] }
    }

    fn user(id: u8, digest: u8, status: Status) -> Option<KnownUser> {
        Some(KnownUser {
            number: UserNo(i64::from(id)),
            id: ImmutableId(Bytes::from(vec![id; 16])),
            digest: [digest; 16],
            status,
            user_name_key: None,
            mail_key: None,
            added_job: JobNo(1),
            changed_job: JobNo(0),
            fetched: (JobNo(0), 0),
        })
    }

    #[test]
    fn only_new_and_changed_and_returning_records_are_wanted() {
        let offered = [offer(1, 1), offer(2, 2), offer(3, 3), offer(4, 4)];
        let known =
            [None, user(2, 2, Status::Enabled), user(3, 9, Status::Enabled), user(4, 4, Status::OutOfScope)];
        let plan = plan(JOB, &offered, &known, None, &NOTHING);
        assert_eq!(plan.want, [0, 2, 3]);
        assert_eq!(plan.prove_mark, [0, 3], "what would enable a user");
        assert_eq!(plan.unchanged, 1);
        assert_eq!(plan.seen, [UserNo(2), UserNo(3), UserNo(4)]);
    }

    #[test]
    fn a_repeated_read_does_not_count_as_unchanged_whom_the_job_added() {
        let mut added = user(1, 1, Status::Enabled);
        if let Some(user) = &mut added {
            user.added_job = JOB;
        }
        let plan = plan(JOB, &[offer(1, 1)], &[added], None, &NOTHING);
        assert_eq!((plan.unchanged, plan.want.len(), plan.seen.len()), (0, 0, 1));
    }

    #[test]
    fn an_entry_that_comes_twice_counts_once() {
        let plan = plan(JOB, &[offer(1, 1)], &[user(1, 1, Status::Enabled)], None, &Had(&[1], &[]));
        assert_eq!(plan, OfferPlan { repeats: vec![0], ..OfferPlan::default() });
    }

    #[test]
    fn an_entry_that_comes_twice_in_one_offer_counts_once() {
        let twice = [offer(1, 1), offer(2, 2), offer(1, 1)];
        let known = [user(1, 1, Status::Enabled), user(2, 2, Status::Enabled), user(1, 1, Status::Enabled)];
        assert_eq!(plan(JOB, &twice, &known, None, &NOTHING).unchanged, 2);
    }

    #[test]
    fn beyond_the_sync_limit_only_changed_records_of_enabled_users_are_wanted() {
        for (digest, status, wanted) in [
            (1, Status::Enabled, 0),
            (9, Status::Enabled, 1),
            (9, Status::DisabledInDirectory, 0),
            (1, Status::DisabledInDirectory, 0),
        ] {
            let known = [user(5, digest, status)];
            let plan = plan(JOB, &[offer(5, 1)], &known, Some(UserNo(5)), &NOTHING);
            let (want, beyond) = (plan.want.len(), plan.beyond_limit.len());
            assert_eq!((want, beyond, plan.prove_mark.len()), (wanted, 1 - wanted, 0), "{status:?}");
            assert_eq!((plan.seen.len(), plan.unchanged), (1, 0));
        }
        let returning = [user(5, 1, Status::OutOfScope)];
        let plan = plan(JOB, &[offer(5, 1)], &returning, Some(UserNo(5)), &NOTHING);
        assert_eq!((plan.want, plan.prove_mark), (vec![0], vec![0]), "it is in scope no longer");
    }

    #[test]
    fn an_id_that_comes_again_with_another_digest_is_a_repeat_wherever_the_first_one_is() {
        let stored = || user(1, 1, Status::Enabled);
        let repeats = |offered: &[Offered], known: &[Option<KnownUser>], had: Had| {
            plan(JOB, offered, known, None, &had).repeats
        };
        assert_eq!(repeats(&[offer(1, 2)], &[stored()], Had(&[1], &[])), [0], "stored");
        assert_eq!(repeats(&[offer(1, 2)], &[None], Had(&[], &[(1, 1)])), [0], "asked for");
        assert_eq!(
            repeats(&[offer(1, 1), offer(1, 2), offer(1, 1)], &[None, None, None], NOTHING),
            [1],
            "in the offer"
        );
        assert_eq!(repeats(&[offer(1, 1)], &[None], Had(&[], &[(1, 1)])), [0; 0], "an entry on two pages");
    }
}
