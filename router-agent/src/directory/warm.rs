//! Bound connections that are kept for the next question, so that one person is fetched with one search. Few of them to the same servers
//! with the same credential, not many in all, none for ever. A connection carries one search at a time, since the guard tells only whole
//! searches apart; several at once are several connections. What went wrong on a connection ends it.
//!
//! A bulk read and look-ups before someone is disabled have connections of their own.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::connect::{Connection, connect, none_of};
use super::{Credential, DirectoryError, Security, Server, Timeouts, tls_config};

/// How many connections are kept, and how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most connections in all.
    pub all: usize,
    /// Most to the same servers with the same credential.
    pub same: usize,
    /// How long one is kept without a question; up to a quarter more or less, so that not all end at once.
    pub idle: Duration,
    /// How long one is used at most. A server shows its certificate, and looks at the account, only when one begins.
    pub age: Duration,
    /// How long a server that did not answer is asked after the others.
    pub shun: Duration,
    /// How long a credential that was refused is not tried again; longer each time, since wrong passwords lock accounts.
    pub refusal: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            all: 16,
            same: 4,
            idle: Duration::from_secs(60),
            age: Duration::from_secs(600),
            shun: Duration::from_secs(30),
            refusal: Duration::from_secs(30),
        }
    }
}

/// After so many refusals the time to the next try grows no more: 32 times the first.
const MOST_DOUBLINGS: u32 = 5;

/// The connections. Dropping it closes all that carry no search.
#[derive(Debug)]
pub struct Warm {
    shared: Arc<Shared>,
    sweeper: AbortHandle,
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    /// Of this process only: what is made with it says nothing of a password.
    hash_key: [u8; 32],
    places: Arc<Semaphore>,
    /// A connection was given back to whichever door: who waits for a place may have its.
    idled: Notify,
    doors: Mutex<HashMap<[u8; 32], Arc<Door>>>,
}

/// The same servers with the same credential and the same authority.
#[derive(Debug)]
struct Door {
    /// Password and authority. When they change, it is another door.
    secret: [u8; 32],
    turns: Arc<Semaphore>,
    /// One at a time connects: a wrong password is tried once, however many ask.
    connecting: tokio::sync::Mutex<()>,
    returned: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Held>,
    /// Servers that did not answer, and until when they come last.
    shunned: HashMap<usize, Instant>,
    refusals: u32,
    refused: Option<(Instant, DirectoryError)>,
}

/// A connection that stands.
struct Held {
    server: usize,
    connection: Connection,
    /// When it is too old, or its server's certificate.
    end: Instant,
    /// When it was unused for too long.
    idle_end: Instant,
    _place: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Held {
    fn is_good(&self, now: Instant) -> bool {
        now < self.end && now < self.idle_end && self.connection.is_quiet()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom to connect to, and with what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrance<'a> {
    pub(super) servers: &'a [Server],
    pub(super) credential: &'a Credential,
    /// The system's authorities, if none.
    pub(super) ca_file: Option<&'a Path>,
}

impl Warm {
    /// None yet. Must be made inside of a runtime.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let sweep = limits.idle / 10;
        let places = Arc::new(Semaphore::new(limits.all));
        let shared = Arc::new(Shared {
            limits,
            hash_key: rand::random(),
            places,
            idled: Notify::new(),
            doors: Mutex::default(),
        });
        let sweeper = tokio::spawn(sweep_for_ever(Arc::downgrade(&shared), sweep)).abort_handle();
        Self { shared, sweeper }
    }

    /// How many connections stand.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.limits.all - self.shared.places.available_permits()
    }

    /// Waits for a turn to ask one of these servers.
    pub(super) async fn attempts<'a>(
        &'a self,
        entrance: Entrance<'a>,
        deadline: Instant,
    ) -> Result<Attempts<'a>, DirectoryError> {
        let door = self.shared.door(entrance)?;
        let turn = tokio::time::timeout_at(deadline, Arc::clone(&door.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(overdue(&[])) };
        let shared = &*self.shared;
        Ok(Attempts { shared, door, entrance, deadline, failed: Vec::new(), errors: Vec::new(), _turn: turn })
    }
}

impl Shared {
    fn door(&self, entrance: Entrance<'_>) -> Result<Arc<Door>, DirectoryError> {
        let Entrance { servers, credential, ca_file } = entrance;
        let mut place = blake3::Hasher::new_keyed(&self.hash_key);
        let mut add = |part: &str| {
            place.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        };
        for server in servers {
            add(&server.to_string());
            add(match server.security {
                Security::Ldaps => "ldaps",
                Security::StartTls => "starttls",
                Security::Plain => "plain",
            });
        }
        add(&credential.bind_dn);
        let mut secret = blake3::Hasher::new_keyed(&self.hash_key);
        let password = credential.password.expose_secret();
        secret.update(&(password.len() as u64).to_le_bytes()).update(password.as_bytes());
        if let Some(file) = ca_file {
            let authorities = std::fs::read(file)
                .map_err(|error| DirectoryError::Trust(format!("CA file {}: {error}", file.display())))?;
            secret.update(&authorities);
        }
        let (place, secret) = (*place.finalize().as_bytes(), *secret.finalize().as_bytes());
        let mut doors = locked(&self.doors);
        if let Some(door) = doors.get(&place).filter(|door| door.secret == secret) {
            return Ok(Arc::clone(door));
        }
        let door = Arc::new(Door {
            secret,
            turns: Arc::new(Semaphore::new(self.limits.same)),
            connecting: tokio::sync::Mutex::default(),
            returned: Notify::new(),
            state: Mutex::default(),
        });
        // One with another password or authority goes, and its connections with it.
        doors.insert(place, Arc::clone(&door));
        Ok(door)
    }

