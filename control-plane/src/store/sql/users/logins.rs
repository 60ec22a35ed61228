//! User names and mail addresses of a tenant are one namespace of logins. The user who held a login
//! first keeps it; another user's name that equals it is no login. What two users got by one job
//! neither had first: then it is the login of neither.

use super::super::dialect::Connection;
use super::super::statement;
use super::super::statement::sql;
use crate::model::TenantNo;
use crate::store::Result;

/// Whether `n` had its user name before `m` had the equal mail address.
const USER_NAME_IS_FIRST: &str =
    "n.user_name_position < m.mail_position AND (n.user_name_job = 0 OR n.user_name_job <> m.mail_job)";

/// The other way round.
const MAIL_IS_FIRST: &str =
    "m.mail_position < n.user_name_position AND (m.mail_job = 0 OR n.user_name_job <> m.mail_job)";

/// The number of who holds a name, by the keys of a user name ($2) and of a mail address ($3): one
/// look-up in an index each. The tenant is part of the keys. Where both are given they are one
/// login.
pub(crate) const HOLDER: &str = sql!(
    "COALESCE((SELECT n.user_no FROM users n WHERE n.user_name_key = $2 AND NOT EXISTS (SELECT 1 FROM \
     users m WHERE m.mail_key = $3 AND m.user_no <> n.user_no AND NOT ({USER_NAME_IS_FIRST}))), \
     (SELECT m.user_no FROM users m WHERE m.mail_key = $3 AND NOT EXISTS (SELECT 1 FROM users n WHERE \
     n.user_name_key = $2 AND n.user_no <> m.user_no AND NOT ({MAIL_IS_FIRST}))))"
);

/// Whether two users hold the login and neither had it first, by the keys for [`HOLDER`].
pub(crate) async fn is_taken(
    connection: &mut Connection,
    tenant: TenantNo,
    (user_name, mail): (Option<Vec<u8>>, Option<Vec<u8>>),
) -> Result<bool> {
    let taken = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM users n JOIN users m ON m.mail_key = $3 AND m.user_no <> n.user_no WHERE \
         n.tenant_no = $1 AND n.user_name_key = $2 AND NOT ({USER_NAME_IS_FIRST}) AND NOT \
         ({MAIL_IS_FIRST})"
    ));
    let taken: i64 = taken.bind(tenant.0).bind(user_name).bind(mail).fetch_one(connection).await?;
    Ok(taken > 0)
}

/// Users `n` and `m` of the tenant $1 with one login: the user name of the one is the mail address
/// of the other.
const PAIRS: &str = "FROM users n JOIN users m ON m.mail_key = n.login_key AND m.user_no <> n.user_no \
     WHERE n.tenant_no = $1 AND n.login_key IS NOT NULL AND n.user_name_key IS NOT NULL";

/// The numbers of the tenant's users with a name that is no login, since another user had it first
/// or neither had: a subquery over the tenant $1.
pub(crate) const TAKEN: &str = sql!(
    "SELECT n.user_no {PAIRS} AND NOT ({USER_NAME_IS_FIRST}) UNION SELECT m.user_no {PAIRS} AND NOT \
     ({MAIL_IS_FIRST})"
);

/// Whether a name of the user `u` is no login.
pub(crate) const IS_TAKEN: &str = sql!(
    "CASE WHEN EXISTS (SELECT 1 FROM users n JOIN users m ON m.mail_key = n.login_key AND m.user_no <> \
     n.user_no WHERE n.tenant_no = u.tenant_no AND n.user_no = u.user_no AND n.user_name_key IS NOT NULL \
     AND NOT ({USER_NAME_IS_FIRST})) OR EXISTS (SELECT 1 FROM users m JOIN users n ON n.tenant_no = \
     m.tenant_no AND n.login_key = m.mail_key AND n.user_no <> m.user_no AND n.user_name_key IS NOT NULL \
     WHERE m.tenant_no = u.tenant_no AND m.user_no = u.user_no AND NOT ({MAIL_IS_FIRST})) THEN CAST(1 AS \
     BIGINT) ELSE CAST(0 AS BIGINT) END AS login_taken"
);
