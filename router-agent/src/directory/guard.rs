//! Stands between the network and the ldap3 crate: connects, does the TLS (LDAPS or StartTLS) itself, and lets through only messages
//! that `ber` has checked. The crate sees one end of a socket pair and nothing else; it asks the questions and reads the results. What
//! was found does not pass through it: entries and references are laid down in `watch` by the message id of the search that they answer, before the
//! result that ends it, no more of them than were asked for, and none of a search that nobody asked. Several searches may be under way.
//!
//! Everything here is bounded, and an entry that is too large is thrown away as it comes, but for its name.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::ber::{self, Kind};
use super::watch::{Found, Watch, Wrong};
use super::{DirectoryError, Security, Server, Timeouts, entry};
use crate::record::Entry;

/// The StartTLS request (RFC 4511, 4.14.1) with message id 1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// Largest message that is read. Of a larger entry only the name is kept.
const MAX_MESSAGE: usize = 8 << 20;
const BUFFER: usize = 256 << 10;
/// The same for questions.
const QUESTIONS: usize = 16 << 10;

/// A guarded connection. Dropping it closes the connection.
pub(super) struct Guarded {
    /// What ldap3 is given.
    pub(super) stream: StdUnixStream,
    /// What happens on it.
    pub(super) watch: Arc<Watch>,
    /// The server's certificate, in DER.
    pub(super) certificate: Option<Vec<u8>>,
    /// Keeps the relay alive.
    pub(super) relay: Relay,
}

/// The task between the two streams.
#[derive(Debug)]
pub(super) struct Relay(AbortHandle);

