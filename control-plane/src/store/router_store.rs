//! Identity routers.

use async_trait::async_trait;

use super::Result;
use crate::model::{IdentityRouter, RouterId, TenantId, Timestamp};

/// What is kept of identity routers.
#[async_trait]
pub trait RouterStore {
    /// Notes that a router is connected.
    async fn router_seen(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        version: &str,
        certificate_expires: Timestamp,
        now: Timestamp,
    ) -> Result<()>;
    /// Notes that a router's session ended.
    async fn router_gone(&self, tenant: &TenantId, router: &RouterId, now: Timestamp) -> Result<()>;
    /// Routers by id, after `after`.
    async fn list_routers(
        &self,
        tenant: &TenantId,
        after: Option<&RouterId>,
        limit: i64,
    ) -> Result<Vec<IdentityRouter>>;
}
