//! Webhooks: where a tenant is told what became of its syncs and its license, and what is told.

use super::stored_enum::stored_enum;
use super::{TenantId, Timestamp, WebhookId, WebhookNo};

stored_enum! {
    /// What is told. The numbers are those of the API and of the tables.
    pub enum WebhookEvent {
        /// A job ended well.
        SyncJobSucceeded = 1,
        /// A job failed.
        SyncJobFailed = 2,
        /// A job waits for an administrator.
        SyncJobHeld = 3,
        /// A job was stopped.
        SyncJobStopped = 4,
        /// A job left users out for want of seats.
        SyncJobOverLicense = 5,
        /// More than 85 percent of the license are taken.
        LicenseAbove85 = 6,
        /// More than 95 percent are.
        LicenseAbove95 = 7,
        /// So many are taken no longer.
        LicenseBelow95 = 8,
        /// So many are taken no longer.
        LicenseBelow85 = 9,
    }
}

impl WebhookEvent {
    /// The `type` of its message.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SyncJobSucceeded => "sync_job.succeeded",
            Self::SyncJobFailed => "sync_job.failed",
            Self::SyncJobHeld => "sync_job.held",
            Self::SyncJobStopped => "sync_job.stopped",
            Self::SyncJobOverLicense => "sync_job.over_license",
            Self::LicenseAbove85 => "license.above_85",
            Self::LicenseAbove95 => "license.above_95",
            Self::LicenseBelow95 => "license.below_95",
            Self::LicenseBelow85 => "license.below_85",
        }
    }
}

stored_enum! {
    /// What a webhook does. The numbers are those of the API and of the tables.
    pub enum WebhookState {
        /// Sends.
        Active = 1,
        /// An administrator switched it off.
        Off = 2,
        /// The receiver said that it is gone.
        Gone = 3,
    }
}

stored_enum! {
    /// Why a message was not delivered. The numbers are those of the API and of the tables.
    pub enum DeliveryFailure {
        /// Only addresses within networks that are not allowed.
        AddressRefused = 1,
        /// No address.
        NotResolved = 2,
        /// No connection.
        NotConnected = 3,
        /// No TLS, or not with the right server.
        TlsFailed = 4,
        /// No whole answer in time.
        TimedOut = 5,
        /// An answer that is not 2xx.
        HttpStatus = 6,
        /// Too large an answer.
        AnswerTooLarge = 7,
        /// No HTTP.
        NotHttp = 8,
        /// The secret cannot be unsealed.
        SecretLost = 9,
    }
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub failure: DeliveryFailure,
    /// What the receiver answered.
    pub status: Option<u16>,
}

/// The secrets of a webhook, sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecrets {
    /// The present one.
    pub present: Vec<u8>,
    /// The one of before, and until when it counts.
    pub previous: Option<(Vec<u8>, Timestamp)>,
}

impl std::fmt::Debug for SealedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedSecrets").finish_non_exhaustive()
    }
}

/// What messages are sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its number in the store.
    pub number: WebhookNo,
    /// What its secrets are sealed for.
    pub uid: [u8; 16],
    /// The tenant.
    pub tenant: TenantId,
    /// The webhook's id.
    pub id: WebhookId,
    /// Rises with each change.
    pub version: i64,
    /// The address. Of some receivers it is a secret.
    pub url: String,
    /// What to sign with.
    pub secrets: SealedSecrets,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("tenant", &self.tenant).field("id", &self.id).finish_non_exhaustive()
    }
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where its messages go.
    pub receiver: Receiver,
    /// Name for people.
    pub display_name: String,
    /// Which events; none means all.
    pub events: Vec<WebhookEvent>,
    /// What it does.
    pub state: WebhookState,
    /// Messages that wait.
    pub pending: i64,
    /// Messages that were given up.
    pub given_up: i64,
    /// When a message last arrived.
    pub succeeded_at: Option<Timestamp>,
    /// The last attempt that failed.
    pub failed: Option<FailedAttempt>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

/// A message that a replica has taken to deliver it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub receiver: Receiver,
    /// Its number among the messages of the webhook.
    pub number: i64,
    /// Its id: the same at each attempt.
    pub id: String,
    /// What it tells.
    pub event: WebhookEvent,
    /// The bytes.
    pub body: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// Attempts before.
    pub attempts: i64,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It arrived.
    Delivered,
    /// The receiver is gone.
    Gone,
    /// It is tried again.
    Again {
        /// When.
        at: Timestamp,
        /// Whether later messages wait behind it until then.
        blocks: bool,
        /// Why.
        failure: DeliveryFailure,
        /// What the receiver answered.
        status: Option<u16>,
    },
    /// It is not tried again.
    GivenUp {
        /// Why.
        failure: DeliveryFailure,
        /// What the receiver answered.
        status: Option<u16>,
    },
}
