//! Secrets of webhooks: how they are shown once, kept sealed, and used to sign.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a secret, and of a key.
const SECRET_BYTES: usize = 32;

/// A secret that messages are signed with.
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// If the machine has no random numbers.
    pub fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0; SECRET_BYTES];
        rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As its receiver is given it, once.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// The signature of a message, as Standard Webhooks has it: HMAC-SHA256 of id, seconds since
    /// 1970 and body, joined by dots.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }
}

/// Seals secrets for the database, so that whoever has a copy of it cannot sign. The first key
/// seals; each may unseal.
#[derive(Clone)]
pub struct Sealer(Arc<Vec<(u8, LessSafeKey)>>);

/// First byte of what is sealed: with the key of the configuration's file, or with the one that is
/// in the database.
const FILE_KEY: u8 = 1;
const DATABASE_KEY: u8 = 2;

impl Sealer {
    /// Name of the key among the installation's secrets.
    pub const NAME: &'static str = "webhook secrets";

    /// With the key that is kept in the database, and the one of a file if there is one.
    ///
    /// # Errors
    /// If the library refuses them.
    pub fn new(database: &[u8; 32], file: Option<&[u8; 32]>) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let key = |secret: &[u8; 32]| UnboundKey::new(&AES_256_GCM_SIV, secret).map(LessSafeKey::new);
        let mut keys = Vec::new();
        if let Some(file) = file {
            keys.push((FILE_KEY, key(file)?));
        }
        keys.push((DATABASE_KEY, key(database)?));
        Ok(Self(Arc::new(keys)))
    }

    /// Seals a secret for one webhook. Secrets are random, so the same is never sealed twice, which
    /// is all that a fixed nonce would tell of in this mode (RFC 8452).
    ///
    /// # Errors
    /// If the library fails.
    pub fn seal(
        &self,
        webhook: &[u8; 16],
        secret: &Secret,
    ) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let (kind, key) = self.0.first().ok_or(aws_lc_rs::error::Unspecified)?;
        let mut sealed = secret.0.to_vec();
        key.seal_in_place_append_tag(nonce(), Aad::from(webhook), &mut sealed)?;
        Ok([&[*kind][..], &sealed].concat())
    }

    /// The secret again; none if it was sealed with another key, or for another webhook.
    #[must_use]
    pub fn unseal(&self, webhook: &[u8; 16], sealed: &[u8]) -> Option<Secret> {
        let (kind, sealed) = sealed.split_first()?;
        let (_, key) = self.0.iter().find(|(of, _)| of == kind)?;
        let mut sealed = sealed.to_vec();
        let secret = key.open_in_place(nonce(), Aad::from(webhook), &mut sealed).ok()?;
        <[u8; SECRET_BYTES]>::try_from(&*secret).ok().map(Secret)
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Reads a key: 32 bytes in base64, as `openssl rand -base64 32` writes them.
///
/// # Errors
/// If it is none.
pub fn read_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.with_context(|| format!("{} must have 32 bytes in base64: openssl rand -base64 32", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_standards_own_example() {
        // github.com/standard-webhooks/standard-webhooks, the specification's example and its
        // libraries' tests.
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let body = r#"{"test": 2432232314}"#;
        let text = format!("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{body}");
        assert_eq!(
            STANDARD.encode(hmac::sign(&key, text.as_bytes()).as_ref()),
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let secret = Secret([7; SECRET_BYTES]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
        let tag = hmac::sign(&key, b"msg_1.5.{}");
        assert_eq!(secret.sign("msg_1", 5, "{}"), format!("v1,{}", STANDARD.encode(tag.as_ref())));
        assert_eq!(STANDARD.decode(&secret.reveal()["whsec_".len()..]).expect("base64"), [7; SECRET_BYTES]);
    }

    #[test]
    fn a_secret_is_unsealed_with_its_key_for_its_webhook_only() {
        let (secret, webhook) = (Secret::random().expect("a secret"), [1; 16]);
        let without = Sealer::new(&[1; 32], None).expect("a sealer");
        let with = Sealer::new(&[1; 32], Some(&[2; 32])).expect("a sealer");
        let other = Sealer::new(&[1; 32], Some(&[3; 32])).expect("a sealer");
        let opened = |sealer: &Sealer, sealed: &[u8]| sealer.unseal(&webhook, sealed).map(|secret| secret.0);
        let (early, late) = (without.seal(&webhook, &secret), with.seal(&webhook, &secret));
        let (early, late) = (early.expect("sealed"), late.expect("sealed"));
        assert_eq!(opened(&without, &early), Some(secret.0));
        assert_eq!(opened(&with, &early), Some(secret.0), "from before there was a file");
        assert_eq!(opened(&with, &late), Some(secret.0));
        assert_eq!(opened(&without, &late), None, "the database alone is not enough");
        assert_eq!(opened(&other, &late), None);
        assert!(with.unseal(&[2; 16], &late).is_none(), "for another webhook");
        assert!(!late.windows(8).any(|bytes| bytes == &secret.0[..8]));
        for at in 0..late.len() {
            let mut changed = late.clone();
            changed[at] ^= 1;
            assert_eq!(opened(&with, &changed), None, "byte {at}");
        }
    }
}
