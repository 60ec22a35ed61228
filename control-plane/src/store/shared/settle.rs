//! Settles the records that waited for the end of the read: first who gets contested names, then who gets the free seats.

use std::collections::{HashMap, HashSet};

use sqlx::{AssertSqlSafe, FromRow};

use super::apply::{DISABLED_ONLY, carry_out, disable_only, line, refusals, view};
use super::engine::{self, Connection};
use super::rows::{self, RecordRow, status};
use super::{catalog, details, holds, seats};
use crate::model::{
    Category, Counts, Fence, ImmutableId, KnownUser, NameKey, NotSynchronizedReason, Record, Status,
    Timestamp, UserNo, UserValues,
};
use crate::reconcile::batch::{self, Mode, Refusal, View, duplicate};
use crate::reconcile::settle::{Holder, Name, Player, Rank, Verdict, resolve};
use crate::store::Result;

pub(super) const DEFERRED: &str = "SELECT immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
     distinguished_name, policy_attributes, status FROM deferred_records WHERE job_no = $1";

/// Settles the next records that wait for a seat; false if there is none. With `held`, what is not synchronized is kept for another try.
pub(super) async fn seats(
    connection: &mut Connection,
    fence: Fence,
    limit: i64,
    held: bool,
    now: Timestamp,
) -> Result<bool> {
    let job = seats::lock_job(connection, fence).await?;
    let text = format!("{DEFERRED} AND queue < 4 ORDER BY queue, immutable_id LIMIT $2");
    let waiting: Vec<RecordRow> =
        sqlx::query_as(AssertSqlSafe(text)).bind(fence.job.0).bind(limit).fetch_all(&mut *connection).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let records = waiting.into_iter().map(Record::try_from).collect::<Result<Vec<_>>>()?;
    let before = job.counts();
    let mut quota = job.sync_limit - before.added - before.updated - before.unchanged;
    // Known users whose records are kept come before new ones. Counted only where the limit is so near that it matters.
    if held && quota - before.not_synchronized < i64::try_from(records.len()).unwrap_or_default() {
        quota -= holds::kept_users(connection, fence).await?;
    }
    let view = View {
        quota: quota.max(0),
        beyond_limit: job.beyond_limit(),
        read: Some(job.reads),
        ..view(connection, fence, &records, &[]).await?
    };
    let plan = batch::plan(fence.job, Mode::Final, &records, &view);
    let done_with = carry_out(connection, fence, &records, &plan, now).await?;
    let refused: HashSet<usize> = match held {
        true => plan.refusals.iter().map(|refusal| refusal.record).collect(),
        false => HashSet::new(),
    };
    holds::keep(connection, fence, refused.iter().map(|position| &records[*position].id), true).await?;
    // Who is disabled only may get its names yet.
    let disabled: HashSet<usize> = match held {
        true => plan.updates.iter().filter(|update| update.status_only).map(|update| update.record).collect(),
        false => HashSet::new(),
    };
    holds::keep(connection, fence, disabled.iter().map(|position| &records[*position].id), false).await?;
    let done = records.iter().enumerate();
    let done = done.filter(|(position, _)| !refused.contains(position) && !disabled.contains(position));
    let ids: Vec<_> = done.map(|(_, record)| record.id.clone()).collect();
    forget(connection, fence, &ids).await?;
    let counts = Counts { waiting: -i64::try_from(records.len()).unwrap_or_default(), ..plan.counts };
    seats::count(connection, fence, counts, None, now).await?;
    done_with.taken.tell(connection, now).await?;
    Ok(true)
}

async fn forget(connection: &mut Connection, fence: Fence, ids: &[ImmutableId]) -> Result<()> {
    let text =
        format!("DELETE FROM deferred_records WHERE job_no = $1 AND immutable_id {}", engine::in_blobs(2));
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0);
    engine::blobs(query, ids.iter().map(|id| &id.0[..])).execute(connection).await?;
    Ok(())
}

/// A user as the journal has it from before the job.
struct Before {
    status: Status,
    names: Vec<Name>,
}

/// Who takes part in the contest for names.
struct Contest {
    players: Vec<Player>,
    /// The user of each player, if it is one now; for players that this job applied already, its present row.
    users: Vec<Option<KnownUser>>,
    /// The record of each player that waits.
    records: Vec<Option<Record>>,
    held: HashMap<Name, UserNo>,
    /// Users whom this job has disabled already, as the directory has them.
    gave_seat: HashSet<UserNo>,
}