impl Relay {
    /// Whether the connection has ended.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resolves a server's name.
pub(super) async fn resolve(server: &Server, timeouts: &Timeouts) -> Result<Vec<SocketAddr>, DirectoryError> {
    let unreachable = |why: String| DirectoryError::Unreachable(format!("{server} ({why})"));
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> =
        tokio::time::timeout(timeouts.connect, tokio::net::lookup_host((host, server.port)))
            .await
            .map_err(|_| unreachable("no answer from the name service in time".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?
            .collect();
    if addresses.is_empty() { Err(unreachable("its name has no address".to_owned())) } else { Ok(addresses) }
}

/// Connects to one of these addresses of a server, with TLS as its security says.
pub(super) async fn connect(
    server: &Server,
    addresses: &[SocketAddr],
    tls: &Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<Guarded, DirectoryError> {
    let tcp = tcp(server, addresses, timeouts).await?;
    match server.security {
        Security::Plain => guard(tcp, None),
        Security::Ldaps => secured(server, tcp, tls, timeouts).await,
        Security::StartTls => {
            let tcp = limited(server, timeouts, start_tls(server, tcp)).await?;
            secured(server, tcp, tls, timeouts).await
        }
    }
}

async fn tcp(
    server: &Server,
    addresses: &[SocketAddr],
    timeouts: &Timeouts,
) -> Result<TcpStream, DirectoryError> {
    let mut last = String::from("no address");
    for address in addresses {
        match tokio::time::timeout(timeouts.connect, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("no answer within {} s", seconds(timeouts.connect)),
        }
    }
    Err(DirectoryError::Unreachable(format!("{server} ({last})")))
}

/// Seconds for people: 5, or 0.4.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

async fn limited<T>(
    server: &Server,
    timeouts: &Timeouts,
    step: impl Future<Output = Result<T, DirectoryError>>,
) -> Result<T, DirectoryError> {
    tokio::time::timeout(timeouts.connect, step).await.unwrap_or_else(|_| {
        Err(DirectoryError::Unreachable(format!(
            "{server} (connected, then silent for {} s)",
            seconds(timeouts.connect)
        )))
    })
}

/// Asks for TLS and reads exactly one answer. Whatever comes behind it before TLS does was put there by someone else.
async fn start_tls(server: &Server, mut tcp: TcpStream) -> Result<TcpStream, DirectoryError> {
    let refused = |why: &str| DirectoryError::Tls { server: server.to_string(), why: why.to_owned() };
    let io = |error: std::io::Error| DirectoryError::Unreachable(format!("{server} ({error})"));
    tcp.write_all(START_TLS).await.map_err(io)?;
    let mut answer = Vec::with_capacity(256);
    while !may_start_tls(&answer).map_err(refused)? {
        if tcp.read_buf(&mut answer).await.map_err(io)? == 0 {
            return Err(refused("the server closed the connection instead of starting TLS"));
        }
    }
    Ok(tcp)
}

/// Whether these bytes are the answer that allows TLS to start; not yet, if they are only the beginning of one.
fn may_start_tls(answer: &[u8]) -> Result<bool, &'static str> {
    let Some(length) = ber::message_length(answer)? else { return Ok(false) };
    if length > 4_096 {
        return Err("the answer to StartTLS is too long");
    }
    if answer.len() > length {
        return Err("something was injected behind the answer to StartTLS");
    }
    if answer.len() < length {
        return Ok(false);
    }
    match ber::extended_result(answer)? {
        Some(0) => Ok(true),
        Some(_) => Err("the server refuses StartTLS"),
        None => Err("another answer than to StartTLS"),
    }
}

async fn secured(
    server: &Server,
    tcp: TcpStream,
    tls: &Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<Guarded, DirectoryError> {
    let failed = |why: String| DirectoryError::Tls { server: server.to_string(), why };
    let host = server.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host)
        .map_err(|_| failed("the host is neither a name nor an address".to_owned()))?;
    let handshake = async {
        TlsConnector::from(Arc::clone(tls))
            .connect(name, tcp)
            .await
            .map_err(|error| failed(format!("{error}{}", too_old(&error))))
    };
    let stream = limited(server, timeouts, handshake).await?;
    let certificate =
        stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
    guard(stream, certificate)
}

/// What to say beside a handshake that failed because the server knows no version, or no cipher, that is safe.
fn too_old(error: &std::io::Error) -> &'static str {
    use rustls::{AlertDescription, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(
            Error::PeerIncompatible(_)
            | Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure),
        ) => "; the server offers nothing that is safe: it must support TLS 1.2 or 1.3 with ECDHE",
        _ => "",
    }
}

fn guard<S>(server: S, certificate: Option<Vec<u8>>) -> Result<Guarded, DirectoryError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let internal = |error: std::io::Error| {
        DirectoryError::Unreachable(format!("a socket pair could not be made ({error})"))
    };
    let (ours, stream) = StdUnixStream::pair().map_err(internal)?;
    ours.set_nonblocking(true).map_err(internal)?;
    let ours = UnixStream::from_std(ours).map_err(internal)?;
    let watch = Arc::new(Watch::default());
    let relay = tokio::spawn(relay(server, ours, Arc::clone(&watch)));
    Ok(Guarded { stream, watch, certificate, relay: Relay(relay.abort_handle()) })
}

async fn relay<S: AsyncRead + AsyncWrite>(server: S, client: UnixStream, watch: Arc<Watch>) {
    let (from_server, to_server) = tokio::io::split(server);
    let (from_client, to_client) = client.into_split();
    tokio::select! {
        // Either side's end is the connection's end.
        () = ask(from_client, to_server, &watch) => {}
        () = inspect(from_server, to_client, &watch) => {}
    }
}

/// Passes on what the crate asks, and remembers which searches those are.
async fn ask(mut client: impl AsyncRead + Unpin, mut server: impl AsyncWrite + Unpin, watch: &Watch) {
    let mut buffer = BytesMut::with_capacity(QUESTIONS);
    loop {
        match client.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut whole = 0;
        while let Ok(Some(length)) = ber::message_length(&buffer[whole..])
            && whole + length <= buffer.len()
        {
            if let Ok(Some(search)) = ber::search_request(&buffer[whole..whole + length]) {
                watch.asked(search);
            }
            whole += length;
        }
        if whole == 0 {
            continue;
        }
        if server.write_all(&buffer.split_to(whole)).await.is_err() || server.flush().await.is_err() {
            return;
        }
    }
}

