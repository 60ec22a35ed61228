//! Stands between the network and the ldap3 crate and lets through only messages that `ber` has
//! checked.
//!
//! The crate sees one end of a socket pair and nothing else: it asks, and it reads the results.
//! What a search found does not pass through the crate. `response_sorter` lays it down in
//! `search_budget` by message id, before the result that ends the search.

use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::AbortHandle;

use super::response_sorter::ResponseSorter;
use super::search_budget::SearchBudgets;
use super::{DirectoryError, ber};

const RESPONSE_BUFFER_BYTES: usize = 256 << 10;
const REQUEST_BUFFER_BYTES: usize = 16 << 10;

/// A guarded connection. Dropping it closes the connection.
pub(super) struct Guarded {
    /// What ldap3 is given.
    pub(super) stream: StdUnixStream,
    /// What happens on it.
    pub(super) budgets: Arc<SearchBudgets>,
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
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn guard<S>(server: S, certificate: Option<Vec<u8>>) -> Result<Guarded, DirectoryError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let internal = |error: std::io::Error| {
        DirectoryError::Unreachable(format!("a socket pair could not be made ({error})"))
    };
    let (ours, stream) = StdUnixStream::pair().map_err(internal)?;
    ours.set_nonblocking(true).map_err(internal)?;
    let ours = UnixStream::from_std(ours).map_err(internal)?;
    let budgets = Arc::new(SearchBudgets::default());
    let relay = tokio::spawn(relay(server, ours, Arc::clone(&budgets)));
    Ok(Guarded { stream, budgets, certificate, relay: Relay(relay.abort_handle()) })
}

async fn relay<S: AsyncRead + AsyncWrite>(server: S, client: UnixStream, budgets: Arc<SearchBudgets>) {
    let (from_server, to_server) = tokio::io::split(server);
    let (from_client, to_client) = client.into_split();
    tokio::select! {
        // Either side's end is the connection's end.
        () = forward_requests(from_client, to_server, &budgets) => {}
        () = forward_responses(from_server, to_client, &budgets) => {}
    }
}

/// Passes on what the crate asks, and remembers which searches those are.
async fn forward_requests(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    budgets: &SearchBudgets,
) {
    let mut buffer = BytesMut::with_capacity(REQUEST_BUFFER_BYTES);
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
                budgets.start(search);
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
async fn forward_responses(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    budgets: &SearchBudgets,
) {
    let mut buffer = BytesMut::with_capacity(RESPONSE_BUFFER_BYTES);
    let mut sorter = ResponseSorter::default();
    loop {
        // read_buf reads what there is room for: a buffer never grows by what a header promises.
        if buffer.capacity() - buffer.len() < RESPONSE_BUFFER_BYTES / 16 {
            buffer.reserve(RESPONSE_BUFFER_BYTES);
        }
        match server.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Err(violation) = sorter.sort(&mut buffer, budgets) {
            budgets.record_violation(violation);
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
