//! Drops what a job leaves behind once it has ended or begins again.

use super::super::dialect::Connection;
use super::super::statement;
use crate::model::JobNo;
use crate::store::Result;

pub(crate) async fn forget_deferred(connection: &mut Connection, job: JobNo) -> Result<()> {
    statement::query("DELETE FROM deferred_records WHERE job_no = $1")
        .bind(job.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Throws away the pairs of a job.
pub(crate) async fn forget_id_pairs(connection: &mut Connection, job: JobNo) -> Result<()> {
    statement::query("DELETE FROM id_pairs WHERE job_no = $1").bind(job.0).execute(connection).await?;
    Ok(())
}

/// Forgets the list of a job that is decided.
pub(crate) async fn forget_absent(connection: &mut Connection, job: JobNo) -> Result<()> {
    statement::query("DELETE FROM absent_users WHERE job_no = $1").bind(job.0).execute(connection).await?;
    Ok(())
}
