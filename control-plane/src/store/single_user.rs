//! Syncs of one user: settings, sign-ins, and what the directory has of a single user.

use super::operations::operations;
use super::{Observation, SignIn, SingleWrite};
use crate::model::{
    Absence, Actor, JitSettings, Record, Sighting, TenantId, TenantNo, Timestamp, User, UserNo, Whom,
};

operations! {
    /// A tenant's number, by which names are keyed, and its settings.
    read fn jit_settings(
        tenant: &TenantId,
    ) -> (TenantNo, JitSettings) = single_user::settings::settings;
    /// What a sign-in begins with.
    steps fn begin_sign_in(tenant: &TenantId, whom: &Whom) -> SignIn = single_user::sign_in::begin;
    /// Sets them.
    write fn set_jit_settings(
        tenant: &TenantId,
        settings: move JitSettings,
        by: &Actor,
        now: Timestamp,
    ) -> () = single_user::settings::set;
    /// The user of this number, or the one in scope that holds the name.
    read fn sight_user(
        tenant: TenantNo,
        whom: &Whom,
    ) -> Option<Sighting> = single_user::lookup::sight;
    /// Applies what the directory has of one user, by the rules of a sync, in one transaction: only if the user is still as it was before
    /// the directory was asked, so that it never overwrites a newer observation.
    steps fn apply_single(
        observation: Observation,
        record: Record,
    ) -> SingleWrite = single_user::apply::observe;
    /// Takes one user out of scope, if the source's guard allows one more.
    write fn disable_single(
        observation: move Observation,
        user: UserNo,
        absence: Absence,
    ) -> SingleWrite = single_user::disable::disable;
    /// The user that [`Self::sight_user`] finds, and when the directory was last seen to have it like that: alone, or by a complete sync.
    read fn last_observed(
        tenant: TenantNo,
        whom: &Whom,
    ) -> Option<(User, Timestamp)> = single_user::lookup::last_observed;
}
