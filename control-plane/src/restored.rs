//! `control-plane after-restore`: what a restored backup has forgotten cannot be known, but what it would make possible again can be
//! taken back (codes that were used or voided since), and what people must repeat can be said.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::clock::Clock;
use crate::config::Config;
use crate::model::{Actor, RouterId, RouterState, TenantId};
use crate::store::{self, Store};

/// Routers asked for at a time.
const PAGE: i64 = 500;

/// Voids every open registration code. What to tell the operator.
///
/// # Errors
/// If the database cannot be opened or written.
pub async fn after_restore(config: &Config) -> Result<String> {
    let store = store::open(&config.database).await.context("cannot open the database")?;
    let voided = store.void_all_registration_codes(&Actor::system(), Clock::system().now()).await?;
    let mut told = format!(
        "voided {voided} open registration codes\n\
         Check before serving:\n\
         - Identity routers that were revoked since the backup are not revoked any more: revoke them again.\n\
         - Identity routers that renewed, recovered or enrolled since the backup are refused: make new registration codes for them.\n\
         - Licenses that were cut, tenants that were suspended and sources that were changed since the backup are as before.\n\
         - Messages to webhooks that waited when the backup was made are sent again, under the ids that they had.\n\
         Identity routers as the backup has them:"
    );
    for tenant in store.tenants_with_routers().await? {
        list(store.as_ref(), &tenant, &mut told).await?;
    }
    Ok(told)
}

async fn list(store: &dyn Store, tenant: &TenantId, told: &mut String) -> Result<()> {
    let mut after: Option<RouterId> = None;
    loop {
        let routers = store.list_routers(tenant, after.as_ref(), PAGE).await?;
        let Some(last) = routers.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for router in routers {
            let state = match router.state {
                RouterState::Active => "active",
                RouterState::Suspended => "suspended",
                RouterState::Revoked => "revoked",
            };
            let (id, generation) = (router.id, router.generation);
            write!(told, "\n  tenants/{tenant}/identityRouters/{id}: {state}, certificate {generation}")?;
        }
    }
}