    /// A place for one more connection: a free one, that of the connection which was not used for longest, or the next that becomes so.
    async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, DirectoryError> {
        loop {
            if self.places.available_permits() == 0 {
                drop(self.longest_unused());
            }
            tokio::select! {
                biased;
                Ok(place) = Arc::clone(&self.places).acquire_owned() => return Ok(place),
                () = self.idled.notified() => {}
                () = tokio::time::sleep_until(deadline) => return Err(overdue(&[])),
            }
        }
    }

    fn longest_unused(&self) -> Option<Held> {
        let doors: Vec<_> = locked(&self.doors).values().cloned().collect();
        let oldest = |door: &Arc<Door>| locked(&door.state).idle.iter().map(|held| held.idle_end).min();
        let (_, door) =
            doors.iter().filter_map(|door| Some((oldest(door)?, door))).min_by_key(|(end, _)| *end)?;
        let mut state = locked(&door.state);
        let at = (0..state.idle.len()).min_by_key(|at| state.idle[*at].idle_end)?;
        Some(state.idle.swap_remove(at))
    }

    /// Closes what is no longer good, and forgets doors that nobody uses.
    fn sweep(&self, now: Instant) {
        let mut gone = Vec::new();
        locked(&self.doors).retain(|_, door| {
            let in_use = Arc::strong_count(door) > 1;
            let mut state = locked(&door.state);
            gone.extend(state.idle.extract_if(.., |held| !held.is_good(now)));
            state.shunned.retain(|_, until| now < *until);
            // A refusal is remembered for as long again, so that the next one counts as one more.
            let refused =
                state.refused.as_ref().is_some_and(|(until, _)| now < *until + self.limits.refusal * 64);
            in_use || refused || !state.idle.is_empty() || !state.shunned.is_empty()
        });
    }
}

async fn sweep_for_ever(shared: Weak<Shared>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(shared) = shared.upgrade() else { return };
        shared.sweep(Instant::now());
    }
}

/// One question's tries: on a connection that is there, on a new one, on another server's.
pub(super) struct Attempts<'a> {
    shared: &'a Shared,
    door: Arc<Door>,
    entrance: Entrance<'a>,
    deadline: Instant,
    /// Servers that are not tried again for this question.
    failed: Vec<usize>,
    errors: Vec<DirectoryError>,
    _turn: OwnedSemaphorePermit,
}

/// A connection for one question. Dropping it closes it; only `keep` gives it back.
pub(super) struct Lease {
    held: Held,
    pub(super) server: Server,
    /// When this try has to be over.
    until: Instant,
    /// It was used before, so the server may have closed it just now.
    used: bool,
}

