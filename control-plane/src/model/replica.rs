//! Replicas of the control plane that share a database, as they know one another.

use std::fmt;
use std::time::Duration;

use super::{RouterId, SourceId};

/// A replica that was last heard of longer ago than this counts as gone.
pub const REPLICA_SILENCE: Duration = Duration::from_secs(8);

/// Which replica, and which certificate it shows: the SHA-256 of the one that it made at its start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaKey(pub [u8; 32]);

impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell replicas apart in a log.
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplicaKey({self})")
    }
}

/// A replica that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Which.
    pub key: ReplicaKey,
    /// Host and port.
    pub address: String,
}

/// A router that is connected to another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistantRouter {
    /// The router.
    pub router: RouterId,
    /// The sources that it was enrolled for; empty means any.
    pub sources: Vec<SourceId>,
    /// Where it is connected.
    pub replica: Replica,
}
