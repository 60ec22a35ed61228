//! Parts of applying records, for a batch and for one user: the view that a plan rests on, and
//! carrying it out.

use std::collections::{HashMap, HashSet};

use super::super::dialect::{Connection, IN_INTS_2};
use super::super::jobs::details;
use super::super::jobs::details::EntryLine;
use super::super::license::alarms::Taken;
use super::super::license::seats;
use super::super::statement::sql;
use super::super::users::{lookup, write};
use super::super::words::Change;
use super::super::{dialect, locks, statement};
use super::deferred;
use crate::model::{
    Category, Counts, Detail, Fence, ImmutableId, KnownUser, NameKey, NameKind, NotSynchronizedReason,
    Record, Rejected, Status, TenantNo, Timestamp, UserNo, UserValues,
};
use crate::reconcile::batch::{BatchPlan, Refusal, Update, View};
use crate::reconcile::{batch, value_loss};
use crate::store::Result;
use crate::store::row::Row;

/// Disables users as the directory says, and gives them nothing else of their records.
pub(crate) async fn disable_only(
    connection: &mut Connection,
    fence: Fence,
    users: impl Iterator<Item = (Record, &KnownUser, NotSynchronizedReason)>,
    now: Timestamp,
) -> Result<Counts> {
    let (records, users): (Vec<Record>, Vec<_>) =
        users.map(|(record, user, reason)| (record, (user, reason))).unzip();
    let users = users.into_iter().enumerate();
    let plan = batch::disable(fence.job, users.map(|(position, (user, reason))| (position, user, reason)));
    let _told_by_the_caller = carry_out(connection, fence, &records, &plan, now).await?.taken;
    Ok(plan.counts)
}

/// The values of the users in scope whose records have other digests.
pub(crate) async fn changed_values(
    connection: &mut Connection,
    fence: Fence,
    records: &[Record],
    view: &View,
) -> Result<HashMap<i64, UserValues>> {
    let changed = records.iter().filter_map(|record| {
        let user = view.known.get(&record.id)?;
        (user.status != Status::OutOfScope && user.digest != record.digest).then_some(user.number.0)
    });
    lookup::values(connection, fence.tenant, &changed.collect::<Vec<_>>()).await
}

/// Records that only look different.
pub(crate) fn same(
    records: &[Record],
    view: &View,
    values: &HashMap<i64, UserValues>,
) -> HashSet<ImmutableId> {
    let same = records.iter().filter(|record| {
        view.known.get(&record.id).is_some_and(|user| {
            user.status == record.status()
                && user.names().eq(record.names())
                && values.get(&user.number.0).is_some_and(|before| *before == record.values)
        })
    });
    same.map(|record| record.id.clone()).collect()
}

/// Records whose change must wait: it takes a value away.
pub(crate) fn suspect(
    records: &[Record],
    view: &View,
    values: &HashMap<i64, UserValues>,
) -> HashSet<ImmutableId> {
    let of = |record: &Record| view.known.get(&record.id).filter(|user| user.status != Status::OutOfScope);
    let doubted = records.iter().filter(|record| {
        of(record).is_some_and(|user| {
            values.get(&user.number.0).is_some_and(|before| value_loss::removes_value(before, record))
        })
    });
    doubted.map(|record| record.id.clone()).collect()
}

/// Loads what the plan rests on, and locks the source, whose use changes with its users', and the
/// tenant's seats: in this order.
pub(crate) async fn view(
    connection: &mut Connection,
    fence: Fence,
    records: &[Record],
    rejected: &[Rejected],
) -> Result<View> {
    locks::lock_revision(connection, fence.source).await?;
    let seats = locks::lock_seats(connection, fence.tenant).await?;
    let ids = records
        .iter()
        .map(|record| &record.id)
        .chain(rejected.iter().filter_map(|rejected| rejected.id.as_ref()));
    let known = lookup::known_by_id(connection, fence.source, ids).await?;
    let names: Vec<_> = records.iter().flat_map(Record::names).collect();
    let holders = holders(connection, fence.tenant, &names).await?;
    Ok(View {
        known: known.into_iter().map(|user| (user.id.clone(), user)).collect(),
        holders,
        seats,
        ..View::default()
    })
}

