//! Writes the audit trail: one row an event, each a link behind the one before. The head's row is
//! locked, as the last lock of a transaction.

use super::super::dialect::Connection;
use super::super::{codec, locks, statement};
use crate::model::{
    Actor, AuditEvent, AuditHead, Call, Event, EventType, SyncJob, TenantNo, Timestamp, Trail, names,
};
use crate::store::{Result, StoreError};

/// Number of the installation's own trail.
pub(crate) const INSTALLATION: TenantNo = TenantNo(0);

/// Writes an event at the end of a trail, in the transaction that does what it records. Comes last
/// in it: nothing is locked after the head.
pub(crate) async fn record(
    connection: &mut Connection,
    trail: &Trail,
    call: &Call,
    event: Event,
) -> Result<()> {
    record_all(connection, trail, call, vec![event]).await
}

/// Writes an event that belongs to no other write.
pub(crate) async fn record_alone(
    connection: &mut Connection,
    trail: &Trail,
    by: &Actor,
    event: Event,
    now: Timestamp,
) -> Result<()> {
    record(connection, trail, &Call { by: by.clone(), now }, event).await
}

/// The same for several events.
pub(crate) async fn record_all(
    connection: &mut Connection,
    trail: &Trail,
    call: &Call,
    events: Vec<Event>,
) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let number = number(connection, trail).await?;
    let mut last = locks::lock_audit_head(connection, number).await?;
    for event in events {
        last = append(connection, (trail, number), last, call, event).await?;
    }
    statement::query("UPDATE audit_heads SET sequence = $2, hash = $3 WHERE tenant_no = $1")
        .bind(number.0)
        .bind(last.sequence)
        .bind(last.hash.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes an event behind the newest one, and returns the new head.
async fn append(
    connection: &mut Connection,
    (trail, number): (&Trail, TenantNo),
    AuditHead { sequence, hash }: AuditHead,
    call: &Call,
    event: Event,
) -> Result<AuditHead> {
    let details =
        serde_json::to_string(&event.details).map_err(|error| StoreError::Broken(Box::new(error)))?;
    let mut event = AuditEvent {
        sequence: sequence + 1,
        time: call.now,
        actor: call.by.clone(),
        kind: event.kind.number(),
        outcome: event.outcome.number(),
        subject: event.subject,
        details,
        hash: [0; 32],
    };
    event.hash = event.link(trail, &hash);
    let head = AuditHead { sequence: event.sequence, hash: event.hash };
    statement::query(
        "INSERT INTO audit_events (tenant_no, sequence, event_time, type, outcome, actor, via, \
         address, subject, details, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(number.0)
    .bind(event.sequence)
    .bind(event.time.0)
    .bind(i64::from(event.kind))
    .bind(i64::from(event.outcome))
    .bind(event.actor.name)
    .bind(event.actor.via)
    .bind(event.actor.address)
    .bind(event.subject)
    .bind(event.details)
    .bind(event.hash.to_vec())
    .execute(connection)
    .await?;
    Ok(head)
}

/// Something that is done with a job.
pub(crate) fn of_job(kind: EventType, job: &SyncJob) -> Event {
    Event::done(kind, names::job(job))
}

/// Writes an event of a job's to its tenant's trail.
pub(crate) async fn record_of_job(
    connection: &mut Connection,
    job: &SyncJob,
    call: &Call,
    event: Event,
) -> Result<()> {
    record(connection, &Trail::Tenant(job.tenant.clone()), call, event).await
}

/// Begins the trail of a new tenant.
pub(crate) async fn begin(connection: &mut Connection, tenant: TenantNo) -> Result<()> {
    statement::query("INSERT INTO audit_heads (tenant_no, sequence, hash) VALUES ($1, 0, $2)")
        .bind(tenant.0)
        .bind(vec![0_u8; 32])
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn number(connection: &mut Connection, trail: &Trail) -> Result<TenantNo> {
    match trail {
        Trail::Installation => Ok(INSTALLATION),
        Trail::Tenant(tenant) => locks::tenant_number(connection, tenant).await,
    }
}

/// The newest event of a trail, without a lock.
pub(crate) async fn head(connection: &mut Connection, number: TenantNo) -> Result<AuditHead> {
    let head = statement::query_as("SELECT sequence, hash FROM audit_heads WHERE tenant_no = $1");
    let (sequence, hash) = head.bind(number.0).fetch_one(connection).await?;
    codec::audit_head(sequence, hash)
}
