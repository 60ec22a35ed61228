//! End to end: a real OpenLDAP, 389 Directory Server or Active Directory, both databases, our two
//! real programs, mutual TLS between them. Each test is named after the promise it proves; what an
//! administrator sees is all that it looks at.

#![expect(
    clippy::large_futures,
    reason = "a whole installation is a large value, and a test has the stack for it"
)]

mod absent_at_sign_in;
mod access;
mod account_state;
mod active_directory;
mod attacks;
mod audit;
mod campaign;
mod changes;
mod crashes;
mod database_trouble;
mod deletion;
mod details;
mod directory_trouble;
mod distant_routers;
mod door;
mod ds389;
mod enrollment;
mod entries;
mod expect;
mod first_sync;
mod frames;
mod half_answered;
mod holds;
mod hostile_control_plane;
mod isolation;
mod just_in_time;
mod just_in_time_trouble;
mod leavers;
mod license;
mod look_up_protocol;
mod matrix;
mod methods;
mod moving_targets;
mod older_servers;
mod passwords;
mod persons;
mod plans;
mod preconditions;
mod privacy;
mod proof;
mod protocol;
mod rekey;
mod renamed_domain;
mod renewal;
mod replicas;
mod revocation;
mod routers;
mod schedules;
mod scripted;
mod settings;
mod setup;
mod stop;
mod tenants;
mod webhooks;
mod zoo;

/// Instantiates a test for each database.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() -> anyhow::Result<()> { super::$name(harness::world::Database::Sqlite).await })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() -> anyhow::Result<()> { super::$name(harness::world::Database::Postgres).await })+
        }
    };
}
pub(crate) use on_both_databases;
