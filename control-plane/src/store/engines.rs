//! The store, over the engine that its URL names.

use super::{postgres, sqlite};

/// A store. Its operations stand in the files of the aggregates.
pub enum Store {
    /// Embedded, for one process.
    Sqlite(sqlite::Engine),
    /// Shared by replicas.
    Postgres(postgres::Engine),
}
