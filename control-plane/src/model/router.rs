//! What is known of an identity router, and of the codes with which routers enroll.

use super::{RouterId, SourceId, Timestamp};

/// SHA-256 of a public key, as its SubjectPublicKeyInfo.
pub type KeyFingerprint = [u8; 32];

/// Recoveries with an expired certificate that a router has in a row.
pub const RECOVERIES: i64 = 3;

/// Whether an identity router may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum RouterState {
    /// It may.
    Active = 1,
    /// Two machines showed its certificates: not before it enrolls anew.
    Suspended = 2,
    /// Never again.
    Revoked = 3,
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
    /// Whether its session had not ended when it was last heard of. Believe it only while `last_seen` is recent.
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
