//! Whom a token names, if anyone. Pure: the keys and the time are arguments. Nothing in a token says how it is to be checked: its algorithm
//! must be that of the key, and the key is one that we have.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::json::Object;
use super::keys::KeySet;
use crate::ca::is_id;
use crate::model::{Role, TenantId, Timestamp};

/// Longest token, in bytes.
pub const LONGEST: usize = 8 << 10;
/// Longest life of a token, in seconds.
pub const LIFE: i64 = 3_600;
/// How far clocks may be apart, in seconds.
pub const LEEWAY: i64 = 60;

/// Parts of a header that would have the token itself say which key to trust, or that we would have to understand.
const FORBIDDEN: [&str; 4] = ["jku", "x5u", "jwk", "crit"];

/// What is asked of an issuer's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `iss`.
    pub issuer: String,
    /// What `aud` must be or have.
    pub audience: String,
    /// Algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The claim with the tenant's id.
    pub tenant_claim: String,
    /// The claim with the role or roles.
    pub role_claim: String,
    /// The consoles that may present its tokens.
    pub consoles: Vec<String>,
    /// The tenants that it may speak for; none for all.
    pub tenants: Option<Vec<TenantId>>,
}

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

/// Why a token is not accepted. The sentences name no part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not of the form.
    #[error("it is not a signed JWT of at most {LONGEST} bytes")]
    Malformed,
    /// An algorithm that is not accepted, or that is not the key's.
    #[error("its algorithm is not accepted, or is not that of its key")]
    Algorithm,
    /// A header of [`FORBIDDEN`], or another kind of token.
    #[error(
        "its header asks for something that is not supported: no jku, x5u, jwk or crit, and typ JWT or at+jwt"
    )]
    Header,
    /// An issuer that is not configured.
    #[error("its issuer is not one that is configured")]
    UnknownIssuer,
    /// No such key.
    #[error("its key (kid) is not among the issuer's keys; has it been rotated out?")]
    UnknownKey,
    /// There are no keys, or none that are fresh enough.
    #[error("the issuer's keys could not be read lately; the log of the control plane says why")]
    NoKeys,
    /// Not signed by that key.
    #[error("its signature is wrong")]
    Signature,
    /// For someone else.
    #[error("its audience is another one")]
    Audience,
    /// A claim is missing.
    #[error("it has no claim {0}")]
    Missing(String),
    /// A claim of the wrong type.
    #[error("its claim {0} has a value of a wrong type or form")]
    Type(String),
    /// Over.
    #[error("it has expired; get a new one")]
    Expired,
    /// To come.
    #[error("it is not valid yet; are the clocks right?")]
    NotYet,
    /// Valid for too long.
    #[error("it is valid for more than an hour")]
    TooLong,
    /// The console may not present it.
    #[error("this console may not present tokens of its issuer")]
    Console,
    /// The issuer may not speak for the tenant.
    #[error("its issuer may not speak for its tenant")]
    Tenant,
    /// No role that is known.
    #[error("it has no role that is known: SUPER_ADMIN, HELP_DESK or AUDITOR")]
    Role,
}

impl Refusal {
    /// For programs and the audit trail.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::Algorithm => "WRONG_ALGORITHM",
            Self::Header => "UNSUPPORTED_HEADER",
            Self::UnknownIssuer => "UNKNOWN_ISSUER",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::NoKeys => "NO_KEYS",
            Self::Signature => "WRONG_SIGNATURE",
            Self::Audience => "WRONG_AUDIENCE",
            Self::Missing(_) => "MISSING_CLAIM",
            Self::Type(_) => "WRONG_TYPE",
            Self::Expired => "EXPIRED",
            Self::NotYet => "NOT_YET_VALID",
            Self::TooLong => "LIFE_TOO_LONG",
            Self::Console => "WRONG_CONSOLE",
            Self::Tenant => "WRONG_TENANT",
            Self::Role => "UNKNOWN_ROLE",
        }
    }
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
pub fn read(token: &str) -> Result<Unverified<'_>, Refusal> {
    if token.len() > LONGEST {
        return Err(Refusal::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
    let (header, claims) = (object(header)?, object(payload)?);
    let text = |name: &str| match header.0.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Refusal::Malformed),
    };
    if FORBIDDEN.iter().any(|name| header.0.contains_key(*name)) {
        return Err(Refusal::Header);
    }
    let typ = text("typ")?.unwrap_or("JWT").to_ascii_lowercase();
    if !["jwt", "at+jwt"].contains(&typ.strip_prefix("application/").unwrap_or(&typ)) {
        return Err(Refusal::Header);
    }
    let algorithm = match text("alg")? {
        Some("EdDSA") => Algorithm::EdDSA,
        Some("ES256") => Algorithm::ES256,
        Some("RS256") => Algorithm::RS256,
        _ => return Err(Refusal::Algorithm),
    };
    let key = text("kid")?.ok_or(Refusal::UnknownKey)?.to_owned();
    let issuer = match claims.0.get("iss") {
        None => return Err(Refusal::Missing("iss".to_owned())),
        Some(Value::String(issuer)) => issuer.clone(),
        Some(_) => return Err(Refusal::Type("iss".to_owned())),
    };
    Ok(Unverified { signed, signature, algorithm, key, issuer, claims })
}

