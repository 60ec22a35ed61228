//! How identity routers come to their certificates, and lose them. What is decided is decided by `admission`; each function here is one
//! transaction that locks what the decision rests on: a tenant's running jobs first where reads are voided, then a code, then the router.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::engine::{Connection, LOCK};
use super::{audit, codes, routers, tenants};
use crate::enroll::admission::{
    self, AdmissionDecision, Certificate, CodeStatus, CodeUse, Issue, RouterStatus,
};
use crate::model::{
    Actor, Admitted, Certified, Event, EventType, IdentityRouter, KeyFingerprint, NewCertificate, RECOVERIES,
    Refusal, Refused, RouterId, RouterState, Shown, SourceId, TenantId, TenantNo, Timestamp, Trail, hex,
    names,
};
use crate::store::{Admission, Result, StoreError};

const CLONED: &str = "Two machines showed certificates of this identity router. Find out which one it is to be, stop the other, and enroll it \
     with a new registration code.";

/// A router's row, locked.
struct Locked {
    tenant: TenantNo,
    standing: RouterStatus,
    sources: Vec<SourceId>,
}

#[derive(sqlx::FromRow)]
struct CodeRow {
    tenant_no: i64,
    tenant: String,
    suspended_at: Option<i64>,
    id: String,
    router: String,
    sources: String,
    expires_at: i64,
    used_key: Option<Vec<u8>>,
    voided_at: Option<i64>,
}

/// Uses a code.
pub(super) async fn enroll(
    connection: &mut Connection,
    secret_hash: [u8; 32],
    new: NewCertificate,
    by: &Actor,
    now: Timestamp,
) -> Result<Admission<Certified>> {
    let of = if LOCK.is_empty() { "" } else { " FOR UPDATE OF c" };
    let text = format!(
        "SELECT c.tenant_no, t.id AS tenant, t.suspended_at, c.id, c.router, c.sources, c.expires_at, c.used_key, c.voided_at \
         FROM registration_codes c JOIN tenants t ON t.tenant_no = c.tenant_no WHERE c.secret_hash = $1{of}"
    );
    let row: Option<CodeRow> = sqlx::query_as(AssertSqlSafe(text))
        .bind(secret_hash.to_vec())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(Err(Refused { refusal: Refusal::CodeUnknown, of: None })) };
    let (number, tenant, router) = (TenantNo(row.tenant_no), TenantId(row.tenant), RouterId(row.router));
    let refuse = |refusal| Ok(Err(Refused { refusal, of: Some((tenant.clone(), router.clone())) }));
    let standing = CodeStatus {
        expires_at: Timestamp(row.expires_at),
        used_key: row.used_key.map(key).transpose()?,
        voided: row.voided_at.is_some(),
    };
    let code_use = match admission::code(standing, new.key, now) {
        _ if row.suspended_at.is_some() => return refuse(Refusal::TenantSuspended),
        Ok(code_use) => code_use,
        Err(refusal) => return refuse(refusal),
    };
    let fresh = sqlx::query(
        "INSERT INTO identity_routers (tenant_no, id, version, connected, last_seen, certificate_expires, created_at) \
         VALUES ($1, $2, '', 0, 0, 0, $3) ON CONFLICT (tenant_no, id) DO NOTHING",
    );
    fresh.bind(number.0).bind(router.0.clone()).bind(now.0).execute(&mut *connection).await?;
    let Some(locked) = lock(connection, number, &router).await? else {
        return Err(StoreError::Broken("a router that is not there although it was made".into()));
    };
    let known = generation(connection, number, &router, new.key).await?;
    let newest = locked.standing.newest;
    let issued = match code_use {
        _ if locked.standing.state == RouterState::Revoked => return refuse(Refusal::RouterRevoked),
        // The answer got lost. If the router has moved on since, it did not.
        CodeUse::Again if known == Some(newest) && locked.standing.state == RouterState::Active => newest,
        CodeUse::Again => return refuse(Refusal::CodeUsed),
        CodeUse::First if known.is_some_and(|known| known != newest) => return refuse(Refusal::KeyNotNew),
        CodeUse::First => newest + 1,
    };
    if code_use == CodeUse::First {
        sqlx::query("UPDATE registration_codes SET used_at = $2, used_key = $3 WHERE secret_hash = $1")
            .bind(secret_hash.to_vec())
            .bind(now.0)
            .bind(new.key.to_vec())
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "UPDATE identity_routers SET state = 1, state_message = '', state_changed_at = $3, generation = $4, \
             enrolled_generation = $4, confirmed = $4, sources = $5, recoveries = 0 WHERE tenant_no = $1 AND id = $2",
        )
        .bind(number.0)
        .bind(router.0.clone())
        .bind(now.0)
        .bind(issued)
        .bind(row.sources)
        .execute(&mut *connection)
        .await?;
        if newest > 0 {
            // Another machine had the name until now: what it is reading is not taken any more.
            void_reads(connection, number, &router).await?;
        }
    }
    keep(connection, number, &router, issued, new, now).await?;
    let event = Event::done(EventType::RouterEnrolled, names::router(&tenant, &router))
        .with("generation", issued)
        .with("key_fingerprint", hex(&new.key))
        .with("code", row.id);
    record(connection, &tenant, &itself(by, &router), event, now).await?;
    Ok(Ok(Certified { tenant, router, generation: issued }))
}

