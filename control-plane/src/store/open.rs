//! Opens a store by its URL and brings its tables up to date.

use std::sync::Arc;

use super::{Result, Store, StoreError, postgres, sqlite};

/// Opens `sqlite:///path/to/file` or `postgres://…`; makes a SQLite file that is missing.
///
/// # Errors
/// If the database cannot be opened, or was made by a newer version of this program.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Arc::new(sqlite::open(url).await?)),
        Some("postgres" | "postgresql") => Ok(Arc::new(postgres::open(url).await?)),
        _ => Err(StoreError::Broken("the database URL must begin with sqlite: or postgres:".into())),
    }
}
