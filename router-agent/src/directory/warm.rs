//! Bound connections that are kept for the next question, so that one person is fetched with one search. Few of them to the same servers
//! with the same credential, not many in all, none for ever. Several searches share a connection; another one is made only when each has some.
//! What went wrong on a connection ends it: nobody asks on it any more, and whoever still has a search there hears its end.
//!
//! A bulk read and look-ups before someone is disabled have connections of their own.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// As long as one of them has fewer searches under way than this, no other is made.
    pub few: usize,
    /// Most searches under way on one.
    pub many: usize,
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
            few: 4,
            many: 16,
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
    /// A connection has no search any more, at whichever door: who waits for a place may have its.
    idled: Arc<Notify>,
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
    /// A search ended.
    returned: Notify,
    idled: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one that was used last comes last.
    lines: Vec<Arc<Line>>,
    /// Servers that did not answer, and until when they come last.
    shunned: HashMap<usize, Instant>,
    refusals: u32,
    refused: Option<(Instant, DirectoryError)>,
}

/// A connection that stands. It ends with the last search on it once nobody is given it any more.
struct Line {
    server: usize,
    connection: Connection,
    /// When it is too old, or its server's certificate.
    end: Instant,
    under_way: AtomicUsize,
    /// When it was unused for too long.
    idle_end: Mutex<Instant>,
    _place: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Line {
    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    fn is_idle(&self) -> bool {
        self.under_way() == 0
    }

    fn idle_end(&self) -> Instant {
        *locked(&self.idle_end)
    }

    fn is_good(&self, now: Instant) -> bool {
        now < self.end && (!self.is_idle() || now < self.idle_end()) && self.connection.is_quiet()
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
            idled: Arc::default(),
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
            turns: Arc::new(Semaphore::new(self.limits.same * self.limits.many)),
            connecting: tokio::sync::Mutex::default(),
            returned: Notify::new(),
            idled: Arc::clone(&self.idled),
            state: Mutex::default(),
        });
        // One with another password or authority goes, and its connections with it.
        doors.insert(place, Arc::clone(&door));
        Ok(door)
    }

    /// A place for one more connection: a free one, that of the connection which was not used for longest, or the next that becomes so. If
    /// all are busy, the one that stands for longest gets no more searches, so that nobody waits for ever.
    async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, DirectoryError> {
        let mut retired = false;
        loop {
            if self.places.available_permits() == 0 && !self.retire(true) && !retired {
                retired = self.retire(false);
            }
            tokio::select! {
                biased;
                Ok(place) = Arc::clone(&self.places).acquire_owned() => return Ok(place),
                () = self.idled.notified() => {}
                () = tokio::time::sleep_until(deadline) => return Err(overdue(&[])),
            }
        }
    }

    /// Gives one connection to nobody any more: of those without a search, or of all. False if there is none.
    fn retire(&self, idle: bool) -> bool {
        let doors: Vec<_> = locked(&self.doors).values().cloned().collect();
        let when = |line: &Line| if idle { line.idle_end() } else { line.end };
        let oldest = |door: &Arc<Door>| {
            let state = locked(&door.state);
            state.lines.iter().filter(|line| !idle || line.is_idle()).map(|line| when(line)).min()
        };
        let oldest = doors.iter().filter_map(|door| Some((oldest(door)?, door))).min_by_key(|(at, _)| *at);
        let Some((at, door)) = oldest else { return false };
        let mut state = locked(&door.state);
        let found = state.lines.iter().position(|line| when(line) == at && (!idle || line.is_idle()));
        let gone = found.map(|at| state.lines.remove(at));
        drop(state);
        gone.is_some()
    }

    /// Closes what is no longer good, and forgets doors that nobody uses.
    fn sweep(&self, now: Instant) {
        let mut gone = Vec::new();
        locked(&self.doors).retain(|_, door| {
            let in_use = Arc::strong_count(door) > 1;
            let mut state = locked(&door.state);
            gone.extend(state.lines.extract_if(.., |line| !line.is_good(now)));
            state.shunned.retain(|_, until| now < *until);
            // A refusal is remembered for as long again, so that the next one counts as one more.
            let refused =
                state.refused.as_ref().is_some_and(|(until, _)| now < *until + self.limits.refusal * 64);
            in_use || refused || !state.lines.is_empty() || !state.shunned.is_empty()
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

/// A connection for one question. Dropped, it is given to nobody any more; only `keep` leaves it for the next.
pub(super) struct Lease {
    line: Arc<Line>,
    door: Arc<Door>,
    pub(super) server: Server,
    /// When this try has to be over.
    until: Instant,
    /// It was used before, so the server may have closed it just now.
    used: bool,
    kept: bool,
}

impl Lease {
    pub(super) fn connection(&self) -> &Connection {
        &self.line.connection
    }

    /// The time that this try has left.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.kept || !self.line.connection.is_quiet() {
            locked(&self.door.state).lines.retain(|line| !Arc::ptr_eq(line, &self.line));
        }
        if self.line.under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.door.idled.notify_one();
        }
        self.door.returned.notify_one();
    }
}