/// Reads whole messages, checks them, and passes them on to whom they are for.
async fn inspect(mut server: impl AsyncRead + Unpin, mut client: impl AsyncWrite + Unpin, watch: &Watch) {
    let mut buffer = BytesMut::with_capacity(BUFFER);
    let mut sorter = Sorter::default();
    loop {
        // read_buf reads what there is room for: a buffer never grows by what a header promises.
        if buffer.capacity() - buffer.len() < BUFFER / 16 {
            buffer.reserve(BUFFER);
        }
        match server.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Err(wrong) = sorter.sort(&mut buffer, watch) {
            watch.violated(wrong);
            // What came before it is whole.
            let _ = client.write_all(&sorter.others).await;
            return;
        }
        // What was found is laid down by now: who reads the result of a search may rely on that.
        if !sorter.others.is_empty() {
            if client.write_all(&sorter.others).await.is_err() {
                return;
            }
            sorter.others.clear();
        }
    }
}

/// What a search, with message id 2, found and what is for the crate, out of bytes that come in these pieces. What has more bytes than
/// `largest` is large.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn sort_pieces<'b>(
    pieces: impl Iterator<Item = &'b [u8]>,
    entries: u32,
    largest: usize,
) -> Result<(Vec<Found>, Vec<u8>), &'static str> {
    let watch = Watch::default();
    watch.expect(entries, true);
    watch.asked(2);
    let (mut buffer, mut sorter) = (BytesMut::new(), Sorter { largest, ..Sorter::default() });
    for piece in pieces {
        buffer.extend_from_slice(piece);
        sorter.sort(&mut buffer, &watch).map_err(|wrong| wrong.why)?;
    }
    Ok((watch.take(2), sorter.others))
}

/// Tells what a search found from everything else.
struct Sorter {
    others: Vec<u8>,
    /// Most bytes of a message that is read as a whole.
    largest: usize,
    /// Bytes of a larger one that are still to be thrown away as they come.
    rest: usize,
}

impl Default for Sorter {
    fn default() -> Self {
        Self { others: Vec::new(), largest: MAX_MESSAGE, rest: 0 }
    }
}

