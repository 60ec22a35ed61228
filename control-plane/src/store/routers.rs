//! Identity routers, and the codes with which they enroll.

use std::time::Duration;

use super::Admission;
use super::operations::operations;
use crate::model::{
    Actor, Admitted, Certified, ChangedRouter, IdentityRouter, KeyFingerprint, NewCertificate, NewCode,
    PresentedCertificate, RegistrationCode, RouterId, TenantId, Timestamp,
};

operations! {
    /// Notes that a router is connected.
    write fn record_router_connected(
        tenant: &TenantId,
        router: &RouterId,
        version: &str,
        now: Timestamp,
    ) -> () = routers::router::router_seen;
    /// Notes that a router's session ended.
    write fn record_router_disconnected(
        tenant: &TenantId,
        router: &RouterId,
        now: Timestamp,
    ) -> () = routers::router::router_gone;
    /// A router.
    read fn router(
        tenant: &TenantId,
        router: &RouterId,
    ) -> IdentityRouter = routers::router::router;
    /// Routers by id, after `after`.
    read fn list_routers(
        tenant: &TenantId,
        after: Option<&RouterId>,
        limit: i64,
    ) -> Vec<IdentityRouter> = routers::router::list_routers;
    /// Makes a registration code, at most `most` open ones a tenant. An open one for the same
    /// router is voided.
    write fn create_registration_code(
        tenant: &TenantId,
        code: move NewCode,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> RegistrationCode = routers::codes::create;
    /// Registration codes, newest first, before `before`.
    read fn list_registration_codes(
        tenant: &TenantId,
        before: Option<&str>,
        limit: i64,
    ) -> Vec<RegistrationCode> = routers::codes::list;
    /// Voids a code that is open.
    write fn revoke_registration_code(
        tenant: &TenantId,
        id: &str,
        by: &Actor,
        now: Timestamp,
    ) -> RegistrationCode = routers::codes::void;
    /// Voids every open code of every tenant. How many.
    write fn revoke_all_registration_codes(
        by: &Actor,
        now: Timestamp,
    ) -> usize = routers::codes::void_all;
    /// Uses the code whose secret has this hash, for this key. A code is used once; a repeat for
    /// the same key has the same answer.
    write fn enroll(
        secret_hash: [u8; 32],
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Admission<Certified> = routers::enrollment::enroll;
    /// Gives a connected router the number of its next certificate. `holds` is the number of the
    /// one that it says it has.
    write fn renew_router(
        (tenant, router): (&TenantId, &RouterId),
        shown: PresentedCertificate,
        holds: Option<i64>,
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Admission<i64> = routers::enrollment::renew;
    /// The same for a router that shows a certificate, by key and end, that ended at most `within`
    /// ago.
    write fn recover_router(
        (tenant, router): (&TenantId, &RouterId),
        expired: (KeyFingerprint, Timestamp),
        within: Duration,
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Admission<i64> = routers::enrollment::recover;
    /// Lets a router in at the start of a session. Suspends it if two machines have its identity.
    write fn admit_router(
        tenant: &TenantId,
        router: &RouterId,
        shown: PresentedCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Admission<Admitted> = routers::enrollment::admit;
    /// Whether a router's state lets it do anything at all.
    read fn router_status(
        tenant: &TenantId,
        router: &RouterId,
    ) -> Admission<()> = routers::enrollment::standing;
    /// Revokes a router for ever; a second time changes nothing. From then on nothing of its reads
    /// is applied.
    write fn revoke_router(
        tenant: &TenantId,
        router: &RouterId,
        reason: &str,
        by: &Actor,
        now: Timestamp,
    ) -> IdentityRouter = routers::enrollment::revoke;
    /// Routers of all tenants that enrolled, or were suspended or revoked, since then.
    read fn changed_routers(since: Timestamp) -> Vec<ChangedRouter> = routers::router::changed;
    /// Tenants that have routers, by id.
    read fn tenants_with_routers() -> Vec<TenantId> = routers::router::tenants;
}
