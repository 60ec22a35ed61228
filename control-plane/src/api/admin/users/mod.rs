//! UserService: shows users, and marks, restores and deletes them.

pub(in crate::api::admin) mod convert;
mod deletion;

use rollcall_proto::admin::v1::user_service_server::UserService;
use rollcall_proto::admin::v1::{
    BatchMarkUsersForDeletionRequest, BatchMarkUsersForDeletionResponse, BatchUndeleteUsersRequest,
    BatchUndeleteUsersResponse, DeleteUserRequest, DeletionSettings, GetDeletionSettingsRequest,
    GetUserRequest, ListUsersRequest, ListUsersResponse, MarkUserForDeletionRequest, UndeleteUserRequest,
    UpdateDeletionSettingsRequest, User, user,
};
use tonic::{Request, Response, Status};

use crate::api::admin::context::{AdminContext, require_access, require_actor};
use crate::api::common::page::Page;
use crate::api::common::{resource_names, status};
use crate::model::{TenantId, UserFilter, UserNo};

/// Most users of a batch.
const MAX_BATCH_USERS: usize = 1_000;

/// Serves UserService.
pub struct Users(AdminContext);

impl Users {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        let (tenant, number) = resource_names::parse_user("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        let user = self.0.store.user(&tenant, number).await.map_err(status::from_store)?;
        Ok(Response::new(convert::user_to_proto(&tenant, user)))
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let source = match message.identity_source.as_str() {
            "" => None,
            name => match resource_names::parse_source("identity_source", name)? {
                (of, source) if of == tenant => Some(source),
                _ => return Err(status::not_found("identity source")),
            },
        };
        let enabled = match message.status() {
            user::Status::Unspecified => None,
            wanted => Some(wanted == user::Status::Enabled),
        };
        let filter = UserFilter {
            source,
            enabled,
            text: Some(message.text.clone()).filter(|text| !text.is_empty()),
            pending_deletion: message.pending_deletion,
            absent: message.absent,
        };
        let query = [
            "users",
            &message.parent,
            &message.identity_source,
            message.status().as_str_name(),
            &message.text,
            if message.pending_deletion { "pending" } else { "" },
            if message.absent { "absent" } else { "" },
        ];
        let page = Page::new(&self.0.page_key, message.page_size, &message.page_token, &query)?;
        let after = page.after().map(UserNo);
        let mut users = self
            .0
            .store
            .list_users(&tenant, &filter, after, page.fetch_limit())
            .await
            .map_err(status::from_store)?;
        let next_page_token = page.cut(&mut users, |user| user.number.to_string());
        let users = users.into_iter().map(|user| convert::user_to_proto(&tenant, user)).collect();
        Ok(Response::new(ListUsersResponse { users, next_page_token }))
    }

    async fn mark_user_for_deletion(
        &self,
        request: Request<MarkUserForDeletionRequest>,
    ) -> Result<Response<User>, Status> {
        let (tenant, user) = resource_names::parse_user("name", &request.get_ref().name)?;
        let marked = self.mark(&request, &tenant, vec![user]).await?;
        single_response(marked)
    }

    async fn undelete_user(&self, request: Request<UndeleteUserRequest>) -> Result<Response<User>, Status> {
        let (tenant, user) = resource_names::parse_user("name", &request.get_ref().name)?;
        let undeleted = self.undelete(&request, &tenant, vec![user]).await?;
        single_response(undeleted)
    }