/// Gives a router that is connected its next certificate. `holds` is the number of the one that it says it has.
pub(super) async fn renew(
    connection: &mut Connection,
    (tenant, router): (&TenantId, &RouterId),
    shown: Shown,
    holds: Option<i64>,
    new: NewCertificate,
    by: &Actor,
    now: Timestamp,
) -> Result<Admission<i64>> {
    let locked = match stand(connection, tenant, router).await? {
        Ok(locked) => locked,
        Err(refused) => return Ok(Err(refused)),
    };
    let certificate = certificate(connection, &locked, router, shown).await?;
    let requested = generation(connection, locked.tenant, router, new.key).await?;
    let (issue, confirmed) = match admission::renewal(&locked.standing, certificate, holds, requested) {
        Ok(issue) => issue,
        Err(verdict) => {
            return turn_away(connection, (tenant, router), &locked, certificate, verdict, by, now).await;
        }
    };
    let issued = advance(connection, router, &locked, issue, confirmed, 0).await?;
    keep(connection, locked.tenant, router, issued, new, now).await?;
    let event = Event::done(EventType::RouterRenewed, names::router(tenant, router))
        .with("generation", issued)
        .with("expire_time", new.expires_at.0);
    record(connection, tenant, by, event, now).await?;
    Ok(Ok(issued))
}

/// Gives a router whose certificate has expired another one.
pub(super) async fn recover(
    connection: &mut Connection,
    (tenant, router): (&TenantId, &RouterId),
    expired: (KeyFingerprint, Timestamp),
    within: Duration,
    new: NewCertificate,
    by: &Actor,
    now: Timestamp,
) -> Result<Admission<i64>> {
    let locked = match stand(connection, tenant, router).await? {
        Ok(locked) => locked,
        Err(refused) => return Ok(Err(refused)),
    };
    let shown = Shown { key: expired.0, renewed: None };
    let certificate = certificate(connection, &locked, router, shown).await?;
    let requested = generation(connection, locked.tenant, router, new.key).await?;
    let decided =
        admission::recovery(&locked.standing, certificate.generation, requested, expired.1, within, now);
    let by = itself(by, router);
    let (issue, confirmed) = match decided {
        Ok(issue) => issue,
        Err(verdict) => {
            return turn_away(connection, (tenant, router), &locked, certificate, verdict, &by, now).await;
        }
    };
    let recoveries = locked.standing.recoveries + i64::from(matches!(issue, Issue::Next(_)));
    let issued = advance(connection, router, &locked, issue, confirmed, recoveries).await?;
    keep(connection, locked.tenant, router, issued, new, now).await?;
    let event = Event::done(EventType::RouterRecovered, names::router(tenant, router))
        .with("generation", issued)
        .with("recoveries_left", RECOVERIES - recoveries);
    record(connection, tenant, &by, event, now).await?;
    Ok(Ok(issued))
}

/// Lets a router in, or not, at the start of a session.
pub(super) async fn admit(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
    shown: Shown,
    by: &Actor,
    now: Timestamp,
) -> Result<Admission<Admitted>> {
    let locked = match stand(connection, tenant, router).await? {
        Ok(locked) => locked,
        Err(refused) => return Ok(Err(refused)),
    };
    let certificate = certificate(connection, &locked, router, shown).await?;
    let confirmed = match admission::check_certificate(&locked.standing, certificate) {
        AdmissionDecision::Admit(confirmed) => confirmed,
        verdict => {
            return turn_away(connection, (tenant, router), &locked, certificate, verdict, by, now).await;
        }
    };
    if confirmed != locked.standing.confirmed {
        sqlx::query("UPDATE identity_routers SET confirmed = $3 WHERE tenant_no = $1 AND id = $2")
            .bind(locked.tenant.0)
            .bind(router.0.clone())
            .bind(confirmed)
            .execute(connection)
            .await?;
    }
    let generation = certificate.generation.unwrap_or_default();
    Ok(Ok(Admitted { generation, sources: locked.sources }))
}

