//! Who has a place at the door: handshakes that are under way, by the address that they come from, and connections that stand, by their
//! caller. Addresses are shared by many behind one router, so they are no reason to refuse anybody: where there are too many handshakes,
//! the oldest one of the address with the most of them has to go, which is the silent one.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;

type Shared<T> = Arc<Mutex<T>>;

/// Handshakes under way.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    last: u64,
    count: usize,
    by_source: HashMap<IpAddr, VecDeque<(u64, Option<AbortHandle>)>>,
}

/// The place of one handshake, until it is dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    all: Shared<Handshakes>,
    source: IpAddr,
    number: u64,
}

impl Handshakes {
    pub(super) fn new(most: usize) -> Shared<Self> {
        Arc::new(Mutex::new(Self { most, last: 0, count: 0, by_source: HashMap::new() }))
    }

    /// A place, and whether another one had to go for it.
    pub(super) fn enter(all: &Shared<Self>, address: IpAddr) -> (Handshake, bool) {
        let source = source(address);
        let mut inner = all.lock().unwrap_or_else(PoisonError::into_inner);
        let full = inner.count >= inner.most;
        if full {
            inner.end_one();
        }
        inner.last += 1;
        inner.count += 1;
        let number = inner.last;
        inner.by_source.entry(source).or_default().push_back((number, None));
        (Handshake { all: Arc::clone(all), source, number }, full)
    }

    fn end_one(&mut self) {
        let most = self.by_source.iter().max_by_key(|(_, handshakes)| handshakes.len());
        let Some(source) = most.map(|(source, _)| *source) else { return };
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

impl Handshake {
    /// Says which task it is that can be ended; nothing happens if it has ended already.
    pub(super) fn runs_in(all: &Shared<Handshakes>, address: IpAddr, number: u64, task: AbortHandle) {
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

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(self.source, self.number);
    }
}

/// Where an address is: of the newer ones, a household or a server has 2^64.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// Connections that stand.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    most_of_one: usize,
    count: usize,
    by_caller: HashMap<String, usize>,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    all: Shared<Connections>,
    caller: String,
}

impl Connections {
    pub(super) fn new(most: usize, most_of_one: usize) -> Shared<Self> {
        Arc::new(Mutex::new(Self { most, most_of_one, count: 0, by_caller: HashMap::new() }))
    }

    /// A place for a caller.
    ///
    /// # Errors
    /// If there is none, with what there are too many of.
    pub(super) fn enter(all: &Shared<Self>, caller: String) -> Result<Place, &'static str> {
        let mut inner = all.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = inner.by_caller.get(&caller).copied().unwrap_or_default();
        if of_one >= inner.most_of_one {
            return Err("this caller has as many connections as a caller may have");
        }
        if inner.count >= inner.most {
            return Err("there are as many connections as there may be");
        }
        inner.count += 1;
        inner.by_caller.insert(caller.clone(), of_one + 1);
        Ok(Place { all: Arc::clone(all), caller })
    }
}

impl Drop for Place {
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

    fn count(all: &Shared<Handshakes>, address: &str) -> usize {
        let inner = all.lock().expect("no panic");
        inner.by_source.get(&source(address.parse().expect("an address"))).map_or(0, VecDeque::len)
    }

    #[test]
    fn where_there_are_too_many_handshakes_the_address_with_the_most_loses_its_oldest() {
        let all = Handshakes::new(4);
        let enter = |address: &str| Handshakes::enter(&all, address.parse().expect("an address"));
        let (honest, _) = enter("192.0.2.1");
        let mut silent: Vec<_> = (0..3).map(|_| enter("198.51.100.7").0).collect();
        for _ in 0..100 {
            let (handshake, pushed) = enter("198.51.100.7");
            assert!(pushed);
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
        let all = Handshakes::new(10);
        let _places: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1"]
            .map(|address| Handshakes::enter(&all, address.parse().expect("an address")))
            .into();
        assert_eq!((count(&all, "2001:db8::3"), count(&all, "192.0.2.1")), (2, 1));
    }

    #[test]
    fn a_caller_and_all_of_them_have_so_many_connections_and_a_place_is_given_back() {
        let all = Connections::new(3, 2);
        let enter = |caller: &str| Connections::enter(&all, caller.to_owned());
        let first = enter("a").expect("a place");
        let _second = enter("a").expect("a place");
        assert!(enter("a").is_err());
        let _other = enter("b").expect("a place");
        assert!(enter("c").is_err());
        drop(first);
        assert!(enter("c").is_ok());
    }
}
