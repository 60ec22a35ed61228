//! How often an address may try to enroll: one attempt a second with a burst of five. Ten failures
//! within ten minutes lock it out for ten minutes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::Timestamp;

/// One attempt per.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);
/// Attempts that may come at once.
const MAX_BURST: u32 = 5;
/// Failures that lock an address out.
const MAX_FAILURES: u32 = 10;
/// Within which they count.
const FAILURE_WINDOW: Duration = Duration::from_secs(600);
/// For how long it is locked out.
const LOCKOUT: Duration = Duration::from_secs(600);
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 10_000;

/// Counts attempts and failures by address.
#[derive(Debug, Default)]
pub struct AttemptLimiter {
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Address {
    /// When its burst is whole again.
    whole: Timestamp,
    failures: u32,
    first_failure: Timestamp,
    locked_until: Timestamp,
    last: Timestamp,
}

impl AttemptLimiter {
    /// Whether an address may try now; counts as a try if it may.
    pub fn may_try(&mut self, address: IpAddr, now: Timestamp) -> bool {
        let address = network(address);
        self.make_room(address, now);
        let known = self.addresses.entry(address).or_insert(Address {
            whole: now,
            failures: 0,
            first_failure: now,
            locked_until: Timestamp(i64::MIN),
            last: now,
        });
        known.last = now;
        let whole = known.whole.max(now);
        if now < known.locked_until || whole.minus(ATTEMPT_INTERVAL * (MAX_BURST - 1)) > now {
            return false;
        }
        known.whole = whole.plus(ATTEMPT_INTERVAL);
        true
    }

    /// Records that an attempt failed.
    pub fn record_failure(&mut self, address: IpAddr, now: Timestamp) {
        let Some(known) = self.addresses.get_mut(&network(address)) else { return };
        if now > known.first_failure.plus(FAILURE_WINDOW) {
            known.failures = 0;
        }
        if known.failures == 0 {
            known.first_failure = now;
        }
        known.failures += 1;
        if known.failures >= MAX_FAILURES {
            known.failures = 0;
            known.locked_until = now.plus(LOCKOUT);
        }
    }

    /// Forgets addresses of which there is nothing to remember, and if that is not enough, a tenth
    /// of all: those that were quiet for the longest, and who is locked out last of all.
    fn make_room(&mut self, address: IpAddr, now: Timestamp) {
        if self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&address) {
            return;
        }
        self.addresses.retain(|_, known| {
            known.whole > now
                || known.locked_until > now
                || (known.failures > 0 && now <= known.first_failure.plus(FAILURE_WINDOW))
        });
        if self.addresses.len() < MAX_ADDRESSES {
            return;
        }
        let mut quietest: Vec<_> = self
            .addresses
            .iter()
            .map(|(address, known)| (known.locked_until.max(now), known.last, *address))
            .collect();
        quietest.select_nth_unstable(MAX_ADDRESSES / 10);
        for (_, _, address) in &quietest[..MAX_ADDRESSES / 10] {
            self.addresses.remove(address);
        }
    }
}

/// What counts as one address: in version 6 whoever has one has the 64 bits below it, too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000_000).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_burst_of_five_then_one_a_second() {
        let mut attempts = AttemptLimiter::default();
        let tries =
            |attempts: &mut AttemptLimiter, now| (0..10).filter(|_| attempts.may_try(HERE, now)).count();
        assert_eq!(tries(&mut attempts, at(0)), 5);
        assert_eq!(tries(&mut attempts, at(1)), 1);
        assert_eq!(tries(&mut attempts, at(4)), 3);
        assert_eq!(tries(&mut attempts, at(100)), 5);
    }

    #[test]
    fn ten_failures_lock_an_address_out_for_ten_minutes_and_no_other() {
        let mut attempts = AttemptLimiter::default();
        for second in 0..10 {
            assert!(attempts.may_try(HERE, at(second)), "{second}");
            attempts.record_failure(HERE, at(second));
        }
        assert!(!attempts.may_try(HERE, at(11)));
        assert!(!attempts.may_try(HERE, at(608)));
        assert!(attempts.may_try("192.0.2.2".parse().expect("an address"), at(11)));
        assert!(attempts.may_try(HERE, at(609)));
    }

    #[test]
    fn failures_that_are_far_apart_lock_nobody_out() {
        let mut attempts = AttemptLimiter::default();
        for minute in 0..100 {
            assert!(attempts.may_try(HERE, at(minute * 70)), "{minute}");
            attempts.record_failure(HERE, at(minute * 70));
        }
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let mut attempts = AttemptLimiter::default();
        let let_in = (0..100_u128)
            .filter(|low| {
                let address = IpAddr::V6((0x2001_0db8 << 96 | low).into());
                attempts.may_try(address, at(0))
            })
            .count();
        assert_eq!(let_in, 5);
    }

    #[test]
    fn addresses_without_end_take_no_memory_without_end_and_free_nobody_who_is_locked_out() {
        let mut attempts = AttemptLimiter::default();
        for second in 0..10 {
            assert!(attempts.may_try(HERE, at(second)));
            attempts.record_failure(HERE, at(second));
        }
        for number in 0..20_000_u32 {
            assert!(attempts.may_try(IpAddr::V4((0x0a00_0000 + number).into()), at(20)));
        }
        assert!(attempts.addresses.len() <= MAX_ADDRESSES);
        assert!(!attempts.may_try(HERE, at(21)));
    }
}
