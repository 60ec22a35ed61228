//! Show Details: at most 400 lines of each category of a source's newest job; and the records that
//! were not synchronized, whole.

use std::collections::BTreeMap;

use super::super::dialect::{Connection, IN_INTS_2};
use super::super::statement::sql;
use super::super::words::{CATEGORY_ADDED, CATEGORY_UPDATED};
use super::super::{dialect, statement};
use crate::model::{Category, DETAILS_PER_CATEGORY, Detail, Fence};
use crate::store::Result;

/// Says of whom the job gave something back what that was: the batches speak of a directory.
pub(crate) async fn name_details(connection: &mut Connection, fence: Fence) -> Result<()> {
    statement::query(sql!(
        "UPDATE job_details SET message = $2 WHERE job_no = $1 AND category = {CATEGORY_UPDATED}"
    ))
    .bind(fence.job.0)
    .bind("Is again what it was before the job that is undone.")
    .execute(connection)
    .await?;
    Ok(())
}

/// A line, and what tells its entry from others of the read: the digest of its record, or
/// [`crate::model::Rejected::key`].
pub(crate) struct EntryLine {
    pub(crate) detail: Detail,
    pub(crate) key: Option<[u8; 16]>,
}

impl From<Detail> for EntryLine {
    fn from(detail: Detail) -> Self {
        Self { detail, key: None }
    }
}

/// Lines of one statement.
const LINES_PER_STATEMENT: usize = 64;

/// Writes details: of users as many as Show Details has room for, since the journal has them all;
/// of records that are not synchronized every one, since nothing else has them.
pub(crate) async fn insert(
    connection: &mut Connection,
    fence: Fence,
    details: Vec<impl Into<EntryLine>>,
) -> Result<()> {
    let mut lists: BTreeMap<i16, Vec<EntryLine>> = BTreeMap::new();
    for line in details {
        let line: EntryLine = line.into();
        lists.entry(line.detail.category.number()).or_default().push(line);
    }
    for (category, mut list) in lists {
        let last = statement::query_scalar(
            "SELECT COALESCE(MAX(position), 0) FROM job_details WHERE job_no = $1 AND category = \
             $2",
        );
        let last = last.bind(fence.job.0).bind(i64::from(category));
        let last: i64 = last.fetch_one(&mut *connection).await?;
        if category != Category::NotSynchronized.number() {
            list.truncate(usize::try_from(DETAILS_PER_CATEGORY - last).unwrap_or_default());
        }
        let mut position = last;
        for lines in list.chunks(LINES_PER_STATEMENT) {
            let mut query =
                statement::query_of_rows(insert_statement(lines.len()), lines.len() == LINES_PER_STATEMENT)
                    .bind(fence.job.0)
                    .bind(i64::from(category));
            for EntryLine { detail: line, key } in lines {
                position += 1;
                let usual = line.reason.is_some_and(|reason| reason.text() == line.message);
                query = query
                    .bind(position)
                    .bind(line.user.map(|user| user.0))
                    .bind(line.user_name.clone())
                    .bind(line.mail.clone())
                    .bind(line.id.as_ref().map(|id| id.0.to_vec()))
                    .bind(line.reason.map(|reason| i64::from(reason.number())))
                    .bind(if usual { String::new() } else { line.message.clone() })
                    .bind(key.map(|key| key.to_vec()));
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

fn insert_statement(lines: usize) -> String {
    let into = "job_details (job_no, category, position, user_no, user_name, mail, immutable_id, reason, \
                message, entry_key)";
    statement::insert_many(into, 2, 8, lines)
}

/// Takes back the details of users whose change is taken back.
pub(crate) async fn remove(connection: &mut Connection, fence: Fence, users: &[i64]) -> Result<()> {
    let text = sql!(
        "DELETE FROM job_details WHERE job_no = $1 AND category IN ({CATEGORY_ADDED}, \
         {CATEGORY_UPDATED}) AND user_no {IN_INTS_2}"
    );
    let query = statement::query(text).bind(fence.job.0);
    dialect::ints(query, users).execute(connection).await?;
    Ok(())
}
