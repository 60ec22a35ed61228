//! Streams what the store reads in pages. The next page is read once the client has taken the
//! previous one.

use std::pin::Pin;

use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::status;
use crate::store;

/// Items that are read at once.
pub(in crate::api) const PAGE_ITEMS: i64 = 1_000;
/// Messages that wait for a slow reader.
const MAX_QUEUED_MESSAGES: usize = 64;

/// What an export answers with.
pub(in crate::api) type PagedStream<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// Starts an export: `head`, if there is one, and what `message` makes of each item that `page`
/// reads after a position. The first page is read before this answers: its error is the call's.
pub(in crate::api) async fn open<T, M, F>(
    head: Option<M>,
    mut page: impl FnMut(i64) -> F + Send + 'static,
    message: impl Fn(T) -> Result<M, Status> + Send + 'static,
) -> Result<Response<PagedStream<M>>, Status>
where
    T: Send + 'static,
    M: Send + 'static,
    F: Future<Output = store::Result<Vec<(i64, T)>>> + Send,
{
    let mut items = page(0).await.map_err(status::from_store)?;
    let (sender, receiver) = tokio::sync::mpsc::channel(MAX_QUEUED_MESSAGES);
    tokio::spawn(async move {
        if let Some(head) = head
            && sender.send(Ok(head)).await.is_err()
        {
            return;
        }
        while let Some((last, _)) = items.last() {
            let after = *last;
            for (_, item) in items {
                // Whoever goes away ends the export; whoever reads slowly slows it down.
                if sender.send(message(item)).await.is_err() {
                    return;
                }
            }
            items = match page(after).await {
                Ok(items) => items,
                Err(error) => {
                    let _ = sender.send(Err(status::from_store(error))).await;
                    return;
                }
            };
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
}
