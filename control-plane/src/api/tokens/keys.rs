//! An issuer's public keys, and how they are kept fresh: from a file that is read anew when it changes, or from a URL that is asked every
//! few minutes, and when a token names a key that nobody knows yet.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::claims::Refusal;
use super::fetch::{self, Address, FetchError};
use super::settings::{Issuer, Place};
use crate::clock::Clock;
use crate::model::Timestamp;

/// Most keys of an issuer.
const MOST: usize = 100;
/// How often a file is looked at.
const POLL: Duration = Duration::from_secs(5);
/// How often a URL is asked.
const REFRESH: Duration = Duration::from_secs(300);
/// The same while it does not answer.
const RETRY: Duration = Duration::from_secs(30);
/// How often at most it is asked for a key that is not known.
const ASK: Duration = Duration::from_secs(60);
/// How long the keys of a URL count that does not answer any more.
const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Bits of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// A key, and the one algorithm that it is for.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Keys by their id.
#[derive(Default)]
pub struct KeySet(HashMap<String, Key>);

/// Why a document has no keys for us.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Not a JWKS.
    #[error("not a JWKS (RFC 7517) of at most {MOST} keys")]
    Form(#[source] Option<serde_json::Error>),
    /// Private keys do not belong there.
    #[error("the JWKS has a private or secret key; it must have public ones only")]
    Private,
    /// Two keys with one id.
    #[error("the JWKS has two keys with the kid {0:?}")]
    Repeated(String),
    /// Nothing that can be used.
    #[error("the JWKS has no key with a kid that can be used: Ed25519, P-256, or RSA of 2048 to 8192 bits")]
    None,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde_json::Value>,
    k: Option<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWKS. Keys for something else are passed over.
    ///
    /// # Errors
    /// If it is none, or has no key for us.
    pub fn parse(document: &[u8]) -> Result<Self, KeysError> {
        let jwks: Jwks = serde_json::from_slice(document).map_err(|error| KeysError::Form(Some(error)))?;
        if jwks.keys.len() > MOST {
            return Err(KeysError::Form(None));
        }
        let mut keys = HashMap::new();
        for jwk in jwks.keys {
            if jwk.d.is_some() || jwk.k.is_some() {
                return Err(KeysError::Private);
            }
            let Some((id, key)) = usable(jwk) else { continue };
            if keys.insert(id.clone(), key).is_some() {
                return Err(KeysError::Repeated(id));
            }
        }
        if keys.is_empty() { Err(KeysError::None) } else { Ok(Self(keys)) }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }
}

/// A key that can verify signatures of one of our algorithms.
fn usable(jwk: Jwk) -> Option<(String, Key)> {
    let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    let is = |text: &Option<String>, length: usize| bytes(text).is_some_and(|bytes| bytes.len() == length);
    if jwk.usage.as_ref().is_some_and(|usage| usage != "sig")
        || jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
    {
        return None;
    }
    let (algorithm, name, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) if is(&jwk.x, 32) => {
            (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_components(jwk.x.as_ref()?))
        }
        ("EC", Some("P-256")) if is(&jwk.x, 32) && is(&jwk.y, 32) => {
            (Algorithm::ES256, "ES256", DecodingKey::from_ec_components(jwk.x.as_ref()?, jwk.y.as_ref()?))
        }
        ("RSA", None) if bytes(&jwk.n).is_some_and(|n| RSA_BITS.contains(&bits(&n))) => {
            (Algorithm::RS256, "RS256", DecodingKey::from_rsa_components(jwk.n.as_ref()?, jwk.e.as_ref()?))
        }
        _ => return None,
    };
    if jwk.alg.is_some_and(|alg| alg != name) {
        return None;
    }
    Some((jwk.kid.filter(|kid| !kid.is_empty())?, Key { algorithm, key: key.ok()? }))
}

fn bits(number: &[u8]) -> usize {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    number.get(leading).map_or(0, |first| (number.len() - leading) * 8 - first.leading_zeros() as usize)
}

