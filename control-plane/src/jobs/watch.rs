//! Shows a job live: what the store says, whenever it differs from what was shown last.

use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{Jobs, JobsError};
use crate::model::{SourceId, SyncJob, TenantId};

/// How often to look. Counts change with every batch, so waking on each change would only mean more
/// looking.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

impl Jobs {
    /// The job at once, then whenever it has changed; ends with the job. A watcher that does not
    /// read misses what is in between.
    pub fn watch(
        &self,
        tenant: TenantId,
        source: SourceId,
        id: Option<Uuid>,
    ) -> impl Stream<Item = Result<SyncJob, JobsError>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(1);
        let inner = std::sync::Arc::clone(&self.inner);
        tokio::spawn(async move {
            let mut shown: Option<SyncJob> = None;
            loop {
                let changed = inner.changed.notified();
                // `latest` is looked up once: a later job is another one.
                let id = shown.as_ref().map(|job| job.id).or(id);
                match inner.store.job(&tenant, &source, id).await {
                    Err(error) => {
                        let _ = sender.send(Err(error.into())).await;
                        return;
                    }
                    Ok(job) => {
                        let ended = job.state.ended();
                        if shown.as_ref() != Some(&job) {
                            shown = Some(job.clone());
                            if sender.send(Ok(job)).await.is_err() {
                                return;
                            }
                        }
                        if ended {
                            return;
                        }
                    }
                }
                tokio::select! {
                    () = sender.closed() => return,
                    () = inner.shutdown.cancelled() => return,
                    () = changed => {}
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}
