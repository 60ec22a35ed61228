//! The words of the audit trail: who, what, with what outcome, and the chain that each event is a
//! link of. Nothing here writes one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use super::stored_enum::stored_enum;
use super::{TenantId, Timestamp};

/// Who does something, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `admins/{name}`, `operators/{name}`, `identityRouters/{router}`, `system` or `unknown`.
    pub name: String,
    /// The service that speaks for a person, `consoles/{name}`, or empty.
    pub via: String,
    /// The address from which it calls, or empty.
    pub address: String,
}

impl Actor {
    /// The control plane itself.
    #[must_use]
    pub fn system() -> Self {
        Self { name: "system".to_owned(), via: String::new(), address: String::new() }
    }
}

stored_enum! {
    /// What happened. The numbers are those of the API and of the tables: never reuse one. The
    /// API's reference says what each means and which details it has.
    #[expect(missing_docs, reason = "the API's reference, audit.proto, documents each")]
    pub enum EventType {
        TenantCreated = 100, TenantSuspended = 101, TenantResumed = 102, LicenseLimitSet = 110,
        LicenseAbove85 = 111, LicenseAbove95 = 112, LicenseBelow95 = 113, LicenseBelow85 = 114,
        JustInTimeSet = 120,
        WebhookCreated = 130, WebhookUpdated = 131, WebhookDeleted = 132, WebhookSecretRotated = 133, WebhookTested = 134,
        WebhookGone = 135, WebhookMessageGivenUp = 136,
        SourceCreated = 200, SourceUpdated = 201, SourcePublished = 202, SourceDeleted = 203,
        ScheduleSet = 210,
        SyncStarted = 300, SyncStopped = 301, SyncSucceeded = 302, SyncFailed = 303, SyncHeld = 304, SyncApproved = 305,
        SyncRejected = 306, SyncHoldExpired = 307, SyncHoldSuperseded = 308, SyncOverLicense = 309, SyncPlanned = 310,
        CodeCreated = 400, CodeVoided = 401, RouterEnrolled = 402, RouterRenewed = 403, RouterRecovered = 404,
        EnrollmentRefused = 405, RouterRevoked = 406, RouterCloned = 407, RouterRefused = 408, RouterRefusedOrder = 409,
        CallRefused = 500, TokenRefused = 501, AuditForked = 600,
        UserSynced = 700,
        UserMarked = 710, UserUndeleted = 711, UserDeleted = 712, UsersMarked = 713, MarksLifted = 714, UsersPurged = 715,
        DeletionSet = 720,
        PasswordRefused = 730, PasswordAcceptedAfterRefusals = 731,
    }
}

stored_enum! {
    /// Whether something was done.
    pub enum AuditOutcome {
        /// It was.
        Done = 1,
        /// It was refused.
        Refused = 2,
    }
}

/// Whose trail: each is a chain of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trail {
    /// What belongs to no tenant.
    Installation,
    /// A tenant's.
    Tenant(TenantId),
}

/// An event to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventType,
    /// Whether it was done.
    pub outcome: AuditOutcome,
    /// On what: a resource name, or a method.
    pub subject: String,
    /// Further facts. No personal data of users, no secret.
    pub details: BTreeMap<String, String>,
}

impl Event {
    /// Something that is done.
    #[must_use]
    pub fn done(kind: EventType, subject: impl Into<String>) -> Self {
        Self { kind, outcome: AuditOutcome::Done, subject: subject.into(), details: BTreeMap::new() }
    }

    /// Something that is refused.
    #[must_use]
    pub fn refused(kind: EventType, subject: impl Into<String>) -> Self {
        Self { outcome: AuditOutcome::Refused, ..Self::done(kind, subject) }
    }

    /// With a further fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}

/// A word of the domain as the API spells it: `RouterLost` becomes `ROUTER_LOST`, and `Above85`
/// `ABOVE_85`.
#[must_use]
pub fn spelled(word: impl std::fmt::Debug) -> String {
    let mut text = String::new();
    for letter in format!("{word:?}").chars() {
        let in_number = letter.is_ascii_digit() && text.ends_with(|before: char| before.is_ascii_digit());
        if !text.is_empty() && !letter.is_ascii_lowercase() && !in_number {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// Bytes as the API and the trail spell them: in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An event of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Its number in the chain, from 1.
    pub sequence: i64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What. The number, so that an event of a later version can be verified, too.
    pub kind: i16,
    /// Whether it was done, as a number.
    pub outcome: i16,
    /// On what.
    pub subject: String,
    /// Further facts as JSON, with sorted keys: the bytes that were hashed.
    pub details: String,
    /// The link.
    pub hash: [u8; 32],
}

/// The newest event of a trail; 32 zero bytes before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AuditHead {
    /// Its sequence number, 0 if there is none.
    pub sequence: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl AuditEvent {
    /// The hash that the event must have behind `before`: SHA-256 over that hash, the trail's name
    /// and each field, each with its length.
    #[must_use]
    pub fn link(&self, trail: &Trail, before: &[u8; 32]) -> [u8; 32] {
        let mut bytes = b"rollcall audit 1".to_vec();
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.time.0.to_be_bytes());
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.outcome.to_be_bytes());
        let trail = match trail {
            Trail::Installation => "",
            Trail::Tenant(tenant) => tenant.as_str(),
        };
        for text in
            [trail, &self.actor.name, &self.actor.via, &self.actor.address, &self.subject, &self.details]
        {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        hash
    }
}

/// Which events; everything that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only these types, by number.
    pub kinds: Vec<i16>,
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only on this subject, or below it.
    pub subject: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<AuditOutcome>,
    /// Only from then on.
    pub from: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
}
