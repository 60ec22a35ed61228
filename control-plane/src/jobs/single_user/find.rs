//! From a name to what became of its user. A known user is fetched by immutable id from its own
//! source; otherwise each published source is searched by the name, in the order of their ids.
//!
//! Usually that is one search. It takes a second one if the user is found by another name than it
//! is known by, was written meanwhile, is not found, or changed while a job of the source runs.

use std::sync::atomic::{AtomicBool, Ordering};

use super::context::SearchContext;
use super::fetch::{fetch, look_up};
use super::outcome::outcome_only;
use super::sources::{Source, published_sources};
use crate::model::{
    Actor, FetchBy, Found, Rejected, Single, SingleOutcome, SingleUserSettings, Status, Timestamp,
    UserSelector, UserSnapshot,
};
use crate::reconcile::single_user::{self, Sight};
use crate::store::{Observation, Result, SingleWrite, Written};

/// How often one user is fetched.
const MAX_FETCHES: u32 = 3;

/// What a call is for.
pub(super) struct Call<'a> {
    pub(super) context: SearchContext<'a>,
    pub(super) whom: &'a UserSelector,
    pub(super) settings: SingleUserSettings,
    pub(super) by: &'a Actor,
    /// Set once an answer of a directory lets no user in; it outlives a search that ends at its
    /// deadline.
    denied: AtomicBool,
}

/// What was just fetched from a source.
pub(super) struct FetchResult {
    pub(super) source: Source,
    pub(super) asked_at: Timestamp,
    pub(super) found: Found,
}

/// Synchronizes one user; `known` if it was found already.
pub(super) async fn sync(call: &Call<'_>, known: Option<UserSnapshot>) -> Result<Single> {
    let Call { context: SearchContext { inner, number, .. }, whom, .. } = *call;
    let known = match known {
        Some(known) => Some(known),
        None => inner.store.look_up_user(number, whom).await?,
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
                && single.user.as_ref().is_some_and(|user| !single_user::is_held_by(number, whom, user))
        }
    };
    if !gone || matches!(whom, UserSelector::User(_)) {
        return Ok(single);
    }
    let other = call.by_name().await?;
    // Of the very user that was just disabled nothing is said but that, unless it changed again.
    let number = |single: &Single| single.user.as_ref().map(|user| user.number);
    let nothing_new = other.user.is_none() || number(&other) == number(&single) && !other.outcome.changed();
    let disabled = single.outcome == SingleOutcome::DisabledOutOfScope;
    Ok(if disabled && nothing_new { single } else { other })
}

/// Marks a known user as not found, if it is not. Nothing else is written.
pub(super) async fn mark_if_absent(call: &Call<'_>, known: &UserSnapshot) -> Result<()> {
    if let Ok(FetchResult { source, asked_at, found: Found::Absent(_) }) = call.fetch_known(known).await?
        && let Ok(presence) = look_up(call.context, &source, &known.user.id).await
        && single_user::sight(presence) != Sight::Here
    {
        let observation = call.observation(&source, known, asked_at);
        call.context.inner.store.observe_absence(observation, known.user.number, presence).await?;
    }
    Ok(())
}

impl<'a> Call<'a> {
    pub(super) fn new(
        context: SearchContext<'a>,
        whom: &'a UserSelector,
        settings: SingleUserSettings,
        by: &'a Actor,
    ) -> Self {
        Self { context, whom, settings, by, denied: AtomicBool::new(false) }
    }