/// Whether a router may do anything, whatever it shows.
pub(super) async fn standing(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
) -> Result<Admission<()>> {
    let row: Option<(i64, Option<i64>)> = sqlx::query_as(
        "SELECT r.state, t.suspended_at FROM identity_routers r JOIN tenants t ON t.tenant_no = r.tenant_no \
         WHERE t.id = $1 AND r.id = $2",
    )
    .bind(tenant.0.clone())
    .bind(router.0.clone())
    .fetch_optional(connection)
    .await?;
    match row {
        None => Ok(Err(Refused { refusal: Refusal::RouterUnknown, of: None })),
        Some((_, Some(_))) => refused(Refusal::TenantSuspended, tenant, router),
        Some((state, None)) => match admission::state(routers::state(state)?) {
            Ok(()) => Ok(Ok(())),
            Err(refusal) => refused(refusal, tenant, router),
        },
    }
}

/// Revokes a router for ever, and voids what it is reading.
pub(super) async fn revoke(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
    reason: &str,
    by: &Actor,
    now: Timestamp,
) -> Result<IdentityRouter> {
    let number = tenants::number(connection, tenant).await?;
    // In the order in which a read that begins locks them: the job, then its router.
    let text =
        format!("SELECT job_no FROM sync_jobs WHERE tenant_no = $1 AND state = 2 ORDER BY job_no{LOCK}");
    let jobs = sqlx::query_scalar(AssertSqlSafe(text)).bind(number.0);
    let _: Vec<i64> = jobs.fetch_all(&mut *connection).await?;
    codes::void_open_of(connection, number, router, now).await?;
    let locked = lock(connection, number, router).await?.ok_or(StoreError::NotFound("identity router"))?;
    if locked.standing.state != RouterState::Revoked {
        let message = match reason {
            "" => format!("Revoked by {}.", by.name),
            reason => format!("Revoked by {}: {reason}", by.name),
        };
        let voided = bar(connection, number, router, RouterState::Revoked, &message, now).await?;
        let event = Event::done(EventType::RouterRevoked, names::router(tenant, router))
            .with("reason", reason)
            .with("voided_reads", voided);
        record(connection, tenant, by, event, now).await?;
    }
    routers::router(connection, tenant, router).await
}

/// A router's row by names, locked; a refusal if there is none, or its tenant is suspended.
async fn stand(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
) -> Result<Admission<Locked>> {
    let row = sqlx::query_as("SELECT tenant_no, suspended_at FROM tenants WHERE id = $1");
    let row: Option<(i64, Option<i64>)> = row.bind(tenant.0.clone()).fetch_optional(&mut *connection).await?;
    match row {
        // Nothing can be written into the trail of a tenant that is not there.
        None => Ok(Err(Refused { refusal: Refusal::RouterUnknown, of: None })),
        Some((_, Some(_))) => refused(Refusal::TenantSuspended, tenant, router),
        Some((number, None)) => match lock(connection, TenantNo(number), router).await? {
            None => refused(Refusal::RouterUnknown, tenant, router),
            Some(locked) => Ok(Ok(locked)),
        },
    }
}

async fn lock(connection: &mut Connection, tenant: TenantNo, router: &RouterId) -> Result<Option<Locked>> {
    let text = format!(
        "SELECT state, generation, confirmed, enrolled_generation, recoveries, sources FROM identity_routers \
         WHERE tenant_no = $1 AND id = $2{LOCK}"
    );
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(tenant.0).bind(router.0.clone());
    let row: Option<(i64, i64, i64, i64, i64, String)> = query.fetch_optional(connection).await?;
    row.map(|(state, newest, confirmed, enrolled, recoveries, sources)| {
        let standing =
            RouterStatus { state: routers::state(state)?, newest, confirmed, enrolled, recoveries };
        Ok(Locked { tenant, standing, sources: routers::sources(&sources)? })
    })
    .transpose()
}

/// The number of the certificate that was issued for a key.
async fn generation(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
    key: KeyFingerprint,
) -> Result<Option<i64>> {
    let query = sqlx::query_scalar(
        "SELECT generation FROM router_keys WHERE tenant_no = $1 AND router = $2 AND fingerprint = $3",
    );
    Ok(query.bind(tenant.0).bind(router.0.clone()).bind(key.to_vec()).fetch_optional(connection).await?)
}

