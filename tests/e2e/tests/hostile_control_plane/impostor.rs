//! A control plane that was taken over: it has the real one's certificate and address, and says
//! what a test tells it to. Keeps every byte that the router sends.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rollcall_proto::router::v1::router_service_server::{RouterService, RouterServiceServer};
use rollcall_proto::router::v1::{
    Applied, Opened, RenewCertificateRequest, RenewCertificateResponse, SessionRequest, SessionResponse,
    SyncOrder, UploadRequest, UploadResponse, Want, Welcome, session_request, session_response,
    upload_request, upload_response,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::frames::server_tls;

/// The longest that a router which was sent away stays away, and some more.
const RECONNECT: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(120);

type Locked<T> = Arc<Mutex<T>>;

fn locked<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A control plane in the place of the real one, until it is dropped.
pub(crate) struct Impostor {
    links: mpsc::UnboundedReceiver<Link>,
    welcome: Locked<prost_types::Duration>,
    /// All that the router ever sent, as it was before TLS.
    pub(crate) sent: Locked<Vec<u8>>,
    /// How each upload ended.
    uploads: Locked<HashMap<String, Uploaded>>,
    runtime: Option<Runtime>,
}

/// What came of an order to read.
#[derive(Clone, Debug)]
pub(crate) enum Uploaded {
    Complete(u64),
    Failed,
}

/// A session of the router.
pub(crate) struct Link {
    orders: mpsc::Sender<Result<SessionResponse, Status>>,
    said: mpsc::UnboundedReceiver<SessionRequest>,
}

impl Impostor {
    pub(crate) fn start(address: SocketAddr, dir: &Path) -> Result<Self> {
        // Of its own, so that nothing of it is left once it is dropped.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (new_links, links) = mpsc::unbounded_channel();
        let service = Service { links: new_links, welcome: Locked::default(), uploads: Locked::default() };
        let (welcome, uploads) = (Arc::clone(&service.welcome), Arc::clone(&service.uploads));
        locked(&welcome).seconds = 15;
        let sent: Locked<Vec<u8>> = Locked::default();
        let (acceptor, bytes) = (TlsAcceptor::from(server_tls(dir)?), Arc::clone(&sent));
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = {
            let _within = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (sender, connections) = mpsc::channel(4);
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(tcp).await {
                    let _ = sender.send(Ok::<_, io::Error>(Recorded { stream, bytes: bytes.clone() })).await;
                }
            }
        });
        let service = RouterServiceServer::new(service).max_encoding_message_size(usize::MAX);
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(ReceiverStream::new(connections)),
        );
        Ok(Self { links, welcome, sent, uploads, runtime: Some(runtime) })
    }

    /// What the next session is told about heartbeats.
    pub(crate) fn welcome(&self, interval: prost_types::Duration) {
        *locked(&self.welcome) = interval;
    }

    /// The router's next session.
    pub(crate) async fn link(&mut self) -> Result<Link> {
        let link = tokio::time::timeout(RECONNECT, self.links.recv()).await;
        link.context("the router did not come")?.context("the impostor has ended")
    }

    /// How the upload of an order ended, once it has.
    pub(crate) fn uploaded(&self, job: &str) -> Option<Uploaded> {
        locked(&self.uploads).get(job).cloned()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Link {
    pub(crate) async fn say(&self, message: session_response::Message) -> Result<()> {
        let response = SessionResponse { message: Some(message) };
        self.orders.send(Ok(response)).await.context("the session is lost")
    }

    /// The answer to the order with this request id or job, or what ended the session.
    pub(crate) async fn answer(&mut self, id: &str) -> Result<session_request::Message> {
        use session_request::Message::{LookupResult, SyncRefused, TestResult, VerifyResult};
        let answered = async {
            while let Some(request) = self.said.recv().await {
                let Some(message) = request.message else { continue };
                let of = match &message {
                    SyncRefused(refused) => &refused.sync_job,
                    TestResult(result) => &result.request_id,
                    LookupResult(result) => &result.request_id,
                    VerifyResult(result) => &result.request_id,
                    _ => continue,
                };
                if of == id {
                    return Ok(message);
                }
            }
            bail!("the session ended without an answer to {id}")
        };
        tokio::time::timeout(ANSWER, answered).await.with_context(|| format!("no answer to {id}"))?
    }

    /// What an order to read comes to: refused with this message, or read to its end.
    pub(crate) async fn sync(
        &mut self,
        impostor: &Impostor,
        order: SyncOrder,
    ) -> Result<Result<Uploaded, String>> {
        let job = order.sync_job.clone();
        self.say(session_response::Message::SyncOrder(order)).await?;
        let ended = async {
            loop {
                if let Some(uploaded) = impostor.uploaded(&job) {
                    return uploaded;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            answer = self.answer(&job) => match answer? {
                session_request::Message::SyncRefused(refused) => {
                    Ok(Err(refused.failure.unwrap_or_default().message))
                }
                other => bail!("answered {other:?}"),
            },
            uploaded = ended => Ok(Ok(uploaded)),
        }
    }
}

struct Service {
    links: mpsc::UnboundedSender<Link>,
    welcome: Locked<prost_types::Duration>,
    uploads: Locked<HashMap<String, Uploaded>>,
}

#[tonic::async_trait]
impl RouterService for Service {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;
    type UploadStream = ReceiverStream<Result<UploadResponse, Status>>;

    async fn renew_certificate(
        &self,
        _: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        Err(Status::unavailable("it has no authority"))
    }

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut requests = request.into_inner();
        let ((orders, replies), (heard, said)) = (mpsc::channel(64), mpsc::unbounded_channel());
        let welcome = Welcome { heartbeat_interval: Some(*locked(&self.welcome)), ..Welcome::default() };
        let welcome = SessionResponse { message: Some(session_response::Message::Welcome(welcome)) };
        let _ = orders.send(Ok(welcome)).await;
        let _ = self.links.send(Link { orders: orders.clone(), said });
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if let Some(session_request::Message::Heartbeat(beat)) = &request.message {
                    let beat = session_response::Message::Heartbeat(*beat);
                    let _ = orders.send(Ok(SessionResponse { message: Some(beat) })).await;
                }
                let _ = heard.send(request);
            }
        });
        Ok(Response::new(ReceiverStream::new(replies)))
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        use upload_request::Message as Asked;
        use upload_response::Message as Answer;
        let mut requests = request.into_inner();
        let (sender, replies) = mpsc::channel(64);
        let uploads = Arc::clone(&self.uploads);
        tokio::spawn(async move {
            let mut job = String::new();
            while let Ok(Some(UploadRequest { message: Some(message) })) = requests.message().await {
                let answer = match message {
                    Asked::Open(open) => {
                        job = open.sync_job;
                        Answer::Opened(Opened {})
                    }
                    // Everything.
                    Asked::Offer(offer) => Answer::Want(Want {
                        sequence: offer.sequence,
                        positions: (0..u32::try_from(offer.immutable_ids.len()).unwrap_or_default())
                            .collect(),
                        prove_mark: Vec::new(),
                    }),
                    Asked::Records(records) => Answer::Applied(Applied { sequence: records.sequence }),
                    Asked::Complete(complete) => {
                        locked(&uploads).insert(job.clone(), Uploaded::Complete(complete.records));
                        return;
                    }
                    Asked::Failed(_) => {
                        locked(&uploads).insert(job.clone(), Uploaded::Failed);
                        return;
                    }
                };
                let _ = sender.send(Ok(UploadResponse { message: Some(answer) })).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(replies)))
    }
}

/// A connection that keeps what it is sent.
struct Recorded {
    stream: TlsStream<TcpStream>,
    bytes: Locked<Vec<u8>>,
}

impl Connected for Recorded {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        locked(&self.bytes).extend_from_slice(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
