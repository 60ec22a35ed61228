//! A tenant's license and its use.

use super::SourceId;

/// Limit and use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    /// Most users that may be enabled.
    pub limit: i64,
    /// Users that are enabled.
    pub used: i64,
    /// The same by source, by id.
    pub by_source: Vec<SourceUse>,
}

/// Use of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUse {
    /// The source.
    pub source: SourceId,
    /// Its enabled users.
    pub used: i64,
}
