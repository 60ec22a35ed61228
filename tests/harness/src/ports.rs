//! Finds free ports for servers, which no other process of these tests is given until this one has
//! ended. Does not use port 0: the kernel would give out a port of its ephemeral range, and while a
//! server is stopped some client's outgoing connection could take it (on loopback even connect to
//! itself), so that the server could not come back.
//!
//! Test processes run side by side, and between looking for a port and listening on it another one
//! could take it: then a test would talk to somebody else's server. So each process holds blocks of
//! ports, by a lock on a file for each, which ends with the process.

use std::{
    fs::{self, File, TryLockError},
    hash::{BuildHasher, RandomState},
    net::TcpListener,
    os::unix::fs::MetadataExt,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};

/// Below Linux's ephemeral range (32768 and up), above what services of a machine usually use.
const FIRST: u16 = 15_000;
const BLOCKS: u16 = 500;
/// Ports in a block: what most tests need.
const SIZE: u16 = 32;

/// Ports of this process.
struct Block {
    number: u16,
    given: u16,
    _lock: File,
}

static OWN: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 that nobody listens on now, and that no other process of these tests is
/// given. A process that knows nothing of them may still take it: servers try again with a new one.
pub fn free_port() -> Result<u16> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(block) = own.last_mut() {
            while block.given < SIZE {
                let port = FIRST + block.number * SIZE + block.given;
                block.given += 1;
                if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                    return Ok(port);
                }
            }
        }
        own.push(claim(RandomState::new().hash_one(0))?);
    }
}

/// A block that no process holds, the first one from here on.
fn claim(begin: u64) -> Result<Block> {
    // Everybody who runs tests here has a folder, since nobody may open what is another user's.
    let user = fs::metadata("/proc/self")?.uid();
    let folder = std::env::temp_dir().join(format!("rollcall-ports-{user}"));
    fs::create_dir_all(&folder)?;
    for step in 0..BLOCKS {
        let number = u16::try_from(begin.wrapping_add(u64::from(step)) % u64::from(BLOCKS))?;
        let path = folder.join(number.to_string());
        let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => return Ok(Block { number, given: 0, _lock: lock }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    bail!("all {BLOCKS} blocks of ports above {FIRST} are taken")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Where another process is to begin to look, and what it says that it got.
    const BEGIN: &str = "ROLLCALL_TEST_PORTS";

    #[test]
    fn nobody_is_given_ports_that_another_process_holds() -> Result<()> {
        if let Ok(begin) = std::env::var(BEGIN) {
            println!("{BEGIN}={}", claim(begin.parse()?)?.number);
            return Ok(());
        }
        let mine = claim(RandomState::new().hash_one(0))?;
        let again = claim(mine.number.into())?;
        assert_ne!(mine.number, again.number);
        let mut other = Command::new(std::env::current_exe()?);
        other.args(["nobody_is_given_ports", "--nocapture"]).env(BEGIN, mine.number.to_string());
        let said = String::from_utf8(other.output()?.stdout)?;
        let got = said.lines().find_map(|line| line.split_once(BEGIN)?.1.strip_prefix('='));
        let got: u16 = got.with_context(|| said.clone())?.parse()?;
        assert!(got != mine.number && got != again.number, "{said}");
        Ok(())
    }

    #[test]
    fn a_port_is_given_once() -> Result<()> {
        let ports = (0..=2 * SIZE).map(|_| free_port()).collect::<Result<std::collections::BTreeSet<_>>>()?;
        assert_eq!(ports.len(), usize::from(2 * SIZE) + 1);
        Ok(())
    }
}
