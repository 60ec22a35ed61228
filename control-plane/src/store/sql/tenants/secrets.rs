//! Secrets of the installation.

use super::super::dialect::Connection;
use super::super::statement;
use crate::store::{Result, StoreError};

/// A secret of the installation by name; `fresh` if there was none.
pub(crate) async fn secret(connection: &mut Connection, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
    let make =
        statement::query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");
    make.bind(name.to_owned()).bind(fresh.to_vec()).execute(&mut *connection).await?;
    let read = statement::query_scalar("SELECT value FROM secrets WHERE name = $1").bind(name.to_owned());
    let kept: Vec<u8> = read.fetch_one(connection).await?;
    kept.try_into().map_err(|_| StoreError::Broken("a secret of the wrong length".into()))
}
