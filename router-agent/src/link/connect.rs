//! The connection of an enrolled router: its identity, and no authority trusted but those that the
//! control plane handed out. The state folder is read anew for each connection.

use anyhow::{Context, Result};
use rustls::pki_types::CertificateDer;
use tonic::transport::Channel;

use super::transport;
use crate::config::Config;
use crate::identity::{self, Authorities, Facts, StateFolder};

/// A connection, and who is at its ends.
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    /// The chain that the control plane showed.
    pub(crate) server_chain: Vec<CertificateDer<'static>>,
    /// The certificate that this router showed.
    pub(crate) facts: Facts,
}

/// Connects.
pub(crate) async fn connect(config: &Config) -> Result<Connection> {
    let state = StateFolder::open(&config.state)?;
    let identity = identity::load(&state)?.with_context(|| not_enrolled_message(config))?;
    let verifier = Authorities::load(&state)?.verifier()?;
    let tls = transport::tls_config(verifier, Some(&identity), b"h2")
        .context("the router's certificate and key do not fit")?;
    let stream = transport::dial(&config.host, config.port, tls).await?;
    let server_chain = transport::peer_chain(&stream);
    let channel = transport::channel(&config.host, config.port, stream).await?;
    Ok(Connection { channel, server_chain, facts: identity.facts })
}

/// What to do where there is no identity.
pub(crate) fn not_enrolled_message(config: &Config) -> String {
    format!(
        "this router has not enrolled; ask an administrator for a registration code and run router-agent enroll --control-plane https://{} \
         --state {}",
        transport::authority(&config.host, config.port),
        config.state.display()
    )
}
