//! How values are kept in columns: numbers of enumerations, JSON, ids.

use uuid::Uuid;

use crate::model::{
    Absence, AuditHead, BrokenCheck, KeyFingerprint, LicenseLevel, MarkReason, NameKey, NameKind, ReadFacts,
    RouterState, Schedule, SourceId, SourceSettings, Status, Timestamp, UserNo, UserStanding, WebhookEvent,
};
use crate::store::{Result, StoreError};

pub(crate) fn license_level(number: i64) -> Result<LicenseLevel> {
    let level = i16::try_from(number).ok().and_then(LicenseLevel::from_number);
    level.ok_or_else(|| StoreError::Broken("a license of an unknown level".into()))
}

pub(crate) fn key_fingerprint(bytes: Vec<u8>) -> Result<KeyFingerprint> {
    bytes.try_into().map_err(|_| StoreError::Broken("a fingerprint of the wrong length".into()))
}

pub(crate) fn to_i16(number: i64) -> i16 {
    i16::try_from(number).unwrap_or_default()
}

pub(crate) fn uuid(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(crate) fn webhook_uid(bytes: Vec<u8>) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| StoreError::Broken("a webhook whose own bytes are not 16".into()))
}

/// Events as they are kept. One that a later version knows is passed over.
pub(crate) fn webhook_events(json: &str) -> Result<Vec<WebhookEvent>> {
    let numbers: Vec<i16> =
        serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))?;
    Ok(numbers.into_iter().filter_map(WebhookEvent::from_number).collect())
}

pub(crate) fn webhook_events_json(events: &[WebhookEvent]) -> Result<String> {
    to_json(&events.iter().map(|event| event.number()).collect::<Vec<_>>())
}

pub(crate) fn mark_reason(number: i64) -> Result<MarkReason> {
    let reason = i16::try_from(number).ok().and_then(MarkReason::from_number);
    reason.ok_or_else(|| StoreError::Broken("a mark for an unknown reason".into()))
}

pub(crate) fn router_state(number: i64) -> Result<RouterState> {
    let state = i16::try_from(number).ok().and_then(RouterState::from_number);
    state.ok_or_else(|| StoreError::Broken("a router with an unknown state".into()))
}

pub(crate) fn source_ids(json: &str) -> Result<Vec<SourceId>> {
    let ids: Vec<String> = serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))?;
    Ok(ids.into_iter().map(SourceId).collect())
}

pub(crate) fn source_settings(json: &str) -> Result<SourceSettings> {
    serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(crate) fn read_facts(json: &str) -> Result<ReadFacts> {
    serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(crate) fn broken_checks(json: &str) -> Result<Vec<BrokenCheck>> {
    serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(crate) fn absence(number: i64) -> Result<Absence> {
    let absence = i16::try_from(number).ok().and_then(Absence::from_number);
    absence.ok_or_else(|| StoreError::Broken("an absence of an unknown kind".into()))
}

/// Names by the two columns of their keys.
pub(crate) fn name_keys(
    user_name: Option<Vec<u8>>,
    mail: Option<Vec<u8>>,
) -> Result<Vec<(NameKind, NameKey)>> {
    let mut names = Vec::new();
    for (kind, key) in [(NameKind::UserName, user_name), (NameKind::Mail, mail)] {
        names.extend(key.map(digest_bytes).transpose()?.map(|key| (kind, NameKey(key))));
    }
    Ok(names)
}

pub(crate) fn digest_bytes(bytes: Vec<u8>) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| StoreError::Broken("a key or digest that has not 16 bytes".into()))
}

pub(crate) fn user_status(number: i64) -> Result<Status> {
    let status = i16::try_from(number).ok().and_then(Status::from_number);
    status.ok_or_else(|| StoreError::Broken("a user with an unknown status".into()))
}

pub(crate) fn schedule(json: &str) -> Result<Schedule> {
    serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(crate) fn audit_head(sequence: i64, hash: Vec<u8>) -> Result<AuditHead> {
    let hash = hash.try_into().map_err(|_| StoreError::Broken("a hash of the wrong length".into()))?;
    Ok(AuditHead { sequence, hash })
}

/// Columns of a [`StandingRow`].
pub(crate) const STANDING: &str = "u.user_no, u.status, u.disabled_at, u.created_at, u.updated_at, u.observed_at, s.synced_at, \
     u.last_sign_in_at, u.undeleted_at, u.mark_reason, u.marked_at";

#[derive(sqlx::FromRow)]
pub(crate) struct StandingRow {
    user_no: i64,
    status: i64,
    disabled_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
    observed_at: i64,
    synced_at: Option<i64>,
    last_sign_in_at: Option<i64>,
    undeleted_at: Option<i64>,
    mark_reason: Option<i64>,
    marked_at: Option<i64>,
}

impl TryFrom<StandingRow> for UserStanding {
    type Error = StoreError;

    fn try_from(row: StandingRow) -> Result<Self> {
        let reason = row.mark_reason.map(mark_reason).transpose()?;
        Ok(Self {
            user: UserNo(row.user_no),
            status: user_status(row.status)?,
            disabled_at: row.disabled_at.map(Timestamp),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            observed_at: Timestamp(row.observed_at),
            source_synced_at: row.synced_at.map(Timestamp),
            last_sign_in_at: row.last_sign_in_at.map(Timestamp),
            undeleted_at: row.undeleted_at.map(Timestamp),
            mark: reason.zip(row.marked_at.map(Timestamp)),
        })
    }
}

/// A source as a row.
#[derive(sqlx::FromRow)]
pub(crate) struct SourceRow {
    pub(crate) source_no: i64,
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) version: i64,
    pub(crate) draft: String,
    pub(crate) published: Option<String>,
    pub(crate) published_revision: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) published_at: Option<i64>,
    pub(crate) sync_due_at: Option<i64>,
}

/// Sources of a tenant.
pub(crate) const SOURCE: &str = "SELECT s.source_no, s.id, s.display_name, s.version, s.draft, s.published, \
     s.published_revision, s.created_at, s.updated_at, s.published_at, s.sync_due_at FROM \
     identity_sources s JOIN tenants t ON t.tenant_no = s.tenant_no WHERE t.id = $1";
