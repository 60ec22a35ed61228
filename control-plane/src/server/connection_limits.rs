//! Limits handshakes under way, counted by source address, and open connections, counted by caller.
//!
//! Many clients may share one address, so an address is never refused: beyond the limit, the oldest
//! handshake of the address that has the most is evicted, which is usually one that sends nothing.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;

type Shared<T> = Arc<Mutex<T>>;

/// The handshakes under way, and how many there may be.
#[derive(Debug)]
pub(super) struct HandshakeLimit {
    max: usize,
    last: u64,
    count: usize,
    by_source: HashMap<IpAddr, VecDeque<(u64, Option<AbortHandle>)>>,
}

/// The right to one handshake, until it is dropped.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    all: Shared<HandshakeLimit>,
    source: IpAddr,
    number: u64,
}

impl HandshakeLimit {
    pub(super) fn new(max: usize) -> Shared<Self> {
        Arc::new(Mutex::new(Self { max, last: 0, count: 0, by_source: HashMap::new() }))
    }

    /// A permit, and whether another handshake was evicted for it.
    pub(super) fn acquire(all: &Shared<Self>, address: IpAddr) -> (HandshakePermit, bool) {
        let source = source(address);
        let mut inner = all.lock().unwrap_or_else(PoisonError::into_inner);
        let full = inner.count >= inner.max;
        if full {
            inner.evict_oldest();
        }
        inner.last += 1;
        inner.count += 1;
        let number = inner.last;
        inner.by_source.entry(source).or_default().push_back((number, None));
        (HandshakePermit { all: Arc::clone(all), source, number }, full)
    }

    fn evict_oldest(&mut self) {
        let busiest = self.by_source.iter().max_by_key(|(_, handshakes)| handshakes.len());
        let Some(source) = busiest.map(|(source, _)| *source) else { return };
        let oldest = self.by_source.get(&source).and_then(|handshakes| handshakes.front()).map(|(id, _)| *id);
        if let Some(handle) = oldest.and_then(|oldest| self.remove(source, oldest)) {
            handle.abort();
        }
    }

    fn remove(&mut self, source: IpAddr, number: u64) -> Option<AbortHandle> {
        let handshakes = self.by_source.get_mut(&source)?;
        let at = handshakes.iter().position(|(other, _)| *other == number)?;
        let (_, handle) = handshakes.remove(at)?;
        if handshakes.is_empty() {
            self.by_source.remove(&source);
        }
        self.count -= 1;
        handle
    }
}

impl HandshakePermit {
    /// Sets the task that an eviction aborts. Does nothing if the handshake has ended.
    pub(super) fn set_task(all: &Shared<HandshakeLimit>, address: IpAddr, number: u64, task: AbortHandle) {
        let mut inner = all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut handshakes = inner.by_source.get_mut(&source(address)).into_iter().flatten();
        if let Some((_, handle)) = handshakes.find(|(other, _)| *other == number) {
            *handle = Some(task);
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(self.source, self.number);
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, which one household or server has.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// The open connections, and how many there may be.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    max: usize,
    max_per_caller: usize,
    count: usize,
    by_caller: HashMap<String, usize>,
}

/// The right to one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    all: Shared<ConnectionLimit>,
    caller: String,
}

impl ConnectionLimit {
    pub(super) fn new(max: usize, max_per_caller: usize) -> Shared<Self> {
        Arc::new(Mutex::new(Self { max, max_per_caller, count: 0, by_caller: HashMap::new() }))
    }

    /// A permit for a caller.
    ///
    /// # Errors
    /// If a limit is reached; the text says which.
    pub(super) fn acquire(all: &Shared<Self>, caller: String) -> Result<ConnectionPermit, &'static str> {
        let mut inner = all.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = inner.by_caller.get(&caller).copied().unwrap_or_default();
        if of_one >= inner.max_per_caller {
            return Err("this caller has as many connections as a caller may have");
        }
        if inner.count >= inner.max {
            return Err("there are as many connections as there may be");
        }
        inner.count += 1;
        inner.by_caller.insert(caller.clone(), of_one + 1);
        Ok(ConnectionPermit { all: Arc::clone(all), caller })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut inner = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count -= 1;
        match inner.by_caller.get_mut(&self.caller) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(inner.by_caller.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(all: &Shared<HandshakeLimit>, address: &str) -> usize {
        let inner = all.lock().expect("no panic");
        inner.by_source.get(&source(address.parse().expect("an address"))).map_or(0, VecDeque::len)
    }

    #[test]
    fn where_there_are_too_many_handshakes_the_address_with_the_most_loses_its_oldest() {
        let all = HandshakeLimit::new(4);
        let acquire = |address: &str| HandshakeLimit::acquire(&all, address.parse().expect("an address"));
        let (honest, _) = acquire("192.0.2.1");
        let mut silent: Vec<_> = (0..3).map(|_| acquire("198.51.100.7").0).collect();
        for _ in 0..100 {
            let (handshake, evicted) = acquire("198.51.100.7");
            assert!(evicted);
            silent.push(handshake);
        }
        assert_eq!((count(&all, "192.0.2.1"), count(&all, "198.51.100.7")), (1, 3));
        drop(silent);
        assert_eq!(count(&all, "198.51.100.7"), 0);
        drop(honest);
        assert_eq!(all.lock().expect("no panic").count, 0, "each is counted once");
    }

    #[test]
    fn addresses_of_one_network_of_version_6_are_one() {
        let all = HandshakeLimit::new(10);
        let _places: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1"]
            .map(|address| HandshakeLimit::acquire(&all, address.parse().expect("an address")))
            .into();
        assert_eq!((count(&all, "2001:db8::3"), count(&all, "192.0.2.1")), (2, 1));
    }

    #[test]
    fn a_caller_and_all_of_them_have_so_many_connections_and_a_place_is_given_back() {
        let all = ConnectionLimit::new(3, 2);
        let acquire = |caller: &str| ConnectionLimit::acquire(&all, caller.to_owned());
        let first = acquire("a").expect("a place");
        let _second = acquire("a").expect("a place");
        assert!(acquire("a").is_err());
        let _other = acquire("b").expect("a place");
        assert!(acquire("c").is_err());
        drop(first);
        assert!(acquire("c").is_ok());
    }
}