async fn holders(
    connection: &mut Connection,
    tenant: TenantNo,
    names: &[(NameKind, NameKey)],
) -> Result<HashMap<(NameKind, NameKey), UserNo>> {
    let users = lookup::known_by_name(connection, tenant, names).await?;
    Ok(users.iter().flat_map(|user| user.names().map(|name| (name, user.number))).collect())
}

/// Of a user that is disabled and gets nothing else of its record.
pub(crate) fn disabled_only(reason: NotSynchronizedReason) -> String {
    let why = match reason {
        NotSynchronizedReason::DuplicateEmail | NotSynchronizedReason::DuplicateUserName => {
            "Another user has the same user name or mail address."
        }
        reason => reason.text(),
    };
    format!("Disabled: the directory says so. Nothing else was changed. {why}")
}

/// What carrying out a plan led to.
#[must_use]
pub(crate) struct Done {
    pub(crate) added: Vec<UserNo>,
    pub(crate) waits: i64,
    /// To be told at the end of the transaction.
    pub(crate) taken: Taken,
}

/// Carries a plan out, but for the job's counts.
pub(crate) async fn carry_out(
    connection: &mut Connection,
    fence: Fence,
    records: &[Record],
    plan: &BatchPlan,
    now: Timestamp,
) -> Result<Done> {
    let (mut added_users, mut waits) = (Vec::new(), 0);
    let mut lines: Vec<EntryLine> = Vec::new();
    let gets_a_name = |update: &&Update| {
        write::gets_a_name(&update.before, &records[update.record]) && update.status_only.is_none()
    };
    let (first_number, position) =
        match plan.adds.is_empty() && !plan.updates.iter().any(|update| gets_a_name(&update)) {
            true => (0, 0),
            false => seats::take_numbers(connection, fence.tenant, plan.adds.len()).await?,
        };
    if !plan.updates.is_empty() {
        let first = plan.updates.iter().filter(|update| update.first);
        let first: Vec<i64> = first.map(|update| update.before.number.0).collect();
        write::journal(connection, fence, &first, Change::Updated).await?;
        let (status_only, whole): (Vec<_>, Vec<_>) =
            plan.updates.iter().partition(|update| update.status_only.is_some());
        let status_only: Vec<i64> = status_only.iter().map(|update| update.before.number.0).collect();
        write::disable_in_directory(connection, fence, &status_only, now).await?;
        let given_up =
            whole.iter().flat_map(|update| write::names_given_up(&update.before, &records[update.record]));
        write::release_names(connection, fence.tenant, &given_up.collect::<Vec<_>>()).await?;
        let changed: Vec<_> = whole
            .iter()
            .map(|update| {
                Row::of(fence.tenant, &records[update.record], update.before.number.0, update.status, 0)
            })
            .collect();
        write::update_users(connection, fence, (now, position), &changed).await?;
        lines.extend(plan.updates.iter().filter(|update| update.first).map(|update| {
            let usual = match (update.before.status, update.status) {
                (Status::Enabled, Status::Enabled) => "Updated.",
                (_, Status::Enabled) => {
                    "Enabled again: the directory has the user in scope and not disabled."
                }
                (Status::Enabled, _) => "Disabled: the directory says so.",
                (_, _) => "Updated; stays disabled.",
            };
            let message = update.status_only.map_or_else(|| usual.to_owned(), disabled_only);
            line(Category::Updated, Some(update.before.number), &records[update.record], &message).into()
        }));
    }
    if !plan.refreshed.is_empty() {
        let refreshed: Vec<_> = plan
            .refreshed
            .iter()
            .map(|(record, user)| Row::of(fence.tenant, &records[*record], user.0, Status::Enabled, 0))
            .collect();
        write::refresh_digests(connection, fence, now, &refreshed).await?;
    }
    if !plan.adds.is_empty() {
        let numbered = || (first_number..).zip(&plan.adds);
        let added: Vec<_> = numbered()
            .map(|(number, (record, status))| Row::of(fence.tenant, &records[*record], number, *status, 0))
            .collect();
        write::insert_users(connection, fence, (now, position), &added).await?;
        added_users.extend(numbered().map(|(number, _)| UserNo(number)));
        lines.extend(numbered().take(400).map(|(number, (record, status))| {
            let message = if *status == Status::Enabled {
                "Added."
            } else {
                "Added as disabled: the directory says so."
            };
            line(Category::Added, Some(UserNo(number)), &records[*record], message).into()
        }));
    }
    if !plan.waits.is_empty() {
        let waiting: Vec<_> = plan
            .waits
            .iter()
            .map(|(record, queue)| {
                let record = &records[*record];
                Row::of(fence.tenant, record, 0, record.status(), i64::from(*queue as i16))
            })
            .collect();
        waits = deferred::insert_deferred(connection, fence, now, &waiting).await?;
    }
    let taken = seats::take(connection, fence.tenant, Some(fence.source), plan.seats_taken).await?;
    for refused in [&plan.refusals, &plan.disabled_only] {
        let keys = refused.iter().map(|refusal| Some(records[refusal.record].digest));
        let refused = refusals(connection, fence, records, refused).await?;
        lines.extend(refused.into_iter().zip(keys).map(|(detail, key)| EntryLine { detail, key }));
    }
    details::insert(connection, fence, lines).await?;
    Ok(Done { added: added_users, waits, taken })
}

