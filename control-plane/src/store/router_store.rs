//! Identity routers, and the codes with which they enroll.
//!
//! A method that can refuse a router answers with an [`Admission`]: a refusal is an answer, not a failure, and what it changes (a router
//! is suspended) is committed with it.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::model::{
    Actor, Admitted, Certified, ChangedRouter, IdentityRouter, KeyFingerprint, NewCertificate, NewCode,
    Refused, RegistrationCode, RouterId, Shown, TenantId, Timestamp,
};

/// Whether a router gets what it asks for.
pub type Admission<T> = std::result::Result<T, Refused>;

/// What is kept of identity routers.
#[async_trait]
pub trait RouterStore {
    /// Notes that a router is connected.
    async fn router_seen(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        version: &str,
        now: Timestamp,
    ) -> Result<()>;
    /// Notes that a router's session ended.
    async fn router_gone(&self, tenant: &TenantId, router: &RouterId, now: Timestamp) -> Result<()>;
    /// A router.
    async fn router(&self, tenant: &TenantId, router: &RouterId) -> Result<IdentityRouter>;
    /// Routers by id, after `after`.
    async fn list_routers(
        &self,
        tenant: &TenantId,
        after: Option<&RouterId>,
        limit: i64,
    ) -> Result<Vec<IdentityRouter>>;

    /// Makes a registration code, at most `most` open ones a tenant. An open one for the same router is voided.
    async fn create_registration_code(
        &self,
        tenant: &TenantId,
        code: NewCode,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<RegistrationCode>;
    /// Registration codes, newest first, before `before`.
    async fn list_registration_codes(
        &self,
        tenant: &TenantId,
        before: Option<&str>,
        limit: i64,
    ) -> Result<Vec<RegistrationCode>>;
    /// Voids a code that is open.
    async fn void_registration_code(
        &self,
        tenant: &TenantId,
        id: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<RegistrationCode>;
    /// Voids every open code of every tenant. How many.
    async fn void_all_registration_codes(&self, by: &Actor, now: Timestamp) -> Result<usize>;

    /// Uses the code whose secret has this hash, for this key. A code is used once; a repeat for the same key has the same answer.
    async fn enroll(
        &self,
        secret_hash: [u8; 32],
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Admission<Certified>>;
    /// Gives a connected router the number of its next certificate. `holds` is the number of the one that it says it has.
    async fn renew_router(
        &self,
        router: (&TenantId, &RouterId),
        shown: Shown,
        holds: Option<i64>,
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Admission<i64>>;
    /// The same for a router that shows a certificate, by key and end, that ended at most `within` ago.
    async fn recover_router(
        &self,
        router: (&TenantId, &RouterId),
        expired: (KeyFingerprint, Timestamp),
        within: Duration,
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Admission<i64>>;
    /// Lets a router in at the start of a session. Suspends it if two machines have its identity.
    async fn admit_router(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        shown: Shown,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Admission<Admitted>>;
    /// Whether a router's state lets it do anything at all.
    async fn router_standing(&self, tenant: &TenantId, router: &RouterId) -> Result<Admission<()>>;
    /// Revokes a router for ever; a second time changes nothing. From then on nothing of its reads is applied.
    async fn revoke_router(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        reason: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<IdentityRouter>;
    /// Routers of all tenants that enrolled, or were suspended or revoked, since then.
    async fn changed_routers(&self, since: Timestamp) -> Result<Vec<ChangedRouter>>;
    /// Tenants that have routers, by id.
    async fn tenants_with_routers(&self) -> Result<Vec<TenantId>>;
}
