//! SyncJobService: Synchronize Now, Stop Sync, Synchronization Status, Show Details.

use std::pin::Pin;

use rollcall_proto::admin::v1::sync_job_service_server::SyncJobService;
use rollcall_proto::admin::v1::{
    GetSyncJobRequest, ListSyncJobDetailsRequest, ListSyncJobDetailsResponse, ListSyncJobsRequest,
    ListSyncJobsResponse, StartSyncRequest, StopSyncRequest, SyncJob, WatchSyncJobRequest,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::page::Page;
use super::{Api, caller, convert, names, status};
use crate::model::{Category, JobNo};

/// Serves SyncJobService.
pub struct SyncJobs(Api);

impl SyncJobs {
    /// A service over these parts.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(api)
    }
}

#[tonic::async_trait]
impl SyncJobService for SyncJobs {
    type WatchSyncJobStream = Pin<Box<dyn Stream<Item = Result<SyncJob, Status>> + Send>>;

    async fn start_sync(&self, request: Request<StartSyncRequest>) -> Result<Response<SyncJob>, Status> {
        let message = request.get_ref();
        let (tenant, source) = names::source("parent", &message.parent)?;
        let by = caller(&request, &tenant)?.to_string();
        let request_id = match message.request_id.as_str() {
            "" => None,
            id => Some(Uuid::try_parse(id).map_err(|_| {
                status::invalid(vec![("request_id".to_owned(), "must be a UUID".to_owned())])
            })?),
        };
        let request_id = request_id.map(|id| id.to_string());
        let job = self.0.jobs.start_sync(&tenant, &source, &by, request_id).await;
        let job = job.map_err(|error| status::of_jobs(error, |id| names::job_name(&tenant, &source, id)))?;
        Ok(Response::new(convert::job(job)))
    }

    async fn stop_sync(&self, request: Request<StopSyncRequest>) -> Result<Response<SyncJob>, Status> {
        let (tenant, source, id) = names::job("name", &request.get_ref().name)?;
        let by = caller(&request, &tenant)?.to_string();
        let job = self.0.jobs.stop_sync(&tenant, &source, id, &by).await;
        Ok(Response::new(convert::job(job.map_err(|error| status::of_jobs(error, |id| id.to_string()))?)))
    }

    async fn get_sync_job(&self, request: Request<GetSyncJobRequest>) -> Result<Response<SyncJob>, Status> {
        let (tenant, source, id) = names::job("name", &request.get_ref().name)?;
        caller(&request, &tenant)?;
        let job = self.0.store.job(&tenant, &source, id).await.map_err(status::store)?;
        Ok(Response::new(convert::job(job)))
    }

    async fn list_sync_jobs(
        &self,
        request: Request<ListSyncJobsRequest>,
    ) -> Result<Response<ListSyncJobsResponse>, Status> {
        let message = request.get_ref();
        let (tenant, source) = names::source("parent", &message.parent)?;
        caller(&request, &tenant)?;
        let page = Page::new(message.page_size, &message.page_token, &["jobs", &message.parent])?;
        let before = page.after().map(JobNo);
        let mut jobs =
            self.0.store.list_jobs(&tenant, &source, before, page.fetch()).await.map_err(status::store)?;
        let next_page_token = page.cut(&mut jobs, |job| job.number.to_string());
        let sync_jobs = jobs.into_iter().map(convert::job).collect();
        Ok(Response::new(ListSyncJobsResponse { sync_jobs, next_page_token }))
    }

    async fn watch_sync_job(
        &self,
        request: Request<WatchSyncJobRequest>,
    ) -> Result<Response<Self::WatchSyncJobStream>, Status> {
        let (tenant, source, id) = names::job("name", &request.get_ref().name)?;
        caller(&request, &tenant)?;
        let states = self.0.jobs.watch(tenant, source, id).map(|state| match state {
            Ok(job) => Ok(convert::job(job)),
            Err(error) => Err(status::of_jobs(error, |id| id.to_string())),
        });
        Ok(Response::new(Box::pin(states)))
    }

    async fn list_sync_job_details(
        &self,
        request: Request<ListSyncJobDetailsRequest>,
    ) -> Result<Response<ListSyncJobDetailsResponse>, Status> {
        let message = request.get_ref();
        let (tenant, source, id) = names::job("parent", &message.parent)?;
        caller(&request, &tenant)?;
        let store = &self.0.store;
        let job = store.job(&tenant, &source, id).await.map_err(status::store)?;
        let category = i16::try_from(message.category).ok().and_then(Category::from_number);
        // A token of `latest` belongs to the job that was the latest then.
        let query = ["details", &job.id.to_string(), message.category().as_str_name()];
        let page = Page::new(message.page_size, &message.page_token, &query)?;
        let after = page.after::<String>().and_then(|key| {
            let (category, position) = key.split_once(' ')?;
            Some((Category::from_number(category.parse().ok()?)?, position.parse().ok()?))
        });
        let details = store.list_details(job.number, category, after, page.fetch()).await;
        let mut details = details.map_err(status::store)?;
        let next_page_token =
            page.cut(&mut details, |(position, detail)| format!("{} {position}", detail.category.number()));
        let details = details.into_iter().map(|(_, detail)| convert::detail(&tenant, detail)).collect();
        Ok(Response::new(ListSyncJobDetailsResponse { details, next_page_token }))
    }
}
