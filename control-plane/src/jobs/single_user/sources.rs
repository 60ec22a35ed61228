//! The published sources that a search asks.

use super::context::SearchContext;
use crate::model::{IdentitySource, SourceId, SourceSettings};
use crate::store::Result;

/// More sources than a tenant can have.
const MAX_SOURCES: i64 = 1_000;

/// A source as it is asked.
pub(super) struct Source {
    pub(super) id: SourceId,
    pub(super) settings: SourceSettings,
    pub(super) revision: i32,
}

/// Each published source of the tenant, in the order in which they are asked.
pub(super) async fn published_sources(context: SearchContext<'_>) -> Result<Vec<Source>> {
    let sources = context.inner.store.list_sources(context.tenant, None, MAX_SOURCES).await?;
    Ok(sources.into_iter().filter_map(published).collect())
}

/// A source as it is published; none if it is not.
pub(super) fn published(source: IdentitySource) -> Option<Source> {
    let IdentitySource { id, published, published_revision, .. } = source;
    published.map(|settings| Source { id, settings, revision: published_revision })
}
