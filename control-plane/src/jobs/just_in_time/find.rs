//! From a name to what became of its user: whoever is known by it is fetched by immutable id, in the user's own source; who is not, or no
//! longer has the name, is searched by it in each published source, in the order of their ids.
//!
//! Usually that is one search. It takes a second one where a user is found by another name than it is known by, where someone else wrote
//! the user meanwhile, where a change is confirmed while a job of the source runs, and where a user is gone.

use std::sync::atomic::{AtomicBool, Ordering};

use super::came_to;
use super::fetch::{Asker, Source, fetch, look_up};
use crate::model::{
    Actor, FetchBy, Found, IdentitySource, JitSettings, Rejected, Sighting, Single, SingleOutcome, Timestamp,
    Whom,
};
use crate::reconcile::single;
use crate::store::{Observation, Result, SingleWrite, Written};

/// How often one user is asked for.
const TRIES: u32 = 3;
/// More sources than a tenant can have.
const SOURCES: i64 = 1_000;

/// What a call is for.
pub(super) struct Call<'a> {
    pub(super) asker: Asker<'a>,
    pub(super) whom: &'a Whom,
    pub(super) settings: JitSettings,
    pub(super) by: &'a Actor,
    /// Set once a directory has said something that lets nobody in: it outlives a search that ends at its deadline.
    denied: AtomicBool,
}

/// What a source has just been seen to have.
pub(super) struct Seen {
    pub(super) source: Source,
    pub(super) asked_at: Timestamp,
    pub(super) found: Found,
}

/// Synchronizes one user; `known` if it was found already.
pub(super) async fn sync(call: &Call<'_>, known: Option<Sighting>) -> Result<Single> {
    let Call { asker: Asker { inner, number, .. }, whom, .. } = *call;
    let known = match known {
        Some(known) => Some(known),
        None => inner.store.sight_user(number, whom).await?,
    };
    let Some(known) = known else { return call.by_name().await };
    let single = call.by_id(known, None).await?;
    let gone = match single.outcome {
        // Its names are free: perhaps somebody else has them, or the same person has a new entry.
        SingleOutcome::DisabledOutOfScope => true,
        // Deleted while it was asked for.
        SingleOutcome::NotFound => true,
        // Renamed: whoever asked for the old name did not ask for this user.
        outcome => {
            outcome != SingleOutcome::Held
                && single.user.as_ref().is_some_and(|user| !single::is_held_by(number, whom, user))
        }
    };
    if !gone || matches!(whom, Whom::User(_)) {
        return Ok(single);
    }
    let other = call.by_name().await?;
    let nobody = other.user.is_none() && single.outcome == SingleOutcome::DisabledOutOfScope;
    Ok(if nobody { single } else { other })
}

impl<'a> Call<'a> {
    pub(super) fn new(asker: Asker<'a>, whom: &'a Whom, settings: JitSettings, by: &'a Actor) -> Self {
        Self { asker, whom, settings, by, denied: AtomicBool::new(false) }
    }

