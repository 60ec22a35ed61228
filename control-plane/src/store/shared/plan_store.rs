//! [`PlanStore`] over the statements of `plans`, `planned`, `pairs` and `undo`.

use async_trait::async_trait;

use super::{Engine, pairs, planned, plans, undo};
use crate::model::{Category, Fence, IdPair, JobNo, PlanEntry, PlanLine, SourceSettings, Timestamp, UserNo};
use crate::reconcile::forecast::Situation;
use crate::reconcile::rekey::Occurrence;
use crate::store::{PlanStore, Result};

#[async_trait]
impl PlanStore for Engine {
    async fn draft_of(&self, job: JobNo) -> Result<Option<SourceSettings>> {
        self.read(move |c| Box::pin(async move { plans::draft(c, job).await })).await
    }

    async fn pair_ids(&self, fence: Fence, pairs: Vec<(IdPair, bool)>) -> Result<Vec<Occurrence>> {
        self.write(move |c| {
            let pairs = pairs.clone();
            Box::pin(async move { pairs::note(c, fence, &pairs).await })
        })
        .await
    }

    async fn refuse_clashes(&self, fence: Fence, now: Timestamp) -> Result<()> {
        self.write(move |c| Box::pin(async move { pairs::refuse_clashes(c, fence, now).await })).await
    }

    async fn situation(&self, fence: Fence) -> Result<Situation> {
        self.read(move |c| Box::pin(async move { plans::situation(c, fence).await })).await
    }

    async fn write_plan(&self, fence: Fence, lines: Vec<PlanLine>, now: Timestamp) -> Result<()> {
        self.write(move |c| {
            let lines = lines.clone();
            Box::pin(async move { plans::write(c, fence, &lines, now).await })
        })
        .await
    }

    async fn plan_entries(
        &self,
        job: JobNo,
        category: Option<Category>,
        after: i64,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<(i64, PlanEntry)>> {
        self.read(move |c| {
            Box::pin(async move { plans::entries(c, job, category, (after, limit), now).await })
        })
        .await
    }

    async fn expire_plans(&self, now: Timestamp) -> Result<usize> {
        // Asked every second, and there is hardly ever one: reading keeps nobody from writing.
        if self.read(move |c| Box::pin(async move { plans::expired(c, now).await })).await?.is_none() {
            return Ok(0);
        }
        self.write(move |c| Box::pin(async move { plans::expire(c, now).await })).await
    }

    async fn planned_leavers(&self, fence: Fence, users: Vec<UserNo>) -> Result<Vec<UserNo>> {
        self.write(move |c| {
            let users = users.clone();
            Box::pin(async move { planned::leavers(c, fence, &users).await })
        })
        .await
    }

    async fn leave_out_absent(&self, fence: Fence, users: Vec<UserNo>, now: Timestamp) -> Result<()> {
        self.write(move |c| {
            let users = users.clone();
            Box::pin(async move { planned::leave_out_absent(c, fence, &users, now).await })
        })
        .await
    }

    async fn leave_out_rest(&self, fence: Fence, limit: i64, now: Timestamp) -> Result<bool> {
        self.write(move |c| Box::pin(async move { planned::leave_out_rest(c, fence, limit, now).await }))
            .await
    }

    async fn begin_undo(&self, job: JobNo, owner: &str, now: Timestamp) -> Result<Fence> {
        let owner = owner.to_owned();
        self.write(move |c| {
            let owner = owner.clone();
            Box::pin(async move { undo::begin(c, job, &owner, now).await })
        })
        .await
    }

    async fn undo_changes(
        &self,
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<UserNo>> {
        self.write(move |c| Box::pin(async move { undo::changes(c, fence, after, limit, now).await })).await
    }

    async fn undo_adds(
        &self,
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<UserNo>> {
        self.write(move |c| Box::pin(async move { undo::adds(c, fence, after, limit, now).await })).await
    }
}
