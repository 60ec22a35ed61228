//! What the dry run of another immutable id has read of both ids of each entry. Which users are
//! given their new ids by it is in `rekey`.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;

use super::super::dialect::{Connection, IN_BLOBS_2};
use super::super::jobs::{counts, details};
use super::super::statement::sql;
use super::super::sync::deferred;
use super::super::sync::deferred::DEFERRED;
use super::super::users::lookup;
use super::super::users::rows::RecordRow;
use super::super::{codec, dialect, locks, statement};
use crate::model::{
    Category, Counts, Detail, Fence, IdPair, ImmutableId, JobNo, KnownUser, NotSynchronizedReason, Record,
    SourceNo, Status, Timestamp, UserValues,
};
use crate::reconcile::rekey;
use crate::reconcile::rekey::Occurrence;
use crate::store::Result;

/// Pairs of one statement.
const PAIRS_PER_STATEMENT: usize = 128;

/// Entries that are refused in one go.
const CLASHES_PER_PAGE: usize = 1_000;

#[derive(sqlx::FromRow)]
struct PairRow {
    former_id: Vec<u8>,
    new_id: Vec<u8>,
    digest: Vec<u8>,
}

/// Keeps pairs, each with whether it is that of a record, and says of each whether the read had its
/// ids before.
pub(crate) async fn note(
    connection: &mut Connection,
    fence: Fence,
    pairs: &[(IdPair, bool)],
) -> Result<Vec<Occurrence>> {
    locks::lock_job(connection, fence).await?;
    let ids: Vec<IdPair> = pairs.iter().map(|(pair, _)| pair.clone()).collect();
    let mut before =
        with(connection, fence.job, WITH_FORMER_ID, ids.iter().filter_map(|pair| pair.former.as_ref()))
            .await?;
    before.extend(
        with(connection, fence.job, WITH_NEW_ID, ids.iter().filter_map(|pair| pair.new.as_ref())).await?,
    );
    let occurrences = rekey::occurrences(&before, &ids);
    let new: Vec<_> =
        pairs.iter().zip(&occurrences).filter(|(_, occurrence)| **occurrence != Occurrence::Again).collect();
    for chunk in new.chunks(PAIRS_PER_STATEMENT) {
        let into = "id_pairs (job_no, former_id, new_id, digest, counted)";
        // Of entries that are no records two can look the same.
        let text = format!("{} ON CONFLICT DO NOTHING", statement::insert_many(into, 1, 4, chunk.len()));
        let mut query = statement::query_of_rows(text, chunk.len() == PAIRS_PER_STATEMENT).bind(fence.job.0);
        for ((pair, record), occurrence) in chunk {
            query = query
                .bind(bytes(pair.former.as_ref()))
                .bind(bytes(pair.new.as_ref()))
                .bind(pair.digest.to_vec())
                .bind(i64::from(*record && **occurrence == Occurrence::First));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(occurrences)
}

fn bytes(id: Option<&ImmutableId>) -> Vec<u8> {
    id.map(|id| id.0.to_vec()).unwrap_or_default()
}

const PAIRS_OF_JOB: &str = "SELECT former_id, new_id, digest FROM id_pairs WHERE job_no = $1 AND";
const WITH_FORMER_ID: &str = sql!("{PAIRS_OF_JOB} former_id {IN_BLOBS_2}");
const WITH_NEW_ID: &str = sql!("{PAIRS_OF_JOB} new_id {IN_BLOBS_2}");

/// Pairs that have one of these ids, former or new as the statement says.
async fn with(
    connection: &mut Connection,
    job: JobNo,
    text: &'static str,
    ids: impl Iterator<Item = &ImmutableId>,
) -> Result<Vec<IdPair>> {
    let query = dialect::blobs(statement::query(text).bind(job.0), ids.map(|id| &id.0[..]));
    let rows = query.fetch_all(connection).await?;
    let id = |bytes: Vec<u8>| (!bytes.is_empty()).then(|| ImmutableId(bytes.into()));
    let pair = |row| -> Result<IdPair> {
        let PairRow { former_id, new_id, digest } = FromRow::from_row(row)?;
        Ok(IdPair { former: id(former_id), new: id(new_id), digest: codec::digest_bytes(digest)? })
    };
    rows.iter().map(pair).collect()
}

/// Marks pairs whose ids another entry has, and takes back what was made of the records that came
/// first: nobody knows whose they are.
pub(crate) async fn refuse_clashes(connection: &mut Connection, fence: Fence, now: Timestamp) -> Result<()> {
    let job = locks::lock_job(connection, fence).await?;
    let text = "UPDATE id_pairs SET clashes = 1 WHERE job_no = $1 AND ((length(former_id) > 0 AND \
         former_id IN (SELECT former_id FROM id_pairs WHERE job_no = $1 AND length(former_id) > 0 \
         GROUP BY former_id HAVING COUNT(*) > 1)) OR (length(new_id) > 0 AND new_id IN (SELECT \
         new_id FROM id_pairs WHERE job_no = $1 AND length(new_id) > 0 GROUP BY new_id HAVING \
         COUNT(*) > 1)))";
    statement::query(text).bind(fence.job.0).execute(&mut *connection).await?;
    let query = statement::query_scalar(
        "SELECT former_id FROM id_pairs WHERE job_no = $1 AND clashes = 1 AND counted = 1 ORDER BY \
         former_id",
    );
    let ids: Vec<Vec<u8>> = query.bind(fence.job.0).fetch_all(&mut *connection).await?;
    let ids: Vec<ImmutableId> = ids.into_iter().map(|id| ImmutableId(id.into())).collect();
    for ids in ids.chunks(CLASHES_PER_PAGE) {
        let text = sql!("{DEFERRED} AND immutable_id {IN_BLOBS_2}");
        let query = dialect::blobs(statement::query(text).bind(fence.job.0), ids.iter().map(|id| &id.0[..]));
        let mut waiting: HashMap<ImmutableId, UserValues> = HashMap::new();
        for row in query.fetch_all(&mut *connection).await? {
            let record = Record::try_from(RecordRow::from_row(&row)?)?;
            waiting.insert(record.id, record.values);
        }
        let known = lookup::known_by_id(connection, fence.source, ids.iter()).await?;
        let numbers: Vec<i64> = known.iter().map(|user| user.number.0).collect();
        let mut values = lookup::values(connection, fence.tenant, &numbers).await?;
        let beyond = |user: &KnownUser| {
            let first = job.beyond_limit().filter(|_| user.status != Status::OutOfScope);
            first.is_some_and(|first| user.number >= first)
        };
        let beyond: HashSet<ImmutableId> =
            known.iter().filter(|user| beyond(user)).map(|user| user.id.clone()).collect();
        let known: HashMap<_, _> = known.iter().map(|user| (&user.id, user.number)).collect();
        let (mut counts, mut lines) = (Counts::default(), Vec::new());
        for id in ids {
            let user = known.get(id).copied();
            // Whoever is beyond the sync limit is not synchronized already.
            if beyond.contains(id) && !waiting.contains_key(id) {
                continue;
            }
            let shown = match (waiting.remove(id), user) {
                (Some(values), _) => {
                    counts.waiting -= 1;
                    values
                }
                (None, Some(user)) => {
                    counts.unchanged -= 1;
                    values.remove(&user.0).unwrap_or_default()
                }
                // Deleted meanwhile.
                (None, None) => continue,
            };
            counts.not_synchronized += 1;
            lines.push(Detail {
                category: Category::NotSynchronized,
                user,
                user_name: shown.user_name,
                mail: shown.mail,
                id: Some(id.clone()),
                reason: Some(NotSynchronizedReason::DuplicateUniqueId),
                message: rekey::CLASH.to_owned(),
            });
        }
        deferred::forget(connection, fence, ids).await?;
        details::insert(connection, fence, lines).await?;
        counts::count(connection, fence, counts, None, now).await?;
    }
    Ok(())
}

/// Throws away those of users who are deleted.
pub(crate) async fn forget_users(
    connection: &mut Connection,
    source: SourceNo,
    ids: impl Iterator<Item = &ImmutableId>,
) -> Result<()> {
    let text = sql!(
        "DELETE FROM id_pairs WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) \
         AND former_id {IN_BLOBS_2}"
    );
    let query = statement::query(text).bind(source.0);
    dialect::blobs(query, ids.map(|id| &id.0[..])).execute(connection).await?;
    Ok(())
}
