//! What a sign-in begins with: the settings of its tenant, and the user that holds the name.

use std::sync::PoisonError;

use super::super::statement;
use super::super::statement::sql;
use super::super::transaction::Engine;
use super::super::users::logins;
use super::super::users::logins::HOLDER;
use super::super::users::user::COLUMNS;
use super::lookup::{SnapshotRow, VERSION};
use super::settings::{COLUMNS as SETTINGS_COLUMNS, SettingsRow};
use super::{lookup, settings};
use crate::model::{TenantId, UserSelector};
use crate::store::{Result, SignIn};

/// Numbers of tenants that are kept. Beyond these all are dropped and learned again.
const MAX_TENANT_NUMBERS: usize = 10_000;

#[derive(sqlx::FromRow)]
struct SignInRow {
    #[sqlx(flatten)]
    settings: SettingsRow,
    #[sqlx(flatten)]
    known: SnapshotRow,
}

/// With the number of the tenant, the sign-in of a known user begins with one statement.
pub(crate) async fn begin(engine: &Engine, tenant: &TenantId, whom: &UserSelector) -> Result<SignIn> {
    let (mut connection, numbers) = (engine.reader().await?, &engine.tenants);
    let number = numbers.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
    if let Some(number) = number {
        let text = sql!(
            "SELECT {SETTINGS_COLUMNS}, {COLUMNS}, {VERSION} FROM users u JOIN identity_sources s \
             ON s.source_no = u.source_no JOIN tenants t ON t.tenant_no = u.tenant_no WHERE \
             u.tenant_no = $1 AND u.user_no = {HOLDER} AND t.id = $4"
        );
        let (user_name, mail) = lookup::keys(number, whom);
        let query = statement::query_as(text).bind(number.0).bind(user_name).bind(mail);
        let row: Option<SignInRow> = query.bind(tenant.0.clone()).fetch_optional(&mut *connection).await?;
        if let Some(SignInRow { settings, known }) = row {
            let (tenant, settings, suspended) = settings.into();
            let known = Some(known.try_into()?);
            return Ok(SignIn { tenant, settings, suspended, known, is_taken: false });
        }
    }
    let (number, settings, suspended) = settings::get(&mut connection, tenant).await?;
    {
        let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.len() >= MAX_TENANT_NUMBERS {
            numbers.clear();
        }
        numbers.insert(tenant.clone(), number);
    }
    let known = lookup::look_up(&mut connection, number, whom).await?;
    let is_taken =
        known.is_none() && logins::is_taken(&mut connection, number, lookup::keys(number, whom)).await?;
    Ok(SignIn { tenant: number, settings, suspended, known, is_taken })
}
