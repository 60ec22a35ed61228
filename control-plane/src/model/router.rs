//! What is known of an identity router.

use super::{RouterId, Timestamp};

/// An identity router as last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRouter {
    /// Id within the tenant.
    pub id: RouterId,
    /// Version of its software.
    pub version: String,
    /// Whether its session had not ended when it was last heard of. Believe it only while `last_seen` is recent.
    pub connected: bool,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// When it connected first.
    pub created_at: Timestamp,
    /// Until when its certificate is valid.
    pub certificate_expires: Timestamp,
}
