//! Syncs of one user: the settings of tenants, who has a name, and what the directory has of a single user.

use async_trait::async_trait;

use super::Result;
use crate::model::{
    Absence, Actor, JitSettings, Record, Sighting, SingleOutcome, SourceId, TenantId, TenantNo, Timestamp,
    User, UserNo, UserVersion, Whom,
};

/// What is known of an observation of one user, besides what was seen.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The tenant.
    pub tenant: TenantId,
    /// The source that was asked.
    pub source: SourceId,
    /// By which revision of its settings.
    pub revision: i32,
    /// The user as it was before the directory was asked; none if it was not known then.
    pub version: Option<UserVersion>,
    /// When the directory was asked.
    pub asked_at: Timestamp,
    /// Whether it matters how old the last observation is, also if nothing changed.
    pub keep_fresh: bool,
    /// On whose behalf.
    pub by: Actor,
    /// Now.
    pub now: Timestamp,
}

/// What writing an observation down came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What became of the user.
    pub outcome: SingleOutcome,
    /// For people, where there is more to say than the outcome.
    pub message: Option<String>,
    /// The user as it is now; none if there is none.
    pub user: Option<Sighting>,
    /// A bulk job may have seen the user meanwhile, and written nothing since it was as it was then: only another observation can tell.
    pub confirm: bool,
}

/// Whether an observation could be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SingleWrite {
    /// It was.
    Done(Box<Written>),
    /// Someone else wrote the user since the directory was asked, or the source was published anew: ask again, for this user if one
    /// is known by the id.
    AskAgain(Option<UserNo>),
}

/// What a sign-in begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The tenant's number, by which names are keyed.
    pub tenant: TenantNo,
    /// Its settings.
    pub settings: JitSettings,
    /// Whether the tenant is suspended.
    pub suspended: bool,
    /// The user in scope that holds the name, if there is one.
    pub known: Option<Sighting>,
}

/// What is kept of and written by syncs of one user.
#[async_trait]
pub trait JitStore {
    /// A tenant's number, by which names are keyed, and its settings.
    async fn jit_settings(&self, tenant: &TenantId) -> Result<(TenantNo, JitSettings)>;
    /// What a sign-in begins with.
    async fn begin_sign_in(&self, tenant: &TenantId, whom: &Whom) -> Result<SignIn>;
    /// Sets them.
    async fn set_jit_settings(
        &self,
        tenant: &TenantId,
        settings: JitSettings,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()>;
    /// The user of this number, or the one in scope that holds the name.
    async fn sight_user(&self, tenant: TenantNo, whom: &Whom) -> Result<Option<Sighting>>;
    /// Applies what the directory has of one user, by the rules of a sync, in one transaction: only if the user is still as it was before
    /// the directory was asked, so that it never overwrites a newer observation.
    async fn apply_single(&self, observation: Observation, record: Record) -> Result<SingleWrite>;
    /// Takes one user out of scope, if the source's guard allows one more.
    async fn disable_single(
        &self,
        observation: Observation,
        user: UserNo,
        absence: Absence,
    ) -> Result<SingleWrite>;
    /// The user that [`Self::sight_user`] finds, and when the directory was last seen to have it like that: alone, or by a complete sync.
    async fn last_observed(&self, tenant: TenantNo, whom: &Whom) -> Result<Option<(User, Timestamp)>>;
}
