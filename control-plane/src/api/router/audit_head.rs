//! Compares the audit trail with what a router has seen of it. Each router keeps the newest event
//! that it was shown and sends it when it connects again. If the trail does not have that event, it
//! was cut or replaced.

use rollcall_proto::router::v1::AuditHead;
use tonic::Status;

use super::link::{RouterIdentity, RouterLink};
use crate::model::{Event, EventType, Trail, hex, names};
use crate::store::StoreError;

/// Compares what the router has seen with the trail. The newest event of that, and whether they
/// differ.
pub(super) async fn compare(
    link: &RouterLink,
    router: &RouterIdentity,
    seen: Option<AuditHead>,
) -> Result<(Option<AuditHead>, bool), Status> {
    let trail = Trail::Tenant(router.tenant.clone());
    let unavailable = |error: StoreError| {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot read the audit trail");
        Status::unavailable("the database is not available; try again")
    };
    let mut forked = false;
    if let Some(seen) = seen.filter(|seen| seen.sequence > 0) {
        let found = link.store.audit_hash(&trail, seen.sequence).await.map_err(unavailable)?;
        forked = found.is_none_or(|found| found[..] != seen.hash[..]);
        if forked {
            tracing::error!(
                tenant = %router.tenant, router = %router.router, sequence = seen.sequence,
                "the audit trail is not the one that this identity router has seen: it was cut or replaced"
            );
            let event = Event::done(EventType::AuditForked, names::router(&router.tenant, &router.router))
                .with("sequence", seen.sequence)
                .with("expected", hex(seen.hash.get(..32).unwrap_or(&seen.hash)))
                .with("found", found.map_or_else(|| "none".to_owned(), |found| hex(&found)));
            link.denials.record(trail.clone(), router.actor.clone(), event);
        }
    }
    let head = link.store.audit_head(&trail).await.map_err(unavailable)?;
    let head = AuditHead { sequence: head.sequence, hash: head.hash.to_vec().into() };
    Ok((Some(head), forked))
}
