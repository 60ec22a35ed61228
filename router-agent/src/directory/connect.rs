//! A bound connection to one directory server: guarded, driven in a task of its own, so that a
//! panic in the crate is an error here.

use std::sync::Arc;

use ldap3::exop::WhoAmI;
use ldap3::result::ExopResult;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, StdStream};
use rustls::ClientConfig;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::entry_version::VersionSource;
use super::ldap_guard::{Guarded, Relay};
use super::proof_cache::ProofCache;
use super::root_dse::RootDse;
use super::search_budget::SearchBudgets;
use super::{Credential, DirectoryError, Server, Timeouts, dial};

/// A bound connection. Dropping it closes it.
pub(super) struct Connection {
    pub(super) ldap: Ldap,
    pub(super) budgets: Arc<SearchBudgets>,
    /// Held while a search is sent, so that `budgets` knows which search may find what.
    pub(super) send_lock: tokio::sync::Mutex<()>,
    /// The server's certificate, in DER.
    pub(super) certificate: Option<Vec<u8>>,
    /// What the server says about itself, once it was asked.
    pub(super) root_dse: OnceCell<RootDse>,
    pub(super) invocation_id: OnceCell<Option<[u8; 16]>>,
    pub(super) version_source: OnceCell<VersionSource>,
    pub(super) proofs: ProofCache,
    driver: JoinHandle<()>,
    relay: Relay,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Whether it stands, as far as the operating system knows, and nothing came on it that nobody
    /// asked for.
    pub(super) fn is_healthy(&self) -> bool {
        !self.driver.is_finished() && !self.relay.is_closed() && self.budgets.violation().is_none()
    }

    /// Why nothing came of a bind.
    fn bind_error(&self, server: &Server, error: &LdapError) -> DirectoryError {
        match self.budgets.violation() {
            Some(why) => DirectoryError::Protocol { server: server.to_string(), why },
            None => DirectoryError::Unreachable(format!("{server} ({})", self.describe(error))),
        }
    }

    /// Why an operation failed below the protocol.
    pub(super) fn describe(&self, error: &LdapError) -> String {
        match error {
            LdapError::Timeout { .. } => "no answer in time".to_owned(),
            LdapError::Io { source } => source.to_string(),
            _ => "the connection was closed".to_owned(),
        }
    }
}

/// Connects and binds.
pub(super) async fn connect(
    server: &Server,
    credential: &Credential,
    tls: &Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<Connection, DirectoryError> {
    check_credential(credential)?;
    let addresses = dial::resolve(server, timeouts).await?;
    let guarded = dial::connect(server, &addresses, tls, timeouts).await?;
    bind(server, credential, guarded, timeouts).await
}

fn check_credential(credential: &Credential) -> Result<(), DirectoryError> {
    if credential.bind_dn.trim().is_empty() || credential.password.expose_secret().is_empty() {
        return Err(DirectoryError::EmptyCredential);
    }
    Ok(())
}

/// Binds on a connection that stands.
pub(super) async fn bind(
    server: &Server,
    credential: &Credential,
    guarded: Guarded,
    timeouts: &Timeouts,
) -> Result<Connection, DirectoryError> {
    check_credential(credential)?;
    let mut connection = open(server, guarded).await?;
    let password = credential.password.expose_secret();
    let result = simple_bind(server, &mut connection, &credential.bind_dn, password, timeouts).await?;
    if result.rc != 0 {
        return Err(DirectoryError::bind_refused(server, result.rc));
    }
    check_not_anonymous(server, &mut connection, timeouts).await?;
    Ok(connection)
}

/// Lets the crate speak on a connection that stands.
pub(super) async fn open(server: &Server, guarded: Guarded) -> Result<Connection, DirectoryError> {
    let Guarded { stream, budgets, certificate, relay } = guarded;
    let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(stream));
    let (driver, ldap) = LdapConnAsync::with_settings(settings, "ldapi://guard")
        .await
        .map_err(|_| DirectoryError::Unreachable(format!("{server} (no connection)")))?;
    let driver = tokio::spawn(async move {
        let _ = driver.drive().await;
    });
    Ok(Connection {
        ldap,
        budgets,
        send_lock: tokio::sync::Mutex::default(),
        certificate,
        root_dse: OnceCell::new(),
        invocation_id: OnceCell::new(),
        version_source: OnceCell::new(),
        proofs: ProofCache::default(),
        driver,
        relay,
    })
}

/// The answer to a bind, whatever it is.
pub(super) async fn simple_bind(
    server: &Server,
    connection: &mut Connection,
    name: &str,
    password: &str,
    timeouts: &Timeouts,
) -> Result<LdapResult, DirectoryError> {
    let answer = connection.ldap.with_timeout(timeouts.operation).simple_bind(name, password).await;
    answer.map_err(|error| connection.bind_error(server, &error))
}

/// Asks whom the server takes us for (RFC 4532): one that answers the bind with success and goes on
/// as with a stranger shows a stranger's view, in which people are missing. A server that does not
/// know the question is believed.
pub(super) async fn check_not_anonymous(
    server: &Server,
    connection: &mut Connection,
    timeouts: &Timeouts,
) -> Result<(), DirectoryError> {
    let answer = connection.ldap.with_timeout(timeouts.operation).extended(WhoAmI).await;
    match answer {
        // The name itself is of no interest here, and is read nowhere.
        Ok(ExopResult(name, result)) if result.rc == 0 && name.val.as_ref().is_none_or(Vec::is_empty) => {
            Err(DirectoryError::BindAnonymous { server: server.to_string() })
        }
        Ok(_) => Ok(()),
        Err(error) => Err(connection.bind_error(server, &error)),
    }
}

/// Tries the servers in their order and keeps the first that binds. A refused credential ends the
/// search: the other servers are replicas, and a wrong password tried everywhere locks the account.
/// A server that cannot take a bind now has said nothing of the credential.
pub(super) async fn connect_first(
    servers: &[Server],
    credential: &Credential,
    tls: &Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<(Server, Connection), DirectoryError> {
    let mut errors = Vec::new();
    for server in servers {
        match connect(server, credential, tls, timeouts).await {
            Ok(connection) => return Ok((server.clone(), connection)),
            Err(error) if error.try_next_server() => errors.push(error),
            Err(error) => return Err(error),
        }
    }
    Err(no_server_error(errors))
}

/// Why no server could be used, from why each could not.
pub(super) fn no_server_error(mut errors: Vec<DirectoryError>) -> DirectoryError {
    if errors.len() == 1
        || !errors.is_empty() && errors.iter().all(|error| matches!(error, DirectoryError::Tls { .. }))
    {
        return errors.swap_remove(0);
    }
    let details = errors.iter().map(|error| match error {
        DirectoryError::Unreachable(why) => why.clone(),
        other => other.to_string(),
    });
    DirectoryError::Unreachable(details.collect::<Vec<_>>().join("; "))
}
