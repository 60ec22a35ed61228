//! What is known of an identity router, and of the codes with which routers enroll.

use super::stored_enum::stored_enum;
use super::{RouterId, SourceId, TenantId, Timestamp};

/// SHA-256 of a public key, as its SubjectPublicKeyInfo.
pub type KeyFingerprint = [u8; 32];

/// Recoveries with an expired certificate that a router has in a row.
pub const RECOVERIES: i64 = 3;

stored_enum! {
    /// Whether an identity router may connect.
    pub enum RouterState {
        /// It may.
        Active = 1,
        /// Two machines showed its certificates: not before it enrolls anew.
        Suspended = 2,
        /// Never again.
        Revoked = 3,
    }
}

/// An identity router as last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRouter {
    /// Id within the tenant.
    pub id: RouterId,
    /// Whether it may connect.
    pub state: RouterState,
    /// Why not, for people.
    pub state_message: String,
    /// Version of its software; empty before it first connected.
    pub version: String,
    /// Whether its session had not ended when it was last heard of. Believe it only while
    /// `last_seen` is recent.
    pub connected: bool,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// When it enrolled first.
    pub created_at: Timestamp,
    /// Until when its newest certificate is valid.
    pub certificate_expires: Timestamp,
    /// Number of its newest certificate.
    pub generation: i64,
    /// The key of that.
    pub key: KeyFingerprint,
    /// The sources that it may read; empty means all.
    pub sources: Vec<SourceId>,
    /// Recoveries since its last regular certificate.
    pub recoveries: i64,
}

/// A registration code, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationCode {
    /// Id within the tenant.
    pub id: String,
    /// The router that it is for.
    pub router: RouterId,
    /// The sources that the router may read; empty means all.
    pub sources: Vec<SourceId>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// When it was voided.
    pub voided_at: Option<Timestamp>,
}

/// A registration code to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCode {
    /// Its id: ascending with the time.
    pub id: String,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// The router that it is for.
    pub router: RouterId,
    /// The sources that the router may read; empty means all.
    pub sources: Vec<SourceId>,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// What a router shows of itself when it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// The key of the certificate that it showed in the handshake.
    pub key: KeyFingerprint,
    /// Number of the newest certificate that it was given on this connection.
    pub renewed: Option<i64>,
}

/// A router that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Number of the certificate that it showed.
    pub generation: i64,
    /// The sources that it may read; empty means all.
    pub sources: Vec<SourceId>,
}

/// A router that is to be given a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The tenant.
    pub tenant: TenantId,
    /// The router.
    pub router: RouterId,
    /// Number of the certificate.
    pub generation: i64,
}

/// A router whose standing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRouter {
    /// The tenant.
    pub tenant: TenantId,
    /// The router.
    pub router: RouterId,
    /// Whether it may connect.
    pub state: RouterState,
    /// The first certificate since its last enrollment: older ones are void.
    pub enrolled: i64,
}

/// Why a router is not let in, or gets no certificate. The trail says which; whoever enrolls is not
/// told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// There is no such code.
    CodeUnknown,
    /// It is too late for the code.
    CodeExpired,
    /// The code was used, for another key.
    CodeUsed,
    /// The code was voided.
    CodeVoided,
    /// The tenant is suspended.
    TenantSuspended,
    /// There is no such router.
    RouterUnknown,
    /// The router was revoked.
    RouterRevoked,
    /// The router is suspended.
    RouterSuspended,
    /// Two machines show certificates of the router; it is suspended from now on.
    RouterCloned,
    /// The certificate is of a key that was never certified, or long ago.
    KeyUnknown,
    /// The router has enrolled anew since the certificate.
    KeyReplaced,
    /// The request is for a key that the router had before.
    KeyNotNew,
    /// The expired certificate is not one of ours.
    CertificateForeign,
    /// The certificate has not expired: it can be renewed.
    NotExpired,
    /// The certificate expired too long ago.
    TooLate,
    /// Too many recoveries in a row.
    RecoveriesSpent,
    /// Whoever calls has not shown that it has the key.
    ProofWrong,
}

impl Refusal {
    /// Whether it is the router that may not connect, whatever it shows; otherwise another machine
    /// may have its name by right.
    #[must_use]
    pub fn bars(self) -> bool {
        matches!(
            self,
            Self::TenantSuspended | Self::RouterRevoked | Self::RouterSuspended | Self::RouterCloned
        )
    }

    /// As the trail calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CodeUnknown => "CODE_UNKNOWN",
            Self::CodeExpired => "CODE_EXPIRED",
            Self::CodeUsed => "CODE_USED",
            Self::CodeVoided => "CODE_VOIDED",
            Self::TenantSuspended => "TENANT_SUSPENDED",
            Self::RouterUnknown => "ROUTER_UNKNOWN",
            Self::RouterRevoked => "ROUTER_REVOKED",
            Self::RouterSuspended => "ROUTER_SUSPENDED",
            Self::RouterCloned => "ROUTER_CLONED",
            Self::KeyUnknown => "KEY_UNKNOWN",
            Self::KeyReplaced => "KEY_REPLACED",
            Self::KeyNotNew => "KEY_NOT_NEW",
            Self::CertificateForeign => "CERTIFICATE_FOREIGN",
            Self::NotExpired => "NOT_EXPIRED",
            Self::TooLate => "TOO_LATE",
            Self::RecoveriesSpent => "RECOVERIES_SPENT",
            Self::ProofWrong => "PROOF_WRONG",
        }
    }
}

/// A refusal, and of whose router, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterDenied {
    /// Why.
    pub refusal: Refusal,
    /// Whose.
    pub of: Option<(TenantId, RouterId)>,
}

/// A certificate that is to be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    /// Its key.
    pub key: KeyFingerprint,
    /// Its end.
    pub expires_at: Timestamp,
    /// Keys whose certificates ended before then are forgotten.
    pub forget_before: Timestamp,
}
