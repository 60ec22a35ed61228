//! SyncScheduleService: shows and sets when Rollcall synchronizes a source on its own.

mod convert;

use rollcall_proto::admin::v1::sync_schedule_service_server::SyncScheduleService;
use rollcall_proto::admin::v1::{GetSyncScheduleRequest, SyncSchedule, UpdateSyncScheduleRequest};
use tonic::{Request, Response, Status};

use crate::api::admin::context::{AdminContext, require_access, require_actor};
use crate::api::common::{resource_names, status};
use crate::schedule;
use crate::store::{ScheduleChange, StoreError};

/// Serves SyncScheduleService.
pub struct SyncSchedules(AdminContext);

impl SyncSchedules {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }
}

#[tonic::async_trait]
impl SyncScheduleService for SyncSchedules {
    async fn get_sync_schedule(
        &self,
        request: Request<GetSyncScheduleRequest>,
    ) -> Result<Response<SyncSchedule>, Status> {
        let (tenant, source) = resource_names::parse_schedule("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        let found = self.0.store.schedule(&tenant, &source).await.map_err(status::from_store)?;
        Ok(Response::new(convert::schedule_to_proto(&tenant, &source, found, self.0.clock.now())))
    }

    async fn update_sync_schedule(
        &self,
        request: Request<UpdateSyncScheduleRequest>,
    ) -> Result<Response<SyncSchedule>, Status> {
        let message = request.get_ref().sync_schedule.clone().unwrap_or_default();
        let (tenant, source) = resource_names::parse_schedule("sync_schedule.name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let version = match message.etag.as_str() {
            "" => None,
            etag => Some(etag.parse().map_err(|_| status::from_store(StoreError::VersionMismatch))?),
        };
        let now = self.0.clock.now();
        let settings = convert::schedule_from_proto(message, now)?;
        let next = schedule::next_run(&settings, &format!("{tenant}/{source}"), now)
            .map_err(|wrong| status::invalid(vec![(format!("sync_schedule.{}", wrong.field), wrong.why)]))?;
        let change = ScheduleChange { version, schedule: settings, next };
        let set = self.0.store.set_schedule(&tenant, &source, change, &by, now);
        let found = set.await.map_err(status::from_store)?;
        tracing::info!(%tenant, %source, enabled = found.schedule.enabled, "schedule set");
        Ok(Response::new(convert::schedule_to_proto(&tenant, &source, found, now)))
    }
}