    /// Whether a directory has said something that lets nobody in.
    pub(super) fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    /// Fetches a known user by immutable id, unless that was done already.
    pub(super) async fn by_id(&self, mut known: Sighting, mut seen: Option<Seen>) -> Result<Single> {
        let store = &self.asker.inner.store;
        let mut first_change: Option<Written> = None;
        for attempt in 1..=TRIES {
            let Seen { source, asked_at, found } = match seen.take() {
                Some(seen) => seen,
                None => match self.fetch_known(&known).await? {
                    Ok(seen) => seen,
                    Err(nothing) => return Ok(Single { user: Some(known.user), ..nothing }),
                },
            };
            self.heard(&found);
            let observation = self.observation(&source, &known, asked_at);
            let written = match &found {
                Found::Record(record) if record.id == known.user.id => {
                    store.apply_single(observation, (**record).clone()).await?
                }
                Found::Record(_) => return Ok(self.nothing(&source, SingleOutcome::Internal)),
                Found::Rejected(rejected) => return Ok(refused(&source, rejected, Some(known), asked_at)),
                Found::Ambiguous(_) => return Ok(self.nothing(&source, SingleOutcome::Ambiguous)),
                Found::Absent(_) => match look_up(self.asker, &source, &known.user.id).await {
                    Ok(presence) => match presence.absence() {
                        // It is there after all: it came back, or another server was asked.
                        None => continue,
                        Some(absence) => {
                            store.disable_single(observation, known.user.number, absence).await?
                        }
                    },
                    Err(nothing) => return Ok(Single { user: Some(known.user), ..nothing }),
                },
            };
            match written {
                SingleWrite::Done(written) => {
                    let written = *written;
                    let again = written.user.clone().filter(|_| written.confirm && attempt < TRIES);
                    // What a call did is its first change, whatever confirming it comes to.
                    let done = match first_change.take() {
                        Some(first) if !written.outcome.changed() => Written {
                            outcome: first.outcome,
                            message: first.message,
                            user: written.user,
                            confirm: false,
                        },
                        _ => written,
                    };
                    match again {
                        Some(sighting) => {
                            known = sighting;
                            first_change = Some(done);
                        }
                        None => return Ok(self.single(&source, done, &found, asked_at)),
                    }
                }
                SingleWrite::AskAgain(_) => {
                    let again = store.sight_user(self.asker.number, &Whom::User(known.user.number)).await?;
                    let Some(again) = again else {
                        return Ok(self.nothing(&source, SingleOutcome::NotFound));
                    };
                    known = again;
                }
            }
        }
        let mut contested = came_to(SingleOutcome::Internal);
        contested.message = "The user is being changed by others at the same time. Try again.".to_owned();
        Ok(Single { user: Some(known.user), ..contested })
    }

    async fn fetch_known(&self, known: &Sighting) -> Result<std::result::Result<Seen, Single>> {
        let Asker { inner, tenant, .. } = self.asker;
        let source = inner.published.of(&*inner.store, tenant, known).await?;
        let asked_at = self.asker.inner.clock.now();
        let found = fetch(self.asker, &source, FetchBy::Id(known.user.id.clone())).await;
        Ok(found.map(|found| Seen { source, asked_at, found }))
    }

    /// Searches whoever is not known by the name in all sources.
    async fn by_name(&self) -> Result<Single> {
        let Some(by) = single::fetch_by(self.whom) else { return Ok(came_to(SingleOutcome::NotFound)) };
        let mut failed = None;
        let sources = published_sources(self.asker).await?;
        let number = sources.len();
        for (at, source) in sources.into_iter().enumerate() {
            let asked_at = self.asker.inner.clock.now();
            let asker = self.asker.with_share_of(number - at);
            let found = tokio::time::timeout_at(asker.deadline, fetch(asker, &source, by.clone())).await;
            let found = match found {
                Ok(Ok(found)) => found,
                Err(_) => {
                    failed.get_or_insert_with(|| self.nothing(&source, SingleOutcome::DirectoryUnreachable));
                    continue;
                }
                Ok(Err(nothing)) => {
                    failed.get_or_insert(nothing);
                    continue;
                }
            };
            match &found {
                Found::Absent(_) => {}
                // Found by a name that is another one by our rule.
                Found::Record(record) if !single::is_of(self.asker.number, self.whom, record) => {}
                Found::Ambiguous(_) | Found::Rejected(_) | Found::Record(_) => {
                    self.heard(&found);
                    return self.apply_found(Seen { source, asked_at, found }).await;
                }
            }
        }
        Ok(failed.unwrap_or_else(|| came_to(SingleOutcome::NotFound)))
    }

    /// Applies what was found by name, of whom nobody was known by it.
    pub(super) async fn apply_found(&self, Seen { source, asked_at, found }: Seen) -> Result<Single> {
        let store = &self.asker.inner.store;
        let record = match &found {
            Found::Record(record) if single::is_of(self.asker.number, self.whom, record) => record,
            Found::Record(_) | Found::Absent(_) => return Ok(self.nothing(&source, SingleOutcome::NotFound)),
            Found::Ambiguous(_) => return Ok(self.nothing(&source, SingleOutcome::Ambiguous)),
            Found::Rejected(rejected) => return Ok(refused(&source, rejected, None, asked_at)),
        };
        let observation = Observation { version: None, ..self.unversioned(&source, asked_at) };
        match store.apply_single(observation, (**record).clone()).await? {
            SingleWrite::Done(written) => self.confirmed(&source, *written, &found, asked_at).await,
            SingleWrite::AskAgain(None) => Ok(self.nothing(&source, SingleOutcome::Internal)),
            // Known by another name so far, or out of scope.
            SingleWrite::AskAgain(Some(user)) => {
                match store.sight_user(self.asker.number, &Whom::User(user)).await? {
                    Some(known) => self.by_id(known, None).await,
                    None => Ok(self.nothing(&source, SingleOutcome::Internal)),
                }
            }
        }
    }

