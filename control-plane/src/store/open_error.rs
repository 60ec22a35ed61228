//! Why a store cannot be opened.

use std::path::PathBuf;

use sqlx::migrate::{MigrateError, Migrator};

use super::StoreError;

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
    /// Whether it can pass without anybody's hand on this program, so that trying again makes
    /// sense.
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
