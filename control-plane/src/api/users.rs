//! UserService: what the syncs made.

use rollcall_proto::admin::v1::user_service_server::UserService;
use rollcall_proto::admin::v1::{GetUserRequest, ListUsersRequest, ListUsersResponse, User, user};
use tonic::{Request, Response, Status};

use super::page::Page;
use super::{Api, caller, convert, names, status};
use crate::model::{UserFilter, UserNo};

/// Serves UserService.
pub struct Users(Api);

impl Users {
    /// A service over these parts.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(api)
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        let (tenant, number) = names::user("name", &request.get_ref().name)?;
        caller(&request, &tenant)?;
        let user = self.0.store.user(&tenant, number).await.map_err(status::store)?;
        Ok(Response::new(convert::user(&tenant, user)))
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let message = request.get_ref();
        let tenant = names::tenant("parent", &message.parent)?;
        caller(&request, &tenant)?;
        let source = match message.identity_source.as_str() {
            "" => None,
            name => match names::source("identity_source", name)? {
                (of, source) if of == tenant => Some(source),
                _ => return Err(status::not_found("identity source")),
            },
        };
        let enabled = match message.status() {
            user::Status::Unspecified => None,
            wanted => Some(wanted == user::Status::Enabled),
        };
        let filter =
            UserFilter { source, enabled, text: Some(message.text.clone()).filter(|text| !text.is_empty()) };
        let query = [
            "users",
            &message.parent,
            &message.identity_source,
            message.status().as_str_name(),
            &message.text,
        ];
        let page = Page::new(&self.0.page_key, message.page_size, &message.page_token, &query)?;
        let after = page.after().map(UserNo);
        let mut users =
            self.0.store.list_users(&tenant, &filter, after, page.fetch()).await.map_err(status::store)?;
        let next_page_token = page.cut(&mut users, |user| user.number.to_string());
        let users = users.into_iter().map(|user| convert::user(&tenant, user)).collect();
        Ok(Response::new(ListUsersResponse { users, next_page_token }))
    }
}
