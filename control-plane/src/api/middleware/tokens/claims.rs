//! Verifies a token and reads the person that it names. Pure: keys and time are arguments. The
//! token does not choose how it is checked: its algorithm must be that of a key of the issuer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::issuer::TokenRules;
use super::json::Object;
use super::key_set::KeySet;
use super::token_rejected::{MAX_TOKEN_BYTES, TokenRejected};
use crate::ca::is_id;
use crate::model::{Role, TenantId, Timestamp};

/// Longest life of a token, in seconds.
pub const MAX_LIFE: i64 = 3_600;
/// How far clocks may be apart, in seconds.
pub const LEEWAY: i64 = 60;

/// Parts of a header that would have the token itself say which key to trust, or that we would have
/// to understand.
const FORBIDDEN_HEADERS: [&str; 4] = ["jku", "x5u", "jwk", "crit"];

/// A person whom a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The tenant.
    pub tenant: TenantId,
    /// The name: the subject, with whatever has a meaning in resource names escaped.
    pub name: String,
    /// The role.
    pub role: Role,
    /// From when on the token counts for nothing.
    pub until: Timestamp,
}

/// A token that was taken apart. Nothing in it can be believed yet.
pub struct Unverified<'t> {
    signed: &'t str,
    signature: &'t str,
    algorithm: Algorithm,
    key: String,
    issuer: String,
    claims: Object,
}

/// Takes a token apart.
///
/// # Errors
/// If it has not the form of one that could be accepted.
pub fn read(token: &str) -> Result<Unverified<'_>, TokenRejected> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenRejected::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenRejected::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenRejected::Malformed)?;
    let (header, claims) = (decode_object(header)?, decode_object(payload)?);
    let text = |name: &str| match header.0.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(TokenRejected::Malformed),
    };
    if FORBIDDEN_HEADERS.iter().any(|name| header.0.contains_key(*name)) {
        return Err(TokenRejected::Header);
    }
    let typ = text("typ")?.unwrap_or("JWT").to_ascii_lowercase();
    if !["jwt", "at+jwt"].contains(&typ.strip_prefix("application/").unwrap_or(&typ)) {
        return Err(TokenRejected::Header);
    }
    let algorithm = match text("alg")? {
        Some("EdDSA") => Algorithm::EdDSA,
        Some("ES256") => Algorithm::ES256,
        Some("RS256") => Algorithm::RS256,
        _ => return Err(TokenRejected::Algorithm),
    };
    let key = text("kid")?.ok_or(TokenRejected::UnknownKey)?.to_owned();
    let issuer = match claims.0.get("iss") {
        None => return Err(TokenRejected::Missing("iss".to_owned())),
        Some(Value::String(issuer)) => issuer.clone(),
        Some(_) => return Err(TokenRejected::Type("iss".to_owned())),
    };
    Ok(Unverified { signed, signature, algorithm, key, issuer, claims })
}

fn decode_object(part: &str) -> Result<Object, TokenRejected> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRejected::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenRejected::Malformed)
}

