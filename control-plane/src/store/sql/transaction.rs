//! Runs the work of the store: reads on a connection, writes in a transaction that runs in a task
//! of its own.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::pool::PoolConnection;

use super::dialect::{BEGIN, Connection, Db, Pool};
use crate::model::{TenantId, TenantNo};
use crate::store::{Result, StoreError};

/// How often a transaction is repeated that lost against another one.
const TRIES: u32 = 6;

/// Numbers of tenants by id.
pub(crate) type TenantNumbers = Mutex<HashMap<TenantId, TenantNo>>;

/// A store over one engine.
pub struct Engine {
    writer: Pool,
    reader: Pool,
    /// Numbers of tenants, which never change.
    pub(crate) tenants: TenantNumbers,
    /// Kept, and let go with the store: the lock that says whose file it is.
    _claim: Option<File>,
}

impl Engine {
    pub(crate) fn new(writer: Pool, reader: Pool, claim: Option<File>) -> Self {
        Self { writer, reader, tenants: TenantNumbers::default(), _claim: claim }
    }

    /// Runs a transaction to its end, whatever becomes of the caller. `work` may run more than
    /// once, each time with the same arguments.
    pub(crate) async fn write<A, T, W>(&self, arguments: A, work: W) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        W: for<'c> Fn(&'c mut Connection, &'c A) -> BoxFuture<'c, Result<T>> + Send + Sync + 'static,
    {
        let pool = self.writer.clone();
        let task = tokio::spawn(async move {
            let mut tries = 1;
            loop {
                match transact(&pool, &arguments, &work).await {
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

    /// A connection for reading, outside of a transaction.
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Db>> {
        Ok(self.reader.acquire().await?)
    }
}

async fn transact<A, T, W>(pool: &Pool, arguments: &A, work: &W) -> Result<T>
where
    W: for<'c> Fn(&'c mut Connection, &'c A) -> BoxFuture<'c, Result<T>>,
{
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin_with(BEGIN).await?;
    let (result, sound) = match work(&mut transaction, arguments).await {
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
        // SQLite ends a transaction by itself when its disk is full or fails, and the driver would
        // believe for ever that it is still open; of a commit that failed nobody knows what the
        // connection holds. The first error is the one to tell.
        let _ = connection.close().await;
    }
    result
}
