//! SyncJobService: starts, stops, watches and undoes sync jobs, decides on held disables, and lists
//! details.

mod convert;
mod plan_export;

use std::pin::Pin;

use rollcall_proto::admin::v1::sync_job_service_server::SyncJobService;
use rollcall_proto::admin::v1::{
    ApplySyncPlanRequest, ApproveSyncJobRequest, ExportSyncJobDetailsRequest, ExportSyncPlanRequest,
    ExportSyncPlanResponse, GetSyncJobRequest, ListSyncJobDetailsRequest, ListSyncJobDetailsResponse,
    ListSyncJobsRequest, ListSyncJobsResponse, RejectSyncJobRequest, StartSyncRequest, StopSyncRequest,
    SyncJob, SyncJobDetail, UndoSyncJobRequest, WatchSyncJobRequest,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::api::admin::context::{AdminContext, require_access, require_actor};
use crate::api::common::page::Page;
use crate::api::common::paged_stream::{self, PagedStream};
use crate::api::common::{resource_names, status};
use crate::model::{Actor, Category, JobNo, SourceId, TenantId};
use crate::store::Work;

/// Serves SyncJobService.
pub struct SyncJobs(AdminContext);

impl SyncJobs {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }

    async fn start(
        &self,
        (tenant, source): (&TenantId, &SourceId),
        by: &Actor,
        request_id: &str,
        work: Work,
    ) -> Result<Response<SyncJob>, Status> {
        let request_id = match request_id {
            "" => None,
            id => Some(Uuid::try_parse(id).map_err(|_| {
                status::invalid(vec![("request_id".to_owned(), "must be a UUID".to_owned())])
            })?),
        };
        let request_id = request_id.map(|id| id.to_string());
        let job = self.0.jobs.start_sync(tenant, source, by, request_id, work).await;
        let job =
            job.map_err(|error| status::from_jobs(error, |id| resource_names::job_name(tenant, source, id)))?;
        Ok(Response::new(convert::job_to_proto(job)))
    }
}

/// The id of a job that must be called by its own name, and why.
fn require_own_name(id: Option<Uuid>, why: &str) -> Result<Uuid, Status> {
    id.ok_or_else(|| {
        let message = format!("must be the job's own name in the place of latest: {why}");
        status::invalid(vec![("name".to_owned(), message)])
    })
}

#[tonic::async_trait]
impl SyncJobService for SyncJobs {
    type WatchSyncJobStream = Pin<Box<dyn Stream<Item = Result<SyncJob, Status>> + Send>>;
    type ExportSyncPlanStream = PagedStream<ExportSyncPlanResponse>;
    type ExportSyncJobDetailsStream = PagedStream<SyncJobDetail>;

    async fn start_sync(&self, request: Request<StartSyncRequest>) -> Result<Response<SyncJob>, Status> {
        let message = request.get_ref();
        let (tenant, source) = resource_names::parse_source("parent", &message.parent)?;
        let by = require_actor(&request, &tenant)?;
        let work = match (message.validate_only, message.draft) {
            (false, false) => Work::Sync,
            (true, draft) => Work::DryRun { draft },
            (false, true) => {
                let why = "needs validate_only: a draft is only tried, and applied once it is published";
                return Err(status::invalid(vec![("draft".to_owned(), why.to_owned())]));
            }
        };
        self.start((&tenant, &source), &by, &message.request_id, work).await
    }

