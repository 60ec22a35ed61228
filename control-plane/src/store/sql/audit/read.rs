//! Reads the audit trail: for people, who get what they ask for, and for the verification, which
//! takes nothing for granted.

use sqlx::Row as _;

use super::super::dialect::{Connection, IN_INTS_4, Query};
use super::super::statement::sql;
use super::super::{dialect, statement};
use super::append;
use super::append::INSTALLATION;
use crate::model::{Actor, AuditEvent, AuditFilter, AuditHead, TenantId, TenantNo, Timestamp, Trail};
use crate::store::{Result, StoreError, StoredTrail};

const EVENT: &str = "SELECT sequence, event_time, type, outcome, actor, via, address, subject, details, hash FROM \
     audit_events WHERE tenant_no = $1";

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
    append::head(connection, number).await
}

/// One statement for every filter: a condition that is not asked for is always true.
const MATCHES: &str = sql!(
    "($3 = 0 OR type {IN_INTS_4}) AND (CAST($5 AS TEXT) IS NULL OR actor = $5) AND (CAST($6 AS TEXT) IS NULL \
     OR subject = $6 OR SUBSTR(subject, 1, LENGTH(CAST($6 AS TEXT)) + 1) = CAST($6 AS TEXT) || '/') \
     AND (CAST($7 AS BIGINT) IS NULL OR outcome = $7) AND event_time >= $8 AND event_time < $9"
);

async fn events(
    connection: &mut Connection,
    trail: &Trail,
    filter: &AuditFilter,
    part: Part,
    limit: i64,
) -> Result<Vec<AuditEvent>> {
    let number = append::number(connection, trail).await?;
    let (text, bound) = match part {
        Part::Before(before) => {
            (sql!("{EVENT} AND sequence < $2 AND {MATCHES} ORDER BY sequence DESC LIMIT $10"), before)
        }
        Part::From(from) => {
            (sql!("{EVENT} AND sequence >= $2 AND {MATCHES} ORDER BY sequence ASC LIMIT $10"), from)
        }
    };
    let kinds: Vec<i64> = filter.kinds.iter().copied().map(i64::from).collect();
    let query = statement::query(text).bind(number.0).bind(bound).bind(i64::from(!kinds.is_empty()));
    let rows = dialect::ints(query, &kinds)
        .bind(filter.actor.clone())
        .bind(filter.subject.clone())
        .bind(filter.outcome.map(|outcome| i64::from(outcome.number())))
        .bind(filter.from.map_or(i64::MIN, |from| from.0))
        .bind(filter.until.map_or(i64::MAX, |until| until.0))
        .bind(limit)
        .fetch_all(connection)
        .await?;
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
    let hash =
        statement::query_scalar("SELECT hash FROM audit_events WHERE tenant_no = $1 AND sequence = $2");
    let hash: Option<Vec<u8>> = hash.bind(number.0).bind(sequence).fetch_optional(connection).await?;
    Ok(hash.and_then(|hash| hash.try_into().ok()))
}

pub(crate) async fn is_open(connection: &mut Connection, trail: &Trail) -> Result<bool> {
    let Trail::Tenant(tenant) = trail else { return Ok(true) };
    let open = statement::query_scalar("SELECT COUNT(*) FROM tenants WHERE id = $1 AND suspended_at IS NULL");
    let open: i64 = open.bind(tenant.0.clone()).fetch_one(connection).await?;
    Ok(open > 0)
}

pub(crate) async fn next_trail(
    connection: &mut Connection,
    after: Option<TenantNo>,
) -> Result<Option<StoredTrail>> {
    // The lowest number of each table, each from its index, rather than all numbers of the largest.
    // The installation's own is always there, whatever the tables say.
    let next = statement::query_scalar(
        "SELECT MIN(number) FROM (SELECT MIN(tenant_no) AS number FROM audit_events WHERE \
         tenant_no > $1 UNION ALL SELECT MIN(tenant_no) FROM audit_heads WHERE tenant_no > $1 \
         UNION ALL SELECT MIN(tenant_no) FROM tenants WHERE tenant_no > $1 UNION ALL SELECT CAST(0 \
         AS BIGINT) WHERE 0 > $1) AS numbers",
    );
    let next = next.bind(after.map_or(i64::MIN, |after| after.0));
    let Some(next) = next.fetch_one(&mut *connection).await? else { return Ok(None) };
    let number = TenantNo(next);
    if number == INSTALLATION {
        return Ok(Some(StoredTrail { number, trail: Some(Trail::Installation) }));
    }
    let tenant = statement::query_scalar("SELECT id FROM tenants WHERE tenant_no = $1").bind(number.0);
    let tenant: Option<String> = tenant.fetch_optional(connection).await?;
    Ok(Some(StoredTrail { number, trail: tenant.map(|id| Trail::Tenant(TenantId(id))) }))
}

pub(crate) async fn stored_events(
    connection: &mut Connection,
    trail: TenantNo,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<Option<AuditEvent>>> {
    let text = sql!("{EVENT} AND sequence > $2 ORDER BY sequence LIMIT $3");
    let query: Query = statement::query(text).bind(trail.0);
    let rows = query.bind(after.unwrap_or(i64::MIN)).bind(limit).fetch_all(connection).await?;
    // SQLite takes any type into any column.
    let row = |row| <EventRow as sqlx::FromRow<_>>::from_row(row).ok().and_then(EventRow::event);
    Ok(rows.iter().map(row).collect())
}

pub(crate) async fn stored_head(connection: &mut Connection, trail: TenantNo) -> Result<Option<AuditHead>> {
    let query: Query = statement::query("SELECT sequence, hash FROM audit_heads WHERE tenant_no = $1");
    let Some(row) = query.bind(trail.0).fetch_optional(connection).await? else { return Ok(None) };
    let (Ok(sequence), Ok(hash)) = (row.try_get(0), row.try_get::<Vec<u8>, _>(1)) else { return Ok(None) };
    Ok(hash.try_into().ok().map(|hash| AuditHead { sequence, hash }))
}
