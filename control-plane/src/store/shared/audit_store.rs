//! [`AuditStore`] over the statements of `audit`.

use async_trait::async_trait;

use super::{Engine, audit};
use crate::model::{Actor, Event, Timestamp, Trail};
use crate::store::{AuditStore, Result};

#[async_trait]
impl AuditStore for Engine {
    async fn record(&self, trail: &Trail, by: &Actor, event: Event, now: Timestamp) -> Result<()> {
        let (trail, by) = (trail.clone(), by.clone());
        self.write(move |c| {
            let (trail, by, event) = (trail.clone(), by.clone(), event.clone());
            Box::pin(async move { audit::record(c, &trail, &by, event, now).await })
        })
        .await
    }
}
