//! Dry runs and their plans, and undoing a job.

use async_trait::async_trait;

use super::Result;
use crate::model::{Category, Fence, IdPair, JobNo, PlanEntry, PlanLine, SourceSettings, Timestamp, UserNo};
use crate::reconcile::forecast::Situation;
use crate::reconcile::rekey::Occurrence;

/// What is kept of plans, and what undoing a job takes. Whatever is given a fence checks it.
#[async_trait]
pub trait PlanStore {
    /// The draft that a dry run reads; none where a job reads what is published.
    async fn draft_of(&self, job: JobNo) -> Result<Option<SourceSettings>>;
    /// Keeps the pairs of ids that the dry run of another immutable id reads, each with whether it is that of a record. Says of each, in order,
    /// whether the read had its ids before.
    async fn pair_ids(&self, fence: Fence, pairs: Vec<(IdPair, bool)>) -> Result<Vec<Occurrence>>;
    /// After the read: refuses whatever was taken for a record and shares one of its ids with another entry.
    async fn refuse_clashes(&self, fence: Fence, now: Timestamp) -> Result<()>;
    /// All that decides what would become of the records that wait and the users that the job noted as absent.
    async fn situation(&self, fence: Fence) -> Result<Situation>;
    /// Writes the next lines of the plan and counts them.
    async fn write_plan(&self, fence: Fence, lines: Vec<PlanLine>, now: Timestamp) -> Result<()>;
    /// Entries of a plan with their positions, after `after`. [`super::StoreError::PlanUnusable`] if there is none, or not any more.
    async fn plan_entries(
        &self,
        job: JobNo,
        category: Option<Category>,
        after: i64,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<(i64, PlanEntry)>>;
    /// Throws away the entries of plans that have expired. How many plans.
    async fn expire_plans(&self, now: Timestamp) -> Result<usize>;
    /// Those of these absent users whom the plan that the job applies disables, and who are as they were when it was made.
    async fn planned_leavers(&self, fence: Fence, users: Vec<UserNo>) -> Result<Vec<UserNo>>;
    /// Lists absent users whom the job leaves alone, since its plan does not have them.
    async fn leave_out_absent(&self, fence: Fence, users: Vec<UserNo>, now: Timestamp) -> Result<()>;
    /// Lists the next entries of the plan that the directory no longer asks for, at most `limit`. False once none is left.
    async fn leave_out_rest(&self, fence: Fence, limit: i64, now: Timestamp) -> Result<bool>;
    /// Begins to undo: voids the fence of the try before and what that left undecided.
    async fn begin_undo(&self, job: JobNo, owner: &str, now: Timestamp) -> Result<Fence>;
    /// Gives the next users back what they were before the job that is undone: at most `limit`, by number, after `after`. None once no
    /// user is left.
    async fn undo_changes(
        &self,
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<UserNo>>;
    /// Disables the next users whom the job that is undone added, in the same way.
    async fn undo_adds(
        &self,
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<UserNo>>;
}
