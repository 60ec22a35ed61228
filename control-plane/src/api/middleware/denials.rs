//! Writes denied calls to the audit trail: the first denial of its kind at once, later ones of the
//! same minute as one event with their number, at each replica. Denying a call does not wait for
//! the database, and a client that loops fills neither the database nor the memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::{Actor, Event, EventType, Timestamp, Trail};
use crate::store::{Store, StoreError};

/// Denials of one kind are one event in this time.
const SUMMARY_PERIOD: Duration = Duration::from_secs(60);
/// How often to look for what is due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Most kinds that are remembered at a time, of one trail and of all. More are counted in the log
/// only.
const MAX_KINDS_PER_TRAIL: usize = 64;
const MAX_KINDS: usize = 4_096;

/// What makes two denials the same: whose trail, who and through whom, what, on what, and why.
type DenialKind = (Trail, String, String, EventType, String, String);

struct PendingDenial {
    /// The first one's address and facts stand for all.
    actor: Actor,
    event: Event,
    count: u64,
    /// When they are to be written; with none counted by then, they are forgotten.
    due: Timestamp,
}

#[derive(Default)]
struct PendingDenials {
    by_kind: HashMap<DenialKind, PendingDenial>,
    kinds_of_trail: HashMap<Trail, usize>,
    lost: u64,
}

struct Inner {
    store: Arc<Store>,
    clock: Clock,
    pending: Mutex<PendingDenials>,
    /// There is a first of its kind.
    first: Notify,
    /// Who writes, one at a time.
    writing: tokio::sync::Mutex<()>,
}

/// Where denials are noted. Clones share everything.
#[derive(Clone)]
pub struct DenialLog(Arc<Inner>);

impl DenialLog {
    /// Starts writing what is noted, until `shutdown`.
    #[must_use]
    pub fn start(store: Arc<Store>, clock: Clock, shutdown: CancellationToken) -> Self {
        let inner = Inner {
            store,
            clock,
            pending: Mutex::default(),
            first: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        };
        let log = Self(Arc::new(inner));
        let writer = log.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = writer.0.first.notified() => {}
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
                let now = writer.0.clock.now();
                writer.write_due(now, now).await;
            }
        });
        log
    }

    /// Notes that something was refused, or anything else that a caller can bring about again and
    /// again. Never waits. The event gets a detail `count` when it is written.
    pub fn record(&self, trail: Trail, actor: Actor, event: Event) {
        let why = event.details.get("reason").cloned().unwrap_or_default();
        let (name, via) = (actor.name.clone(), actor.via.clone());
        let key = (trail.clone(), name, via, event.kind, event.subject.clone(), why);
        let mut pending = self.pending();
        let PendingDenials { by_kind, kinds_of_trail, lost } = &mut *pending;
        let room = by_kind.len() < MAX_KINDS
            && kinds_of_trail.get(&trail).is_none_or(|kinds| *kinds < MAX_KINDS_PER_TRAIL);
        match by_kind.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().count += 1,
            Entry::Vacant(_) if !room => *lost += 1,
            Entry::Vacant(entry) => {
                entry.insert(PendingDenial { actor, event, count: 1, due: self.0.clock.now() });
                *kinds_of_trail.entry(trail).or_default() += 1;
                self.0.first.notify_one();
            }
        }
    }

    /// The same for something of one of many: while there is much of all kinds, it is noted as of
    /// `all` of them, so that whoever brings about very many takes the room of nothing else.
    pub fn record_grouped(&self, trail: Trail, actor: Actor, event: Event, all: String) {
        let much =
            self.pending().kinds_of_trail.get(&trail).is_some_and(|kinds| *kinds >= MAX_KINDS_PER_TRAIL / 2);
        let event = if much { Event { subject: all, ..event } } else { event };
        self.record(trail, actor, event);
    }

    /// Writes what is noted and not written yet, before its minute is over: for the end of the
    /// program.
    pub async fn flush(&self) {
        self.write_due(Timestamp(i64::MAX), self.0.clock.now()).await;
    }

    /// Writes what is due.
    async fn write_due(&self, due: Timestamp, now: Timestamp) {
        let _alone = self.0.writing.lock().await;
        for (key, actor, event, count) in self.take_due(due, now) {
            let event = event.with("count", count);
            let trail = &key.0;
            let written = match self.0.store.record(trail, &actor, event.clone(), now).await {
                // Certificates outlive tenants, and are there before them.
                Err(StoreError::NotFound(_)) => {
                    self.0.store.record(&Trail::Installation, &actor, event, now).await
                }
                other => other,
            };
            if let Err(error) = written {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot write a refusal to the audit trail, trying again"
                );
                if let Some(denial) = self.pending().by_kind.get_mut(&key) {
                    denial.count += count;
                    denial.due = now.plus(POLL_INTERVAL);
                }
            }
        }
    }

    /// What is due, with its count. It begins another minute; what nobody repeated in the last one
    /// is forgotten.
    fn take_due(&self, due: Timestamp, now: Timestamp) -> Vec<(DenialKind, Actor, Event, u64)> {
        let mut taken = Vec::new();
        let mut pending = self.pending();
        let PendingDenials { by_kind, kinds_of_trail, lost } = &mut *pending;
        by_kind.retain(|key, denial| {
            if denial.due > due {
                return true;
            }
            if denial.count == 0 {
                if let Some(kinds) = kinds_of_trail.get_mut(&key.0) {
                    *kinds -= 1;
                }
                return false;
            }
            taken.push((key.clone(), denial.actor.clone(), denial.event.clone(), denial.count));
            (denial.count, denial.due) = (0, now.plus(SUMMARY_PERIOD));
            true
        });
        kinds_of_trail.retain(|_, kinds| *kinds > 0);
        if *lost > 0 {
            tracing::error!(
                refusals = *lost,
                "too many kinds of refusals at a time; these are not in the audit trail"
            );
            *lost = 0;
        }
        taken
    }

    fn pending(&self) -> MutexGuard<'_, PendingDenials> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
