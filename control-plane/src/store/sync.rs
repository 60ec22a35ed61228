//! The work of a job. Every operation that writes checks the fence, or the owner where it makes
//! one.

use std::sync::Arc;

use super::operations::operations;
use super::{Applied, RecentDisables, Reenables, Repeats};
use crate::model::{
    Absence, Absentee, Counts, Fence, ImmutableId, JobNo, KnownUser, NotSynchronizedReason, ReadStart,
    Record, Rejected, RouterId, Status, Timestamp, UserNo,
};

operations! {
    /// Begins a read of the directory from its start: voids the fence of the read before and what
    /// that left undecided.
    write fn begin_read(
        job: JobNo,
        owner: &str,
        router: &RouterId,
        now: Timestamp,
    ) -> ReadStart = sync::begin_read::begin_read;
    /// The users of a source with these immutable ids, in the same order.
    read fn known_users(
        fence: Fence,
        ids: move Vec<ImmutableId>,
    ) -> Vec<Option<KnownUser>> = sync::known_users::known_users;
    /// Applies a batch as [`crate::reconcile::batch::plan`] decides while reading, and counts it:
    /// one transaction. `unchanged` adds users that were seen to be right already.
    write fn apply(
        fence: Fence,
        records: move Arc<Vec<Record>>,
        rejected: move Vec<Rejected>,
        unchanged: i64,
        now: Timestamp,
    ) -> Applied = sync::receive::receive;
    /// The same where some of it came before in the read, perhaps: an entry below two roots counts
    /// once, and two entries with one immutable id are refused both. What the first of them did is
    /// taken back.
    write fn apply_after(
        fence: Fence,
        records: move Arc<Vec<Record>>,
        rejected: move Vec<Rejected>,
        repeats: move Repeats,
        unchanged: i64,
        now: Timestamp,
    ) -> Applied = sync::receive::receive_after;
    /// Ends the reading: from here on the job reconciles. Refused with
    /// [`crate::store::StoreError::ConfigChanged`] if the source was published anew.
    write fn begin_reconciling(fence: Fence) -> () = sync::begin_read::begin_reconciling;
    /// Users of the source that are in scope as far as is known, by number, after `after`.
    read fn users_in_scope(
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
    ) -> Vec<(UserNo, Status)> = sync::absent_users::in_scope;
    /// Statuses and distinguished names of those, in the same way.
    read fn distinguished_names(
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
    ) -> Vec<(UserNo, Status, String)> = sync::absent_users::distinguished_names;
    /// Users of the source that sign-ins did not find, by number, after `after`.
    read fn marked_absent(
        fence: Fence,
        after: Option<UserNo>,
        limit: i64,
    ) -> Vec<UserNo> = jobs::absent_marks::marked;
    /// Takes that mark off users that the job has seen: in its read, or in a later look-up.
    write fn clear_absent_marks(
        fence: Fence,
        users: move Vec<UserNo>,
        in_read: bool,
    ) -> () = jobs::absent_marks::clear;
    /// Those of these users who are in scope as far as is known, by number.
    read fn absentees(
        fence: Fence,
        users: move Vec<UserNo>,
    ) -> Vec<Absentee> = sync::absent_users::absentees;
    /// Notes users whom the job found absent and does not disable, or not yet.
    write fn record_absent(
        fence: Fence,
        users: move Vec<(UserNo, Absence)>,
    ) -> () = sync::absent_users::record_absent;
    /// Users that a job of the same source noted, by number, after `after`.
    read fn recorded_absent(
        fence: Fence,
        job: JobNo,
        after: Option<UserNo>,
        limit: i64,
    ) -> Vec<(UserNo, Absence)> = sync::absent_users::recorded_absent;
    /// Counts users whom the read did not have and who are in scope all the same.
    write fn count_still_in_scope(
        fence: Fence,
        users: i64,
        now: Timestamp,
    ) -> () = sync::absent_users::count_still_in_scope;
    /// Takes users off the list that the job noted, since they are in scope again, and counts them.
    write fn remove_absent(
        fence: Fence,
        users: move Vec<UserNo>,
        now: Timestamp,
    ) -> () = sync::absent_users::remove_absent;
    /// Takes users off that list whom the directory does not show to be gone, counts them as not
    /// visible and lists them.
    write fn leave_alone(
        fence: Fence,
        users: move Vec<UserNo>,
        now: Timestamp,
    ) -> () = sync::absent_users::leave_alone;
    /// What syncs of the source disabled for absence since then without having been approved, and
    /// this job whenever it did.
    read fn recent_disables(
        fence: Fence,
        since: Timestamp,
    ) -> RecentDisables = sync::absent_users::recent_disables;
    /// Takes these users out of scope: enabled ones are disabled and counted, all give up their
    /// names. With `unchanged_since` only those whom nothing has changed since then.
    write fn disable_absent(
        fence: Fence,
        users: move Vec<(UserNo, Absence)>,
        unchanged_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Counts = sync::absent_users::disable;
    /// How many changes wait since they take something away, see [`crate::reconcile::value_loss`],
    /// or enable a user again.
    read fn count_suspect_changes(fence: Fence) -> i64 = sync::suspect_changes::count;
    /// Entries that were older than they had been seen before.
    read fn count_older_entries(fence: Fence) -> i64 = users::versions::count_older;
    /// Users that would be enabled again at the end of the read.
    read fn count_reenables(fence: Fence) -> Reenables = sync::suspect_changes::count_reenables;
    /// Leaves the next of those disabled whom the directory had disabled, at most `limit`, and
    /// keeps the records. False once none is left.
    write fn refuse_reenables(
        fence: Fence,
        limit: i64,
        now: Timestamp,
    ) -> bool = sync::suspect_changes::refuse_reenables;
    /// Lets everything take its course that waits for the end of the read: those changes, and users
    /// who return to the scope.
    write fn accept_suspect_changes(fence: Fence) -> () = sync::suspect_changes::accept;
    /// Lets only the records of users who return to the scope take their course.
    write fn accept_returns(fence: Fence) -> () = sync::suspect_changes::accept_returns;
    /// Leaves the users of the next such changes as they are for this reason, at most `limit`, and
    /// keeps the records. Those of users who return to the scope are among them only where the
    /// server is behind. False once none is left.
    write fn refuse_suspect_changes(
        fence: Fence,
        reason: NotSynchronizedReason,
        limit: i64,
        now: Timestamp,
    ) -> bool = sync::suspect_changes::refuse;
    /// Decides who gets the names that records wait for, as
    /// [`crate::reconcile::name_contests::resolve`] says; users in scope are changed at once,
    /// others move on to the queues for seats. With `held`, what is not synchronized is kept for
    /// another try.
    write fn resolve_names(
        fence: Fence,
        held: bool,
        now: Timestamp,
    ) -> Counts = sync::resolve_names::resolve_names;
    /// Settles the next records that wait for a seat, at most `limit`, in their fixed order. False
    /// once none is left.
    write fn assign_seats(
        fence: Fence,
        limit: i64,
        held: bool,
        now: Timestamp,
    ) -> bool = sync::settle_seats::assign_seats;
    /// Lets the records of a job that was held wait again which were kept for another try.
    write fn requeue_retained(fence: Fence, now: Timestamp) -> () = sync::deferred::requeue_retained;
}
