//! Identity sources.

use super::SourceChange;
use super::operations::operations;
use crate::model::{Actor, IdentitySource, SourceId, TenantId, Timestamp};

operations! {
    /// Creates a source, at most `most` a tenant.
    write fn create_source(
        tenant: &TenantId,
        source: &SourceId,
        change: move SourceChange,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> IdentitySource = sources::source::create;
    /// A source.
    read fn source(
        tenant: &TenantId,
        source: &SourceId,
    ) -> IdentitySource = sources::source::source;
    /// Sources by id, after `after`.
    read fn list_sources(
        tenant: &TenantId,
        after: Option<&SourceId>,
        limit: i64,
    ) -> Vec<IdentitySource> = sources::source::list;
    /// Changes a source that is still at `version`.
    write fn update_source(
        tenant: &TenantId,
        source: &SourceId,
        version: i64,
        change: move SourceChange,
        by: &Actor,
        now: Timestamp,
    ) -> IdentitySource = sources::source::update;
    /// Publishes the draft of a source; at `version` if given.
    write fn publish_source(
        tenant: &TenantId,
        source: &SourceId,
        version: Option<i64>,
        by: &Actor,
        now: Timestamp,
    ) -> IdentitySource = sources::publish::publish;
    /// Deletes a source with its jobs; with its users only if `with_users`. Refused while a job
    /// runs.
    write fn delete_source(
        tenant: &TenantId,
        source: &SourceId,
        with_users: bool,
        by: &Actor,
        now: Timestamp,
    ) -> () = sources::source::delete;
}
