//! A sync job's life: queued, given to a router, read, reconciled, ended.
//!
//! Whatever must survive a crash is in the store. This replica keeps only which routers are
//! connected to it and which reads it is taking in.
//!
//! - `handle`: what other parts of the control plane ask of jobs
//! - `settings`: the deadlines and limits of jobs
//! - `dispatch`: finds jobs for this replica
//! - `lease`: the right to run a job for a while
//! - `run`: runs one job from its first read to its end
//! - `directory_retry`: when what the directory broke off is ordered again
//! - `intake`, `arrivals`, `met_ids`: takes in the records of one read; what else arrives; ids met
//! - `leavers`: ends a complete read
//! - `reconciliation`: gathers the evidence on absent users, judges it, and carries the verdict out
//! - `absent_users`: users that a read did not have: finds, looks up, records and disables them
//! - `dry_run`: writes the plan of a dry run, and limits a sync that applies one
//! - `settle`: settles what a read left waiting
//! - `reconcile_end`: how a reconciliation ends
//! - `undo`: undoes a job
//! - `orders`: what a router is ordered to do, and what it answers
//! - `session`: a connected router
//! - `sessions`: the routers that are connected to this replica
//! - `remote_routers`: asks routers, also those of other replicas
//! - `revocation`: ends sessions of routers that must not be connected any more
//! - `scheduler`: starts the runs of schedules
//! - `watch`: shows a job live
//! - `single_user`: syncs of single users, outside of any job
//! - `deletion`: deletes marked users, and marks users by the tenants' settings

mod absent_users;
mod arrivals;
mod deletion;
mod directory_retry;
mod dispatch;
mod dry_run;
mod handle;
mod intake;
mod lease;
mod leavers;
mod met_ids;
mod orders;
mod reconcile_end;
mod reconciliation;
mod remote_routers;
mod revocation;
mod run;
mod scheduler;
mod session;
mod sessions;
mod settings;
mod settle;
mod single_user;
mod undo;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::{IdentityRouter, JobNo, SourceId, SourceSettings, TenantId};
use crate::store::{Store, StoreError};

pub use arrivals::{Completed, PairedRecord};
pub use handle::Jobs;
pub use intake::{Intake, IntakeError, MAX_UNFINISHED_BATCHES, ReadEnd, Wanted};
pub use orders::{Answer, ConnectionTest, FetchOrder, Order, SyncOrder, VerifyOrder};
pub use remote_routers::{QuestionScope, RemoteRouters, Reply};
pub use session::Session;
pub use settings::JobSettings;

/// A router that was last heard of longer ago than this is not connected, whatever the store says.
pub const ROUTER_SILENCE: Duration = Duration::from_secs(45);

/// Why a call on jobs failed.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tenant has no identity router.
    #[error("the tenant has no identity router")]
    NoRouter,
    /// None of them is connected.
    #[error("no identity router of the tenant is connected")]
    NoRouterConnected,
    /// The router did not answer in time.
    #[error("the identity router did not answer in time")]
    TestTimedOut,
}

/// What everything that works on jobs shares.
struct Inner {
    store: Arc<Store>,
    settings: JobSettings,
    clock: Clock,
    sessions: sessions::Sessions,
    /// The way to routers of other replicas, if there is one.
    remote_routers: OnceLock<Arc<dyn RemoteRouters>>,
    /// A router's session began or ended.
    routers_changed: Notify,
    searches: single_user::SharedSearches,
    settings_cache: single_user::SettingsCache,
    sign_in_log: single_user::SignInLog,
    password_attempts: Arc<single_user::PasswordAttempts>,
    runs: Mutex<HashMap<JobNo, run::Slot>>,
    /// Something happened that the dispatcher may care about.
    wake: Notify,
    /// A job changed.
    changed: Notify,
    shutdown: CancellationToken,
}

impl Inner {
    /// Whether a router that may read the source is connected, to whichever replica; none if the
    /// tenant has no router at all.
    async fn has_connected_router(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        settings: &SourceSettings,
    ) -> Result<Option<bool>, StoreError> {
        let routers = self.store.list_routers(tenant, None, i64::from(u16::MAX)).await?;
        let oldest = self.clock.now().minus(ROUTER_SILENCE);
        let can = |router: &IdentityRouter| {
            (settings.routers.is_empty() || settings.routers.contains(&router.id.0))
                && (router.sources.is_empty() || router.sources.contains(source))
                && router.connected
                && router.last_seen >= oldest
        };
        Ok((!routers.is_empty()).then(|| routers.iter().any(can)))
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<JobNo, run::Slot>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel(&self, job: JobNo) {
        if let Some(slot) = self.runs().get(&job) {
            slot.cancel.cancel();
        }
        self.changed.notify_waiters();
    }
}