impl Contest {
    /// The record and the user, if the directory disables a user who is enabled.
    fn to_disable(&self, position: usize) -> Option<(&Record, &KnownUser)> {
        let record = self.records[position].as_ref().filter(|record| record.disabled)?;
        let user = self.users[position].as_ref().filter(|user| user.status == Status::Enabled)?;
        Some((record, user))
    }

    /// Whoever could not have its former names back, since a user who was fetched alone meanwhile holds one, keeps what it got.
    fn keep_fixed(&mut self) {
        let fixed = |contest: &Self| {
            (0..contest.players.len()).find(|at| {
                let had = &contest.players[*at].had;
                contest.records[*at].is_none() && had.iter().any(|name| contest.held.contains_key(name))
            })
        };
        while let Some(at) = fixed(self) {
            self.records.remove(at);
            let (player, user) = (self.players.remove(at), self.users.remove(at));
            self.held
                .extend(user.iter().flat_map(|user| player.wants.iter().map(|name| (*name, user.number))));
        }
    }

    /// Users in scope whom the directory enables again need a seat before they can move to other names; without one they are
    /// stuck. Returns how many seats were given.
    fn give_seats(&mut self, free: i64) -> i64 {
        let mut needing: Vec<usize> = (0..self.players.len())
            .filter(|at| {
                let disabled =
                    self.users[*at].as_ref().is_some_and(|user| user.status == Status::DisabledInDirectory);
                disabled && self.records[*at].as_ref().is_some_and(|record| !record.disabled)
            })
            .collect();
        needing.sort_by(|one, other| self.players[*one].id.cmp(&self.players[*other].id));
        let given = usize::try_from(free).unwrap_or_default().min(needing.len());
        for at in &needing[given..] {
            self.players[*at].stuck = true;
        }
        i64::try_from(given).unwrap_or_default()
    }
}

