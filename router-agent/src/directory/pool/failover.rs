//! The tries of one request: on a connection that is there, on a new one, on another server's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::lease::Lease;
use super::limits::PoolLimits;
use super::shared::{Shared, overdue};
use super::target::{PoolTarget, PooledConnection, TargetPool, TargetState};
use crate::directory::connect::{Connection, connect, no_server_error};
use crate::directory::{DirectoryError, Timeouts, tls_config};

/// After so many refusals the pause before the next try grows no more: 32 times the first.
const MAX_PAUSE_DOUBLINGS: u32 = 5;

/// The tries of one request.
pub(in super::super) struct Failover<'a> {
    shared: &'a Shared,
    target_pool: Arc<TargetPool>,
    target: PoolTarget<'a>,
    deadline: Instant,
    /// Only connections that were made since then are asked.
    not_before: Option<Instant>,
    began: Instant,
    /// Servers that are not tried again for this request.
    failed_servers: Vec<usize>,
    errors: Vec<DirectoryError>,
    _search_permit: OwnedSemaphorePermit,
}

impl<'a> Failover<'a> {
    /// Waits until one more request may ask this target.
    pub(super) async fn begin(
        shared: &'a Shared,
        target: PoolTarget<'a>,
        deadline: Instant,
    ) -> Result<Self, DirectoryError> {
        let target_pool = shared.target(target)?;
        let permits = Arc::clone(&target_pool.search_permits);
        let Ok(Ok(permit)) = tokio::time::timeout_at(deadline, permits.acquire_owned()).await else {
            return Err(overdue(&[]));
        };
        let (failed_servers, errors) = (Vec::new(), Vec::new());
        let began = Instant::now();
        Ok(Self {
            shared,
            target_pool,
            target,
            deadline,
            not_before: None,
            began,
            failed_servers,
            errors,
            _search_permit: permit,
        })
    }

    /// A connection to ask on.
    pub(in super::super) async fn lease(&mut self) -> Result<Lease, DirectoryError> {
        let PoolLimits { max_per_target, spread_below, max_searches, .. } = self.shared.limits;
        loop {
            if let Some(lease) = self.lease_existing(spread_below) {
                return Ok(lease);
            }
            let target_pool = Arc::clone(&self.target_pool);
            let search_ended = target_pool.search_ended.notified();
            let full = target_pool.state().connections.len() >= max_per_target;
            let connecting = if full { None } else { target_pool.connecting.try_lock().ok() };
            let connecting = match connecting {
                Some(connecting) => connecting,
                // Rather share one than wait.
                None => match self.lease_existing(max_searches) {
                    Some(lease) => return Ok(lease),
                    None => tokio::select! {
                        biased;
                        connecting = target_pool.connecting.lock() => connecting,
                        () = search_ended => continue,
                        () = tokio::time::sleep_until(self.deadline) => return Err(overdue(&self.errors)),
                    },
                },
            };
            // Meanwhile another may have been made, or refused.
            let has_room = target_pool.state().connections.len() < max_per_target;
            if let Some(lease) = self.lease_existing(if has_room { spread_below } else { max_searches }) {
                return Ok(lease);
            }
            if let Some(lease) = self.lease_new().await? {
                return Ok(lease);
            }
            drop(connecting);
        }
    }

    /// A connection that stands, to a server that answers, with fewer searches under way than so
    /// many. Of several the one with the fewest, and of those the one that was used last, so that
    /// the others may grow old and go.
    fn lease_existing(&self, fewer_than: usize) -> Option<Lease> {
        let now = Instant::now();
        let (mut closed, mut found) = (Vec::new(), None);
        let mut state = self.target_pool.state();
        closed.extend(state.connections.extract_if(.., |one| !one.is_good(now)));
        let TargetState { connections, avoided, .. } = &mut *state;
        let usable = |one: &PooledConnection| {
            one.searches() < fewer_than
                && self.not_before.is_none_or(|then| one.made() >= then)
                && !self.failed_servers.contains(&one.server)
                && avoided.get(&one.server).is_none_or(|until| *until <= now)
        };
        let best = connections.iter().enumerate().filter(|(_, one)| usable(one));
        if let Some((at, _)) = best.min_by_key(|(at, one)| (one.searches(), usize::MAX - at)) {
            let pooled = connections.remove(at);
            pooled.begin_search();
            connections.push(Arc::clone(&pooled));
            found = Some(pooled);
        }
        drop(state);
        let pooled = found?;
        let (server, until) = (self.target.servers[pooled.server].clone(), self.share(now, pooled.server));
        Some(Lease::new(pooled, Arc::clone(&self.target_pool), server, until, true))
    }

    /// Connects to the next server; none if it cannot be used and another may be.
    async fn lease_new(&mut self) -> Result<Option<Lease>, DirectoryError> {
        let now = Instant::now();
        if let Some((until, error)) = &self.target_pool.state().refused
            && now < *until
        {
            return Err(error.clone());
        }
        let Some(at) = self.next_server(now) else {
            return Err(no_server_error(std::mem::take(&mut self.errors)));
        };
        if now >= self.deadline {
            return Err(overdue(&self.errors));
        }
        let permit = self.shared.connection_permit(self.deadline).await?;
        let until = self.share(Instant::now(), at);
        match self.connect(at, until).await? {
            Ok(connection) => Ok(Some(self.add_connection(at, connection, until, permit))),
            Err(error) if error.try_next_server() => {
                self.give_up(at, error);
                Ok(None)
            }
            // Another try costs the account nothing.
            Err(error) if !error.is_about_credential() => Err(error),
            Err(error) => {
                let mut state = self.target_pool.state();
                let factor = 2u32.pow(state.refusals.min(MAX_PAUSE_DOUBLINGS));
                let pause = self.shared.limits.refusal_pause * factor;
                state.refused = Some((Instant::now() + pause, error.clone()));
                state.refusals += 1;
                Err(error)
            }
        }
    }