impl Unverified<'_> {
    /// Whose token it says it is.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key that it names.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The person whom it names, if it is what the rules ask for.
    ///
    /// # Errors
    /// If it is not.
    pub fn verify(
        &self,
        rules: &TokenRules,
        keys: &KeySet,
        console: &str,
        now: Timestamp,
    ) -> Result<Person, TokenRejected> {
        if self.issuer != rules.issuer {
            return Err(TokenRejected::UnknownIssuer);
        }
        if !rules.consoles.iter().any(|allowed| allowed == console) {
            return Err(TokenRejected::Console);
        }
        let key = keys.get(&self.key).ok_or(TokenRejected::UnknownKey)?;
        if key.algorithm != self.algorithm || !rules.algorithms.contains(&self.algorithm) {
            return Err(TokenRejected::Algorithm);
        }
        let signed = self.signed.as_bytes();
        match jsonwebtoken::crypto::verify(self.signature, signed, &key.key, key.algorithm) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(TokenRejected::Signature),
        }
        self.check_audience(&rules.audience)?;
        let until = self.check_life(now.0.div_euclid(1_000_000))?;
        let tenant = self.text(&rules.tenant_claim)?;
        if !is_id(tenant) {
            return Err(TokenRejected::Type(rules.tenant_claim.clone()));
        }
        let tenant = TenantId::from(tenant);
        if rules.tenants.as_ref().is_some_and(|tenants| !tenants.contains(&tenant)) {
            return Err(TokenRejected::Tenant);
        }
        let (role, name) = (self.role(&rules.role_claim)?, self.subject()?);
        Ok(Person { tenant, name, role, until: Timestamp(until.saturating_mul(1_000_000)) })
    }

    fn claim(&self, name: &str) -> Result<&Value, TokenRejected> {
        self.claims.0.get(name).ok_or_else(|| TokenRejected::Missing(name.to_owned()))
    }

    fn text(&self, name: &str) -> Result<&str, TokenRejected> {
        self.claim(name)?.as_str().ok_or_else(|| TokenRejected::Type(name.to_owned()))
    }

    /// A text or a list of texts.
    fn texts(&self, name: &str) -> Result<Vec<&str>, TokenRejected> {
        let wrong = || TokenRejected::Type(name.to_owned());
        match self.claim(name)? {
            Value::String(text) => Ok(vec![text]),
            Value::Array(list) => list.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
            _ => Err(wrong()),
        }
    }

    fn check_audience(&self, wanted: &str) -> Result<(), TokenRejected> {
        if self.texts("aud")?.contains(&wanted) { Ok(()) } else { Err(TokenRejected::Audience) }
    }

    /// A point in time, in whole seconds: a number, never a text.
    fn seconds(&self, name: &str) -> Result<i64, TokenRejected> {
        let value = self.claim(name)?;
        let whole = value.as_i64().or_else(|| {
            let seconds = value.as_f64()?.floor();
            // Up to the year 9999, so that nothing is lost.
            (0.0..=253_402_300_799.0).contains(&seconds).then_some(seconds as i64)
        });
        let sound = whole.filter(|seconds| (0..=253_402_300_799).contains(seconds));
        sound.ok_or_else(|| TokenRejected::Type(name.to_owned()))
    }

    fn optional_seconds(&self, name: &str) -> Result<Option<i64>, TokenRejected> {
        match self.seconds(name) {
            Err(TokenRejected::Missing(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Until when it counts, with the leeway, if it counts now.
    fn check_life(&self, now: i64) -> Result<i64, TokenRejected> {
        let expires = self.seconds("exp")?;
        let begins = [self.optional_seconds("nbf")?, self.optional_seconds("iat")?];
        if expires + LEEWAY <= now {
            return Err(TokenRejected::Expired);
        }
        if begins.iter().flatten().any(|begins| now + LEEWAY < *begins) {
            return Err(TokenRejected::NotYet);
        }
        let too_long = begins.iter().flatten().any(|begins| expires - begins > MAX_LIFE);
        if too_long || expires - now > MAX_LIFE + LEEWAY {
            return Err(TokenRejected::TooLong);
        }
        Ok(expires + LEEWAY)
    }

    /// The highest role of those that we know.
    fn role(&self, name: &str) -> Result<Role, TokenRejected> {
        let given = self.texts(name)?;
        let known = [Role::SuperAdmin, Role::HelpDesk, Role::Auditor];
        known.into_iter().find(|role| given.contains(&role.name())).ok_or(TokenRejected::Role)
    }

    fn subject(&self) -> Result<String, TokenRejected> {
        let subject = self.text("sub")?;
        let printable = subject.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable || subject.is_empty() || subject.len() > 255 {
            return Err(TokenRejected::Type("sub".to_owned()));
        }
        let escape = |letter: char| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | '~' | '@' | '|' | ':' | '+' | '=' => {
                letter.to_string()
            }
            other => format!("%{:02X}", u32::from(other)),
        };
        Ok(subject.chars().map(escape).collect())
    }
}
