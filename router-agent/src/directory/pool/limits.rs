//! How many connections a pool keeps, and how long.

use std::time::Duration;

/// How many connections are kept, and how long.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Connections in all.
    pub max_connections: usize,
    /// Connections to the same servers with the same credential.
    pub max_per_target: usize,
    /// As long as one of them has fewer searches under way than this, no other is made.
    pub spread_below: usize,
    /// Searches under way on one connection.
    pub max_searches: usize,
    /// How long a connection is kept without a search; up to a quarter more or less, so that not
    /// all end at once.
    pub max_idle: Duration,
    /// How long a connection is used. A server shows its certificate, and looks at the account,
    /// only when one begins.
    pub max_age: Duration,
    /// How long a server that did not answer is asked after the others.
    pub avoid_server: Duration,
    /// How long a credential that was refused is not tried again; longer each time, since wrong
    /// passwords lock accounts.
    pub refusal_pause: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_connections: 16,
            max_per_target: 4,
            spread_below: 4,
            max_searches: 16,
            max_idle: Duration::from_secs(60),
            max_age: Duration::from_secs(600),
            avoid_server: Duration::from_secs(30),
            refusal_pause: Duration::from_secs(30),
        }
    }
}
