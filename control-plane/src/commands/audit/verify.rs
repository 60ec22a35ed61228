//! Verifies the hash chain of a trail from its first event to its newest, a page at a time. Events
//! may be added meanwhile.

use crate::model::{AuditHead, Broken, Chain};
use crate::store::{Result, Store, StoredTrail};

/// Events that are read at once: memory does not grow with the trail.
const EVENTS_PER_PAGE: i64 = 1_000;

/// What the verification of a trail found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailReport {
    /// The last event that is as it was written; the newest of all if nothing is broken.
    pub last: AuditHead,
    /// What is wrong with the next one, or with the end.
    pub broken: Option<Broken>,
}

/// Verifies a trail. `outside` are heads of it that somebody wrote down outside of the database.
///
/// # Errors
/// If the database cannot be read.
pub async fn verify(store: &Store, of: &StoredTrail, outside: Vec<AuditHead>) -> Result<TrailReport> {
    let Some(trail) = &of.trail else {
        return Ok(TrailReport { last: AuditHead::default(), broken: Some(Broken::NoTenant) });
    };
    let mut chain = Chain::new(trail.clone(), outside);
    let mut after = None;
    loop {
        let events = store.stored_events(of.number, after, EVENTS_PER_PAGE).await?;
        for event in &events {
            if let Err(broken) = chain.follow(event.as_ref()) {
                return Ok(TrailReport { last: chain.last(), broken: Some(broken) });
            }
        }
        let last = chain.last();
        if events.is_empty() {
            // Read after the events: what it names was written before, unless more came meanwhile.
            // Then there is more to read.
            let head = store.stored_head(of.number).await?;
            let grown = head.is_some_and(|head| head.sequence > last.sequence)
                && !store.stored_events(of.number, after, 1).await?.is_empty();
            if !grown {
                return Ok(TrailReport { last, broken: chain.end(head).err() });
            }
        }
        if last.sequence > 0 {
            after = Some(last.sequence);
        }
    }
}