/// The keys of one issuer as they were last read.
pub(super) struct Keyring {
    issuer: String,
    place: Source,
    state: Mutex<State>,
    /// When it was last asked for a key that was not known. Held while it is asked, so that many callers ask once.
    asked: tokio::sync::Mutex<Option<Timestamp>>,
}

enum Source {
    File(PathBuf),
    Url(Address),
}

struct State {
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
        let empty = State { keys: Arc::default(), until: Timestamp(0), hash: None };
        let (place, state) = match &issuer.keys {
            Place::File(path) => {
                let (keys, hash) = read(path)?;
                let state = State { keys: Arc::new(keys), until: FOR_EVER, hash: Some(hash) };
                (Source::File(path.clone()), state)
            }
            Place::Url(url) => (Source::Url(Address::new(url, issuer.keys_ca.as_deref())?), empty),
        };
        let issuer = issuer.rules.issuer.clone();
        Ok(Self { issuer, place, state: Mutex::new(state), asked: tokio::sync::Mutex::new(None) })
    }

    /// Keeps the keys fresh.
    pub(super) async fn follow(self: Arc<Self>, clock: Clock, shutdown: CancellationToken) {
        loop {
            let pause = match &self.place {
                Source::File(path) => {
                    self.look_at(path);
                    POLL
                }
                Source::Url(address) => {
                    // Whoever misses a key meanwhile waits for this answer.
                    let _asking = self.asked.lock().await;
                    if self.ask(address, &clock).await { REFRESH } else { RETRY }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// The keys, asked for anew if they have none of this id.
    pub(super) async fn with(&self, id: &str, clock: &Clock) -> Result<Arc<KeySet>, Refusal> {
        let known = |keys: &Option<Arc<KeySet>>| keys.as_ref().is_some_and(|keys| keys.get(id).is_some());
        let mut keys = self.current(clock.now());
        if let Source::Url(address) = &self.place
            && !known(&keys)
        {
            let mut asked = self.asked.lock().await;
            keys = self.current(clock.now());
            let lately = asked.is_some_and(|asked| clock.now() < asked.plus(ASK));
            if !known(&keys) && !lately {
                *asked = Some(clock.now());
                self.ask(address, clock).await;
                keys = self.current(clock.now());
            }
        }
        keys.ok_or(Refusal::NoKeys)
    }

    fn current(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let state = self.state();
        (now < state.until).then(|| Arc::clone(&state.keys))
    }

    async fn ask(&self, address: &Address, clock: &Clock) -> bool {
        let fetched = match fetch::get(address).await {
            Ok(document) => KeySet::parse(&document),
            Err(error) => Err(error.into()),
        };
        match fetched {
            Ok(keys) => {
                let mut state = self.state();
                (state.keys, state.until) = (Arc::new(keys), clock.now().plus(KEPT));
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    issuer = self.issuer,
                    error,
                    "cannot fetch an issuer's keys; those there are count for a day"
                );
                false
            }
        }
    }

    fn look_at(&self, path: &std::path::Path) {
        let changed = match std::fs::read(path) {
            Ok(document) => Some(blake3::hash(&document)),
            Err(_) => None,
        };
        if changed == self.state().hash {
            return;
        }
        match read(path) {
            Ok((keys, hash)) => {
                let mut state = self.state();
                (state.keys, state.hash) = (Arc::new(keys), Some(hash));
                tracing::info!(issuer = self.issuer, "an issuer's keys read anew");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    issuer = self.issuer,
                    error,
                    "an issuer's keys changed and cannot be used, the old ones stay"
                );
                self.state().hash = changed;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn read(path: &std::path::Path) -> Result<(KeySet, blake3::Hash), KeysError> {
    let document = std::fs::read(path).map_err(|source| KeysError::File { path: path.to_owned(), source })?;
    Ok((KeySet::parse(&document)?, blake3::hash(&document)))
}
