//! Finds free ports for servers.
//! Does not use port 0: the kernel would give out a port of its ephemeral range, and while a server is stopped some client's
//! outgoing connection could take it (on loopback even connect to itself), so that the server could not come back.

use std::{
    hash::{BuildHasher, RandomState},
    net::TcpListener,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Result, bail};

/// Below Linux's ephemeral range (32768 and up), above what services of a machine usually use.
const FIRST: u16 = 15_000;
const COUNT: u16 = 16_000;

/// A port of 127.0.0.1 that nobody listens on now. Another process may still take it: servers try again with a new one.
pub fn free_port() -> Result<u16> {
    static BEGIN: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Test processes run side by side: each begins somewhere else.
    let begin = BEGIN.get_or_init(|| RandomState::new().hash_one(0));
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + u16::try_from(begin.wrapping_add(step) % u64::from(COUNT))?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}
