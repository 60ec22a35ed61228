//! Converts sync jobs, plan entries and details to messages. Enums have the same numbers in both.

use rollcall_proto::admin::v1 as proto;

use crate::api::admin::users::convert::user_values_to_proto;
use crate::api::common::convert::{count_to_proto, timestamp_to_proto};
use crate::api::common::resource_names;
use crate::model::{BrokenCheck, Counts, Detail, Hold, PlanEntry, SyncJob, SyncPlan, TenantId};

/// A job.
pub(super) fn job_to_proto(job: SyncJob) -> proto::SyncJob {
    let SyncJob {
        number: _,
        id,
        tenant,
        tenant_no: _,
        source,
        source_no: _,
        kind,
        origin,
        plan,
        state,
        phase,
        counts,
        expected,
        failure,
        withheld,
        hold,
        revision,
        router,
        reads,
        started_by,
        stopped_by,
        created_at,
        started_at,
        progress_at,
        ended_at,
    } = job;
    proto::SyncJob {
        name: resource_names::job_name(&tenant, &source, id),
        state: i32::from(state.number()),
        phase: phase.map_or(0, |phase| i32::from(phase.number())),
        counts: Some(counts_to_proto(counts, expected)),
        error: failure.map(|failure| proto::SyncError {
            reason: i32::from(failure.reason.number()),
            message: failure.message,
        }),
        source_revision: revision,
        identity_router: router
            .map_or_else(String::new, |router| resource_names::router_name(&tenant, &router)),
        attempt: count_to_proto(reads),
        started_by,
        stopped_by,
        create_time: Some(timestamp_to_proto(created_at)),
        start_time: started_at.map(timestamp_to_proto),
        end_time: ended_at.map(timestamp_to_proto),
        withheld_disables: withheld.map(|withheld| proto::WithheldDisables {
            message: withheld.message,
            user_count: count_to_proto(withheld.users),
        }),
        hold: hold.map(hold_to_proto),
        progress_time: Some(timestamp_to_proto(progress_at)),
        kind: i32::from(kind.number()),
        origin: origin.map_or_else(String::new, |origin| resource_names::job_name(&tenant, &source, origin)),
        plan: plan.map(plan_to_proto),
    }
}

fn plan_to_proto(plan: SyncPlan) -> proto::SyncPlan {
    let SyncPlan { expires_at, doubts, of_draft } = plan;
    let messages: Vec<_> = doubts.iter().map(|check| check.message.as_str()).collect();
    proto::SyncPlan {
        expire_time: Some(timestamp_to_proto(expires_at)),
        hold_reason: doubts.first().map_or(0, |check| i32::from(check.reason.number())),
        hold_message: messages.join(" "),
        draft: of_draft,
    }
}

/// An entry of a plan.
pub(super) fn plan_entry_to_proto(tenant: &TenantId, entry: PlanEntry) -> proto::SyncPlanEntry {
    let PlanEntry { category, user, id, before, after, reason, message } = entry;
    proto::SyncPlanEntry {
        category: i32::from(category.number()),
        immutable_id: id.text(),
        before: before.map(|(values, status)| proto::User {
            name: user.map_or_else(String::new, |user| resource_names::user_name(tenant, user)),
            ..user_values_to_proto(values, status)
        }),
        after: after.map(|(values, status)| user_values_to_proto(values, status)),
        reason: reason.map_or(0, |reason| i32::from(reason.number())),
        message,
    }
}

fn hold_to_proto(hold: Hold) -> proto::Hold {
    let Hold { reason, message, broken, users, etag, since: _, expires_at, decision, decided_by } = hold;
    proto::Hold {
        reason: i32::from(reason.number()),
        message,
        user_count: count_to_proto(users),
        etag,
        expire_time: Some(timestamp_to_proto(expires_at)),
        decision: i32::from(decision.number()),
        decided_by,
        broken_checks: broken.into_iter().map(broken_check_to_proto).collect(),
    }
}

fn broken_check_to_proto(check: BrokenCheck) -> proto::hold::BrokenCheck {
    let BrokenCheck { reason, message, users } = check;
    proto::hold::BrokenCheck {
        reason: i32::from(reason.number()),
        message,
        user_count: count_to_proto(users),
    }
}

