//! The numbers and keys of certificates that a router was issued.

use super::super::dialect::Connection;
use super::super::locks::LockedRouter;
use super::super::statement;
use crate::enroll::admission::{Certificate, Issue};
use crate::model::NewCertificate;
use crate::model::{KeyFingerprint, PresentedCertificate, RouterId, TenantNo, Timestamp};
use crate::store::Result;

/// The number of the certificate that was issued for a key.
pub(crate) async fn generation(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
    key: KeyFingerprint,
) -> Result<Option<i64>> {
    let query = statement::query_scalar(
        "SELECT generation FROM router_keys WHERE tenant_no = $1 AND router = $2 AND fingerprint = \
         $3",
    );
    Ok(query.bind(tenant.0).bind(router.0.clone()).bind(key.to_vec()).fetch_optional(connection).await?)
}

pub(crate) async fn certificate(
    connection: &mut Connection,
    locked: &LockedRouter,
    router: &RouterId,
    shown: PresentedCertificate,
) -> Result<Certificate> {
    let generation = generation(connection, locked.tenant, router, shown.key).await?;
    Ok(Certificate { generation, renewed: shown.renewed })
}

/// Notes which certificate is the newest.
pub(crate) async fn advance(
    connection: &mut Connection,
    router: &RouterId,
    locked: &LockedRouter,
    issue: Issue,
    confirmed: i64,
    recoveries: i64,
) -> Result<i64> {
    let (Issue::Next(issued) | Issue::Again(issued)) = issue;
    statement::query(
        "UPDATE identity_routers SET generation = $3, confirmed = $4, recoveries = $5 WHERE \
         tenant_no = $1 AND id = $2",
    )
    .bind(locked.tenant.0)
    .bind(router.0.clone())
    .bind(issued)
    .bind(confirmed)
    .bind(recoveries)
    .execute(connection)
    .await?;
    Ok(issued)
}

/// Keeps the key of a certificate, and forgets those whose certificates can be of no use any more.
pub(crate) async fn record_issued(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
    generation: i64,
    new: NewCertificate,
    now: Timestamp,
) -> Result<()> {
    statement::query(
        "INSERT INTO router_keys (tenant_no, router, fingerprint, generation, issued_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_no, router, fingerprint) \
         DO UPDATE SET generation = excluded.generation, issued_at = excluded.issued_at, \
         expires_at = excluded.expires_at",
    )
    .bind(tenant.0)
    .bind(router.0.clone())
    .bind(new.key.to_vec())
    .bind(generation)
    .bind(now.0)
    .bind(new.expires_at.0)
    .execute(&mut *connection)
    .await?;
    statement::query("DELETE FROM router_keys WHERE tenant_no = $1 AND router = $2 AND expires_at < $3")
        .bind(tenant.0)
        .bind(router.0.clone())
        .bind(new.forget_before.0)
        .execute(&mut *connection)
        .await?;
    statement::query("UPDATE identity_routers SET certificate_expires = $3 WHERE tenant_no = $1 AND id = $2")
        .bind(tenant.0)
        .bind(router.0.clone())
        .bind(new.expires_at.0)
        .execute(connection)
        .await?;
    Ok(())
}
