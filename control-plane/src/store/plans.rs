//! Dry runs and their plans, and undoing a job. Every operation that takes a fence checks it.

use super::operations::operations;
use crate::model::{Category, Fence, IdPair, JobNo, PlanEntry, PlanLine, SourceSettings, Timestamp, UserNo};
use crate::reconcile::preview::Situation;
use crate::reconcile::rekey::Occurrence;

operations! {
    /// The draft that a dry run reads; none where a job reads what is published.
    read fn draft_of(job: JobNo) -> Option<SourceSettings> = plans::entries::draft;
    /// Keeps the pairs of ids that the dry run of another immutable id reads, each with whether it
    /// is that of a record. Says of each, in order, whether the read had its ids before.
    write fn record_id_pairs(
        fence: Fence,
        pairs: move Vec<(IdPair, bool)>,
    ) -> Vec<Occurrence> = plans::id_pairs::note;
    /// After the read: refuses whatever was taken for a record and shares one of its ids with
    /// another entry.
    write fn refuse_clashes(fence: Fence, now: Timestamp) -> () = plans::id_pairs::refuse_clashes;
    /// All that decides what would become of the records that wait and the users that the job noted
    /// as absent.
    read fn planning_inputs(fence: Fence) -> Situation = plans::situation::situation;
    /// Writes the next lines of the plan and counts them.
    write fn write_plan(
        fence: Fence,
        lines: move Vec<PlanLine>,
        now: Timestamp,
    ) -> () = plans::entries::write;
    /// Entries of a plan with their positions, after `after`.
    /// [`crate::store::StoreError::PlanUnusable`] if there is none, or not any more.
    read fn plan_entries(
        job: JobNo,
        category: Option<Category>,
        after: i64,
        limit: i64,
        now: Timestamp,
    ) -> Vec<(i64, PlanEntry)> = plans::entries::entries;
    /// Throws away the entries of plans that have expired. How many plans.
    steps fn expire_plans(now: Timestamp) -> usize = plans::entries::expire_due;
    /// Those of these absent users whom the plan that the job applies disables, and who are as they
    /// were when it was made.
    write fn planned_leavers(
        fence: Fence,
        users: move Vec<UserNo>,
    ) -> Vec<UserNo> = sync::apply_plan::leavers;
    /// Lists absent users whom the job leaves alone, since its plan does not have them.
    write fn leave_out_absent(
        fence: Fence,
        users: move Vec<UserNo>,
        now: Timestamp,
    ) -> () = sync::apply_plan::leave_out_absent;
    /// Lists the next entries of the plan that the directory no longer asks for, at most `limit`.
    /// False once none is left.
    write fn leave_out_rest(
        fence: Fence,
        limit: i64,
        now: Timestamp,
    ) -> bool = sync::apply_plan::leave_out_rest;
    /// Begins to undo: voids the fence of the try before and what that left undecided.
    write fn begin_undo(job: JobNo, owner: &str, now: Timestamp) -> Fence = sync::undo::begin;
    /// Gives the next users back what they were before the job that is undone: at most `limit`, by
    /// number, after `after`. None once no user is left.
    write fn undo_changes(
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Option<UserNo> = sync::undo::changes;
    /// Disables the next users whom the job that is undone added, in the same way.
    write fn undo_adds(
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Option<UserNo> = sync::undo::adds;
    /// Gives the names that the undo gave back the age that they had, so that their users have
    /// their logins again: of the next users of the undone job's journal, in the same way.
    write fn undo_logins(
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
    ) -> Option<UserNo> = sync::undo::restore_logins;
}
