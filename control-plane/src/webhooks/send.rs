//! One attempt to deliver a message: resolves the host, checks its addresses, connects to an
//! allowed one, and posts the signed message. Time and the size of the response are bounded; only
//! the status is kept.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::address::{Networks, Target};
use super::retry::AttemptError;
use super::secret::{Sealer, Secret};
use crate::model::{DeliveryFailure, Receiver, Timestamp};
use crate::outbound::{ExchangeError, Trust, exchange};

/// For everything, from the name to the last byte of the answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most that is taken of an answer.
const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// Most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;
/// For a connection to one of them.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Finds the addresses of a host.
pub type Resolver = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Asks the system.
#[must_use]
pub fn system_resolver() -> Resolver {
    Arc::new(|host, port| {
        Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) })
    })
}

/// Sends messages. Clones share everything.
#[derive(Clone)]
pub struct Sender {
    /// Where messages may go.
    pub networks: Arc<Networks>,
    /// Which authorities to trust about the server's name.
    pub trust: Trust,
    /// Unseals the secrets.
    pub sealer: Sealer,
    /// Finds addresses.
    pub resolve: Resolver,
}

impl Sender {
    /// Sends one message.
    ///
    /// # Errors
    /// Whatever keeps it from being answered with 2xx.
    pub async fn send(
        &self,
        to: &Receiver,
        id: &str,
        body: &str,
        now: Timestamp,
    ) -> Result<(), AttemptError> {
        let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(to, id, body, now));
        attempt.await.unwrap_or_else(|_| Err(attempt_error(DeliveryFailure::TimedOut)))
    }

    async fn attempt(&self, to: &Receiver, id: &str, body: &str, now: Timestamp) -> Result<(), AttemptError> {
        let signatures = self.sign(to, id, body, now)?;
        // It was parsed when it was set; one that cannot be parsed any more leads nowhere.
        let target = Target::parse(&to.url).map_err(|_| attempt_error(DeliveryFailure::NotResolved))?;
        let name = ServerName::try_from(target.host.clone());
        let name = name.map_err(|_| attempt_error(DeliveryFailure::NotResolved))?;
        let tcp = self.connect(&target).await?;
        let request = request(&target, id, seconds(now), &signatures, body)?;
        // What the answer says is read, so that the receiver can end its sentence, and thrown away.
        match exchange(tcp, name, &self.trust, request, MAX_RESPONSE_BYTES, |_| true).await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) => Err(status_error(status)),
            Err(ExchangeError::Tls(_)) => Err(attempt_error(DeliveryFailure::TlsFailed)),
            Err(ExchangeError::TooLarge) => Err(attempt_error(DeliveryFailure::AnswerTooLarge)),
            Err(ExchangeError::Http(_) | ExchangeError::Cut(_)) => {
                Err(attempt_error(DeliveryFailure::NotHttp))
            }
        }
    }

    /// Signatures with the present secret and, for a while, with the one of before.
    fn sign(&self, to: &Receiver, id: &str, body: &str, now: Timestamp) -> Result<String, AttemptError> {
        let unseal = |sealed: &[u8]| self.sealer.unseal(&to.uid, sealed);
        let present = unseal(&to.secrets.present).ok_or(attempt_error(DeliveryFailure::SecretLost))?;
        let previous = to.secrets.previous.as_ref().filter(|(_, until)| now < *until);
        let previous = previous.and_then(|(sealed, _)| unseal(sealed));
        let sign = |secret: &Secret| secret.sign(id, seconds(now), body);
        let signatures: Vec<_> = [Some(present), previous].iter().flatten().map(sign).collect();
        Ok(signatures.join(" "))
    }

    /// Connects to an address that was looked at: the name is not asked again in between.
    async fn connect(&self, target: &Target) -> Result<TcpStream, AttemptError> {
        let addresses = match target.literal() {
            Some(address) => vec![SocketAddr::new(address, target.port)],
            None => (self.resolve)(target.host.clone(), target.port)
                .await
                .map_err(|_| attempt_error(DeliveryFailure::NotResolved))?,
        };
        if addresses.is_empty() {
            return Err(attempt_error(DeliveryFailure::NotResolved));
        }
        let allowed = addresses.into_iter().filter(|address| self.networks.may_reach(address.ip()));
        let allowed: Vec<_> = allowed.take(MAX_ADDRESSES).collect();
        if allowed.is_empty() {
            return Err(attempt_error(DeliveryFailure::AddressRefused));
        }
        for address in allowed {
            // One that takes no notice leaves time for the next.
            if let Ok(Ok(tcp)) = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                return Ok(tcp);
            }
        }
        Err(attempt_error(DeliveryFailure::NotConnected))
    }
}

fn attempt_error(failure: DeliveryFailure) -> AttemptError {
    AttemptError { failure, status: None }
}

fn status_error(status: StatusCode) -> AttemptError {
    AttemptError { failure: DeliveryFailure::HttpStatus, status: Some(status.as_u16()) }
}

fn seconds(now: Timestamp) -> i64 {
    now.0.div_euclid(1_000_000)
}

