//! Converts identity sources to messages, and applies changes by field mask (AIP-161).

use rollcall_proto::admin::v1 as proto;

use crate::api::common::convert::timestamp_to_proto;
use crate::api::common::resource_names;
use crate::api::common::source_settings::source_settings_to_proto;
use crate::model::{IdentitySource, TenantId};

/// What an administrator sees of a source.
pub(super) fn source_to_proto(tenant: &TenantId, source: IdentitySource) -> proto::IdentitySource {
    let IdentitySource {
        id,
        display_name,
        version,
        draft,
        published,
        published_revision,
        created_at,
        updated_at,
        published_at,
        sync_due_at,
    } = source;
    let state = match &published {
        None => proto::identity_source::State::Unpublished,
        Some(published) if *published == draft => proto::identity_source::State::Published,
        Some(_) => proto::identity_source::State::ChangesPending,
    };
    proto::IdentitySource {
        name: resource_names::source_name(tenant, &id),
        display_name,
        etag: version.to_string(),
        state: state.into(),
        draft: Some(source_settings_to_proto(tenant, &draft)),
        published: published.map(|published| source_settings_to_proto(tenant, &published)),
        published_revision,
        create_time: Some(timestamp_to_proto(created_at)),
        update_time: Some(timestamp_to_proto(updated_at)),
        publish_time: published_at.map(timestamp_to_proto),
        sync_due_time: sync_due_at.map(timestamp_to_proto),
    }
}

macro_rules! take_field {
    ($path:expr, $to:expr, $from:expr, $prefix:literal, [$($field:ident),+ $(,)?]) => {
        match $path {
            $(concat!($prefix, stringify!($field)) => { $to.$field = $from.$field.clone(); true })+
            _ => false,
        }
    };
}

/// Takes the masked fields over into `to`; false for a path that is none.
pub(super) fn merge_path(to: &mut proto::IdentitySource, from: &proto::IdentitySource, path: &str) -> bool {
    if take_field!(path, to, from, "", [display_name, draft]) {
        return true;
    }
    let given = from.draft.clone().unwrap_or_default();
    let draft = to.draft.get_or_insert_default();
    if take_field!(
        path,
        draft,
        given,
        "draft.",
        [
            directory_servers,
            credential,
            roots,
            scope,
            object_class,
            extra_filter,
            page_size,
            mapping,
            sync_limit,
            disable_guard,
            identity_routers,
            verify_passwords,
        ]
    ) {
        return true;
    }
    let given_guard = given.disable_guard.unwrap_or_default();
    let given = given.mapping.unwrap_or_default();
    let mapping = draft.mapping.get_or_insert_default();
    if take_field!(
        path,
        mapping,
        given,
        "draft.mapping.",
        [
            immutable_id,
            immutable_id_format,
            user_name,
            mail,
            mail_optional,
            first_name,
            last_name,
            display_name,
            phone,
            disabled,
            expires,
            policy_attributes,
            assume_absent_mark,
        ]
    ) {
        return true;
    }
    let guard = draft.disable_guard.get_or_insert_default();
    take_field!(
        path,
        guard,
        given_guard,
        "draft.disable_guard.",
        [max_users, max_percent, max_unexplained_users, max_unexplained_permille]
    )
}
