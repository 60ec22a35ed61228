//! Users, as administrators list them.

use super::operations::operations;
use crate::model::{TenantId, User, UserFilter, UserNo};

operations! {
    /// A user.
    read fn user(tenant: &TenantId, user: UserNo) -> User = users::user::user;
    /// Users by number, after `after`.
    read fn list_users(
        tenant: &TenantId,
        filter: &UserFilter,
        after: Option<UserNo>,
        limit: i64,
    ) -> Vec<User> = users::user::list;
}
