//! Syncs of one user: settings, sign-ins, and what the directory has of a single user.

use super::operations::operations;
use super::{Observation, SignIn, SingleWrite};
use crate::model::{
    Actor, Presence, Record, Rejected, SingleUserSettings, TenantId, TenantNo, Timestamp, User, UserNo,
    UserSelector, UserSnapshot,
};

operations! {
    /// A tenant's number, by which names are keyed, and its settings.
    read fn single_user_settings(
        tenant: &TenantId,
    ) -> (TenantNo, SingleUserSettings) = single_user::settings::settings;
    /// What a sign-in begins with.
    steps fn begin_sign_in(tenant: &TenantId, whom: &UserSelector) -> SignIn = single_user::sign_in::begin;
    /// Sets them.
    write fn set_single_user_settings(
        tenant: &TenantId,
        settings: move SingleUserSettings,
        by: &Actor,
        now: Timestamp,
    ) -> () = single_user::settings::set;
    /// The user of this number, or the one in scope that holds the name.
    read fn look_up_user(
        tenant: TenantNo,
        whom: &UserSelector,
    ) -> Option<UserSnapshot> = single_user::lookup::look_up;
    /// Applies what the directory has of one user, by the rules of a sync, in one transaction: only
    /// if the user is still as it was before the directory was asked, so that it never overwrites a
    /// newer observation.
    steps fn apply_observation(
        observation: Observation,
        record: Record,
    ) -> SingleWrite = single_user::apply::observe;
    /// Writes down that an entry cannot be used: its user is disabled if the entry says so, and
    /// otherwise left as it is.
    write fn observe_rejected(
        observation: move Observation,
        entry: &Rejected,
    ) -> SingleWrite = single_user::rejected::observe;
    /// Writes down that one user was not found, and what a look-up says of it: takes it out of
    /// scope for a tombstone, if the source's guard allows one more; otherwise marks it as not
    /// found, and its source as one that is to be synchronized.
    steps fn observe_absence(
        observation: Observation,
        user: UserNo,
        presence: Presence,
    ) -> SingleWrite = single_user::absent::observe;
    /// The user that [`Self::look_up_user`] finds, and when the directory was last seen to have it
    /// like that: alone, or by a complete sync.
    read fn last_observed(
        tenant: TenantNo,
        whom: &UserSelector,
    ) -> Option<(User, Timestamp)> = single_user::lookup::last_observed;
}
