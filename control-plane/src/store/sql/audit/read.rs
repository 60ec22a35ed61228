//! Reads the audit trail: for people, who get what they ask for, and for the verification, which takes nothing for granted.

use sqlx::{AssertSqlSafe, Row as _};

use super::super::dialect;
use super::super::dialect::{Connection, Query};
use super::append;
use super::append::INSTALLATION;
use crate::model::{Actor, AuditEvent, AuditFilter, AuditHead, TenantId, TenantNo, Timestamp, Trail};
use crate::store::{Result, StoreError, StoredTrail};

const EVENT: &str = "SELECT sequence, event_time, type, outcome, actor, via, address, subject, details, hash FROM audit_events \
     WHERE tenant_no = $1";

#[derive(sqlx::FromRow)]
struct EventRow {
    sequence: i64,
    event_time: i64,
    #[sqlx(rename = "type")]
    kind: i64,
    outcome: i64,
    actor: String,
    via: String,
    address: String,
    subject: String,
    details: String,
    hash: Vec<u8>,
}

impl EventRow {
    fn event(self) -> Option<AuditEvent> {
        Some(AuditEvent {
            sequence: self.sequence,
            time: Timestamp(self.event_time),
            actor: Actor { name: self.actor, via: self.via, address: self.address },
            kind: i16::try_from(self.kind).ok()?,
            outcome: i16::try_from(self.outcome).ok()?,
            subject: self.subject,
            details: self.details,
            hash: self.hash.try_into().ok()?,
        })
    }
}

/// Which part of a trail.
enum Part {
    /// Newest first, before this one.
    Before(i64),
    /// Oldest first, from this one on.
    From(i64),
}