/// Decides who gets contested names and carries that out. With `held`, what is not synchronized is kept for another try.
pub(super) async fn names(
    connection: &mut Connection,
    fence: Fence,
    held: bool,
    now: Timestamp,
) -> Result<Counts> {
    let job = seats::lock_job(connection, fence).await?;
    let text = format!("{DEFERRED} AND queue = 1 ORDER BY immutable_id");
    let waiting: Vec<RecordRow> =
        sqlx::query_as(AssertSqlSafe(text)).bind(fence.job.0).fetch_all(&mut *connection).await?;
    if waiting.is_empty() {
        return Ok(Counts::default());
    }
    catalog::locked_revision(connection, fence.source).await?;
    let free = seats::lock(connection, fence.tenant).await?;
    let records = waiting.into_iter().map(Record::try_from).collect::<Result<Vec<_>>>()?;
    let (records, mut counts) = without_fetched(connection, fence, job.reads, records).await?;
    let mut contest = contest(connection, fence, records).await?;
    // Whom the directory disables gives the seat up, whatever becomes of the names.
    let leaving = (0..contest.players.len()).filter(|at| contest.to_disable(*at).is_some()).count();
    let needing = contest.give_seats(free + i64::try_from(leaving).unwrap_or_default());
    let verdicts = resolve(&contest.players, &contest.held);

    let (mut revert, mut apply, mut refused, mut moves) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (position, verdict) in verdicts.iter().enumerate() {
        let user = contest.users[position].as_ref();
        match (&contest.records[position], verdict) {
            (None, Verdict::Granted) => {}
            (None, Verdict::Refused { .. }) => revert.push(position),
            (_, Verdict::Refused { .. } | Verdict::Stuck) => refused.push(position),
            (Some(_), Verdict::Granted) => match user {
                Some(user) if user.status != Status::OutOfScope => apply.push(position),
                Some(_) => moves.push((position, batch::Queue::Returning)),
                None => moves.push((position, batch::Queue::New)),
            },
        }
    }

    // All names that change hands are free before anyone takes one.
    let number = |position: &usize| contest.users[*position].as_ref().map(|user| user.number.0);
    let released: Vec<i64> = revert.iter().chain(&apply).filter_map(number).collect();
    // Whom this job has disabled as the directory says stays disabled, and counted for that, when it gives names back.
    let disabled = |position: &usize| {
        let user = contest.users[*position].as_ref();
        user.is_some_and(|user| contest.gave_seat.contains(&user.number))
    };
    if held {
        let (uncounted, counted): (Vec<usize>, Vec<usize>) = revert.iter().copied().partition(disabled);
        for (positions, counted) in [(counted, true), (uncounted, false)] {
            let users: Vec<i64> = positions.iter().filter_map(number).collect();
            holds::keep_applied(connection, fence, &users, counted).await?;
        }
    }
    // The journal must have the names that users held before the job.
    let first = apply.iter().filter_map(|position| contest.users[*position].as_ref());
    let first = first.filter(|user| !user.counted_by(fence.job)).map(|user| user.number.0);
    rows::journal(connection, fence, &first.collect::<Vec<_>>(), rows::Change::Updated).await?;
    rows::release_names(connection, fence.tenant, &released).await?;
    let shown = shown(connection, fence, &revert.iter().filter_map(number).collect::<Vec<_>>()).await?;
    for position in &revert {
        if let Some(user) = &contest.users[*position] {
            counts += take_back(connection, fence, user, disabled(position)).await?;
        }
    }
    let changed: Vec<Record> =
        apply.iter().filter_map(|position| contest.records[*position].clone()).collect();
    let users = apply.iter().filter_map(|position| contest.users[*position].clone());
    let known = users.map(|user| (user.id.clone(), user)).collect();
    let plan =
        batch::plan(fence.job, Mode::Final, &changed, &View { known, seats: needing, ..View::default() });
    let taken = carry_out(connection, fence, &changed, &plan, now).await?.taken;
    counts += plan.counts;
    let disabled_only = refused.iter().filter_map(|position| contest.to_disable(*position));
    counts += disable_only(connection, fence, disabled_only, now).await?;

    let mut lines = (Vec::new(), Vec::new());
    let mut uncounted = HashSet::new();
    let mut disabled_lines = Vec::new();
    for position in revert.iter().chain(&refused) {
        if contest.to_disable(*position).is_some() {
            uncounted.insert(*position);
            continue;
        }
        if contest.records[*position].is_none() && disabled(position) {
            let user = contest.users[*position].as_ref();
            disabled_lines.extend(
                user.map(|user| {
                    line(Category::Updated, Some(user.number), &bare(user, &shown), DISABLED_ONLY)
                }),
            );
            continue;
        }
        let (reason, holder) = match verdicts[*position] {
            Verdict::Granted => continue,
            Verdict::Stuck => (NotSynchronizedReason::LicenseLimit, None),
            Verdict::Refused { kind, holder: Holder::User(user) } => (duplicate(kind), Some(user)),
            Verdict::Refused { kind, holder: Holder::Player(other) } => {
                (duplicate(kind), contest.users[other].as_ref().map(|user| user.number))
            }
        };
        // Whom the job has counted already keeps that outcome; a change that was taken back is no longer counted.
        let waits = contest.records[*position].is_some();
        if waits && contest.users[*position].as_ref().is_some_and(|user| user.counted_by(fence.job)) {
            uncounted.insert(*position);
            continue;
        }
        counts.not_synchronized += 1;
        let Some(record) = contest.records[*position]
            .clone()
            .or_else(|| contest.users[*position].as_ref().map(|user| bare(user, &shown)))
        else {
            continue;
        };
        lines.1.push(Refusal { record: lines.0.len(), reason, holder });
        lines.0.push(record);
    }
    let lines = refusals(connection, fence, &lines.0, &lines.1).await?;
    details::insert(connection, fence, lines).await?;
    details::insert(connection, fence, disabled_lines).await?;

    for queue in [batch::Queue::Returning, batch::Queue::New] {
        let ids = moves
            .iter()
            .filter(|(_, to)| *to == queue)
            .map(|(position, _)| &contest.players[*position].id.0[..]);
        let text = format!(
            "UPDATE deferred_records SET queue = $2 WHERE job_no = $1 AND immutable_id {}",
            engine::in_blobs(3)
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0).bind(i64::from(queue as i16));
        engine::blobs(query, ids).execute(&mut *connection).await?;
    }
    counts.waiting -= i64::try_from(apply.len() + refused.len()).unwrap_or_default();
    let id = |position: &usize| contest.players[*position].id.clone();
    let mut settled: Vec<_> = apply.iter().map(id).collect();
    if held {
        let (uncounted, counted): (Vec<usize>, Vec<usize>) =
            refused.iter().copied().partition(|position| uncounted.contains(position));
        for (kept, counted) in [(counted, true), (uncounted, false)] {
            let kept = kept.iter().map(|position| &contest.players[*position].id);
            holds::keep(connection, fence, kept, counted).await?;
        }
    } else {
        settled.extend(refused.iter().map(id));
    }
    forget(connection, fence, &settled).await?;
    seats::count(connection, fence, counts, None, now).await?;
    taken.tell(connection, now).await?;
    Ok(counts)
}