    async fn batch_mark_users_for_deletion(
        &self,
        request: Request<BatchMarkUsersForDeletionRequest>,
    ) -> Result<Response<BatchMarkUsersForDeletionResponse>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let users = parse_batch(&tenant, &message.names)?;
        let users = self.mark(&request, &tenant, users).await?;
        Ok(Response::new(BatchMarkUsersForDeletionResponse { users }))
    }

    async fn batch_undelete_users(
        &self,
        request: Request<BatchUndeleteUsersRequest>,
    ) -> Result<Response<BatchUndeleteUsersResponse>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let users = parse_batch(&tenant, &message.names)?;
        let users = self.undelete(&request, &tenant, users).await?;
        Ok(Response::new(BatchUndeleteUsersResponse { users }))
    }

    async fn delete_user(&self, request: Request<DeleteUserRequest>) -> Result<Response<()>, Status> {
        let (tenant, user) = resource_names::parse_user("name", &request.get_ref().name)?;
        let by = require_actor(&request, &tenant)?;
        let deleted = self.0.store.delete_user(&tenant, user, &by, self.0.clock.now());
        deleted.await.map_err(status::from_store)?;
        tracing::info!(%tenant, %user, "user deleted");
        Ok(Response::new(()))
    }

    async fn get_deletion_settings(
        &self,
        request: Request<GetDeletionSettingsRequest>,
    ) -> Result<Response<DeletionSettings>, Status> {
        let tenant = resource_names::parse_deletion_settings("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        let settings = self.0.store.deletion_settings(&tenant).await.map_err(status::from_store)?;
        Ok(Response::new(deletion::settings_to_proto(&tenant, settings)))
    }

    async fn update_deletion_settings(
        &self,
        request: Request<UpdateDeletionSettingsRequest>,
    ) -> Result<Response<DeletionSettings>, Status> {
        let message = request.get_ref().deletion_settings.clone().unwrap_or_default();
        let tenant = resource_names::parse_deletion_settings("deletion_settings.name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let settings = deletion::settings_from_proto(message)?;
        let set = self.0.store.set_deletion_settings(&tenant, settings, &by, self.0.clock.now());
        set.await.map_err(status::from_store)?;
        tracing::info!(%tenant, "deletion settings set");
        Ok(Response::new(deletion::settings_to_proto(&tenant, settings)))
    }
}

impl Users {
    async fn mark<T>(
        &self,
        request: &Request<T>,
        tenant: &TenantId,
        users: Vec<UserNo>,
    ) -> Result<Vec<User>, Status> {
        let by = require_actor(request, tenant)?;
        let marked = self.0.store.mark_users(tenant, users, &by, self.0.clock.now()).await;
        let marked = marked.map_err(status::from_store)?;
        tracing::info!(%tenant, users = marked.len(), "users marked for deletion");
        Ok(marked.into_iter().map(|user| convert::user_to_proto(tenant, user)).collect())
    }

    async fn undelete<T>(
        &self,
        request: &Request<T>,
        tenant: &TenantId,
        users: Vec<UserNo>,
    ) -> Result<Vec<User>, Status> {
        let by = require_actor(request, tenant)?;
        let undeleted = self.0.store.undelete_users(tenant, users, &by, self.0.clock.now()).await;
        let undeleted = undeleted.map_err(status::from_store)?;
        tracing::info!(%tenant, users = undeleted.len(), "users undeleted");
        Ok(undeleted.into_iter().map(|user| convert::user_to_proto(tenant, user)).collect())
    }
}

fn single_response(users: Vec<User>) -> Result<Response<User>, Status> {
    users.into_iter().next().map(Response::new).ok_or_else(|| status::not_found("user"))
}

/// The users of a batch, each once.
fn parse_batch(tenant: &TenantId, names: &[String]) -> Result<Vec<UserNo>, Status> {
    if names.is_empty() || names.len() > MAX_BATCH_USERS {
        let must = format!("must have 1 to {MAX_BATCH_USERS} names of users, and has {}", names.len());
        return Err(status::invalid(vec![("names".to_owned(), must)]));
    }
    let mut users = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        match resource_names::parse_user(&format!("names[{at}]"), name)? {
            (of, user) if of == *tenant => users.push(user),
            _ => return Err(status::not_found("user")),
        }
    }
    users.sort_unstable();
    users.dedup();
    Ok(users)
}
