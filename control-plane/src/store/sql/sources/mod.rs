//! Identity sources.
//!
//! - `source`: sources as rows: created, changed, deleted.
//! - `publish`: publishes the draft.
//! - `rekey`: gives users new immutable ids at a publication.

pub(crate) mod publish;
pub(crate) mod rekey;
pub(crate) mod source;