fn request(
    target: &Target,
    id: &str,
    seconds: i64,
    signatures: &str,
    body: &str,
) -> Result<Request<Full<Bytes>>, AttemptError> {
    let wrong = |_| attempt_error(DeliveryFailure::NotResolved);
    let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
    let host = target.uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().map_err(|_| attempt_error(DeliveryFailure::NotResolved))?;
    request.headers_mut().extend([
        (HOST, HeaderValue::from_str(host).map_err(wrong)?),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (USER_AGENT, HeaderValue::from_static("rollcall")),
        (HeaderName::from_static("webhook-id"), HeaderValue::from_str(id).map_err(wrong)?),
        (HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds)),
        (HeaderName::from_static("webhook-signature"), HeaderValue::from_str(signatures).map_err(wrong)?),
    ]);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;
    use crate::model::{SealedSecrets, WebhookNo};

    struct Scene {
        sender: Sender,
        receiver: Receiver,
        /// How often the name was asked for.
        asked: Arc<AtomicUsize>,
    }

    /// A name that leads to the first list of addresses when it is asked for the first time, and to
    /// the last one from then on.
    fn scene(allow: &str, answers: Vec<Vec<SocketAddr>>) -> Scene {
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        let resolve: Resolver = Arc::new(move |_, _| {
            let at = counts.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            let answer = answers[at].clone();
            Box::pin(async move { Ok(answer) })
        });
        let allow = vec![allow.parse().expect("a network")];
        let sealer = Sealer::new(&[1; 32], None).expect("a sealer");
        let secret = Secret::random().expect("a secret");
        let secrets =
            SealedSecrets { present: sealer.seal(&[7; 16], &secret).expect("sealed"), previous: None };
        let receiver = Receiver {
            number: WebhookNo(1),
            uid: [7; 16],
            tenant: "acme".into(),
            id: "ops".into(),
            version: 1,
            url: "https://hooks.example.com/".to_owned(),
            secrets,
        };
        let networks = Arc::new(Networks { allow, deny: Vec::new() });
        let trust = Trust::none().expect("a configuration");
        Scene { sender: Sender { networks, trust, sealer, resolve }, receiver, asked }
    }

    impl Scene {
        async fn failure(&self) -> DeliveryFailure {
            let sent = self.sender.send(&self.receiver, "msg_1", "{}", Timestamp(0)).await;
            sent.expect_err("nobody answers with a certificate").failure
        }
    }

    /// Takes one connection and hangs up in the handshake.
    async fn visited(listener: &TcpListener) {
        let visit = tokio::time::timeout(Duration::from_secs(20), listener.accept());
        visit.await.expect("somebody comes").expect("a connection");
    }

    async fn listener(address: &str) -> TcpListener {
        TcpListener::bind(address).await.expect("a port")
    }

    #[tokio::test]
    async fn the_address_that_was_looked_at_is_the_one_that_is_connected_to() {
        // The name changes as soon as it was asked for: first an address that is allowed, then one
        // within.
        let (allowed, inside) = (listener("127.0.0.2:0").await, listener("127.0.0.3:0").await);
        let [first, second] = [&allowed, &inside].map(|of| of.local_addr().expect("an address"));
        let scene = scene("127.0.0.2/32", vec![vec![first], vec![second]]);
        let (failure, ()) = tokio::join!(scene.failure(), visited(&allowed));
        assert_eq!(failure, DeliveryFailure::TlsFailed);
        assert_eq!(scene.asked.load(Ordering::SeqCst), 1, "a name that is asked twice can answer twice");
        let came = tokio::time::timeout(Duration::from_millis(200), inside.accept()).await;
        assert!(came.is_err(), "nobody came within");
    }

    #[tokio::test]
    async fn of_several_addresses_only_those_that_are_allowed_are_tried() {
        let (inside, allowed) = (listener("127.0.0.3:0").await, listener("127.0.0.2:0").await);
        let addresses = [&inside, &allowed].map(|of| of.local_addr().expect("an address"));
        let scene = scene("127.0.0.2/32", vec![addresses.to_vec()]);
        let (failure, ()) = tokio::join!(scene.failure(), visited(&allowed));
        assert_eq!(failure, DeliveryFailure::TlsFailed);
        let came = tokio::time::timeout(Duration::from_millis(200), inside.accept()).await;
        assert!(came.is_err(), "nobody came within");
    }

    #[tokio::test]
    async fn an_address_that_takes_no_notice_leaves_time_for_the_next() {
        // Its queue is full, so that another connection gets no answer.
        let silent = tokio::net::TcpSocket::new_v4().expect("a socket");
        silent.bind("127.0.0.2:0".parse().expect("an address")).expect("bound");
        let silent = silent.listen(1).expect("listening");
        let address = silent.local_addr().expect("an address");
        let mut queue = Vec::new();
        while let Ok(taken) =
            tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            queue.push(taken.expect("a connection that waits to be taken"));
            assert!(queue.len() < 100, "the queue has no end");
        }
        let answers = listener("127.0.0.2:0").await;
        let addresses = vec![address, answers.local_addr().expect("an address")];
        let scene = scene("127.0.0.2/32", vec![addresses]);
        let (failure, ()) = tokio::join!(scene.failure(), visited(&answers));
        assert_eq!(failure, DeliveryFailure::TlsFailed);
    }

    #[tokio::test]
    async fn a_name_with_inside_addresses_only_is_refused_and_one_without_is_not_found() {
        let inside = listener("127.0.0.3:0").await;
        let address = inside.local_addr().expect("an address");
        assert_eq!(
            scene("127.0.0.2/32", vec![vec![address]]).failure().await,
            DeliveryFailure::AddressRefused
        );
        assert_eq!(scene("127.0.0.2/32", vec![vec![]]).failure().await, DeliveryFailure::NotResolved);
        let came = tokio::time::timeout(Duration::from_millis(200), inside.accept()).await;
        assert!(came.is_err(), "nobody came within");
    }

    #[tokio::test]
    async fn without_its_secret_nothing_is_sent() {
        let mut scene = scene("127.0.0.2/32", vec![vec![]]);
        scene.receiver.uid = [8; 16];
        assert_eq!(scene.failure().await, DeliveryFailure::SecretLost);
        assert_eq!(scene.asked.load(Ordering::SeqCst), 0);
    }
}