/// Records but those of users who were fetched alone since the read began: those stay as they are.
async fn without_fetched(
    connection: &mut Connection,
    fence: Fence,
    read: i64,
    mut records: Vec<Record>,
) -> Result<(Vec<Record>, Counts)> {
    let known = rows::known_by_id(connection, fence.source, records.iter().map(|record| &record.id)).await?;
    let fetched = known.into_iter().filter(|user| user.fetched_during(fence.job, read));
    let fetched: HashMap<ImmutableId, bool> =
        fetched.map(|user| (user.id.clone(), user.counted_by(fence.job))).collect();
    records.retain(|record| !fetched.contains_key(&record.id));
    forget(connection, fence, &fetched.keys().cloned().collect::<Vec<_>>()).await?;
    let uncounted = fetched.values().filter(|counted| !**counted).count();
    let counts = Counts {
        unchanged: i64::try_from(uncounted).unwrap_or_default(),
        waiting: -i64::try_from(fetched.len()).unwrap_or_default(),
        ..Counts::default()
    };
    Ok((records, counts))
}

/// What is left to show of a user whose change is taken back.
fn bare(user: &KnownUser, shown: &HashMap<i64, UserValues>) -> Record {
    Record {
        id: user.id.clone(),
        digest: user.digest,
        values: shown.get(&user.number.0).cloned().unwrap_or_default(),
        disabled: false,
        user_name_key: user.user_name_key.unwrap_or(NameKey([0; 16])),
        mail_key: user.mail_key,
    }
}

/// By what an administrator recognizes these users: their names as this job wrote them.
async fn shown(connection: &mut Connection, fence: Fence, users: &[i64]) -> Result<HashMap<i64, UserValues>> {
    let text = format!(
        "SELECT user_no, user_name, mail FROM users WHERE tenant_no = $1 AND user_no {}",
        engine::in_ints(2)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.tenant.0);
    let rows = engine::ints(query, users).fetch_all(connection).await?;
    let values = |row| -> Result<(i64, UserValues)> {
        let (user, user_name, mail) = FromRow::from_row(row)?;
        Ok((user, UserValues { user_name, mail, ..UserValues::default() }))
    };
    rows.iter().map(values).collect()
}

/// Brings together the records that wait, and whoever got one of their names by this job, and whoever got one of those users'
/// former names, and so on.
async fn contest(connection: &mut Connection, fence: Fence, records: Vec<Record>) -> Result<Contest> {
    let known = rows::known_by_id(connection, fence.source, records.iter().map(|record| &record.id)).await?;
    let mut known: HashMap<ImmutableId, KnownUser> =
        known.into_iter().map(|user| (user.id.clone(), user)).collect();
    let mut contest = Contest {
        players: Vec::new(),
        users: Vec::new(),
        records: Vec::new(),
        held: HashMap::new(),
        gave_seat: HashSet::new(),
    };
    let mut numbers = HashSet::new();
    let mut frontier = Vec::new();
    for record in records {
        let user = known.remove(&record.id);
        let (rank, had) = match &user {
            None => (Rank::New, Vec::new()),
            Some(user) if user.status == Status::OutOfScope => (Rank::Returning, Vec::new()),
            Some(user) => (Rank::Present, user.names().collect()),
        };
        numbers.extend(user.as_ref().map(|user| user.number));
        let player =
            Player { id: record.id.clone(), rank, had, wants: record.names().collect(), stuck: false };
        frontier.extend(player.wants.iter().chain(&player.had).copied());
        contest.players.push(player);
        contest.users.push(user);
        contest.records.push(Some(record));
    }
    while !frontier.is_empty() {
        let holders = rows::known_by_name(connection, fence.tenant, &frontier).await?;
        let wanted: HashSet<Name> = frontier.drain(..).collect();
        let ours: Vec<i64> =
            holders.iter().filter(|user| user.counted_by(fence.job)).map(|user| user.number.0).collect();
        let before = journal(connection, fence, &ours).await?;
        for user in holders {
            if numbers.contains(&user.number) {
                continue;
            }
            let was = before.get(&user.number.0);
            // Whoever was fetched alone meanwhile keeps what it has.
            let fetched = user.fetched.0 == fence.job;
            let got = |name: &Name| match was {
                Some(was) => !was.names.contains(name),
                None => user.added_job == fence.job,
            };
            if !fetched && user.names().filter(|name| wanted.contains(name)).any(|name| got(&name)) {
                numbers.insert(user.number);
                if was.is_some_and(|was| was.status == Status::Enabled) && user.status != Status::Enabled {
                    contest.gave_seat.insert(user.number);
                }
                // It may have been met before, by a name that it only kept.
                contest.held.retain(|_, holder| *holder != user.number);
                let (rank, had) = match was {
                    None => (Rank::New, Vec::new()),
                    Some(was) if was.status == Status::OutOfScope => (Rank::Returning, Vec::new()),
                    Some(was) => (Rank::Present, was.names.clone()),
                };
                frontier.extend(had.iter().copied());
                contest.players.push(Player {
                    id: user.id.clone(),
                    rank,
                    had,
                    wants: user.names().collect(),
                    stuck: false,
                });
                contest.users.push(Some(user));
                contest.records.push(None);
            } else {
                contest.held.extend(
                    user.names().filter(|name| wanted.contains(name)).map(|name| (name, user.number)),
                );
            }
        }
    }
    contest.keep_fixed();
    Ok(contest)
}

