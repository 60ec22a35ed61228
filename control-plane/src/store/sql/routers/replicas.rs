//! Replicas that share the database, and their routers.

use super::super::dialect::Connection;
use super::super::{codec, locks, statement};
use crate::model::{DistantRouter, Replica, ReplicaKey, RouterId, RouterState, TenantId, Timestamp};
use crate::store::{Result, StoreError};

pub(crate) async fn record_heartbeat(
    connection: &mut Connection,
    replica: &Replica,
    connected: Option<&[(TenantId, RouterId)]>,
    now: Timestamp,
) -> Result<bool> {
    let key = replica.key.0.to_vec();
    let Some(connected) = connected else {
        let update =
            statement::query("UPDATE replicas SET heard_at = $2, address = $3 WHERE certificate = $1");
        let update = update.bind(key).bind(now.0).bind(replica.address.clone());
        return Ok(update.execute(connection).await?.rows_affected() == 1);
    };
    // Whoever was there before has ended, though it may not have said so.
    statement::query("DELETE FROM replicas WHERE address = $1 AND certificate <> $2")
        .bind(replica.address.clone())
        .bind(key.clone())
        .execute(&mut *connection)
        .await?;
    statement::query(
        "INSERT INTO replicas (certificate, heard_at, address) VALUES ($1, $2, $3) ON CONFLICT \
         (certificate) DO UPDATE SET heard_at = excluded.heard_at, address = excluded.address",
    )
    .bind(key.clone())
    .bind(now.0)
    .bind(replica.address.clone())
    .execute(&mut *connection)
    .await?;
    let delete = statement::query("DELETE FROM replica_routers WHERE certificate = $1").bind(key.clone());
    delete.execute(&mut *connection).await?;
    for (tenant, router) in connected {
        let tenant = match locks::tenant_number(connection, tenant).await {
            Err(StoreError::NotFound(_)) => continue,
            number => number?,
        };
        statement::query("INSERT INTO replica_routers (certificate, tenant_no, router) VALUES ($1, $2, $3)")
            .bind(key.clone())
            .bind(tenant.0)
            .bind(router.0.clone())
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
}

pub(crate) async fn remove(connection: &mut Connection, replica: ReplicaKey) -> Result<()> {
    let delete = statement::query("DELETE FROM replicas WHERE certificate = $1").bind(replica.0.to_vec());
    delete.execute(connection).await?;
    Ok(())
}

pub(crate) async fn remove_stale(connection: &mut Connection, before: Timestamp) -> Result<()> {
    statement::query("DELETE FROM replicas WHERE heard_at < $1").bind(before.0).execute(connection).await?;
    Ok(())
}

pub(crate) async fn live(connection: &mut Connection, since: Timestamp) -> Result<Vec<Replica>> {
    let query = statement::query_as("SELECT certificate, address FROM replicas WHERE heard_at >= $1");
    let rows: Vec<(Vec<u8>, String)> = query.bind(since.0).fetch_all(connection).await?;
    rows.into_iter().map(|(key, address)| replica(key, address)).collect()
}

pub(crate) async fn connected_elsewhere(
    connection: &mut Connection,
    tenant: &TenantId,
    but: ReplicaKey,
    since: Timestamp,
) -> Result<Vec<DistantRouter>> {
    let query = statement::query_as(
        "SELECT p.certificate, p.address, r.id, r.sources FROM tenants t JOIN replica_routers c ON \
         c.tenant_no = t.tenant_no JOIN replicas p ON p.certificate = c.certificate JOIN \
         identity_routers r ON r.tenant_no = t.tenant_no AND r.id = c.router WHERE t.id = $1 AND \
         p.certificate <> $2 AND p.heard_at >= $3 AND r.state = $4 ORDER BY p.heard_at DESC, r.id",
    );
    let rows: Vec<(Vec<u8>, String, String, String)> = query
        .bind(tenant.0.clone())
        .bind(but.0.to_vec())
        .bind(since.0)
        .bind(i64::from(RouterState::Active.number()))
        .fetch_all(connection)
        .await?;
    rows.into_iter()
        .map(|(key, address, router, sources)| {
            let replica = replica(key, address)?;
            Ok(DistantRouter { router: RouterId(router), sources: codec::source_ids(&sources)?, replica })
        })
        .collect()
}

fn replica(key: Vec<u8>, address: String) -> Result<Replica> {
    let key = key.try_into().map_err(|_| StoreError::Broken("a replica without a certificate".into()))?;
    Ok(Replica { key: ReplicaKey(key), address })
}
