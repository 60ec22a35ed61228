//! Converts users to messages.

use std::collections::BTreeMap;

use rollcall_proto::admin::v1 as proto;
use rollcall_proto::admin::v1::user::AbsenceReason;

use crate::api::common::convert::timestamp_to_proto;
use crate::api::common::resource_names;
use crate::model::{Absence, Status, TenantId, User, UserValues};

/// What an administrator sees of a user.
pub(in crate::api::admin) fn user_to_proto(tenant: &TenantId, user: User) -> proto::User {
    let User {
        number,
        source,
        id,
        values,
        status,
        disabled_at,
        absence,
        created_at,
        updated_at,
        last_sign_in_at,
        mark,
        absent_since,
        warnings,
        login_taken,
    } = user;
    proto::User {
        name: resource_names::user_name(tenant, number),
        identity_source: resource_names::source_name(tenant, &source),
        immutable_id: id.text(),
        disable_time: disabled_at.map(timestamp_to_proto),
        create_time: Some(timestamp_to_proto(created_at)),
        update_time: Some(timestamp_to_proto(updated_at)),
        mark_time: mark.as_ref().map(|mark| timestamp_to_proto(mark.at)),
        purge_time: mark.as_ref().map(|mark| timestamp_to_proto(mark.purge_at)),
        mark_reason: mark.as_ref().map_or(0, |mark| mark.reason.number().into()),
        marked_by: mark.map(|mark| mark.by).unwrap_or_default(),
        last_sign_in_time: last_sign_in_at.map(timestamp_to_proto),
        absent_since_time: absent_since.map(timestamp_to_proto),
        warnings,
        login_taken,
        absence_reason: absence.map_or(AbsenceReason::Unspecified, absence_to_proto).into(),
        ..user_values_to_proto(values, status)
    }
}

fn absence_to_proto(absence: Absence) -> AbsenceReason {
    match absence {
        Absence::Moved => AbsenceReason::Moved,
        Absence::NotMatching => AbsenceReason::NoLongerMatches,
        Absence::Deleted => AbsenceReason::Deleted,
        Absence::Unexplained | Absence::NotVisible => AbsenceReason::NotFound,
        // Disabled by an approval without having been looked up: nothing is known.
        Absence::NotLookedUp => AbsenceReason::Unspecified,
    }
}

/// What of a user comes from the directory.
pub(in crate::api::admin) fn user_values_to_proto(values: UserValues, status: Status) -> proto::User {
    let UserValues {
        user_name,
        mail,
        first_name,
        last_name,
        display_name,
        phone,
        distinguished_name,
        policy_attributes,
    } = values;
    let attributes: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&policy_attributes).unwrap_or_default();
    let (status, reason) = match status {
        Status::Enabled => (proto::user::Status::Enabled, proto::user::DisabledReason::Unspecified),
        Status::DisabledInDirectory => {
            (proto::user::Status::Disabled, proto::user::DisabledReason::DisabledInDirectory)
        }
        Status::OutOfScope => (proto::user::Status::Disabled, proto::user::DisabledReason::OutOfScope),
    };
    proto::User {
        user_name,
        mail,
        first_name,
        last_name,
        display_name,
        phone,
        distinguished_name,
        policy_attributes: attributes
            .into_iter()
            .map(|(name, values)| (name, proto::AttributeValues { values }))
            .collect(),
        status: status.into(),
        disabled_reason: reason.into(),
        ..proto::User::default()
    }
}
