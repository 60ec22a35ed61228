//! Notes what is refused, for the audit trail: the first refusal of its kind at once, those of the following minute as one event with
//! their number, at each replica. Whoever refuses does not wait for the database, and whoever calls in a loop fills neither it nor the memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::{Actor, Event, EventType, Timestamp, Trail};
use crate::store::{Store, StoreError};

/// Refusals of one kind are one event in this time.
const TOGETHER: Duration = Duration::from_secs(60);
/// How often to look for what is due.
const LOOK: Duration = Duration::from_secs(1);
/// Most kinds that are remembered at a time, of one trail and of all. More are counted in the log only.
const MOST_OF_A_TRAIL: usize = 64;
const MOST: usize = 4_096;

/// What makes two refusals the same: whose trail, who and through whom, what, on what, and why.
type Key = (Trail, String, String, EventType, String, String);

struct Kept {
    /// The first one's address and facts stand for all.
    actor: Actor,
    event: Event,
    count: u64,
    /// When they are to be written; with none counted by then, they are forgotten.
    due: Timestamp,
}

#[derive(Default)]
struct Notes {
    kept: HashMap<Key, Kept>,
    of_trail: HashMap<Trail, usize>,
    lost: u64,
}

struct Inner {
    store: Arc<Store>,
    clock: Clock,
    notes: Mutex<Notes>,
    /// There is a first of its kind.
    first: Notify,
    /// Who writes, one at a time.
    writing: tokio::sync::Mutex<()>,
}

/// Where refusals are noted. Clones share everything.
#[derive(Clone)]
pub struct Refusals(Arc<Inner>);

impl Refusals {
    /// Starts writing what is noted, until `shutdown`.
    #[must_use]
    pub fn start(store: Arc<Store>, clock: Clock, shutdown: CancellationToken) -> Self {
        let inner = Inner {
            store,
            clock,
            notes: Mutex::default(),
            first: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        };
        let refusals = Self(Arc::new(inner));
        let writer = refusals.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = writer.0.first.notified() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
                let now = writer.0.clock.now();
                writer.write(now, now).await;
            }
        });
        refusals
    }

    /// Notes that something was refused, or anything else that a caller can bring about again and again. Never waits. The event gets a
    /// detail `count` when it is written.
    pub fn note(&self, trail: Trail, actor: Actor, event: Event) {
        let why = event.details.get("reason").cloned().unwrap_or_default();
        let (name, via) = (actor.name.clone(), actor.via.clone());
        let key = (trail.clone(), name, via, event.kind, event.subject.clone(), why);
        let mut notes = self.notes();
        let Notes { kept, of_trail, lost } = &mut *notes;
        let room = kept.len() < MOST && of_trail.get(&trail).is_none_or(|kinds| *kinds < MOST_OF_A_TRAIL);
        match kept.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().count += 1,
            Entry::Vacant(_) if !room => *lost += 1,
            Entry::Vacant(place) => {
                place.insert(Kept { actor, event, count: 1, due: self.0.clock.now() });
                *of_trail.entry(trail).or_default() += 1;
                self.0.first.notify_one();
            }
        }
    }

    /// The same for something of one of many: while there is much of all kinds, it is noted as of `all` of them, so that whoever brings about
    /// very many takes the room of nothing else.
    pub fn note_of_one(&self, trail: Trail, actor: Actor, event: Event, all: String) {
        let much = self.notes().of_trail.get(&trail).is_some_and(|kinds| *kinds >= MOST_OF_A_TRAIL / 2);
        let event = if much { Event { subject: all, ..event } } else { event };
        self.note(trail, actor, event);
    }

    /// Writes what is noted and not written yet, before its minute is over: for the end of the program.
    pub async fn flush(&self) {
        self.write(Timestamp(i64::MAX), self.0.clock.now()).await;
    }

    /// Writes what is due.
    async fn write(&self, due: Timestamp, now: Timestamp) {
        let _alone = self.0.writing.lock().await;
        for (key, actor, event, count) in self.take(due, now) {
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
                if let Some(kept) = self.notes().kept.get_mut(&key) {
                    kept.count += count;
                    kept.due = now.plus(LOOK);
                }
            }
        }
    }

    /// What is due, with its count. It begins another minute; what nobody repeated in the last one is forgotten.
    fn take(&self, due: Timestamp, now: Timestamp) -> Vec<(Key, Actor, Event, u64)> {
        let mut taken = Vec::new();
        let mut notes = self.notes();
        let Notes { kept, of_trail, lost } = &mut *notes;
        kept.retain(|key, kept| {
            if kept.due > due {
                return true;
            }
            if kept.count == 0 {
                if let Some(kinds) = of_trail.get_mut(&key.0) {
                    *kinds -= 1;
                }
                return false;
            }
            taken.push((key.clone(), kept.actor.clone(), kept.event.clone(), kept.count));
            (kept.count, kept.due) = (0, now.plus(TOGETHER));
            true
        });
        of_trail.retain(|_, kinds| *kinds > 0);
        if *lost > 0 {
            tracing::error!(
                refusals = *lost,
                "too many kinds of refusals at a time; these are not in the audit trail"
            );
            *lost = 0;
        }
        taken
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
