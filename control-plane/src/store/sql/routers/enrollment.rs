//! How identity routers come to their certificates, and lose them. What is decided is decided by
//! `admission`; each function here is one transaction that locks what the decision rests on: a
//! tenant's running jobs first where reads are voided, then a code, then the router.

use std::time::Duration;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::locks::LockedRouter;
use super::super::statement::sql;
use super::super::words::{JOB_RUNNING, ROUTER_ACTIVE};
use super::super::{codec, locks, statement};
use super::{certificates, codes, router};
use crate::enroll::admission;
use crate::enroll::admission::{AdmissionDecision, Certificate, CodeStatus, CodeUse, Issue};
use crate::model::{
    Actor, Admitted, Call, Certified, Event, EventType, IdentityRouter, KeyFingerprint, NewCertificate,
    PresentedCertificate, RECOVERIES, Refusal, RouterDenied, RouterId, RouterState, TenantId, TenantNo,
    Timestamp, Trail, hex, names,
};
use crate::store::{Admission, Result, StoreError};

const CLONED: &str = "Two machines showed certificates of this identity router. Find out which one it is to be, stop the other, and enroll it \
     with a new registration code.";

/// Uses a code.
pub(crate) async fn enroll(
    connection: &mut Connection,
    secret_hash: [u8; 32],
    new: NewCertificate,
    call: &Call,
) -> Result<Admission<Certified>> {
    let row = locks::lock_code(connection, secret_hash).await?;
    let Some(row) = row else { return Ok(Err(RouterDenied { refusal: Refusal::CodeUnknown, of: None })) };
    let (number, tenant, router) = (TenantNo(row.tenant_no), TenantId(row.tenant), RouterId(row.router));
    let refuse = |refusal| Ok(Err(RouterDenied { refusal, of: Some((tenant.clone(), router.clone())) }));
    let standing = CodeStatus {
        expires_at: Timestamp(row.expires_at),
        used_key: row.used_key.map(codec::key_fingerprint).transpose()?,
        voided: row.voided_at.is_some(),
    };
    let code_use = match admission::code(standing, new.key, call.now) {
        _ if row.suspended_at.is_some() => return refuse(Refusal::TenantSuspended),
        Ok(code_use) => code_use,
        Err(refusal) => return refuse(refusal),
    };
    let fresh = statement::query(
        "INSERT INTO identity_routers (tenant_no, id, version, connected, last_seen, \
         certificate_expires, created_at) VALUES ($1, $2, '', 0, 0, 0, $3) ON CONFLICT (tenant_no, \
         id) DO NOTHING",
    );
    fresh.bind(number.0).bind(router.0.clone()).bind(call.now.0).execute(&mut *connection).await?;
    let Some(locked) = locks::lock_router(connection, number, &router).await? else {
        return Err(StoreError::Broken("a router that is not there although it was made".into()));
    };
    let known = certificates::generation(connection, number, &router, new.key).await?;
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
        statement::query("UPDATE registration_codes SET used_at = $2, used_key = $3 WHERE secret_hash = $1")
            .bind(secret_hash.to_vec())
            .bind(call.now.0)
            .bind(new.key.to_vec())
            .execute(&mut *connection)
            .await?;
        statement::query(sql!(
            "UPDATE identity_routers SET state = {ROUTER_ACTIVE}, state_message = '', \
                 state_changed_at = $3, generation = $4, enrolled_generation = $4, confirmed = $4, \
                 sources = $5, recoveries = 0 WHERE tenant_no = $1 AND id = $2"
        ))
        .bind(number.0)
        .bind(router.0.clone())
        .bind(call.now.0)
        .bind(issued)
        .bind(row.sources)
        .execute(&mut *connection)
        .await?;
        if newest > 0 {
            // Another machine had the name until now: what it is reading is not taken any more.
            void_reads(connection, number, &router).await?;
        }
    }
    certificates::record_issued(connection, number, &router, issued, new, call.now).await?;
    let event = Event::done(EventType::RouterEnrolled, names::router(&tenant, &router))
        .with("generation", issued)
        .with("key_fingerprint", hex(&new.key))
        .with("code", row.id);
    record(connection, &tenant, &as_router(call, &router), event).await?;
    Ok(Ok(Certified { tenant, router, generation: issued }))
}

