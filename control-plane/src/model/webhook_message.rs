//! The text of a message to a webhook: JSON as Standard Webhooks has it, without personal data. It
//! is written once, together with the event that it reports, then signed and sent as these bytes.

use serde_json::{Map, Value, json};

use super::{NotSynchronizedReason, SyncJob, TenantId, Timestamp, WebhookId, hex, names, spelled};

/// The whole message.
#[must_use]
pub fn body(kind: &str, at: Timestamp, data: &Value) -> String {
    json!({ "type": kind, "timestamp": rfc3339(at), "data": data }).to_string()
}

/// The id of a message, for which the time counts as well: a database that was restored gives its
/// numbers again.
#[must_use]
pub fn id(webhook: [u8; 16], number: i64, at: Timestamp) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&webhook).update(&number.to_be_bytes()).update(&at.0.to_be_bytes());
    format!("msg_{}", hex(&hasher.finalize().as_bytes()[..16]))
}

/// Of a job: its state, its counts, and why it ended as it did, in words of the API.
#[must_use]
pub fn of_job(job: &SyncJob, reasons: &[(NotSynchronizedReason, i64)]) -> Value {
    let counts = &job.counts;
    let by_reason: Map<_, _> =
        reasons.iter().map(|(reason, records)| (spelled(reason), json!(records))).collect();
    let mut data = json!({
        "tenant": names::tenant(&job.tenant),
        "identity_source": names::source(&job.tenant, &job.source),
        "sync_job": names::job(job),
        "kind": spelled(job.kind),
        "state": spelled(job.state),
        "started_by": job.started_by,
        "counts": {
            "read": counts.read(), "added": counts.added, "updated": counts.updated, "unchanged": counts.unchanged,
            "not_synchronized": counts.not_synchronized, "disabled": counts.disabled, "reenabled": counts.reenabled,
            "disabled_in_directory": counts.disabled_in_directory, "still_in_scope": counts.still_in_scope,
        },
        "not_synchronized": by_reason,
    });
    if let Some(failure) = &job.failure {
        data["reason"] = json!(spelled(failure.reason));
    }
    if let Some(withheld) = &job.withheld {
        data["withheld_users"] = json!(withheld.users);
    }
    if let Some(hold) = &job.hold {
        data["hold"] = json!({
            "reason": spelled(hold.reason), "users": hold.users, "expire_time": rfc3339(hold.expires_at),
            "decision": spelled(hold.decision),
        });
    }
    data
}

/// Of a license.
#[must_use]
pub fn of_license(tenant: &TenantId, used: i64, limit: i64) -> Value {
    json!({
        "tenant": names::tenant(tenant),
        "license": names::license(tenant),
        "used": used,
        "user_limit": limit,
    })
}

/// Of a test.
#[must_use]
pub fn of_ping(tenant: &TenantId, webhook: &WebhookId) -> Value {
    json!({ "tenant": names::tenant(tenant), "webhook": names::webhook(tenant, webhook) })
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_when_and_of_whom() {
        let at = Timestamp(1_674_087_231_500_000);
        let text = body("license.above_85", at, &of_license(&TenantId::from("acme"), 90, 100));
        let said: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(said["type"], "license.above_85");
        assert_eq!(said["timestamp"], "2023-01-19T00:13:51.5Z");
        assert_eq!(said["data"]["license"], "tenants/acme/license");
        assert_eq!((&said["data"]["used"], &said["data"]["user_limit"]), (&json!(90), &json!(100)));
    }

    #[test]
    fn an_id_is_the_messages_own() {
        let (uid, at) = ([7; 16], Timestamp(1));
        let one = id(uid, 1, at);
        assert_eq!(one, id(uid, 1, at));
        assert!(one.len() == 36 && !one.contains('.'), "{one}");
        for other in [id([8; 16], 1, at), id(uid, 2, at), id(uid, 1, Timestamp(2))] {
            assert_ne!(one, other);
        }
    }
}