impl Sorter {
    /// Takes the whole messages out of the buffer.
    fn sort(&mut self, buffer: &mut BytesMut, watch: &Watch) -> Result<(), Wrong> {
        loop {
            let gone = self.rest.min(buffer.len());
            buffer.advance(gone);
            self.rest -= gone;
            match ber::message_length(buffer)? {
                Some(length) if length > self.largest => {
                    if !self.large_entry(buffer, length, watch)? {
                        return Ok(());
                    }
                }
                Some(length) if length <= buffer.len() => {
                    self.message(buffer.split_to(length).freeze(), watch)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Takes the name of an entry that is too large and leaves the rest of it; not yet, if the name has not come.
    fn large_entry(&mut self, start: &[u8], length: usize, watch: &Watch) -> Result<bool, Wrong> {
        let bytes = i64::try_from(length).unwrap_or(i64::MAX);
        let Some((search, name)) = ber::start_of_entry(start, length)? else { return Ok(false) };
        let wrong = Wrong::of(search);
        let mut searches = watch.searches();
        let asked = searches.of(search)?;
        match asked.discarded {
            0 => return Err(wrong("a message of more than 8 MiB")),
            left if left < bytes => return Err(wrong("entries of more than 256 MiB in a page")),
            left => asked.discarded = left - bytes,
        }
        let entry = Entry::too_large(&start[name.clone()]);
        tracing::debug!(dn = ?String::from_utf8_lossy(entry.dn()), bytes, "an entry is too large to be read");
        searches.add(search, Found::Entry(entry), name.len())?;
        self.rest = length;
        Ok(true)
    }

    fn message(&mut self, message: Bytes, watch: &Watch) -> Result<(), Wrong> {
        let (id, kind) = ber::check(&message)?;
        let wrong = Wrong::of(id);
        let bytes = message.len();
        match kind {
            Kind::Entry => {
                let found = Found::Entry(entry::entry(message).map_err(wrong)?);
                watch.searches().add(id, found, bytes)?;
            }
            Kind::Reference => {
                let found = Found::Reference(entry::references(&message).map_err(wrong)?);
                watch.searches().add(id, found, bytes)?;
            }
            Kind::Done => {
                watch.searches().of(id)?.over = true;
                self.others.extend_from_slice(&message);
            }
            Kind::Other => self.others.extend_from_slice(&message),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: &[u8] =
        b"\x30\x1a\x02\x01\x02\x64\x15\x04\x05uid=a\x30\x0c\x30\x0a\x04\x03uid\x31\x03\x04\x01a";
    const DONE: &[u8] = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    const STARTED: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";

    /// An entry of 128 bytes, which is large where these tests look.
    fn large() -> Vec<u8> {
        [b"\x30\x7e\x02\x01\x02\x64\x79\x04\x05uid=b\x30\x70".as_slice(), &[0xff; 112]].concat()
    }

    fn pieces<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        pieces
    }

    #[test]
    fn an_entry_is_found_and_a_result_passed_on() {
        let (found, others) = sort_pieces([ENTRY, DONE].into_iter(), 1, 64).expect("regular messages");
        let Some(Found::Entry(entry)) = found.first() else { panic!("{found:?}") };
        assert_eq!((entry.dn(), entry.values("UID").next()), (&b"uid=a"[..], Some(&b"a"[..])));
        assert_eq!(others, DONE);
        assert!(sort_pieces([ENTRY, ENTRY].into_iter(), 1, 64).is_err(), "more than were asked for");
    }

    #[test]
    fn of_an_entry_that_is_too_large_only_the_name_is_kept_and_what_follows_is_found() {
        let bytes = [ENTRY, &large(), ENTRY, DONE].concat();
        let (found, others) = sort_pieces(std::iter::once(&bytes[..]), 3, 64).expect("regular messages");
        let [Found::Entry(first), Found::Entry(large), Found::Entry(last)] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(!first.is_too_large() && large.is_too_large() && !last.is_too_large());
        assert_eq!((large.dn(), large.values("uid").count()), (&b"uid=b"[..], 0));
        assert_eq!(others, DONE);
        assert!(sort_pieces(std::iter::once(&bytes[..]), 2, 64).is_err(), "more than were asked for");
    }

    #[test]
    fn nothing_but_entries_may_be_too_large_and_not_without_end_and_not_where_none_is_expected() {
        let sort = |bytes: &[u8], large| {
            let watch = Watch::default();
            watch.expect(3, large);
            watch.asked(2);
            let sorted = Sorter { largest: 64, ..Sorter::default() }.sort(&mut BytesMut::from(bytes), &watch);
            sorted.map_err(|wrong| wrong.why)
        };
        assert_eq!(sort(&large(), true), Ok(()));
        assert_eq!(sort(&large(), false), Err("a message of more than 8 MiB"));
        let result = [b"\x30\x7e\x02\x01\x02\x65\x79".as_slice(), &[0; 121]].concat();
        assert_eq!(sort(&result, true), Err("a message that is too large and not an entry"));
        // 200 MiB, of which all that has come is the name; and the same again.
        let start = b"\x30\x84\x0c\x80\x00\x00\x02\x01\x02\x64\x84\x0c\x00\x00\x00\x04\x05uid=c";
        let watch = Watch::default();
        watch.expect(3, true);
        watch.asked(2);
        let mut sorter = Sorter::default();
        assert_eq!(sorter.sort(&mut BytesMut::from(&start[..]), &watch), Ok(()));
        assert_eq!((watch.searches().asked[&2].found.len(), sorter.rest), (1, (200 << 20) + 6 - start.len()));
        sorter.rest = 0;
        let again = sorter.sort(&mut BytesMut::from(&start[..]), &watch).map_err(|wrong| wrong.why);
        assert_eq!(again, Err("entries of more than 256 MiB in a page"));
    }

    /// The same message with another id.
    fn of(id: u8, message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        message[4] = id;
        message
    }

    #[test]
    fn what_several_searches_find_at_the_same_time_is_told_apart_and_none_takes_anothers_share() {
        let watch = Watch::default();
        watch.expect(2, true);
        (2..=3).for_each(|id| watch.asked(id));
        watch.expect(1, false);
        watch.asked(4);
        let mut sorter = Sorter::default();
        let mut sort = |bytes: &[u8]| sorter.sort(&mut BytesMut::from(bytes), &watch);
        let mixed = [of(2, ENTRY), of(3, ENTRY), of(4, ENTRY), of(3, DONE), of(2, ENTRY), of(2, DONE)];
        assert_eq!(sort(&mixed.concat()), Ok(()));
        assert_eq!((watch.take(3).len(), watch.take(2).len(), watch.take(2).len()), (1, 2, 0));
        assert_eq!(
            watch.searches().bytes,
            i64::try_from(ENTRY.len()).expect("small"),
            "of the one that is left"
        );
        let wrong = sort(&of(4, ENTRY)).expect_err("one was asked for");
        assert_eq!((wrong.why, wrong.search), ("more entries than were asked for in one page", Some(4)));
        watch.violated(wrong);
        assert!(watch.violation_in(Some(4)).is_some() && watch.violation_in(None).is_some());
        assert_eq!(watch.violation_in(Some(5)), None, "it is not the fault of the others");
    }

    #[test]
    fn nothing_is_an_answer_to_a_search_that_nobody_asked_or_that_is_over() {
        let not_asked = Err("an answer to a search that was not asked");
        let sort = |bytes: &[u8]| {
            let watch = Watch::default();
            watch.expect(9, true);
            watch.asked(2);
            let sorted = Sorter { largest: 64, ..Sorter::default() }.sort(&mut BytesMut::from(bytes), &watch);
            sorted.map_err(|wrong| wrong.why)
        };
        for message in [ENTRY, DONE, &large()] {
            assert_eq!(sort(&of(3, message)), not_asked);
            assert_eq!(sort(&[DONE, message].concat()), not_asked);
            assert_eq!(sort(message), Ok(()));
        }
    }

    #[test]
    fn only_the_whole_answer_to_start_tls_and_nothing_behind_it_starts_tls() {
        for end in 0..STARTED.len() {
            assert_eq!(may_start_tls(&STARTED[..end]), Ok(false), "{end}");
        }
        assert_eq!(may_start_tls(STARTED), Ok(true));
        assert!(may_start_tls(&[STARTED, b"\x30"].concat()).is_err());
        assert!(may_start_tls(DONE).is_err());
    }

    proptest! {
        /// How the network cuts the bytes changes nothing, whatever one of them became on the way.
        #[test]
        fn the_cuts_of_the_network_change_nothing(
            entries in 0usize..4, larges in 0usize..2, cuts in proptest::collection::vec(0usize..80, 0..12), at in any::<prop::sample::Index>(),
            byte in any::<Option<u8>>(),
        ) {
            let mut bytes = [ENTRY.repeat(entries), large().repeat(larges), DONE.to_vec()].concat();
            if let Some(byte) = byte {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let whole = sort_pieces(std::iter::once(&bytes[..]), 3, 64);
            let cut = sort_pieces(pieces(&bytes, &cuts).into_iter(), 3, 64);
            prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        }

        #[test]
        fn no_bytes_make_the_guard_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let _ = sort_pieces(pieces(&bytes, &[cut]).into_iter(), 3, 64);
            let _ = may_start_tls(&bytes);
        }
    }
}