impl Lease {
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.held.connection
    }

    /// The time that this try has left.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Attempts<'_> {
    /// A connection to ask on.
    pub(super) async fn lease(&mut self) -> Result<Lease, DirectoryError> {
        loop {
            if let Some(lease) = self.idle() {
                return Ok(lease);
            }
            let door = Arc::clone(&self.door);
            let returned = door.returned.notified();
            let connecting = tokio::select! {
                biased;
                connecting = door.connecting.lock() => connecting,
                () = returned => continue,
                () = tokio::time::sleep_until(self.deadline) => return Err(overdue(&self.errors)),
            };
            // Meanwhile another may have been given back, or refused.
            if let Some(lease) = self.idle() {
                return Ok(lease);
            }
            if let Some(lease) = self.connect().await? {
                return Ok(lease);
            }
            drop(connecting);
        }
    }

    /// A connection that stands, to a server that answers.
    fn idle(&self) -> Option<Lease> {
        let now = Instant::now();
        let (mut gone, mut found) = (Vec::new(), None);
        let mut state = locked(&self.door.state);
        gone.extend(state.idle.extract_if(.., |held| !held.is_good(now)));
        let State { idle, shunned, .. } = &mut *state;
        let usable = |held: &Held| {
            !self.failed.contains(&held.server) && shunned.get(&held.server).is_none_or(|until| *until <= now)
        };
        // The one that was used last: the others may grow old and go.
        if let Some(at) = idle.iter().rposition(usable) {
            found = Some(idle.remove(at));
        }
        drop(state);
        let held = found?;
        let server = self.entrance.servers[held.server].clone();
        Some(Lease { until: self.share(now, held.server), held, server, used: true })
    }

    /// Connects to the next server; none if it cannot be used and another may be.
    async fn connect(&mut self) -> Result<Option<Lease>, DirectoryError> {
        let now = Instant::now();
        if let Some((until, error)) = &locked(&self.door.state).refused
            && now < *until
        {
            return Err(error.clone());
        }
        let Some(at) = self.next_server(now) else {
            return Err(none_of(std::mem::take(&mut self.errors)));
        };
        if now >= self.deadline {
            return Err(overdue(&self.errors));
        }
        let place = self.shared.place(self.deadline).await?;
        let until = self.share(Instant::now(), at);
        let Entrance { servers, credential, ca_file } = self.entrance;
        let server = servers[at].clone();
        let tls = tls_config(ca_file)?;
        let share = until.saturating_duration_since(Instant::now());
        let timeouts =
            Timeouts { connect: share.min(Timeouts::default().connect), operation: share, page: share };
        let connected = tokio::time::timeout_at(until, connect(&server, credential, &tls, &timeouts)).await;
        let late = || DirectoryError::Unreachable(format!("{server} (no answer in time)"));
        match connected.unwrap_or_else(|_| Err(late())) {
            Ok(connection) => {
                let mut state = locked(&self.door.state);
                (state.refused, state.refusals) = (None, 0);
                state.shunned.remove(&at);
                drop(state);
                let age = self.shared.limits.age;
                let valid = connection.certificate.as_deref().map_or(age, validity);
                let end = Instant::now() + age.min(valid);
                let held = Held { server: at, connection, end, idle_end: end, _place: place };
                Ok(Some(Lease { held, server, until, used: false }))
            }
            Err(error) if error.try_next_server() => {
                self.give_up(at, error);
                Ok(None)
            }
            Err(error) => {
                let mut state = locked(&self.door.state);
                let pause = self.shared.limits.refusal * 2u32.pow(state.refusals.min(MOST_DOUBLINGS));
                state.refused = Some((Instant::now() + pause, error.clone()));
                state.refusals += 1;
                Err(error)
            }
        }
    }

    /// In their order, those that did not answer lately last.
    fn next_server(&self, now: Instant) -> Option<usize> {
        let state = locked(&self.door.state);
        let is_shunned = |at: &usize| state.shunned.get(at).is_some_and(|until| now < *until);
        let left = (0..self.entrance.servers.len()).filter(|at| !self.failed.contains(at));
        left.min_by_key(|at| (is_shunned(at), *at))
    }

    /// The end of a try with this server, such that the others which may answer can be tried, too.
    fn share(&self, now: Instant, at: usize) -> Instant {
        let state = locked(&self.door.state);
        let others =
            (0..self.entrance.servers.len()).filter(|other| *other != at && !self.failed.contains(other));
        let promising =
            others.filter(|other| state.shunned.get(other).is_none_or(|until| *until <= now)).count();
        let left = self.deadline.saturating_duration_since(now);
        now + left / u32::try_from(promising + 1).unwrap_or(u32::MAX)
    }

    /// The server comes last for a while, and not again for this question.
    fn give_up(&mut self, at: usize, error: DirectoryError) {
        let mut state = locked(&self.door.state);
        state.shunned.insert(at, Instant::now() + self.shared.limits.shun);
        let gone: Vec<_> = state.idle.extract_if(.., |held| held.server == at).collect();
        drop(state);
        drop(gone);
        tracing::warn!(server = %self.entrance.servers[at], reason = ?error.failure_reason(), "directory server passed over");
        self.failed.push(at);
        self.errors.push(error);
    }

    /// Takes note of what went wrong on a connection; an error if nothing is left to be tried. `lost` says that the connection is of no use
    /// any more, rather than that the server answered something.
    pub(super) fn failed(
        &mut self,
        lease: Lease,
        error: DirectoryError,
        lost: bool,
    ) -> Result<(), DirectoryError> {
        let late = lease.left().is_zero();
        if !(late || lost || error.try_next_server()) {
            return Err(error);
        }
        // Closed between two questions: nobody's fault, and a new connection to the same server does.
        if lease.used && lost && !late {
            return Ok(());
        }
        self.give_up(lease.held.server, error);
        match self.failed.len() == self.entrance.servers.len() || Instant::now() >= self.deadline {
            true => Err(none_of(std::mem::take(&mut self.errors))),
            false => Ok(()),
        }
    }

    /// Keeps a connection on which all went well for the next question.
    pub(super) fn keep(&self, lease: Lease) {
        let Lease { mut held, .. } = lease;
        let idle = self.shared.limits.idle;
        held.idle_end = Instant::now() + idle.mul_f64(0.75 + 0.5 * rand::random::<f64>());
        if held.connection.is_quiet() {
            locked(&self.door.state).idle.push(held);
            self.door.returned.notify_one();
            self.shared.idled.notify_one();
        }
    }
}

/// How long a certificate is still valid; one that cannot be read, not at all.
fn validity(certificate: &[u8]) -> Duration {
    let left =
        X509Certificate::from_der(certificate).ok().and_then(|(_, it)| it.validity().time_to_expiration());
    left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
}

fn overdue(errors: &[DirectoryError]) -> DirectoryError {
    let said: String = errors.iter().map(|error| format!("; {error}")).collect();
    DirectoryError::Overdue(said)
}
