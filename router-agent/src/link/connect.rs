//! The connection: TLS 1.3, the router's certificate, no authority trusted but the control plane's, no resumption. The files are read
//! anew for each connection.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::config::{Config, Tls};

/// For TCP, and again for TLS.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects.
pub(crate) async fn connect(config: &Config) -> Result<Channel> {
    let tls = TlsConnector::from(Arc::new(client_config(&config.tls)?));
    let name = ServerName::try_from(config.host.clone())
        .context("the control plane's host is no name and no address")?;
    let (host, port) = (config.host.clone(), config.port);
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, name, host) = (tls.clone(), name.clone(), host.clone());
        async move {
            let late = || std::io::Error::other("no answer in time");
            let tcp = tokio::time::timeout(PATIENCE, TcpStream::connect((host.as_str(), port)))
                .await
                .map_err(|_| late())??;
            tcp.set_nodelay(true)?;
            let stream =
                tokio::time::timeout(PATIENCE, tls.connect(name, tcp)).await.map_err(|_| late())??;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    // tonic does not see our TLS and refuses https with a connector; the origin is what the control plane is told.
    let authority = format!(
        "{}:{}",
        if config.host.contains(':') { format!("[{}]", config.host) } else { config.host.clone() },
        port
    );
    let endpoint = Endpoint::try_from(format!("http://{authority}"))?
        .origin(Uri::try_from(format!("https://{authority}"))?)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(2 << 20)
        .initial_connection_window_size(8 << 20);
    endpoint.connect_with_connector(connector).await.with_context(|| format!("cannot connect to {authority}"))
}

pub(crate) fn client_config(files: &Tls) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = &files.control_plane_ca;
    for certificate in
        CertificateDer::pem_file_iter(ca).with_context(|| format!("cannot read {}", ca.display()))?
    {
        roots.add(certificate?).with_context(|| format!("{} has an unusable certificate", ca.display()))?;
    }
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read {}", files.certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read a key from {}", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .context("the router's certificate and key do not fit")?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