fn counts_to_proto(counts: Counts, expected: i64) -> proto::SyncCounts {
    let read = counts.read();
    let Counts {
        added,
        updated,
        unchanged,
        disabled,
        not_synchronized,
        reenabled,
        disabled_in_directory,
        waiting,
        still_in_scope,
        warnings,
        not_visible,
    } = counts;
    let count = |number| Some(count_to_proto(number));
    proto::SyncCounts {
        read: count(read),
        added: count(added),
        updated: count(updated),
        unchanged: count(unchanged),
        disabled: count(disabled),
        not_synchronized: count(not_synchronized),
        reenabled: count(reenabled),
        disabled_in_directory: count(disabled_in_directory),
        waiting: count(waiting),
        expected: count(expected),
        still_in_scope: count(still_in_scope),
        warnings: warnings.map(count_to_proto),
        not_visible: count(not_visible),
    }
}

/// A detail of a job.
pub(super) fn detail_to_proto(tenant: &TenantId, detail: Detail) -> proto::SyncJobDetail {
    let Detail { category, user, user_name, mail, id, reason, message } = detail;
    proto::SyncJobDetail {
        category: i32::from(category.number()),
        user: user.map_or_else(String::new, |user| resource_names::user_name(tenant, user)),
        user_name,
        mail,
        immutable_id: id.map_or_else(String::new, |id| id.text()),
        reason: reason.map_or(0, |reason| i32::from(reason.number())),
        message,
    }
}

#[cfg(test)]
mod tests {
    use rollcall_proto::admin::v1 as proto;

    use crate::model::{
        Category, Decision, FailureReason, HoldReason, JobState, NotSynchronizedReason, Phase,
    };

    /// Names without prefix, capitals and underscores.
    fn plain(name: &str) -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    }

    #[test]
    fn every_reason_has_the_same_number_and_name_in_the_api() {
        for reason in FailureReason::ALL {
            let there =
                proto::FailureReason::try_from(i32::from(reason.number())).expect("a reason of this number");
            assert_eq!(
                plain(there.as_str_name().trim_start_matches("FAILURE_REASON")),
                plain(&format!("{reason:?}"))
            );
        }
        let last = FailureReason::ALL.iter().map(|reason| reason.number()).max().expect("reasons");
        assert!(proto::FailureReason::try_from(i32::from(last) + 1).is_err());
        for reason in HoldReason::ALL {
            let there = proto::hold::Reason::try_from(i32::from(reason.number())).expect("a reason");
            assert_eq!(plain(there.as_str_name()), plain(&format!("{reason:?}")));
        }
        for decision in Decision::ALL.iter().filter(|decision| **decision != Decision::Pending) {
            let there = proto::hold::Decision::try_from(i32::from(decision.number())).expect("a decision");
            assert_eq!(plain(there.as_str_name()), plain(&format!("{decision:?}")));
        }
        for reason in NotSynchronizedReason::ALL {
            let there = proto::NotSynchronizedReason::try_from(i32::from(reason.number()))
                .expect("a reason of this number");
            let name = there.as_str_name().trim_start_matches("NOT_SYNCHRONIZED_REASON");
            assert_eq!(plain(name), plain(&format!("{reason:?}")));
        }
        assert!(
            proto::NotSynchronizedReason::try_from(
                i32::try_from(NotSynchronizedReason::ALL.len()).expect("few") + 1
            )
            .is_err()
        );
    }

    #[test]
    fn every_state_has_the_same_number_and_name_in_the_api() {
        for state in [
            JobState::Queued,
            JobState::Running,
            JobState::Succeeded,
            JobState::Stopped,
            JobState::Failed,
            JobState::Held,
        ] {
            let there = proto::sync_job::State::try_from(i32::from(state.number())).expect("a state");
            assert_eq!(plain(there.as_str_name()), plain(&format!("{state:?}")));
        }
        for phase in [Phase::Reading, Phase::Reconciling] {
            let there = proto::sync_job::Phase::try_from(i32::from(phase.number())).expect("a phase");
            assert_eq!(plain(there.as_str_name()), plain(&format!("{phase:?}")));
        }
        for category in [
            Category::Added,
            Category::Updated,
            Category::Disabled,
            Category::NotSynchronized,
            Category::WouldBeDisabled,
            Category::Warning,
            Category::WouldBeEnabled,
            Category::NotVisible,
        ] {
            let there =
                proto::sync_job_detail::Category::try_from(i32::from(category.number())).expect("a category");
            assert_eq!(plain(there.as_str_name()), plain(&format!("{category:?}")));
        }
    }
}
