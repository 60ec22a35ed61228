//! The words of the domain as plain types: no I/O, no SQL, no protobuf, no transport.

mod absence;
mod audit;
mod call;
mod chain;
mod deletion;
mod detail;
mod entry_version;
mod ids;
mod job;
mod license;
pub mod names;
mod password;
mod reason;
mod record;
mod replica;
mod role;
mod router;
mod schedule;
mod single;
mod source;
mod status;
mod stored_enum;
mod tenant;
mod user;
mod webhook;
pub mod webhook_message;
mod work;

pub use crate::clock::Timestamp;
pub use absence::{
    Absence, Absentee, BrokenCheck, Decision, Freshness, Hold, HoldReason, LookUp, Presence, ReadFacts,
    RootFacts, Witness,
};
pub use audit::{
    Actor, AuditEvent, AuditFilter, AuditHead, AuditOutcome, Event, EventType, Trail, hex, spelled,
};
pub use call::Call;
pub use chain::{Broken, Chain};
pub use deletion::{DeletionSettings, DuePurge, Mark, MarkReason, Marking, UserStanding};
pub use detail::{Category, DETAILS_PER_CATEGORY, Detail};
pub use entry_version::{EntryVersion, VersionKind};
pub use ids::{JobNo, RouterId, SourceId, SourceNo, TenantId, TenantNo, UserNo, WebhookId, WebhookNo};
pub use job::{Counts, Failure, Fence, JobState, JobSummary, Phase, ReadStart, SyncJob, Withheld};
pub use license::{License, LicenseLevel, SourceUse};
pub use password::{Asked, PasswordOutcome, Verification};
pub use reason::{FailureReason, NotSynchronizedReason};
pub use record::{IdPair, ImmutableId, NameKey, NameKind, Offered, Record, Rejected, UserValues};
pub use replica::{DistantRouter, REPLICA_SILENCE, Replica, ReplicaKey};
pub use role::Role;
pub use router::{
    Admitted, Certified, ChangedRouter, IdentityRouter, KeyFingerprint, NewCertificate, NewCode,
    PresentedCertificate, RECOVERIES, Refusal, RegistrationCode, RouterDenied, RouterState,
};
pub use schedule::{DueSchedule, LastRun, PlannedRun, Recurrence, RunOutcome, Schedule, SyncSchedule};
pub use single::{
    FetchBy, Found, Single, SingleOutcome, SingleUserSettings, UserSelector, UserSnapshot, UserVersion,
};
pub use source::{
    AttributeMapping, DirectoryServer, DisableGuard, DisabledRule, DisabledTest, ExpiryFormat, ExpiryRule,
    IdFormat, IdentitySource, KnownBy, Scope, Security, SourceSettings,
};
pub use status::Status;
pub use tenant::Tenant;
pub use user::{KnownUser, User, UserFilter};
pub use webhook::{
    AttemptOutcome, Delivery, DeliveryFailure, FailedAttempt, Receiver, SealedSecrets, Webhook, WebhookEvent,
    WebhookState,
};
pub use work::{JobKind, PlanEntry, PlanLine, PlannedChange, SyncPlan};
