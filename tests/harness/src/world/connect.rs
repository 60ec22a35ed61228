//! Connects to the control plane with TLS 1.3 and a client certificate.
//! A connector of our own: tonic's would choose a crypto provider by itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// Certificate and key of a person or program; both may be in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Identity {
    /// `prefix` with `.pem` and `.key` behind.
    pub fn at(prefix: &str) -> Self {
        Self { certificate: format!("{prefix}.pem").into(), key: format!("{prefix}.key").into() }
    }
}

/// A channel to `localhost` that connects when it is first used, and again after a restart of the
/// control plane. Without an identity it shows no certificate.
pub fn channel(port: u16, identity: Option<&Identity>, authority: &Path) -> Result<Channel> {
    let tls = TlsConnector::from(Arc::new(client_config(identity, authority)?));
    let name = ServerName::try_from("localhost")?;
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, name) = (tls.clone(), name.clone());
        async move {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
            tcp.set_nodelay(true)?;
            let stream = tls.connect(name, tcp).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    // tonic refuses https here, since it does not see our TLS; the origin is what the server is
    // told.
    let origin = Uri::try_from(format!("https://localhost:{port}"))?;
    let endpoint = Endpoint::try_from(format!("http://localhost:{port}"))?.origin(origin);
    Ok(endpoint.connect_with_connector_lazy(connector))
}

fn client_config(identity: Option<&Identity>, authority: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let unreadable = || format!("cannot read {}", authority.display());
    for certificate in CertificateDer::pem_file_iter(authority).with_context(unreadable)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(Identity { certificate, key }) => {
            let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
