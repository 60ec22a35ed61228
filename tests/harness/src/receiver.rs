//! A receiver of webhooks: a small HTTPS server with a certificate of its own authority, which
//! notes what it is sent and answers as it is told. Knows nothing of signatures; who receives may
//! check them.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    ldap::{Certificate, certificate},
    ports::free_port,
};

/// How long to wait for what must come.
const WAIT: Duration = Duration::from_secs(60);

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub path: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// When, by the machine's clock that only goes forward.
    pub at: std::time::Instant,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Whether the body says that it is of this type.
    pub fn is(&self, kind: &str) -> bool {
        self.body.contains(&format!("\"type\":\"{kind}\""))
    }
}

/// What a receiver answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The whole answer.
    pub bytes: Vec<u8>,
    /// How long it takes to think.
    pub pause: Duration,
}

impl Answer {
    /// A status with further header fields, each with its line end, and a body.
    pub fn of(status: &str, fields: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
        Self { bytes: [head.as_bytes(), body].concat(), pause: Duration::ZERO }
    }

    pub fn status(status: &str) -> Self {
        Self::of(status, "", b"")
    }

    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

#[derive(Debug)]
struct Shared {
    answer: Answer,
    received: Vec<Received>,
}

/// A receiver on a port of 127.0.0.1. Dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    folder: TempDir,
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    serving: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one that answers 204.
    pub async fn start() -> Result<Self> {
        Self::with(&Certificate::Valid).await
    }

    /// The same with another certificate.
    pub async fn with(kind: &Certificate) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rollcall-receiver-").tempdir()?;
        certificate::write(folder.path(), kind)?;
        let shared = Shared { answer: Answer::status("204 No Content"), received: Vec::new() };
        let mut receiver = Self {
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], free_port()?)),
            shared: Arc::new(Mutex::new(shared)),
            serving: None,
        };
        receiver.start_again().await?;
        Ok(receiver)
    }

    /// An address of it.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What it answers from now on.
    pub fn answers(&self, answer: Answer) {
        self.shared().answer = answer;
    }

    /// Nobody listens any more; what is in the middle of a request is cut.
    pub fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }

    /// Listens again, at the same port.
    pub async fn start_again(&mut self) -> Result<()> {
        self.stop();
        let listener = TcpListener::bind(self.address).await?;
        let (acceptor, shared) = (acceptor(self.folder.path())?, Arc::clone(&self.shared));
        self.serving = Some(tokio::spawn(async move {
            let mut calls = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                // Whoever hangs up, or is no caller of ours, is none of the test's business.
                calls.spawn(async move {
                    let _ = serve(tcp, acceptor, &shared).await;
                });
            }
        }));
        Ok(())
    }

    /// What came in so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared().received.clone()
    }

    /// What came in of a type.
    pub fn of(&self, kind: &str) -> Vec<Received> {
        self.received().into_iter().filter(|received| received.is(kind)).collect()
    }

    /// Waits until so many of a type have come in.
    pub async fn wait(&self, kind: &str, count: usize) -> Result<Vec<Received>> {
        let end = std::time::Instant::now() + WAIT;
        loop {
            let found = self.of(kind);
            if found.len() >= count {
                return Ok(found);
            }
            if std::time::Instant::now() > end {
                bail!(
                    "{} of {count} messages of type {kind} within {WAIT:?}: {:?}",
                    found.len(),
                    self.received()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn acceptor(folder: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(tcp: tokio::net::TcpStream, acceptor: TlsAcceptor, shared: &Mutex<Shared>) -> Result<()> {
    let mut stream = acceptor.accept(tcp).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).context("no request")?.to_owned();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let received = Received { path, headers, body: String::from_utf8(body)?, at: std::time::Instant::now() };
    let answer = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.received.push(received);
        shared.answer.clone()
    };
    tokio::time::sleep(answer.pause).await;
    stream.write_all(&answer.bytes).await?;
    stream.shutdown().await?;
    Ok(())
}

/// The script of a documentation that is between these two lines.
pub fn documented(file: &Path, from: &str, until: &str) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let (_, behind) = text.split_once(from).with_context(|| format!("no {from:?} in {}", file.display()))?;
    let (script, _) = behind.split_once(until).with_context(|| format!("no {until:?} behind it"))?;
    Ok(script.to_owned())
}