pub(crate) fn line(category: Category, user: Option<UserNo>, record: &Record, message: &str) -> Detail {
    Detail {
        category,
        user,
        user_name: record.values.user_name.clone(),
        mail: record.values.mail.clone(),
        id: Some(record.id.clone()),
        reason: None,
        message: message.to_owned(),
    }
}

/// The details of records that are not applied; a duplicate names who has the name.
pub(crate) async fn refusals(
    connection: &mut Connection,
    fence: Fence,
    records: &[Record],
    refusals: &[Refusal],
) -> Result<Vec<Detail>> {
    let holders: Vec<i64> = refusals.iter().filter_map(|refusal| refusal.holder).map(|user| user.0).collect();
    let named = name_users(connection, fence.tenant, &holders).await?;
    Ok(refusals
        .iter()
        .map(|refusal| {
            let message = match refusal.holder.and_then(|holder| named.get(&holder.0)) {
                Some(holder) => duplicate_message(refusal.reason, holder),
                None => refusal.reason.text().to_owned(),
            };
            let detail = line(Category::NotSynchronized, None, &records[refusal.record], &message);
            Detail { reason: Some(refusal.reason), ..detail }
        })
        .collect())
}

fn duplicate_message(reason: NotSynchronizedReason, holder: &str) -> String {
    let name = match reason {
        NotSynchronizedReason::DuplicateUserName => "user name",
        _ => "mail address",
    };
    format!("{holder} has the same {name}. Correct one of the two in the directory.")
}

/// Users by number, as a sentence can name them: `tenants/acme/users/17 of identity source hq`.
async fn name_users(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[i64],
) -> Result<HashMap<i64, String>> {
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let text = sql!(
        "SELECT u.user_no, t.id, s.id FROM users u JOIN tenants t ON t.tenant_no = u.tenant_no \
         JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no \
         {IN_INTS_2}"
    );
    let query = dialect::ints(statement::query(text).bind(tenant.0), users);
    let rows = query.fetch_all(connection).await?;
    let name = |row| -> Result<(i64, String)> {
        let (number, tenant, source): (i64, String, String) = sqlx::FromRow::from_row(row)?;
        Ok((number, format!("User tenants/{tenant}/users/{number} of identity source {source}")))
    };
    rows.iter().map(name).collect()
}
