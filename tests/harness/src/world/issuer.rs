//! An issuer of persons' tokens, such as a company's login service: its keys, their JWKS, and any
//! token that a test wants.

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};

use super::Role;

/// The one console of a world that has an issuer.
pub const CONSOLE: &str = "portal";
/// Name of a world's issuer in its tokens.
pub const ISSUER: &str = "https://login.example.com";

/// An Ed25519 key with an id.
#[derive(Debug)]
pub struct Issuer {
    key: KeyPair,
    kid: String,
}

impl Issuer {
    pub fn new(kid: &str) -> Result<Self> {
        Ok(Self { key: KeyPair::generate_for(&PKCS_ED25519)?, kid: kid.to_owned() })
    }

    /// The public key, as the issuer publishes it.
    pub fn jwks(&self) -> String {
        let key = URL_SAFE_NO_PAD.encode(self.key.public_key_raw());
        let kid = &self.kid;
        format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"{kid}","x":"{key}"}}]}}"#
        )
    }

    /// A token with these claims, given as JSON.
    pub fn token(&self, claims: &str) -> Result<String> {
        let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{}"}}"#, self.kid);
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(signed.as_bytes()).context("cannot sign")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// A token of a person that is good from a minute ago until so many seconds from now, negative
    /// for one that has expired.
    pub fn person(&self, tenant: &str, name: &str, role: Role, seconds: i64) -> Result<String> {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let (role, expires) = (role.claim(), now + seconds);
        let issued = (now - 60).min(expires - 60);
        self.token(&format!(
            r#"{{"iss":"{ISSUER}","aud":"rollcall","sub":"{name}","tenant":"{tenant}","rollcall_role":"{role}","iat":{issued},"exp":{expires}}}"#
        ))
    }
}