async fn certificate(
    connection: &mut Connection,
    locked: &Locked,
    router: &RouterId,
    shown: Shown,
) -> Result<Certificate> {
    let generation = generation(connection, locked.tenant, router, shown.key).await?;
    Ok(Certificate { generation, renewed: shown.renewed })
}

/// Refuses, and suspends a router of which there are two.
async fn turn_away<T>(
    connection: &mut Connection,
    (tenant, router): (&TenantId, &RouterId),
    locked: &Locked,
    certificate: Certificate,
    verdict: AdmissionDecision,
    by: &Actor,
    now: Timestamp,
) -> Result<Admission<T>> {
    let refusal = match verdict {
        AdmissionDecision::Deny(refusal) => refusal,
        AdmissionDecision::Cloned | AdmissionDecision::Admit(_) => {
            bar(connection, locked.tenant, router, RouterState::Suspended, CLONED, now).await?;
            let event = Event::refused(EventType::RouterCloned, names::router(tenant, router))
                .with("generation", locked.standing.newest)
                .with("shown_generation", certificate.generation.unwrap_or_default());
            record(connection, tenant, by, event, now).await?;
            Refusal::RouterCloned
        }
    };
    refused(refusal, tenant, router)
}

/// Takes a router's right to connect, and voids what it is reading. How many reads that were.
async fn bar(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
    state: RouterState,
    message: &str,
    now: Timestamp,
) -> Result<u64> {
    sqlx::query(
        "UPDATE identity_routers SET state = $3, state_message = $4, state_changed_at = $5 WHERE tenant_no = $1 AND id = $2",
    )
    .bind(tenant.0)
    .bind(router.0.clone())
    .bind(i64::from(state.number()))
    .bind(message.to_owned())
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    void_reads(connection, tenant, router).await
}

/// Voids the fence of every running job that a router reads: nothing of these reads is applied any more, and the jobs are read anew.
async fn void_reads(connection: &mut Connection, tenant: TenantNo, router: &RouterId) -> Result<u64> {
    let text = "UPDATE sync_jobs SET epoch = epoch + 1 WHERE tenant_no = $1 AND state = 2 AND router = $2";
    let voided = sqlx::query(text).bind(tenant.0).bind(router.0.clone()).execute(connection).await?;
    Ok(voided.rows_affected())
}

/// Notes which certificate is the newest.
async fn advance(
    connection: &mut Connection,
    router: &RouterId,
    locked: &Locked,
    issue: Issue,
    confirmed: i64,
    recoveries: i64,
) -> Result<i64> {
    let (Issue::Next(issued) | Issue::Again(issued)) = issue;
    sqlx::query(
        "UPDATE identity_routers SET generation = $3, confirmed = $4, recoveries = $5 WHERE tenant_no = $1 AND id = $2",
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
async fn keep(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
    generation: i64,
    new: NewCertificate,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO router_keys (tenant_no, router, fingerprint, generation, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (tenant_no, router, fingerprint) DO UPDATE SET generation = excluded.generation, \
         issued_at = excluded.issued_at, expires_at = excluded.expires_at",
    )
    .bind(tenant.0)
    .bind(router.0.clone())
    .bind(new.key.to_vec())
    .bind(generation)
    .bind(now.0)
    .bind(new.expires_at.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM router_keys WHERE tenant_no = $1 AND router = $2 AND expires_at < $3")
        .bind(tenant.0)
        .bind(router.0.clone())
        .bind(new.forget_before.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE identity_routers SET certificate_expires = $3 WHERE tenant_no = $1 AND id = $2")
        .bind(tenant.0)
        .bind(router.0.clone())
        .bind(new.expires_at.0)
        .execute(connection)
        .await?;
    Ok(())
}

async fn record(
    connection: &mut Connection,
    tenant: &TenantId,
    by: &Actor,
    event: Event,
    now: Timestamp,
) -> Result<()> {
    audit::record(connection, &Trail::Tenant(tenant.clone()), by, event, now).await
}

fn refused<T>(refusal: Refusal, tenant: &TenantId, router: &RouterId) -> Result<Admission<T>> {
    Ok(Err(Refused { refusal, of: Some((tenant.clone(), router.clone())) }))
}

/// Who enrolls is nobody yet; that it is the router is what the event says.
fn itself(by: &Actor, router: &RouterId) -> Actor {
    Actor { name: format!("identityRouters/{router}"), ..by.clone() }
}

fn key(bytes: Vec<u8>) -> Result<KeyFingerprint> {
    bytes.try_into().map_err(|_| StoreError::Broken("a fingerprint of the wrong length".into()))
}