fn object(part: &str) -> Result<Object, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
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
        rules: &Rules,
        keys: &KeySet,
        console: &str,
        now: Timestamp,
    ) -> Result<Person, Refusal> {
        if self.issuer != rules.issuer {
            return Err(Refusal::UnknownIssuer);
        }
        if !rules.consoles.iter().any(|allowed| allowed == console) {
            return Err(Refusal::Console);
        }
        let key = keys.get(&self.key).ok_or(Refusal::UnknownKey)?;
        if key.algorithm != self.algorithm || !rules.algorithms.contains(&self.algorithm) {
            return Err(Refusal::Algorithm);
        }
        let signed = self.signed.as_bytes();
        match jsonwebtoken::crypto::verify(self.signature, signed, &key.key, key.algorithm) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(Refusal::Signature),
        }
        self.audience(&rules.audience)?;
        let until = self.life(now.0.div_euclid(1_000_000))?;
        let tenant = self.text(&rules.tenant_claim)?;
        if !is_id(tenant) {
            return Err(Refusal::Type(rules.tenant_claim.clone()));
        }
        let tenant = TenantId::from(tenant);
        if rules.tenants.as_ref().is_some_and(|tenants| !tenants.contains(&tenant)) {
            return Err(Refusal::Tenant);
        }
        let (role, name) = (self.role(&rules.role_claim)?, self.subject()?);
        Ok(Person { tenant, name, role, until: Timestamp(until.saturating_mul(1_000_000)) })
    }

    fn claim(&self, name: &str) -> Result<&Value, Refusal> {
        self.claims.0.get(name).ok_or_else(|| Refusal::Missing(name.to_owned()))
    }

    fn text(&self, name: &str) -> Result<&str, Refusal> {
        self.claim(name)?.as_str().ok_or_else(|| Refusal::Type(name.to_owned()))
    }

    /// A text or a list of texts.
    fn texts(&self, name: &str) -> Result<Vec<&str>, Refusal> {
        let wrong = || Refusal::Type(name.to_owned());
        match self.claim(name)? {
            Value::String(text) => Ok(vec![text]),
            Value::Array(list) => list.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
            _ => Err(wrong()),
        }
    }

    fn audience(&self, wanted: &str) -> Result<(), Refusal> {
        if self.texts("aud")?.contains(&wanted) { Ok(()) } else { Err(Refusal::Audience) }
    }

    /// A point in time, in whole seconds: a number, never a text.
    fn seconds(&self, name: &str) -> Result<i64, Refusal> {
        let value = self.claim(name)?;
        let whole = value.as_i64().or_else(|| {
            let seconds = value.as_f64()?.floor();
            // Up to the year 9999, so that nothing is lost.
            (0.0..=253_402_300_799.0).contains(&seconds).then_some(seconds as i64)
        });
        let sound = whole.filter(|seconds| (0..=253_402_300_799).contains(seconds));
        sound.ok_or_else(|| Refusal::Type(name.to_owned()))
    }

    fn optional_seconds(&self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.seconds(name) {
            Err(Refusal::Missing(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Until when it counts, with the leeway, if it counts now.
    fn life(&self, now: i64) -> Result<i64, Refusal> {
        let expires = self.seconds("exp")?;
        let begins = [self.optional_seconds("nbf")?, self.optional_seconds("iat")?];
        if expires + LEEWAY <= now {
            return Err(Refusal::Expired);
        }
        if begins.iter().flatten().any(|begins| now + LEEWAY < *begins) {
            return Err(Refusal::NotYet);
        }
        let too_long = begins.iter().flatten().any(|begins| expires - begins > LIFE);
        if too_long || expires - now > LIFE + LEEWAY {
            return Err(Refusal::TooLong);
        }
        Ok(expires + LEEWAY)
    }

    /// The highest role of those that we know.
    fn role(&self, name: &str) -> Result<Role, Refusal> {
        let given = self.texts(name)?;
        let known = [Role::SuperAdmin, Role::HelpDesk, Role::Auditor];
        known.into_iter().find(|role| given.contains(&role.name())).ok_or(Refusal::Role)
    }

    fn subject(&self) -> Result<String, Refusal> {
        let subject = self.text("sub")?;
        let printable = subject.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable || subject.is_empty() || subject.len() > 255 {
            return Err(Refusal::Type("sub".to_owned()));
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