    async fn apply_sync_plan(
        &self,
        request: Request<ApplySyncPlanRequest>,
    ) -> Result<Response<SyncJob>, Status> {
        let message = request.get_ref();
        let (tenant, source, id) = resource_names::parse_job("name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let id = require_own_name(id, "the plan that is applied is the one that was looked at")?;
        self.start((&tenant, &source), &by, &message.request_id, Work::Plan(id)).await
    }

    async fn undo_sync_job(&self, request: Request<UndoSyncJobRequest>) -> Result<Response<SyncJob>, Status> {
        let message = request.get_ref();
        let (tenant, source, id) = resource_names::parse_job("name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let id = require_own_name(id, "a schedule may have started another job meanwhile")?;
        self.start((&tenant, &source), &by, &message.request_id, Work::Undo(id)).await
    }

    async fn export_sync_plan(
        &self,
        request: Request<ExportSyncPlanRequest>,
    ) -> Result<Response<Self::ExportSyncPlanStream>, Status> {
        let message = request.get_ref();
        let (tenant, source, id) = resource_names::parse_job("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let category = i16::try_from(message.category).ok().and_then(Category::from_number);
        let job = self.0.store.job(&tenant, &source, id).await.map_err(status::from_store)?.number;
        plan_export::open(&self.0, tenant, (job, category), message.format()).await
    }

    async fn stop_sync(&self, request: Request<StopSyncRequest>) -> Result<Response<SyncJob>, Status> {
        let (tenant, source, id) = resource_names::parse_job("name", &request.get_ref().name)?;
        let by = require_actor(&request, &tenant)?;
        let job = self.0.jobs.stop_sync(&tenant, &source, id, &by).await;
        Ok(Response::new(convert::job_to_proto(
            job.map_err(|error| status::from_jobs(error, |id| id.to_string()))?,
        )))
    }

    async fn approve_sync_job(
        &self,
        request: Request<ApproveSyncJobRequest>,
    ) -> Result<Response<SyncJob>, Status> {
        let message = request.get_ref();
        let (tenant, source, id) = resource_names::parse_job("name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        if message.etag.is_empty() {
            let why = "is required: hold.etag of the job as you looked at it, so that what is approved is what was shown";
            return Err(status::invalid(vec![("etag".to_owned(), why.to_owned())]));
        }
        let job = self.0.jobs.approve((&tenant, &source, id), &message.etag, &by).await;
        Ok(Response::new(convert::job_to_proto(
            job.map_err(|error| status::from_jobs(error, |id| id.to_string()))?,
        )))
    }

    async fn reject_sync_job(
        &self,
        request: Request<RejectSyncJobRequest>,
    ) -> Result<Response<SyncJob>, Status> {
        let (tenant, source, id) = resource_names::parse_job("name", &request.get_ref().name)?;
        let by = require_actor(&request, &tenant)?;
        let job = self.0.jobs.reject((&tenant, &source, id), &by).await;
        Ok(Response::new(convert::job_to_proto(
            job.map_err(|error| status::from_jobs(error, |id| id.to_string()))?,
        )))
    }

    async fn get_sync_job(&self, request: Request<GetSyncJobRequest>) -> Result<Response<SyncJob>, Status> {
        let (tenant, source, id) = resource_names::parse_job("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        let job = self.0.store.job(&tenant, &source, id).await.map_err(status::from_store)?;
        Ok(Response::new(convert::job_to_proto(job)))
    }

    async fn list_sync_jobs(
        &self,
        request: Request<ListSyncJobsRequest>,
    ) -> Result<Response<ListSyncJobsResponse>, Status> {
        let message = request.get_ref();
        let (tenant, source) = resource_names::parse_source("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let page =
            Page::new(&self.0.page_key, message.page_size, &message.page_token, &["jobs", &message.parent])?;
        let before = page.after().map(JobNo);
        let mut jobs = self
            .0
            .store
            .list_jobs(&tenant, &source, before, page.fetch_limit())
            .await
            .map_err(status::from_store)?;
        let next_page_token = page.cut(&mut jobs, |job| job.number.to_string());
        let sync_jobs = jobs.into_iter().map(convert::job_to_proto).collect();
        Ok(Response::new(ListSyncJobsResponse { sync_jobs, next_page_token }))
    }

    async fn watch_sync_job(
        &self,
        request: Request<WatchSyncJobRequest>,
    ) -> Result<Response<Self::WatchSyncJobStream>, Status> {
        let (tenant, source, id) = resource_names::parse_job("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        let states = self.0.jobs.watch(tenant, source, id).map(|state| match state {
            Ok(job) => Ok(convert::job_to_proto(job)),
            Err(error) => Err(status::from_jobs(error, |id| id.to_string())),
        });
        Ok(Response::new(Box::pin(states)))
    }

    async fn list_sync_job_details(
        &self,
        request: Request<ListSyncJobDetailsRequest>,
    ) -> Result<Response<ListSyncJobDetailsResponse>, Status> {
        let message = request.get_ref();
        let (tenant, source, id) = resource_names::parse_job("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let store = &self.0.store;
        let job = store.job(&tenant, &source, id).await.map_err(status::from_store)?;
        let category = i16::try_from(message.category).ok().and_then(Category::from_number);
        // A token of `latest` belongs to the job that was the latest then.
        let query = ["details", &job.id.to_string(), message.category().as_str_name()];
        let page = Page::new(&self.0.page_key, message.page_size, &message.page_token, &query)?;
        let after = page.after::<String>().and_then(|key| {
            let (category, position) = key.split_once(' ')?;
            Some((Category::from_number(category.parse().ok()?)?, position.parse().ok()?))
        });
        let details = store.list_details(job.number, category, after, page.fetch_limit()).await;
        let mut details = details.map_err(status::from_store)?;
        let next_page_token =
            page.cut(&mut details, |(position, detail)| format!("{} {position}", detail.category.number()));
        let details =
            details.into_iter().map(|(_, detail)| convert::detail_to_proto(&tenant, detail)).collect();
        Ok(Response::new(ListSyncJobDetailsResponse { details, next_page_token }))
    }

    async fn export_sync_job_details(
        &self,
        request: Request<ExportSyncJobDetailsRequest>,
    ) -> Result<Response<Self::ExportSyncJobDetailsStream>, Status> {
        let message = request.get_ref();
        let (tenant, source, id) = resource_names::parse_job("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let category = i16::try_from(message.category).ok().and_then(Category::from_number);
        let category = category.ok_or_else(|| {
            let why = "is required: ADDED, UPDATED, DISABLED, NOT_SYNCHRONIZED, WOULD_BE_DISABLED, WARNING, WOULD_BE_ENABLED or NOT_VISIBLE";
            status::invalid(vec![("category".to_owned(), why.to_owned())])
        })?;
        let (store, kept) = (self.0.store.clone(), self.0.jobs.full_lists_kept());
        let job = store.job(&tenant, &source, id).await.map_err(status::from_store)?.number;
        let page = move |after| {
            let store = store.clone();
            async move { store.export_details(job, category, kept, after, paged_stream::PAGE_ITEMS).await }
        };
        paged_stream::open(None, page, move |detail| Ok(convert::detail_to_proto(&tenant, detail))).await
    }
}
