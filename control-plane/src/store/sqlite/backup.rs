//! Copies a database that is in use, as it is after one of its transactions. With the embedded
//! SQLite: an older one beside it, such as a distribution's `sqlite3`, may have the error in its
//! log's handling that the newer one mends.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::store::OpenError;

/// Copies the database to a file that is made, for its owner only, and is on the disk when this
/// returns.
pub(in crate::store) async fn backup(url: &str, to: &Path) -> Result<(), OpenError> {
    let failed = |why| OpenError::NotWritable { path: to.to_owned(), why };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    let mut connection = SqliteConnectOptions::from_str(url)?.read_only(true).connect().await?;
    let statement = sqlx::query("VACUUM INTO $1").bind(to.to_string_lossy().into_owned());
    statement.execute(&mut connection).await?;
    connection.close().await?;
    file.sync_all().map_err(failed)
}
