//! The store, written once and compiled for each engine: `super` is the engine, with its types, its few peculiarities of SQL and its
//! ways to bind many values at once.
//!
//! Each transaction runs in a task of its own, so that a caller that goes away cannot cancel it half-way, and is repeated if it lost
//! against another one. Locks are taken in one order: job, source, tenant, users, webhooks, trail.

use super as engine;

mod alarms;
mod apply;
mod audit;
mod audit_read;
mod audit_store;
mod catalog;
mod codes;
mod contest;
mod deletion_settings;
mod deletion_store;
mod deliveries;
mod details;
mod doubtful;
mod enrollment;
mod export;
mod holds;
mod jit;
mod jit_settings;
mod jit_store;
mod jobs;
mod leavers;
mod marks;
mod names;
mod outbox;
mod outcomes;
mod pairs;
mod plan_store;
mod planned;
mod plans;
mod purge;
mod reads;
mod rekey;
mod replica_store;
mod replicas;
mod router_store;
mod routers;
pub(in crate::store) mod rows;
mod schedule_store;
mod schedules;
mod seats;
mod settle;
mod standing;
mod store;
mod take_back;
mod tenant_store;
mod tenants;
mod undo;
mod users;
mod webhook_store;
mod webhooks;
mod works;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection as _;

use self::engine::{BEGIN, Connection, Pool};
use crate::store::{Result, StoreError};

/// How often a transaction is repeated that lost against another one.
const TRIES: u32 = 6;

/// A store over one engine.
pub(in crate::store) struct Engine {
    writer: Pool,
    reader: Pool,
    tenants: Arc<jit::Numbers>,
    /// Kept, and let go with the store: the lock that says whose file it is.
    _claim: Option<File>,
}

impl Engine {
    pub(in crate::store) fn new(writer: Pool, reader: Pool, claim: Option<File>) -> Self {
        Self { writer, reader, tenants: Arc::default(), _claim: claim }
    }

    /// Runs a transaction to its end, whatever becomes of the caller. `work` may be run more than once.
    async fn write<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
    {
        let pool = self.writer.clone();
        let task = tokio::spawn(async move {
            let mut tries = 1;
            loop {
                match transact(&pool, &work).await {
                    Err(error) if error.lost_a_race() && tries < TRIES => {
                        // Spread out, so that those who collided do not collide again.
                        tokio::time::sleep(Duration::from_millis(u64::from(tries * tries * 7))).await;
                        tries += 1;
                    }
                    result => return result,
                }
            }
        });
        task.await.map_err(|error| StoreError::Broken(Box::new(error)))?
    }

    /// Reads outside of a transaction.
    async fn read<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        let mut connection = self.reader.acquire().await?;
        work(&mut connection).await
    }
}

async fn transact<T, W>(pool: &Pool, work: &W) -> Result<T>
where
    W: for<'c> Fn(&'c mut Connection) -> BoxFuture<'c, Result<T>>,
{
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin_with(BEGIN).await?;
    let (result, sound) = match work(&mut transaction).await {
        Ok(value) => match transaction.commit().await {
            Ok(()) => (Ok(value), true),
            Err(error) => (Err(error.into()), false),
        },
        Err(error) => {
            let rolled_back = transaction.rollback().await;
            (Err(error), rolled_back.is_ok())
        }
    };
    if !sound {
        // SQLite ends a transaction by itself when its disk is full or fails, and the driver would believe for ever that it is still
        // open; of a commit that failed nobody knows what the connection holds. The first error is the one to tell.
        let _ = connection.close().await;
    }
    result
}

/// The next number of a kind.
async fn next_number(connection: &mut Connection, kind: &'static str) -> Result<i64> {
    let query = sqlx::query_scalar("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value")
        .bind(kind);
    Ok(query.fetch_one(&mut *connection).await?)
}
