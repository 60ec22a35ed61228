//! The administrator's clients reach a server through TLS 1.3 with their certificate, and again
//! after it was restarted.

use std::{fs, path::Path, sync::Arc};

use harness::world::{Admin, Identity, connect};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rollcall_proto::admin::v1::{
    GetLicenseRequest, License, UpdateLicenseRequest,
    license_service_server::{LicenseService, LicenseServiceServer},
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
    net::TcpListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, transport::Server};

type Outcome = anyhow::Result<()>;

/// Answers with how the request came in.
struct Mirror;

#[tonic::async_trait]
impl LicenseService for Mirror {
    async fn get_license(&self, request: Request<GetLicenseRequest>) -> Result<Response<License>, Status> {
        Ok(Response::new(License { name: request.into_inner().name, ..Default::default() }))
    }

    async fn update_license(
        &self,
        request: Request<UpdateLicenseRequest>,
    ) -> Result<Response<License>, Status> {
        let request = request.into_inner();
        match request.license {
            Some(license) if request.allow_missing => Ok(Response::new(license)),
            _ => Err(Status::invalid_argument("license and allow_missing are needed")),
        }
    }
}

fn issue(dir: &Path) -> anyhow::Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "test CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(dir.join("ca.pem"), ca.self_signed(&ca_key)?.pem())?;
    let issuer = Issuer::from_params(&ca, &ca_key);
    for name in ["server", "alice"] {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &issuer)?;
        fs::write(dir.join(format!("{name}.pem")), certificate.pem())?;
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}

/// Serves until it is aborted.
async fn serve(dir: &Path, port: u16) -> anyhow::Result<JoinHandle<()>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.pem"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(dir.join("server.pem"))?],
            PrivateKeyDer::from_pem_file(dir.join("server.key"))?,
        )?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    Ok(tokio::spawn(async move {
        let (connections, receiver) = mpsc::channel::<std::io::Result<DuplexStream>>(1);
        let mut relays = JoinSet::new(); // end with the server
        let accept = async {
            loop {
                if let Ok((tcp, _)) = listener.accept().await
                    && let Ok(mut tls) = acceptor.accept(tcp).await
                {
                    // tonic takes this kind of stream, and not the other
                    let (mut here, there) = duplex(64 << 10);
                    relays.spawn(async move { copy_bidirectional(&mut tls, &mut here).await });
                    let _ = connections.send(Ok(there)).await;
                }
            }
        };
        let server = Server::builder()
            .add_service(LicenseServiceServer::new(Mirror))
            .serve_with_incoming(ReceiverStream::new(receiver));
        tokio::select! { () = accept => {}, _ = server => {} }
    }))
}

#[tokio::test]
async fn a_certificate_opens_the_door_and_none_does_not() -> Outcome {
    let dir = tempfile::tempdir()?;
    issue(dir.path())?;
    let port = harness::ports::free_port()?;
    let ca = dir.path().join("ca.pem");
    let alice = Identity::at(&dir.path().join("alice").to_string_lossy());
    let admin = Admin::connect(port, &alice, &ca)?;

    let server = serve(dir.path(), port).await?;
    assert_eq!(admin.license("acme").await?.name, "tenants/acme/license");
    assert_eq!(admin.set_license("acme", 17).await?.user_limit, Some(17));
    let stranger = Admin::over(connect::channel(port, None, &ca)?);
    assert!(stranger.license("acme").await.is_err());

    server.abort();
    let _ = server.await;
    let _server = serve(dir.path(), port).await?;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(admin.license("acme").await.is_ok());
    }
    assert_eq!(answers.last(), Some(&true), "the channel did not connect again: {answers:?}");
    Ok(())
}