/// Gives a router that is connected its next certificate. `holds` is the number of the one that it
/// says it has.
pub(crate) async fn renew(
    connection: &mut Connection,
    (tenant, router): (&TenantId, &RouterId),
    shown: PresentedCertificate,
    holds: Option<i64>,
    new: NewCertificate,
    call: &Call,
) -> Result<Admission<i64>> {
    let locked = match lock_active(connection, tenant, router).await? {
        Ok(locked) => locked,
        Err(refused) => return Ok(Err(refused)),
    };
    let certificate = certificates::certificate(connection, &locked, router, shown).await?;
    let requested = certificates::generation(connection, locked.tenant, router, new.key).await?;
    let (issue, confirmed) = match admission::renewal(&locked.standing, certificate, holds, requested) {
        Ok(issue) => issue,
        Err(verdict) => {
            return deny(connection, (tenant, router), &locked, certificate, verdict, call).await;
        }
    };
    let issued = certificates::advance(connection, router, &locked, issue, confirmed, 0).await?;
    certificates::record_issued(connection, locked.tenant, router, issued, new, call.now).await?;
    let event = Event::done(EventType::RouterRenewed, names::router(tenant, router))
        .with("generation", issued)
        .with("expire_time", new.expires_at.0);
    record(connection, tenant, call, event).await?;
    Ok(Ok(issued))
}

/// Gives a router whose certificate has expired another one.
pub(crate) async fn recover(
    connection: &mut Connection,
    (tenant, router): (&TenantId, &RouterId),
    expired: (KeyFingerprint, Timestamp),
    within: Duration,
    new: NewCertificate,
    call: &Call,
) -> Result<Admission<i64>> {
    let locked = match lock_active(connection, tenant, router).await? {
        Ok(locked) => locked,
        Err(refused) => return Ok(Err(refused)),
    };
    let shown = PresentedCertificate { key: expired.0, renewed: None };
    let certificate = certificates::certificate(connection, &locked, router, shown).await?;
    let requested = certificates::generation(connection, locked.tenant, router, new.key).await?;
    let decided =
        admission::recovery(&locked.standing, certificate.generation, requested, expired.1, within, call.now);
    let call = as_router(call, router);
    let (issue, confirmed) = match decided {
        Ok(issue) => issue,
        Err(verdict) => {
            return deny(connection, (tenant, router), &locked, certificate, verdict, &call).await;
        }
    };
    let recoveries = locked.standing.recoveries + i64::from(matches!(issue, Issue::Next(_)));
    let issued = certificates::advance(connection, router, &locked, issue, confirmed, recoveries).await?;
    certificates::record_issued(connection, locked.tenant, router, issued, new, call.now).await?;
    let event = Event::done(EventType::RouterRecovered, names::router(tenant, router))
        .with("generation", issued)
        .with("recoveries_left", RECOVERIES - recoveries);
    record(connection, tenant, &call, event).await?;
    Ok(Ok(issued))
}

