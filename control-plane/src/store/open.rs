//! Opens a store by its URL and brings its tables up to date. Says apart what passes by itself, such as a server that is down, and what
//! somebody has to mend.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migrator};

use super::{Store, StoreError, postgres, sqlite};

/// Why a store cannot be opened. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither engine's.
    #[error("the database URL must begin with sqlite: or postgres:")]
    Url,
    /// A SQLite file belongs to one process.
    #[error("another control plane uses {}: stop it first, or give this one a database of its own", .0.display())]
    InUse(PathBuf),
    /// A SQLite file, or the folder in which its log is to be.
    #[error("{} cannot be written: {why}. The control plane's account needs to write the file and its folder", .path.display())]
    NotWritable {
        /// What.
        path: PathBuf,
        /// Why not.
        why: std::io::Error,
    },
    /// What is there is not, or not any more, what SQLite wrote.
    #[error("the database file is damaged ({0}). Put it aside and restore the last backup in its place")]
    Damaged(String),
    /// Made by a later version of this program.
    #[error(
        "the database is of a newer control plane: it has step {found} of the tables, this one knows {known}. Start the newer version, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The newest step that the database has and this program does not know.
        found: i64,
        /// The newest step that this program knows.
        known: i64,
    },
    /// A step that this program would have done in another way.
    #[error(
        "step {0} of the database's tables was made by another build than this one. Start the build that made it, or restore a backup"
    )]
    OtherBuild(i64),
    /// PostgreSQL has its own tools.
    #[error("a PostgreSQL database is backed up with pg_dump")]
    NotOurs,
    /// The engine's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether it can pass without anybody's hand on this program, so that trying again makes sense.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_) | StoreError::Full(_)))
    }

    /// What went wrong in bringing the tables up to date.
    pub(super) fn of_migration(error: MigrateError, steps: &Migrator) -> Self {
        match error {
            MigrateError::VersionMissing(found) => {
                let known = steps.iter().map(|step| step.version).max().unwrap_or_default();
                Self::Newer { found, known }
            }
            MigrateError::VersionMismatch(step) => Self::OtherBuild(step),
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Store(StoreError::Broken(Box::new(other))),
        }
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // SQLite: corrupt, with its kinds, and not a database.
            sqlx::Error::Database(database)
                if database
                    .code()
                    .is_some_and(|code| matches!(code.as_ref(), "11" | "267" | "523" | "779" | "26")) =>
            {
                Self::Damaged(database.message().to_owned())
            }
            _ => Self::Store(error.into()),
        }
    }
}

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
