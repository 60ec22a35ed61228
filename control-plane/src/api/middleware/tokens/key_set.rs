//! Reads the public keys of an issuer from a document (JWKS, RFC 7517).

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Most keys of an issuer.
const MAX_KEYS: usize = 100;
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
pub enum KeySetError {
    /// The file cannot be read.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not a JWKS.
    #[error("not a JWKS (RFC 7517) of at most {MAX_KEYS} keys")]
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
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let jwks: Jwks = serde_json::from_slice(document).map_err(|error| KeySetError::Form(Some(error)))?;
        if jwks.keys.len() > MAX_KEYS {
            return Err(KeySetError::Form(None));
        }
        let mut keys = HashMap::new();
        for jwk in jwks.keys {
            if jwk.d.is_some() || jwk.k.is_some() {
                return Err(KeySetError::Private);
            }
            let Some((id, key)) = usable_key(jwk) else { continue };
            if keys.insert(id.clone(), key).is_some() {
                return Err(KeySetError::Repeated(id));
            }
        }
        if keys.is_empty() { Err(KeySetError::None) } else { Ok(Self(keys)) }
    }

    /// The key of this id.
    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }
}

/// A key that can verify signatures of one of our algorithms.
fn usable_key(jwk: Jwk) -> Option<(String, Key)> {
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
        ("RSA", None) if bytes(&jwk.n).is_some_and(|n| RSA_BITS.contains(&bit_length(&n))) => {
            (Algorithm::RS256, "RS256", DecodingKey::from_rsa_components(jwk.n.as_ref()?, jwk.e.as_ref()?))
        }
        _ => return None,
    };
    if jwk.alg.is_some_and(|alg| alg != name) {
        return None;
    }
    Some((jwk.kid.filter(|kid| !kid.is_empty())?, Key { algorithm, key: key.ok()? }))
}

fn bit_length(number: &[u8]) -> usize {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    number.get(leading).map_or(0, |first| (number.len() - leading) * 8 - first.leading_zeros() as usize)
}

/// Reads a file, and its hash.
pub(super) fn read(path: &std::path::Path) -> Result<(KeySet, blake3::Hash), KeySetError> {
    let document =
        std::fs::read(path).map_err(|source| KeySetError::File { path: path.to_owned(), source })?;
    Ok((KeySet::parse(&document)?, blake3::hash(&document)))
}