    /// Whether an answer of a directory lets no user in.
    pub(super) fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    /// Fetches a known user by immutable id, unless that was done already.
    pub(super) async fn by_id(
        &self,
        mut known: UserSnapshot,
        mut seen: Option<FetchResult>,
    ) -> Result<Single> {
        let store = &self.context.inner.store;
        let mut first_change: Option<Written> = None;
        let mut contradicted = false;
        for attempt in 1..=MAX_FETCHES {
            let fetched = match seen.take() {
                Some(seen) => seen,
                None => match self.fetch_known(&known).await? {
                    Ok(seen) => seen,
                    Err(nothing) => return Ok(Single { user: Some(known.user), ..nothing }),
                },
            };
            self.record_denial(&fetched.found);
            let written = match self.write_known(&known, &fetched).await? {
                Ok(Some(written)) => written,
                Ok(None) => {
                    contradicted = true;
                    continue;
                }
                Err(single) => return Ok(single),
            };
            let FetchResult { source, asked_at, found } = fetched;
            match written {
                SingleWrite::Done(written) => {
                    let written = *written;
                    let again = written.user.clone().filter(|_| written.confirm && attempt < MAX_FETCHES);
                    let done = match first_change.take() {
                        Some(first)
                            if single_user::confirmed(first.outcome, written.outcome) == first.outcome =>
                        {
                            Written { user: written.user, confirm: false, ..first }
                        }
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
                    let again = store
                        .look_up_user(self.context.number, &UserSelector::User(known.user.number))
                        .await?;
                    let Some(again) = again else {
                        return Ok(self.nothing(&source, SingleOutcome::NotFound));
                    };
                    known = again;
                }
            }
        }
        let mut contested = outcome_only(match contradicted {
            true => SingleOutcome::DirectoryUnreachable,
            false => SingleOutcome::Internal,
        });
        contested.message = match contradicted {
            true => "The directory has the user on one connection and not on another. Check that its servers have the same data, and the rights of the bind account.",
            false => "The user is being changed by others at the same time. Try again.",
        }
        .to_owned();
        Ok(Single { user: Some(known.user), ..contested })
    }

    /// Writes what was fetched of a known user; none if the user is there after all, so that it is
    /// fetched again. An error is what the search ends with.
    async fn write_known(
        &self,
        known: &UserSnapshot,
        FetchResult { source, asked_at, found }: &FetchResult,
    ) -> Result<std::result::Result<Option<SingleWrite>, Single>> {
        let store = &self.context.inner.store;
        let observation = self.observation(source, known, *asked_at);
        let written = match found {
            Found::Record(record) if record.id == known.user.id => {
                store.apply_observation(observation, (**record).clone()).await?
            }
            Found::Record(_) => return Ok(Err(self.nothing(source, SingleOutcome::Internal))),
            Found::Rejected(rejected) => self.write_rejected(observation, known, rejected).await?,
            Found::Ambiguous(_) => return Ok(Err(self.nothing(source, SingleOutcome::Ambiguous))),
            Found::Absent(_) => match look_up(self.context, source, &known.user.id).await {
                // It came back, or another server was asked.
                Ok(presence) if single_user::sight(presence) == Sight::Here => return Ok(Ok(None)),
                Ok(presence) => store.observe_absence(observation, known.user.number, presence).await?,
                Err(nothing) => return Ok(Err(Single { user: Some(known.user.clone()), ..nothing })),
            },
        };
        Ok(Ok(Some(written)))
    }

    /// Writes what an entry that cannot be used says of its user: its mark counts, as long as it is
    /// certain whose entry it is, and the user was seen.
    async fn write_rejected(
        &self,
        observation: Observation,
        known: &UserSnapshot,
        rejected: &Rejected,
    ) -> Result<SingleWrite> {
        let is_its_entry = rejected.id.as_ref() == Some(&known.user.id);
        let matters =
            rejected.disabled && known.user.status == Status::Enabled || known.user.absent_since.is_some();
        let mut written = if is_its_entry && matters {
            let store = &self.context.inner.store;
            store.observe_rejected(observation, rejected).await?
        } else {
            SingleWrite::Done(Box::new(Written {
                outcome: SingleOutcome::Unchanged,
                message: None,
                user: Some(known.clone()),
                confirm: false,
            }))
        };
        if let SingleWrite::Done(written) = &mut written
            && !written.outcome.changed()
        {
            written.outcome = SingleOutcome::refused(rejected.reason);
            written.message = Some(rejected.message.clone());
        }
        Ok(written)
    }

    async fn fetch_known(&self, known: &UserSnapshot) -> Result<std::result::Result<FetchResult, Single>> {
        let SearchContext { inner, tenant, .. } = self.context;
        let source = inner.settings_cache.get(&inner.store, tenant, known).await?;
        let asked_at = self.context.inner.clock.now();
        let by = FetchBy::Id(known.user.id.clone());
        let found = fetch(self.context, &source, by, known.user.status != Status::Enabled).await;
        Ok(found.map(|found| FetchResult { source, asked_at, found }))
    }

    /// Searches all sources by the name.
    async fn by_name(&self) -> Result<Single> {
        let Some(by) = single_user::fetch_by(self.whom) else {
            return Ok(outcome_only(SingleOutcome::NotFound));
        };
        let mut failed = None;
        let sources = published_sources(self.context).await?;
        let number = sources.len();
        for (at, source) in sources.into_iter().enumerate() {
            let asked_at = self.context.inner.clock.now();
            let context = self.context.with_share_of(number - at);
            let found =
                tokio::time::timeout_at(context.deadline, fetch(context, &source, by.clone(), true)).await;
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
                Found::Record(record) if !single_user::is_of(self.context.number, self.whom, record) => {}
                Found::Ambiguous(_) | Found::Rejected(_) | Found::Record(_) => {
                    self.record_denial(&found);
                    let single = self.apply_found(FetchResult { source, asked_at, found }).await?;
                    // As for an unknown name.
                    let is_of_another = self.is_login_of_another(&single).await?;
                    return Ok(if is_of_another { outcome_only(SingleOutcome::NotFound) } else { single });
                }
            }
        }
        Ok(failed.unwrap_or_else(|| outcome_only(SingleOutcome::NotFound)))
    }

    /// Whether what was found by a name is a user whose login another one had first. The other one
    /// need not have been found in the directory.
    pub(super) async fn is_login_of_another(&self, single: &Single) -> Result<bool> {
        let Some(user) = &single.user else { return Ok(false) };
        let holder = self.context.inner.store.look_up_user(self.context.number, self.whom).await?;
        Ok(holder.map_or(single.allowed, |holder| holder.user.number != user.number))
    }

