//! What decides what a sync would do with the records that wait: users, names, seats.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;

use super::super::dialect::{Connection, IN_INTS_2};
use super::super::statement::sql;
use super::super::users::lookup;
use super::super::users::rows::ValuesRow;
use super::super::{codec, dialect, locks, statement};
use crate::model::{Fence, ImmutableId, NotSynchronizedReason, Status, UserNo, UserValues};
use crate::reconcile::preview::{Situation, Waiting};
use crate::store::Result;

pub(crate) async fn situation(connection: &mut Connection, fence: Fence) -> Result<Situation> {
    let job = locks::check_job(connection, fence).await?;
    let query = statement::query_as(
        "SELECT immutable_id, user_name_key, mail_key, status, mark_proved, reason FROM deferred_records \
         WHERE job_no = $1 ORDER BY immutable_id",
    );
    let rows: Vec<WaitingRow> = query.bind(fence.job.0).fetch_all(&mut *connection).await?;
    let mut waiting = Vec::with_capacity(rows.len());
    for row in rows {
        let names = codec::name_keys(row.user_name_key, row.mail_key)?;
        let disabled = codec::user_status(row.status)? != Status::Enabled;
        let mark_proved = row.mark_proved == 1;
        waiting.push(Waiting {
            id: ImmutableId(row.immutable_id.into()),
            disabled,
            mark_proved,
            reason: row.reason.map(codec::to_i16).and_then(NotSynchronizedReason::from_number),
            names,
            user: None,
        });
    }
    let mut known = HashMap::new();
    let mut holders = HashMap::new();
    for chunk in waiting.chunks(KEYS_PER_LOOKUP) {
        let ids = chunk.iter().map(|waiting| &waiting.id);
        let users = lookup::known_by_id(connection, fence.source, ids).await?;
        known.extend(users.into_iter().map(|user| (user.id.clone(), user)));
        let names: Vec<_> = chunk.iter().flat_map(|waiting| waiting.names.iter().copied()).collect();
        for user in lookup::known_by_name(connection, fence.tenant, &names).await? {
            holders.extend(user.names().map(|name| (name, user.number)));
        }
    }
    for one in &mut waiting {
        one.user = known.remove(&one.id);
    }
    let query = statement::query_as(
        "SELECT a.user_no, u.status FROM absent_users a JOIN users u ON u.tenant_no = $2 AND \
         u.user_no = a.user_no WHERE a.job_no = $1",
    );
    let absent: Vec<(i64, i64)> =
        query.bind(fence.job.0).bind(fence.tenant.0).fetch_all(&mut *connection).await?;
    let enabled = i64::try_from(absent.iter().filter(|(_, status)| *status == 1).count()).unwrap_or(i64::MAX);
    let free =
        statement::query_scalar("SELECT license_limit - enabled_users FROM tenants WHERE tenant_no = $1");
    let free: i64 = free.bind(fence.tenant.0).fetch_one(connection).await?;
    let gone = i64::try_from(absent.len()).unwrap_or(i64::MAX);
    let leaving: HashSet<UserNo> = absent.into_iter().map(|(user, _)| UserNo(user)).collect();
    Ok(Situation {
        waiting,
        leaving,
        holders,
        seats: free + enabled,
        // As after the read: who leaves the scope gives a place to another.
        quota: (job.sync_limit - job.expected + gone).max(0),
        beyond_limit: job.beyond_limit(),
    })
}

/// A user as it is when the plan is written.
pub(crate) struct Before {
    pub(crate) user_no: i64,
    pub(crate) immutable_id: Vec<u8>,
    pub(crate) digest: Vec<u8>,
    pub(crate) values: UserValues,
    pub(crate) status: i64,
}

pub(crate) async fn before(connection: &mut Connection, fence: Fence, users: &[i64]) -> Result<Vec<Before>> {
    let text = sql!(
        "SELECT user_no, immutable_id, digest, user_name, mail, first_name, last_name, \
         display_name, phone, distinguished_name, policy_attributes, status FROM users WHERE \
         tenant_no = $1 AND user_no {IN_INTS_2}"
    );
    let query = statement::query(text).bind(fence.tenant.0);
    let rows = dialect::ints(query, users).fetch_all(connection).await?;
    let before = |row| -> Result<Before> {
        let BeforeRow { user_no, immutable_id, digest, values, status } = FromRow::from_row(row)?;
        Ok(Before { user_no, immutable_id, digest, values: values.into(), status })
    };
    rows.iter().map(before).collect()
}

#[derive(sqlx::FromRow)]
pub(crate) struct WaitingRow {
    pub(crate) immutable_id: Vec<u8>,
    pub(crate) user_name_key: Option<Vec<u8>>,
    pub(crate) mail_key: Option<Vec<u8>>,
    pub(crate) status: i64,
    pub(crate) mark_proved: i64,
    pub(crate) reason: Option<i64>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct BeforeRow {
    pub(crate) user_no: i64,
    pub(crate) immutable_id: Vec<u8>,
    pub(crate) digest: Vec<u8>,
    #[sqlx(flatten)]
    pub(crate) values: ValuesRow,
    pub(crate) status: i64,
}

/// Keys of one look-up.
const KEYS_PER_LOOKUP: usize = 5_000;
