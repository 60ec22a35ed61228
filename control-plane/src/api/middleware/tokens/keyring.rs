//! Keeps the public keys of an issuer fresh: reloads a file when it changes; fetches a URL every
//! few minutes, and when a token names an unknown key.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::fetch::{self, DocumentUrl};
use super::issuer::{Issuer, KeyLocation};
use super::key_set::{self, KeySet};
use super::token_rejected::TokenRejected;
use crate::clock::Clock;
use crate::model::Timestamp;

/// How often a file is looked at.
const FILE_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How often a URL is asked.
const URL_REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// The same while it does not answer.
const URL_RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// How often at most it is asked for a key that is not known.
const MIN_ASK_INTERVAL: Duration = Duration::from_secs(60);
/// How long the keys of a URL count that does not answer any more.
const MAX_KEY_AGE: Duration = Duration::from_secs(24 * 3_600);
/// The keys of one issuer as they were last read.
pub(super) struct Keyring {
    issuer: String,
    source: KeySource,
    cached: Mutex<CachedKeys>,
    /// When it was last asked for a key that was not known. Held while it is asked, so that many
    /// callers ask once.
    asked: tokio::sync::Mutex<Option<Timestamp>>,
}

enum KeySource {
    File(PathBuf),
    Url(DocumentUrl),
}

struct CachedKeys {
    keys: Arc<KeySet>,
    /// Until when they count.
    until: Timestamp,
    /// Of the document, to tell whether a file has changed.
    hash: Option<blake3::Hash>,
}

const FOR_EVER: Timestamp = Timestamp(i64::MAX);

impl Keyring {
    /// Reads a file at once; a URL is left to [`Keyring::follow`].
    pub(super) fn open(issuer: &Issuer) -> anyhow::Result<Self> {
        let empty = CachedKeys { keys: Arc::default(), until: Timestamp(0), hash: None };
        let (source, cached) = match &issuer.keys {
            KeyLocation::File(path) => {
                let (keys, hash) = key_set::read(path)?;
                let cached = CachedKeys { keys: Arc::new(keys), until: FOR_EVER, hash: Some(hash) };
                (KeySource::File(path.clone()), cached)
            }
            KeyLocation::Url(url) => {
                (KeySource::Url(DocumentUrl::new(url, issuer.keys_ca.as_deref())?), empty)
            }
        };
        let issuer = issuer.rules.issuer.clone();
        Ok(Self { issuer, source, cached: Mutex::new(cached), asked: tokio::sync::Mutex::new(None) })
    }

    /// Keeps the keys fresh.
    pub(super) async fn follow(self: Arc<Self>, clock: Clock, shutdown: CancellationToken) {
        loop {
            let pause = match &self.source {
                KeySource::File(path) => {
                    self.reload_if_changed(path);
                    FILE_POLL_INTERVAL
                }
                KeySource::Url(address) => {
                    // Whoever misses a key meanwhile waits for this answer.
                    let _asking = self.asked.lock().await;
                    if self.fetch(address, &clock).await { URL_REFRESH_INTERVAL } else { URL_RETRY_INTERVAL }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// The keys, asked for anew if they have none of this id.
    pub(super) async fn keys_with(&self, id: &str, clock: &Clock) -> Result<Arc<KeySet>, TokenRejected> {
        let known = |keys: &Option<Arc<KeySet>>| keys.as_ref().is_some_and(|keys| keys.get(id).is_some());
        let mut keys = self.current(clock.now());
        if let KeySource::Url(address) = &self.source
            && !known(&keys)
        {
            let mut asked = self.asked.lock().await;
            keys = self.current(clock.now());
            let lately = asked.is_some_and(|asked| clock.now() < asked.plus(MIN_ASK_INTERVAL));
            if !known(&keys) && !lately {
                *asked = Some(clock.now());
                self.fetch(address, clock).await;
                keys = self.current(clock.now());
            }
        }
        keys.ok_or(TokenRejected::NoKeys)
    }

    fn current(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let cached = self.cached();
        (now < cached.until).then(|| Arc::clone(&cached.keys))
    }

    async fn fetch(&self, address: &DocumentUrl, clock: &Clock) -> bool {
        let fetched = match fetch::get(address).await {
            Ok(document) => KeySet::parse(&document).map_err(anyhow::Error::from),
            Err(error) => Err(error.into()),
        };
        match fetched {
            Ok(keys) => {
                let mut cached = self.cached();
                (cached.keys, cached.until) = (Arc::new(keys), clock.now().plus(MAX_KEY_AGE));
                true
            }
            Err(error) => {
                let error = &*error as &dyn std::error::Error;
                tracing::warn!(
                    issuer = self.issuer,
                    error,
                    "cannot fetch an issuer's keys; those there are count for a day"
                );
                false
            }
        }
    }

    fn reload_if_changed(&self, path: &Path) {
        let changed = match std::fs::read(path) {
            Ok(document) => Some(blake3::hash(&document)),
            Err(_) => None,
        };
        if changed == self.cached().hash {
            return;
        }
        match key_set::read(path) {
            Ok((keys, hash)) => {
                let mut cached = self.cached();
                (cached.keys, cached.hash) = (Arc::new(keys), Some(hash));
                tracing::info!(issuer = self.issuer, "an issuer's keys read anew");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    issuer = self.issuer,
                    error,
                    "an issuer's keys changed and cannot be used, the old ones stay"
                );
                self.cached().hash = changed;
            }
        }
    }

    fn cached(&self) -> MutexGuard<'_, CachedKeys> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