/// Events before a sequence number, newest first.
pub(crate) async fn newest_first(
    connection: &mut Connection,
    trail: &Trail,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<AuditEvent>> {
    events(connection, trail, filter, Part::Before(before.unwrap_or(i64::MAX)), limit).await
}

/// Events from a sequence number on, oldest first.
pub(crate) async fn oldest_first(
    connection: &mut Connection,
    trail: &Trail,
    filter: &AuditFilter,
    from: i64,
    limit: i64,
) -> Result<Vec<AuditEvent>> {
    events(connection, trail, filter, Part::From(from), limit).await
}

/// The newest event of a trail.
pub(crate) async fn newest(connection: &mut Connection, trail: &Trail) -> Result<AuditHead> {
    let number = append::number(connection, trail).await?;
    append::head(connection, number, "").await
}

async fn events(
    connection: &mut Connection,
    trail: &Trail,
    filter: &AuditFilter,
    part: Part,
    limit: i64,
) -> Result<Vec<AuditEvent>> {
    let number = append::number(connection, trail).await?;
    let (range, bound, order) = match part {
        Part::Before(before) => ("<", before, "DESC"),
        Part::From(from) => (">=", from, "ASC"),
    };
    let mut text = format!("{EVENT} AND sequence {range} $2");
    // The text first, with a number for each parameter; then their values in the same order.
    let mut next = 3_u8;
    let mut place = |condition: &dyn Fn(u8) -> String| {
        text.push_str(" AND ");
        text.push_str(&condition(next));
        next += 1;
    };
    if !filter.kinds.is_empty() {
        place(&|at| format!("type {}", dialect::in_ints(at)));
    }
    if filter.actor.is_some() {
        place(&|at| format!("actor = ${at}"));
    }
    if filter.subject.is_some() {
        place(&|at| {
            format!(
                "(subject = ${at} OR SUBSTR(subject, 1, LENGTH(CAST(${at} AS TEXT)) + 1) = CAST(${at} AS TEXT) || '/')"
            )
        });
    }
    if filter.outcome.is_some() {
        place(&|at| format!("outcome = ${at}"));
    }
    if filter.from.is_some() {
        place(&|at| format!("event_time >= ${at}"));
    }
    if filter.until.is_some() {
        place(&|at| format!("event_time < ${at}"));
    }
    text.push_str(&format!(" ORDER BY sequence {order} LIMIT ${next}"));
    let mut query: Query = sqlx::query(AssertSqlSafe(text)).bind(number.0).bind(bound);
    if !filter.kinds.is_empty() {
        let kinds: Vec<i64> = filter.kinds.iter().copied().map(i64::from).collect();
        query = dialect::ints(query, &kinds);
    }
    for text in [&filter.actor, &filter.subject].into_iter().flatten() {
        query = query.bind(text.clone());
    }
    if let Some(outcome) = filter.outcome {
        query = query.bind(i64::from(outcome.number()));
    }
    for time in [filter.from, filter.until].into_iter().flatten() {
        query = query.bind(time.0);
    }
    let rows = query.bind(limit).fetch_all(connection).await?;
    let event = |row| -> Result<AuditEvent> {
        let row: EventRow = sqlx::FromRow::from_row(row)?;
        row.event().ok_or_else(|| StoreError::Broken("a row of the audit trail that is no event".into()))
    };
    rows.iter().map(event).collect()
}

pub(crate) async fn hash(
    connection: &mut Connection,
    trail: &Trail,
    sequence: i64,
) -> Result<Option<[u8; 32]>> {
    let number = append::number(connection, trail).await?;
    let hash = sqlx::query_scalar("SELECT hash FROM audit_events WHERE tenant_no = $1 AND sequence = $2");
    let hash: Option<Vec<u8>> = hash.bind(number.0).bind(sequence).fetch_optional(connection).await?;
    Ok(hash.and_then(|hash| hash.try_into().ok()))
}

pub(crate) async fn is_open(connection: &mut Connection, trail: &Trail) -> Result<bool> {
    let Trail::Tenant(tenant) = trail else { return Ok(true) };
    let open = sqlx::query_scalar("SELECT COUNT(*) FROM tenants WHERE id = $1 AND suspended_at IS NULL");
    let open: i64 = open.bind(tenant.0.clone()).fetch_one(connection).await?;
    Ok(open > 0)
}

pub(crate) async fn next_trail(
    connection: &mut Connection,
    after: Option<TenantNo>,
) -> Result<Option<StoredTrail>> {
    // The lowest number of each table, each from its index, rather than all numbers of the largest. The installation's own is always
    // there, whatever the tables say.
    let next = sqlx::query_scalar(
        "SELECT MIN(number) FROM (SELECT MIN(tenant_no) AS number FROM audit_events WHERE tenant_no > $1 \
         UNION ALL SELECT MIN(tenant_no) FROM audit_heads WHERE tenant_no > $1 \
         UNION ALL SELECT MIN(tenant_no) FROM tenants WHERE tenant_no > $1 \
         UNION ALL SELECT CAST(0 AS BIGINT) WHERE 0 > $1) AS numbers",
    );
    let next = next.bind(after.map_or(i64::MIN, |after| after.0));
    let Some(next) = next.fetch_one(&mut *connection).await? else { return Ok(None) };
    let number = TenantNo(next);
    if number == INSTALLATION {
        return Ok(Some(StoredTrail { number, trail: Some(Trail::Installation) }));
    }
    let tenant = sqlx::query_scalar("SELECT id FROM tenants WHERE tenant_no = $1").bind(number.0);
    let tenant: Option<String> = tenant.fetch_optional(connection).await?;
    Ok(Some(StoredTrail { number, trail: tenant.map(|id| Trail::Tenant(TenantId(id))) }))
}

pub(crate) async fn stored_events(
    connection: &mut Connection,
    trail: TenantNo,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<Option<AuditEvent>>> {
    let text = format!("{EVENT} AND sequence > $2 ORDER BY sequence LIMIT $3");
    let query: Query = sqlx::query(AssertSqlSafe(text)).bind(trail.0);
    let rows = query.bind(after.unwrap_or(i64::MIN)).bind(limit).fetch_all(connection).await?;
    // SQLite takes any type into any column.
    let row = |row| <EventRow as sqlx::FromRow<_>>::from_row(row).ok().and_then(EventRow::event);
    Ok(rows.iter().map(row).collect())
}

pub(crate) async fn stored_head(connection: &mut Connection, trail: TenantNo) -> Result<Option<AuditHead>> {
    let query: Query = sqlx::query("SELECT sequence, hash FROM audit_heads WHERE tenant_no = $1");
    let Some(row) = query.bind(trail.0).fetch_optional(connection).await? else { return Ok(None) };
    let (Ok(sequence), Ok(hash)) = (row.try_get(0), row.try_get::<Vec<u8>, _>(1)) else { return Ok(None) };
    Ok(hash.try_into().ok().map(|hash| AuditHead { sequence, hash }))
}