async fn journal(connection: &mut Connection, fence: Fence, users: &[i64]) -> Result<HashMap<i64, Before>> {
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let text = format!(
        "SELECT user_no, status, user_name_key, mail_key FROM user_changes WHERE job_no = $1 AND user_no {}",
        engine::in_ints(2)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0);
    let rows = engine::ints(query, users).fetch_all(connection).await?;
    let before = |row| -> Result<(i64, Before)> {
        let (user, number, user_name, mail): (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>) =
            FromRow::from_row(row)?;
        Ok((user, Before { status: status(number)?, names: rows::names(user_name, mail)? }))
    };
    rows.iter().map(before).collect()
}

/// Takes back what this job did to a user: an add is deleted, a change undone from the journal. With `stays_disabled` the status stays:
/// the directory says so, and the seat may have been given to another meanwhile.
async fn take_back(
    connection: &mut Connection,
    fence: Fence,
    user: &KnownUser,
    stays_disabled: bool,
) -> Result<Counts> {
    let before = journal(connection, fence, &[user.number.0]).await?.remove(&user.number.0);
    let mut counts = Counts::default();
    let enabled = |status: Status| i64::from(status == Status::Enabled);
    let seats = match before {
        None => {
            counts.added = -1;
            counts.disabled_in_directory = -i64::from(user.status == Status::DisabledInDirectory);
            sqlx::query("DELETE FROM users WHERE tenant_no = $1 AND user_no = $2")
                .bind(fence.tenant.0)
                .bind(user.number.0)
                .execute(&mut *connection)
                .await?;
            -enabled(user.status)
        }
        Some(_) if stays_disabled => {
            restore(connection, fence, user.number, VALUES).await?;
            details::remove(connection, fence, &[user.number.0]).await?;
            return Ok(counts);
        }
        Some(before) => {
            counts.updated = -1;
            counts.reenabled = -i64::from(before.status != Status::Enabled && user.status == Status::Enabled);
            restore(connection, fence, user.number, &format!("{VALUES}, {STATUS}")).await?;
            sqlx::query("DELETE FROM user_changes WHERE job_no = $1 AND user_no = $2")
                .bind(fence.job.0)
                .bind(user.number.0)
                .execute(&mut *connection)
                .await?;
            enabled(before.status) - enabled(user.status)
        }
    };
    let _told_by_the_caller = seats::take(connection, fence.tenant, Some(fence.source), seats).await?;
    details::remove(connection, fence, &[user.number.0]).await?;
    Ok(counts)
}

const VALUES: &str = "digest = c.digest, user_name = c.user_name, user_name_key = c.user_name_key, mail = c.mail, \
     mail_key = c.mail_key, first_name = c.first_name, last_name = c.last_name, display_name = c.display_name, phone = c.phone, \
     distinguished_name = c.distinguished_name, policy_attributes = c.policy_attributes";
const STATUS: &str = "status = c.status, changed_job = c.changed_job, status_job = c.status_job, updated_at = c.updated_at, \
     disabled_at = c.disabled_at";

/// Gives a user back what it had before the job.
async fn restore(connection: &mut Connection, fence: Fence, user: UserNo, columns: &str) -> Result<()> {
    let text = format!(
        "UPDATE users SET {columns} FROM user_changes c WHERE users.tenant_no = $1 AND users.user_no = $2 AND c.job_no = $3 \
         AND c.user_no = $2"
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.tenant.0).bind(user.0).bind(fence.job.0);
    query.execute(connection).await?;
    Ok(())
}