    /// Applies what was found by a name that no user is known by.
    pub(super) async fn apply_found(
        &self,
        FetchResult { source, asked_at, found }: FetchResult,
    ) -> Result<Single> {
        let store = &self.context.inner.store;
        let found = match found {
            // Another entry may have the same immutable id, under another name.
            Found::Record(record) if single_user::is_of(self.context.number, self.whom, &record) => {
                match fetch(self.context, &source, FetchBy::Id(record.id.clone()), true).await {
                    Ok(Found::Ambiguous(entries)) => Found::Ambiguous(entries),
                    Ok(_) => Found::Record(record),
                    Err(nothing) => return Ok(nothing),
                }
            }
            other => other,
        };
        let record = match &found {
            Found::Record(record) if single_user::is_of(self.context.number, self.whom, record) => record,
            Found::Record(_) | Found::Absent(_) => return Ok(self.nothing(&source, SingleOutcome::NotFound)),
            Found::Ambiguous(_) => return Ok(self.nothing(&source, SingleOutcome::Ambiguous)),
            Found::Rejected(rejected) => return self.rejected_entry(&source, rejected, asked_at).await,
        };
        let observation = Observation { version: None, ..self.unversioned(&source, asked_at) };
        match store.apply_observation(observation, (**record).clone()).await? {
            SingleWrite::Done(written) => self.confirmed(&source, *written, &found, asked_at).await,
            SingleWrite::AskAgain(None) => Ok(self.nothing(&source, SingleOutcome::Internal)),
            // Known by another name so far, or out of scope.
            SingleWrite::AskAgain(Some(user)) => {
                match store.look_up_user(self.context.number, &UserSelector::User(user)).await? {
                    Some(known) => self.by_id(known, None).await,
                    None => Ok(self.nothing(&source, SingleOutcome::Internal)),
                }
            }
        }
    }

    /// An entry that was found by a name that no user is known by, and cannot be used. If it is of
    /// a user that is known by another name, its mark counts.
    async fn rejected_entry(
        &self,
        source: &Source,
        rejected: &Rejected,
        asked_at: Timestamp,
    ) -> Result<Single> {
        let store = &self.context.inner.store;
        if rejected.id.is_some() && rejected.disabled {
            let observation = self.unversioned(source, asked_at);
            if let SingleWrite::AskAgain(Some(user)) = store.observe_rejected(observation, rejected).await?
                && let Some(known) =
                    store.look_up_user(self.context.number, &UserSelector::User(user)).await?
            {
                return self.by_id(known, None).await;
            }
        }
        Ok(Single {
            observed_at: Some(asked_at),
            message: rejected.message.clone(),
            ..self.nothing(source, SingleOutcome::refused(rejected.reason))
        })
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
        Ok(match single_user::confirmed(written.outcome, single.outcome) {
            outcome if outcome == written.outcome => {
                Single { outcome, message: single_user::text(written.outcome).to_owned(), ..single }
            }
            _ => single,
        })
    }

    /// Records whether an answer of a directory lets no user in.
    fn record_denial(&self, found: &Found) {
        let lets_in = match found {
            Found::Record(record) => {
                !record.disabled && single_user::is_of(self.context.number, self.whom, record)
            }
            Found::Absent(_) | Found::Rejected(_) | Found::Ambiguous(_) => false,
        };
        if !lets_in {
            self.denied.store(true, Ordering::Relaxed);
        }
    }

    fn observation(&self, source: &Source, known: &UserSnapshot, asked_at: Timestamp) -> Observation {
        Observation { version: Some(known.version), ..self.unversioned(source, asked_at) }
    }

    fn unversioned(&self, source: &Source, asked_at: Timestamp) -> Observation {
        Observation {
            tenant: self.context.tenant.clone(),
            source: source.id.clone(),
            revision: source.revision,
            version: None,
            asked_at,
            keep_fresh: !self.settings.last_known_max_age.is_zero(),
            by: self.by.clone(),
            now: self.context.inner.clock.now(),
        }
    }

    /// What is said of an answer that was written down.
    fn single(&self, source: &Source, written: Written, found: &Found, asked_at: Timestamp) -> Single {
        let Written { outcome, message, user, confirm: _ } = written;
        let user = user.map(|sighting| sighting.user);
        let allowed = match (found, &user) {
            (Found::Record(record), Some(user)) => {
                single_user::may_enter(outcome, record, user)
                    && single_user::is_of(self.context.number, self.whom, record)
                    && single_user::is_held_by(self.context.number, self.whom, user)
            }
            _ => false,
        };
        Single {
            outcome,
            user,
            allowed,
            observed_at: Some(asked_at),
            message: message.unwrap_or_else(|| single_user::text(outcome).to_owned()),
            source: Some(source.id.clone()),
            denied: false,
        }
    }

    fn nothing(&self, source: &Source, outcome: SingleOutcome) -> Single {
        Single { source: Some(source.id.clone()), ..outcome_only(outcome) }
    }
}
