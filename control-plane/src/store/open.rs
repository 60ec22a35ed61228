//! Opens a store by its URL and brings its tables up to date. Says apart what passes by itself,
//! such as a server that is down, and what somebody has to mend.

use std::path::Path;
use std::sync::Arc;

use super::{OpenError, Store, postgres, sqlite};

/// Opens `sqlite:///path/to/file` or `postgres://…`; makes a SQLite file that is missing.
///
/// # Errors
/// If the database cannot be opened, is damaged, or was made by a newer version of this program.
pub async fn open(url: &str) -> Result<Arc<Store>, OpenError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Arc::new(Store::Sqlite(sqlite::open(url).await?))),
        Some("postgres" | "postgresql") => Ok(Arc::new(Store::Postgres(postgres::open(url).await?))),
        _ => Err(OpenError::Url),
    }
}

/// Opens the audit trail of a database that is there, to read it only, also while it is served.
///
/// # Errors
/// If the database cannot be opened.
pub async fn open_trail(url: &str) -> Result<Arc<Store>, OpenError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Arc::new(Store::Sqlite(sqlite::open_to_read(url).await?))),
        Some("postgres" | "postgresql") => Ok(Arc::new(Store::Postgres(postgres::open_to_read(url).await?))),
        _ => Err(OpenError::Url),
    }
}

/// Copies a SQLite database to a new file, also while it is served.
///
/// # Errors
/// If it is another database, or the copy cannot be written.
pub async fn backup(url: &str, to: &Path) -> Result<(), OpenError> {
    if url.starts_with("sqlite:") { sqlite::backup(url, to).await } else { Err(OpenError::NotOurs) }
}