impl Attempts<'_> {
    /// A connection to ask on.
    pub(super) async fn lease(&mut self) -> Result<Lease, DirectoryError> {
        let Limits { same, few, many, .. } = self.shared.limits;
        loop {
            if let Some(lease) = self.standing(few) {
                return Ok(lease);
            }
            let door = Arc::clone(&self.door);
            let returned = door.returned.notified();
            let full = locked(&door.state).lines.len() >= same;
            let connecting = if full { None } else { door.connecting.try_lock().ok() };
            let connecting = match connecting {
                Some(connecting) => connecting,
                // Rather share one than wait.
                None => match self.standing(many) {
                    Some(lease) => return Ok(lease),
                    None => tokio::select! {
                        biased;
                        connecting = door.connecting.lock() => connecting,
                        () = returned => continue,
                        () = tokio::time::sleep_until(self.deadline) => return Err(overdue(&self.errors)),
                    },
                },
            };
            // Meanwhile another may have been made, or refused.
            let most = if locked(&door.state).lines.len() < same { few } else { many };
            if let Some(lease) = self.standing(most) {
                return Ok(lease);
            }
            if let Some(lease) = self.connect().await? {
                return Ok(lease);
            }
            drop(connecting);
        }
    }

    /// A connection that stands, to a server that answers, with fewer searches under way than so many: of several the one with the fewest, and
    /// of those the one that was used last, so that the others may grow old and go.
    fn standing(&self, fewer_than: usize) -> Option<Lease> {
        let now = Instant::now();
        let (mut gone, mut found) = (Vec::new(), None);
        let mut state = locked(&self.door.state);
        gone.extend(state.lines.extract_if(.., |line| !line.is_good(now)));
        let State { lines, shunned, .. } = &mut *state;
        let usable = |line: &Line| {
            line.under_way() < fewer_than
                && !self.failed.contains(&line.server)
                && shunned.get(&line.server).is_none_or(|until| *until <= now)
        };
        let best = lines.iter().enumerate().filter(|(_, line)| usable(line));
        if let Some((at, _)) = best.min_by_key(|(at, line)| (line.under_way(), usize::MAX - at)) {
            let line = lines.remove(at);
            line.under_way.fetch_add(1, Ordering::AcqRel);
            lines.push(Arc::clone(&line));
            found = Some(line);
        }
        drop(state);
        let line = found?;
        Some(self.leased(line, now, true))
    }

    fn leased(&self, line: Arc<Line>, now: Instant, used: bool) -> Lease {
        let server = self.entrance.servers[line.server].clone();
        let until = self.share(now, line.server);
        Lease { until, line, door: Arc::clone(&self.door), server, used, kept: false }
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
                let line = Arc::new(Line {
                    server: at,
                    connection,
                    end,
                    under_way: AtomicUsize::new(1),
                    idle_end: Mutex::new(end),
                    _place: place,
                });
                locked(&self.door.state).lines.push(Arc::clone(&line));
                let door = Arc::clone(&self.door);
                // Whoever waited for it may share it.
                door.returned.notify_waiters();
                Ok(Some(Lease { line, door, server, until, used: false, kept: false }))
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
        let gone: Vec<_> = state.lines.extract_if(.., |line| line.server == at).collect();
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
        self.give_up(lease.line.server, error);
        match self.failed.len() == self.entrance.servers.len() || Instant::now() >= self.deadline {
            true => Err(none_of(std::mem::take(&mut self.errors))),
            false => Ok(()),
        }
    }

    /// Keeps a connection on which all went well for the next question.
    pub(super) fn keep(&self, lease: Lease) {
        let mut lease = lease;
        let idle = self.shared.limits.idle;
        *locked(&lease.line.idle_end) = Instant::now() + idle.mul_f64(0.75 + 0.5 * rand::random::<f64>());
        lease.kept = true;
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
