//! The proofs of a read: on a connection of its own, to the server that is read, so that the pages
//! do not wait behind them.

use std::sync::Arc;

use rustls::ClientConfig;

use super::super::connect::{Connection, connect};
use super::super::{Credential, ReadRequest, Server, Timeouts};
use super::context::ProofContext;
use super::{Unproved, prove};
use crate::record::Mapping;

/// Proves that entries of one server have no mark.
pub struct MarkProver {
    request: ReadRequest,
    mapping: Mapping,
    credential: Credential,
    tls: Arc<ClientConfig>,
    timeouts: Timeouts,
    connection: Option<(Server, Connection)>,
    has_failed: bool,
}

impl MarkProver {
    /// Connects when there is something to prove.
    #[must_use]
    pub fn new(
        request: ReadRequest,
        mapping: Mapping,
        credential: Credential,
        tls: Arc<ClientConfig>,
        timeouts: Timeouts,
    ) -> Self {
        Self { request, mapping, credential, tls, timeouts, connection: None, has_failed: false }
    }

    /// Which of these entries are proved to have no mark. Whatever goes wrong proves nothing; a
    /// connection that breaks is made once more.
    pub async fn prove(&mut self, server: &Server, unproved: &[Unproved]) -> Vec<bool> {
        let none = vec![false; unproved.len()];
        if unproved.is_empty() || self.has_failed {
            return none;
        }
        for _ in 0..2 {
            if let Some(proved) = self.try_prove(server, unproved).await {
                return proved;
            }
            self.connection = None;
        }
        // Not for every batch again: each try may take as long as a search may.
        self.has_failed = true;
        tracing::warn!(%server, "the absence of marks could not be proved, so no account is enabled without one");
        none
    }

    async fn try_prove(&mut self, server: &Server, unproved: &[Unproved]) -> Option<Vec<bool>> {
        let is_there = self.connection.as_ref().is_some_and(|(to, one)| to == server && one.is_healthy());
        if !is_there {
            let connection = connect(server, &self.credential, &self.tls, &self.timeouts).await.ok()?;
            self.connection = Some((server.clone(), connection));
        }
        let (_, connection) = self.connection.as_ref()?;
        let context = ProofContext {
            request: &self.request,
            mapping: &self.mapping,
            bind_dn: &self.credential.bind_dn,
            port: server.port,
            timeout: self.timeouts.operation,
        };
        prove(connection, context, unproved).await.ok()
    }
}