    /// A new user that was added while a job of the source runs is asked for once more.
    async fn confirmed(
        &self,
        source: &Source,
        written: Written,
        found: &Found,
        asked_at: Timestamp,
    ) -> Result<Single> {
        let Some(known) = written.user.clone().filter(|_| written.confirm) else {
            return Ok(self.single(source, written, found, asked_at));
        };
        let single = self.by_id(known, None).await?;
        Ok(match single.outcome {
            SingleOutcome::Unchanged => Single {
                outcome: written.outcome,
                message: single::text(written.outcome).to_owned(),
                ..single
            },
            _ => single,
        })
    }

    /// Notes whether what a directory has of somebody lets nobody in.
    fn heard(&self, found: &Found) {
        let lets_in = match found {
            Found::Record(record) => !record.disabled && single::is_of(self.asker.number, self.whom, record),
            Found::Absent(_) | Found::Rejected(_) | Found::Ambiguous(_) => false,
        };
        if !lets_in {
            self.denied.store(true, Ordering::Relaxed);
        }
    }

    fn observation(&self, source: &Source, known: &Sighting, asked_at: Timestamp) -> Observation {
        Observation { version: Some(known.version), ..self.unversioned(source, asked_at) }
    }

    fn unversioned(&self, source: &Source, asked_at: Timestamp) -> Observation {
        Observation {
            tenant: self.asker.tenant.clone(),
            source: source.id.clone(),
            revision: source.revision,
            version: None,
            asked_at,
            keep_fresh: !self.settings.last_known_max_age.is_zero(),
            by: self.by.clone(),
            now: self.asker.inner.clock.now(),
        }
    }

    /// What is said of an answer that was written down.
    fn single(&self, source: &Source, written: Written, found: &Found, asked_at: Timestamp) -> Single {
        let Written { outcome, message, user, confirm: _ } = written;
        let user = user.map(|sighting| sighting.user);
        let allowed = match (found, &user) {
            (Found::Record(record), Some(user)) => {
                single::may_enter(outcome, record, user)
                    && single::is_of(self.asker.number, self.whom, record)
                    && single::is_held_by(self.asker.number, self.whom, user)
            }
            _ => false,
        };
        Single {
            outcome,
            user,
            allowed,
            observed_at: Some(asked_at),
            message: message.unwrap_or_else(|| single::text(outcome).to_owned()),
            source: Some(source.id.clone()),
            denied: false,
        }
    }

    fn nothing(&self, source: &Source, outcome: SingleOutcome) -> Single {
        Single { source: Some(source.id.clone()), ..came_to(outcome) }
    }
}

/// An entry that is in scope and cannot be used: its user, if there is one, stays as it was, and is not let in.
fn refused(source: &Source, rejected: &Rejected, known: Option<Sighting>, asked_at: Timestamp) -> Single {
    Single {
        user: known.map(|sighting| sighting.user),
        observed_at: Some(asked_at),
        message: rejected.message.clone(),
        source: Some(source.id.clone()),
        ..came_to(SingleOutcome::refused(rejected.reason))
    }
}

/// Each published source of the tenant, in the order in which they are asked.
pub(super) async fn published_sources(asker: Asker<'_>) -> Result<Vec<Source>> {
    let sources = asker.inner.store.list_sources(asker.tenant, None, SOURCES).await?;
    Ok(sources.into_iter().filter_map(published).collect())
}

pub(super) fn published(source: IdentitySource) -> Option<Source> {
    let IdentitySource { id, published, published_revision, .. } = source;
    published.map(|settings| Source { id, settings, revision: published_revision })
}