/// Lets a router in, or not, at the start of a session.
pub(crate) async fn admit(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
    shown: PresentedCertificate,
    call: &Call,
) -> Result<Admission<Admitted>> {
    let locked = match lock_active(connection, tenant, router).await? {
        Ok(locked) => locked,
        Err(refused) => return Ok(Err(refused)),
    };
    let certificate = certificates::certificate(connection, &locked, router, shown).await?;
    let confirmed = match admission::check_certificate(&locked.standing, certificate) {
        AdmissionDecision::Admit(confirmed) => confirmed,
        verdict => {
            return deny(connection, (tenant, router), &locked, certificate, verdict, call).await;
        }
    };
    if confirmed != locked.standing.confirmed {
        statement::query("UPDATE identity_routers SET confirmed = $3 WHERE tenant_no = $1 AND id = $2")
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
pub(crate) async fn standing(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
) -> Result<Admission<()>> {
    let row: Option<(i64, Option<i64>)> = statement::query_as(
        "SELECT r.state, t.suspended_at FROM identity_routers r JOIN tenants t ON t.tenant_no = \
         r.tenant_no WHERE t.id = $1 AND r.id = $2",
    )
    .bind(tenant.0.clone())
    .bind(router.0.clone())
    .fetch_optional(connection)
    .await?;
    match row {
        None => Ok(Err(RouterDenied { refusal: Refusal::RouterUnknown, of: None })),
        Some((_, Some(_))) => refused(Refusal::TenantSuspended, tenant, router),
        Some((state, None)) => match admission::state(codec::router_state(state)?) {
            Ok(()) => Ok(Ok(())),
            Err(refusal) => refused(refusal, tenant, router),
        },
    }
}

/// Revokes a router for ever, and voids what it is reading.
pub(crate) async fn revoke(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
    reason: &str,
    call: &Call,
) -> Result<IdentityRouter> {
    let number = locks::tenant_number(connection, tenant).await?;
    // In the order in which a read that begins locks them: the job, then its router.
    locks::lock_running_jobs(connection, number).await?;
    codes::void_open_of(connection, number, router, call.now).await?;
    let locked = locks::lock_router(connection, number, router)
        .await?
        .ok_or(StoreError::NotFound("identity router"))?;
    if locked.standing.state != RouterState::Revoked {
        let message = match reason {
            "" => format!("Revoked by {}.", call.by.name),
            reason => format!("Revoked by {}: {reason}", call.by.name),
        };
        let voided = deactivate(connection, number, router, RouterState::Revoked, &message, call.now).await?;
        let event = Event::done(EventType::RouterRevoked, names::router(tenant, router))
            .with("reason", reason)
            .with("voided_reads", voided);
        record(connection, tenant, call, event).await?;
    }
    router::router(connection, tenant, router).await
}

/// A router's row by names, locked; a refusal if there is none, or its tenant is suspended.
async fn lock_active(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
) -> Result<Admission<LockedRouter>> {
    let row = statement::query_as("SELECT tenant_no, suspended_at FROM tenants WHERE id = $1");
    let row: Option<(i64, Option<i64>)> = row.bind(tenant.0.clone()).fetch_optional(&mut *connection).await?;
    match row {
        // Nothing can be written into the trail of a tenant that is not there.
        None => Ok(Err(RouterDenied { refusal: Refusal::RouterUnknown, of: None })),
        Some((_, Some(_))) => refused(Refusal::TenantSuspended, tenant, router),
        Some((number, None)) => match locks::lock_router(connection, TenantNo(number), router).await? {
            None => refused(Refusal::RouterUnknown, tenant, router),
            Some(locked) => Ok(Ok(locked)),
        },
    }
}

/// Refuses, and suspends a router of which there are two.
async fn deny<T>(
    connection: &mut Connection,
    (tenant, router): (&TenantId, &RouterId),
    locked: &LockedRouter,
    certificate: Certificate,
    verdict: AdmissionDecision,
    call: &Call,
) -> Result<Admission<T>> {
    let refusal = match verdict {
        AdmissionDecision::Deny(refusal) => refusal,
        AdmissionDecision::Cloned | AdmissionDecision::Admit(_) => {
            deactivate(connection, locked.tenant, router, RouterState::Suspended, CLONED, call.now).await?;
            let event = Event::refused(EventType::RouterCloned, names::router(tenant, router))
                .with("generation", locked.standing.newest)
                .with("shown_generation", certificate.generation.unwrap_or_default());
            record(connection, tenant, call, event).await?;
            Refusal::RouterCloned
        }
    };
    refused(refusal, tenant, router)
}

/// Takes a router's right to connect, and voids what it is reading. How many reads that were.
async fn deactivate(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
    state: RouterState,
    message: &str,
    now: Timestamp,
) -> Result<u64> {
    statement::query(
        "UPDATE identity_routers SET state = $3, state_message = $4, state_changed_at = $5 WHERE \
         tenant_no = $1 AND id = $2",
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

/// Voids the fence of every running job that a router reads: nothing of these reads is applied any
/// more, and the jobs are read anew.
async fn void_reads(connection: &mut Connection, tenant: TenantNo, router: &RouterId) -> Result<u64> {
    let text = sql!(
        "UPDATE sync_jobs SET epoch = epoch + 1 WHERE tenant_no = $1 AND state = {JOB_RUNNING} AND \
         router = $2"
    );
    let voided = statement::query(text).bind(tenant.0).bind(router.0.clone()).execute(connection).await?;
    Ok(voided.rows_affected())
}

async fn record(connection: &mut Connection, tenant: &TenantId, call: &Call, event: Event) -> Result<()> {
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await
}

fn refused<T>(refusal: Refusal, tenant: &TenantId, router: &RouterId) -> Result<Admission<T>> {
    Ok(Err(RouterDenied { refusal, of: Some((tenant.clone(), router.clone())) }))
}

/// Who enrolls is nobody yet; that it is the router is what the event says.
/// The same call, in the name of a router.
fn as_router(call: &Call, router: &RouterId) -> Call {
    let by = Actor { name: format!("identityRouters/{router}"), ..call.by.clone() };
    Call { by, now: call.now }
}