    /// Connects and binds until then. The outer error says that nothing was tried.
    async fn connect(
        &self,
        at: usize,
        until: Instant,
    ) -> Result<Result<Connection, DirectoryError>, DirectoryError> {
        let PoolTarget { servers, credential, ca_file } = self.target;
        let server = &servers[at];
        let tls = tls_config(ca_file)?;
        let timeouts = Timeouts::within(until.saturating_duration_since(Instant::now()));
        let connected = tokio::time::timeout_at(until, connect(server, credential, &tls, &timeouts)).await;
        let late = || DirectoryError::Unreachable(format!("{server} (no answer in time)"));
        Ok(connected.unwrap_or_else(|_| Err(late())))
    }

    /// Puts a new connection into the pool, and leases it.
    fn add_connection(
        &self,
        at: usize,
        connection: Connection,
        until: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Lease {
        let mut state = self.target_pool.state();
        (state.refused, state.refusals) = (None, 0);
        state.avoided.remove(&at);
        drop(state);
        let max_age = self.shared.limits.max_age;
        let valid = connection.certificate.as_deref().map_or(max_age, remaining_validity);
        let end = Instant::now() + max_age.min(valid);
        let pooled = Arc::new(PooledConnection::new(at, connection, end, permit));
        self.target_pool.state().connections.push(Arc::clone(&pooled));
        let target_pool = Arc::clone(&self.target_pool);
        // A request that waits for it may share it.
        target_pool.search_ended.notify_waiters();
        Lease::new(pooled, target_pool, self.target.servers[at].clone(), until, false)
    }

    /// In their order, those that did not answer lately last.
    fn next_server(&self, now: Instant) -> Option<usize> {
        let state = self.target_pool.state();
        let is_avoided = |at: &usize| state.avoided.get(at).is_some_and(|until| now < *until);
        let left = (0..self.target.servers.len()).filter(|at| !self.failed_servers.contains(at));
        left.min_by_key(|at| (is_avoided(at), *at))
    }

    /// The end of a try with this server, such that the others which may answer can be tried, too.
    fn share(&self, now: Instant, at: usize) -> Instant {
        let state = self.target_pool.state();
        let others = (0..self.target.servers.len())
            .filter(|other| *other != at && !self.failed_servers.contains(other));
        let promising =
            others.filter(|other| state.avoided.get(other).is_none_or(|until| *until <= now)).count();
        let left = self.deadline.saturating_duration_since(now);
        now + left / u32::try_from(promising + 1).unwrap_or(u32::MAX)
    }

    /// The server comes last for a while, and not again for this request.
    fn give_up(&mut self, at: usize, error: DirectoryError) {
        let mut state = self.target_pool.state();
        state.avoided.insert(at, Instant::now() + self.shared.limits.avoid_server);
        let closed: Vec<_> = state.connections.extract_if(.., |one| one.server == at).collect();
        drop(state);
        drop(closed);
        tracing::warn!(server = %self.target.servers[at], reason = ?error.failure_reason(), "directory server passed over");
        self.failed_servers.push(at);
        self.errors.push(error);
    }

    /// Records what went wrong on a connection; an error if nothing is left to be tried.
    /// `is_connection_lost` says that the connection is of no use any more, rather than that the
    /// server answered something.
    pub(in super::super) fn record_failure(
        &mut self,
        lease: Lease,
        error: DirectoryError,
        is_connection_lost: bool,
    ) -> Result<(), DirectoryError> {
        let late = lease.remaining().is_zero();
        if !(late || is_connection_lost || error.try_next_server()) {
            return Err(error);
        }
        // Closed between two searches: not the server's fault, and a new connection to it will do.
        if lease.is_reused && is_connection_lost && !late {
            return Ok(());
        }
        self.give_up(lease.pooled.server, error);
        match self.failed_servers.len() == self.target.servers.len() || Instant::now() >= self.deadline {
            true => Err(no_server_error(std::mem::take(&mut self.errors))),
            false => Ok(()),
        }
    }

    /// Whether an absence on this connection is evidence. A used connection may have lost its
    /// identity on the way, behind a proxy for one: it is retired, and the next lease is of a
    /// connection that was made for this request or since.
    pub(in super::super) fn accept_absence(&mut self, lease: Lease) -> Option<Lease> {
        if lease.pooled.made() >= self.began {
            return Some(lease);
        }
        self.not_before = Some(self.began);
        None
    }

    /// Keeps a connection on which all went well for the next search.
    pub(in super::super) fn keep(&self, lease: Lease) {
        let idle = self.shared.limits.max_idle.mul_f64(0.75 + 0.5 * rand::random::<f64>());
        lease.keep(Instant::now() + idle);
    }
}

/// How long a certificate is still valid; one that cannot be read, not at all.
fn remaining_validity(certificate: &[u8]) -> Duration {
    let left =
        X509Certificate::from_der(certificate).ok().and_then(|(_, it)| it.validity().time_to_expiration());
    left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
}
