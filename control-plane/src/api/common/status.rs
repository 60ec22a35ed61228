//! Errors of the store and of jobs as gRPC errors (AIP-193): a code, a reason for programs, and a
//! message that says what to do next.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use uuid::Uuid;

use crate::jobs::JobsError;
use crate::model::UserNo;
use crate::store::StoreError;

/// Domain of every reason.
pub(in crate::api) const DOMAIN: &str = "rollcall.dev";

/// An error with a reason.
pub(in crate::api) fn error(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: &[(&str, String)],
) -> Status {
    let metadata: std::collections::HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
}

/// Wrong fields, all at once: field path and what is wrong.
pub(in crate::api) fn invalid(violations: Vec<(String, String)>) -> Status {
    let message =
        violations.iter().map(|(field, why)| format!("{field} {why}")).collect::<Vec<_>>().join("; ");
    let mut details =
        ErrorDetails::with_error_info("INVALID_ARGUMENT", DOMAIN, std::collections::HashMap::new());
    for (field, why) in violations {
        details.add_bad_request_violation(field, why);
    }
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// Something that does not exist, or that the caller must not know of.
pub(in crate::api) fn not_found(what: &str) -> Status {
    error(
        Code::NotFound,
        "NOT_FOUND",
        format!("There is no such {what}. The List calls say what there is."),
        &[],
    )
}

/// A tenant that an operator suspended.
pub(in crate::api) fn tenant_suspended() -> Status {
    error(
        Code::FailedPrecondition,
        "TENANT_SUSPENDED",
        "The tenant is suspended: its users stay as they are, and nothing can be done until the operator of the service resumes it.",
        &[],
    )
}

/// An enrollment where there is no authority for identity routers.
pub(in crate::api) fn enrollment_off() -> Status {
    let message = "This control plane has no authority for identity routers. Its operator adds [authority] to its configuration.";
    error(Code::FailedPrecondition, "ENROLLMENT_OFF", message, &[])
}

/// An error of the store. `job` makes a job's name of its id, where one is running.
pub(in crate::api) fn from_store_with_job(failure: StoreError, job: impl Fn(Uuid) -> String) -> Status {
    match failure {
        StoreError::NotFound(what) => not_found(what),
        StoreError::NoSuchUsers(users) => no_such_users(&users),
        StoreError::UserEnabled => error(
            Code::FailedPrecondition,
            "USER_NOT_DISABLED",
            "The user is enabled, and only a disabled one can be deleted at once. Disable the account in the directory and synchronize the user, or call MarkUserForDeletion.",
            &[],
        ),
        StoreError::AlreadyExists("a tenant") => error(
            Code::AlreadyExists,
            "TENANT_EXISTS",
            "There is a tenant with this id. Choose another id; GetTenant shows the one there is.",
            &[],
        ),
        StoreError::TenantSuspended => tenant_suspended(),
        StoreError::AlreadyExists("a webhook") => error(
            Code::AlreadyExists,
            "WEBHOOK_EXISTS",
            "There is a webhook with this id. Choose another id, or update the webhook.",
            &[],
        ),
        StoreError::AlreadyExists(_) => error(
            Code::AlreadyExists,
            "IDENTITY_SOURCE_EXISTS",
            "There is an identity source with this id. Choose another id, or update the source.",
            &[],
        ),
        StoreError::VersionMismatch => error(
            Code::Aborted,
            "ETAG_MISMATCH",
            "Someone else changed it meanwhile. Get it again and repeat the change with its new etag.",
            &[],
        ),
        StoreError::JobRunning(id) => error(
            Code::AlreadyExists,
            "SYNC_JOB_RUNNING",
            format!("{} is running. Wait for its end with WatchSyncJob, or end it with StopSync.", job(id)),
            &[("sync_job", job(id))],
        ),
        StoreError::SourceHasUsers => error(
            Code::FailedPrecondition,
            "IDENTITY_SOURCE_HAS_USERS",
            "The identity source has users. Set force to delete them with it.",
            &[],
        ),
        StoreError::ImmutableIdInUse => error(
            Code::FailedPrecondition,
            "IMMUTABLE_ID_IN_USE",
            "The source has users, who are known by the published immutable id; without their new ids each of them would be a stranger. Make a dry run of the draft (StartSync with validate_only and draft), which reads both ids of each entry, look at it, then publish: every user stays the same.",
            &[],
        ),
        StoreError::NotInDryRun(users) => error(
            Code::FailedPrecondition,
            "DRY_RUN_OUTDATED",
            format!(
                "{users} users are neither in the dry run of the draft nor among those whom it would disable, or may be back since; each of them would be a stranger. Make the dry run again (StartSync with validate_only and draft), look at it, then publish."
            ),
            &[("users", users.to_string())],
        ),
        StoreError::SourceNotPublished => error(
            Code::FailedPrecondition,
            "SOURCE_NOT_PUBLISHED",
            "The identity source was never published. Call PublishIdentitySource, then synchronize.",
            &[],
        ),
        StoreError::TooMany(most) => error(
            Code::ResourceExhausted,
            "TOO_MANY_IDENTITY_SOURCES",
            format!("The tenant has {most} identity sources, which is the most possible. Delete one first."),
            &[],
        ),
        StoreError::TooManyWebhooks(most) => error(
            Code::ResourceExhausted,
            "TOO_MANY_WEBHOOKS",
            format!("The tenant has {most} webhooks, which is the most possible. Delete one first."),
            &[],
        ),
        StoreError::TestedJustNow => error(
            Code::ResourceExhausted,
            "TESTED_JUST_NOW",
            "The webhook was tested within the last 5 seconds. Wait a moment, then test it again.",
            &[],
        ),
        StoreError::RouterRevoked => error(
            Code::FailedPrecondition,
            "ROUTER_REVOKED",
            "The identity router was revoked, and its name is never given again. Choose another id.",
            &[],
        ),
        StoreError::RouterInactive => error(
            Code::FailedPrecondition,
            "ROUTER_INACTIVE",
            "The identity router may not connect. GetIdentityRouter says why.",
            &[],
        ),
        StoreError::TooManyCodes(most) => error(
            Code::ResourceExhausted,
            "TOO_MANY_CODES",
            format!(
                "The tenant has {most} open registration codes, which is the most possible. Void some, or wait until they expire."
            ),
            &[],
        ),
        StoreError::CodeEnded => error(
            Code::FailedPrecondition,
            "CODE_ENDED",
            "The registration code was used or voided, or has expired. ListRegistrationCodes says which.",
            &[],
        ),
        StoreError::DetailsReplaced => error(
            Code::NotFound,
            "SYNC_JOB_DETAILS_REPLACED",
            "The details of this job were replaced by a later sync of its source. Ask for those of syncJobs/latest.",
            &[],
        ),
        StoreError::NotUndoable(why) => error(Code::FailedPrecondition, "SYNC_JOB_NOT_UNDOABLE", why, &[]),
        StoreError::PlanUnusable(why) => error(Code::FailedPrecondition, "PLAN_NOT_USABLE", why, &[]),
        StoreError::NotHeld => error(
            Code::FailedPrecondition,
            "SYNC_JOB_NOT_HELD",
            "The job does not wait for a decision. GetSyncJob shows its state.",
            &[],
        ),
        StoreError::HoldChanged => error(
            Code::FailedPrecondition,
            "HOLD_LIST_CHANGED",
            "The etag is not that of the list which is held. Look at the list again with ListSyncJobDetails (WOULD_BE_DISABLED), then approve with hold.etag of GetSyncJob.",
            &[],
        ),
        StoreError::HoldExpired => error(
            Code::FailedPrecondition,
            "HOLD_EXPIRED",
            "It is too late to decide. Synchronize again to see what is to be disabled now.",
            &[],
        ),
        StoreError::ConfigChanged => error(
            Code::FailedPrecondition,
            "SOURCE_CHANGED",
            "The identity source was published anew since the job read it. Synchronize again.",
            &[],
        ),
        StoreError::Fenced => {
            error(Code::Aborted, "SYNC_JOB_ENDED", "The job has ended or was taken over. Get it again.", &[])
        }
        failure @ StoreError::Unavailable(_) => {
            tracing::warn!(error = &failure as &dyn std::error::Error, "the database is not available");
            error(
                Code::Unavailable,
                "DATABASE_UNAVAILABLE",
                "The database does not answer. Try again in a moment.",
                &[],
            )
        }
        failure @ StoreError::Full(_) => {
            tracing::error!(error = &failure as &dyn std::error::Error, "the database's disk is full");
            error(
                Code::Unavailable,
                "DATABASE_FULL",
                "The disk of the control plane's database is full, so nothing was changed. Have its operator make room there, then try again.",
                &[],
            )
        }
        failure @ StoreError::Broken(_) => internal(&failure),
    }
}

/// Says of a batch which users there are not, at most ten of them.
fn no_such_users(users: &[UserNo]) -> Status {
    if users.len() == 1 {
        return not_found("user");
    }
    let mut named: Vec<String> = users.iter().take(10).map(UserNo::to_string).collect();
    if users.len() > named.len() {
        named.push("more".to_owned());
    }
    let message = format!(
        "There are no users of these numbers: {}. Nothing was changed; leave them out.",
        named.join(", ")
    );
    error(Code::NotFound, "NOT_FOUND", message, &[])
}

/// A fault of ours: the cause is for the log, an id to find it there is for the caller.
fn internal(failure: &StoreError) -> Status {
    let id = Uuid::now_v7();
    tracing::error!(%id, error = failure as &dyn std::error::Error, "a call failed");
    error(
        Code::Internal,
        "INTERNAL",
        format!("A fault of the control plane; its log has the cause under {id}."),
        &[("id", id.to_string())],
    )
}

/// An error of the store where no job's name can occur.
pub(in crate::api) fn from_store(failure: StoreError) -> Status {
    from_store_with_job(failure, |id| id.to_string())
}

/// An error of the jobs.
pub(in crate::api) fn from_jobs(failure: JobsError, job: impl Fn(Uuid) -> String) -> Status {
    match failure {
        JobsError::Store(failure) => from_store_with_job(failure, job),
        JobsError::NoRouter => error(
            Code::FailedPrecondition,
            "NO_IDENTITY_ROUTER",
            "The tenant has no identity router. Make a registration code with CreateRegistrationCode, enroll router-agent on the premises with it, then try again.",
            &[],
        ),
        JobsError::NoRouterConnected => error(
            Code::FailedPrecondition,
            "NO_IDENTITY_ROUTER_CONNECTED",
            "No identity router that may read this source is connected. Start router-agent on the premises; ListIdentityRouters shows when it is.",
            &[],
        ),
        JobsError::TestTimedOut => error(
            Code::DeadlineExceeded,
            "TEST_TIMED_OUT",
            "The identity router did not finish the test in time. Look at its log, then try again.",
            &[],
        ),
    }
}
