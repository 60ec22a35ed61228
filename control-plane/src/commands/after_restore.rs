//! `control-plane after-restore`: voids every registration code of a restored backup, since it may
//! have been used or voided after the backup, and lists what the operator has to repeat.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::clock::Clock;
use crate::config::Config;
use crate::model::{Actor, RouterId, RouterState, TenantId};
use crate::store::{self, Store};

/// Routers read at a time.
const ROUTERS_PER_PAGE: i64 = 500;

/// Voids every open registration code. Returns what to tell the operator.
///
/// # Errors
/// If the database cannot be opened or written.
pub async fn run(config: &Config) -> Result<String> {
    let store = store::open(&config.database).await.context("cannot open the database")?;
    let voided = store.revoke_all_registration_codes(&Actor::system(), Clock::system().now()).await?;
    let mut report = format!(
        "voided {voided} open registration codes\n\
         Check before serving:\n\
         - Identity routers that were revoked since the backup are not revoked any more: revoke them again.\n\
         - Identity routers that renewed, recovered or enrolled since the backup are refused: make new registration codes for them.\n\
         - Licenses that were cut, tenants that were suspended and sources that were changed since the backup are as before.\n\
         - Messages to webhooks that waited when the backup was made are sent again, under the ids that they had.\n\
         Identity routers as the backup has them:"
    );
    for tenant in store.tenants_with_routers().await? {
        append_routers(store.as_ref(), &tenant, &mut report).await?;
    }
    Ok(report)
}

async fn append_routers(store: &Store, tenant: &TenantId, report: &mut String) -> Result<()> {
    let mut after: Option<RouterId> = None;
    loop {
        let routers = store.list_routers(tenant, after.as_ref(), ROUTERS_PER_PAGE).await?;
        let Some(last) = routers.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for router in routers {
            let state = match router.state {
                RouterState::Active => "active",
                RouterState::Suspended => "suspended",
                RouterState::Revoked => "revoked",
            };
            let (id, generation) = (router.id, router.generation);
            write!(report, "\n  tenants/{tenant}/identityRouters/{id}: {state}, certificate {generation}")?;
        }
    }
}
