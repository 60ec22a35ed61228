//! One upload: pages of the directory are mapped, cut into batches, offered, and sent as far as
//! they are wanted. No more than the window's batches are unanswered; while it is full no page is
//! taken, and the read of the directory waits.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{
    AttributeCount, Complete, Freshness, Offer, Open, ReadFailure, Records, RootRead, SyncOrder,
    UploadRequest, UploadResponse, UserRecord, Want, upload_request, upload_response,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::authorize::PreparedRead;
use super::batches::{Batch, Batches};
use super::limits::window_and_batch;
use crate::directory::{self, DirectoryError, ReadComplete, Timeouts};
use crate::record::{AttributeCounts, Entry, Mapped, map_entry};

/// Reads and uploads; says in a few words how it ended.
pub(super) async fn run(
    mut client: RouterServiceClient<Channel>,
    order: SyncOrder,
    read: PreparedRead,
) -> Result<&'static str> {
    let (sender, receiver) = mpsc::channel(2);
    let open = Open { sync_job: order.sync_job.clone(), epoch: order.epoch };
    sender.send(to_request(upload_request::Message::Open(open))).await?;
    let refused = |status: tonic::Status| anyhow::anyhow!("{}", status.message());
    let mut replies = client.upload(ReceiverStream::new(receiver)).await.map_err(refused)?.into_inner();
    match next_reply(&mut replies).await? {
        Some(upload_response::Message::Opened(_)) => {}
        _ => bail!("the control plane did not open the upload"),
    }
    let (sink, pages) = mpsc::channel(1);
    let PreparedRead { mapping, request, credential, tls } = read;
    let directory = DirectoryRead(tokio::spawn(async move {
        directory::read(&request, &credential, tls, &Timeouts::default(), sink).await
    }));
    let (window, max_records) = window_and_batch(&order);
    let mut upload = Upload {
        sender,
        replies,
        records_only: order.records_only,
        window,
        unfinished: BTreeMap::new(),
        sequence: 0,
        records: 0,
        rejected: 0,
        attribute_counts: AttributeCounts::new(mapping.attributes()),
    };
    let batches = Batches::new(max_records);
    upload.send_all(pages, batches, |entry| map_entry(&mapping, entry)).await?;
    upload.finish(directory.result().await).await
}

/// The task that reads; it ends with the upload.
struct DirectoryRead(JoinHandle<Result<ReadComplete, DirectoryError>>);

impl DirectoryRead {
    async fn result(mut self) -> Result<ReadComplete, DirectoryError> {
        let panicked = || DirectoryError::Protocol {
            server: "the directory".to_owned(),
            why: "an answer that nothing expects".to_owned(),
        };
        (&mut self.0).await.unwrap_or_else(|_| Err(panicked()))
    }
}

impl Drop for DirectoryRead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn to_request(message: upload_request::Message) -> UploadRequest {
    UploadRequest { message: Some(message) }
}

async fn next_reply(replies: &mut Streaming<UploadResponse>) -> Result<Option<upload_response::Message>> {
    let reply = replies.message().await.map_err(|status| anyhow::anyhow!("{}", status.message()))?;
    Ok(reply.and_then(|reply| reply.message))
}

struct Upload {
    sender: mpsc::Sender<UploadRequest>,
    replies: Streaming<UploadResponse>,
    records_only: bool,
    window: usize,
    /// Batches without their last answer, with what may still be asked for.
    unfinished: BTreeMap<u64, Vec<UserRecord>>,
    sequence: u64,
    records: u64,
    rejected: u64,
    /// Over all roots, rejected entries too.
    attribute_counts: AttributeCounts,
}

impl Upload {
    async fn send_all(
        &mut self,
        mut pages: mpsc::Receiver<Vec<Entry>>,
        mut batches: Batches,
        map: impl Fn(&Entry) -> Mapped,
    ) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                reply = next_reply(&mut self.replies), if !self.unfinished.is_empty() => self.handle_reply(reply?).await?,
                page = pages.recv(), if self.unfinished.len() < self.window => {
                    let Some(page) = page else { break };
                    for entry in page {
                        self.attribute_counts.add(&entry);
                        if let Some(batch) = batches.push(map(&entry)) {
                            self.send_batch(batch).await?;
                        }
                    }
                }
            }
        }
        if let Some(batch) = batches.finish() {
            self.send_batch(batch).await?;
        }
        while !self.unfinished.is_empty() {
            let reply = next_reply(&mut self.replies).await?;
            self.handle_reply(reply).await?;
        }
        Ok(())
    }

    /// Sends a batch as soon as the window allows.
    async fn send_batch(&mut self, batch: Batch) -> Result<()> {
        while self.unfinished.len() >= self.window {
            let reply = next_reply(&mut self.replies).await?;
            self.handle_reply(reply).await?;
        }
        self.sequence += 1;
        let sequence = self.sequence;
        let Batch { records, rejected, .. } = batch;
        self.records += records.len() as u64;
        self.rejected += rejected.len() as u64;
        let message = if self.records_only {
            self.unfinished.insert(sequence, Vec::new());
            upload_request::Message::Records(Records { sequence, records, rejected })
        } else {
            let immutable_ids = records.iter().map(|record| record.immutable_id.clone()).collect();
            let mut digests = Vec::with_capacity(records.len() * 16);
            records.iter().for_each(|record| digests.extend_from_slice(&record.digest));
            self.unfinished.insert(sequence, records);
            upload_request::Message::Offer(Offer {
                sequence,
                immutable_ids,
                digests: digests.into(),
                rejected,
            })
        };
        self.sender.send(to_request(message)).await.context("the upload is lost")
    }

    async fn handle_reply(&mut self, reply: Option<upload_response::Message>) -> Result<()> {
        match reply {
            None => bail!("the control plane ended the upload"),
            Some(upload_response::Message::Opened(_)) => bail!("the control plane opened the upload twice"),
            Some(upload_response::Message::Applied(applied)) => {
                self.unfinished
                    .remove(&applied.sequence)
                    .context("an answer to a batch that was not sent")?;
                Ok(())
            }
            Some(upload_response::Message::Want(Want { sequence, positions, prove_mark: _ })) => {
                let offered =
                    self.unfinished.remove(&sequence).context("an answer to a batch that was not sent")?;
                if positions.is_empty() {
                    return Ok(());
                }
                let records = pick_wanted(offered, &positions)?;
                self.unfinished.insert(sequence, Vec::new());
                let records = Records { sequence, records, rejected: Vec::new() };
                self.sender
                    .send(to_request(upload_request::Message::Records(records)))
                    .await
                    .context("the upload is lost")
            }
        }
    }

    /// Says how the read ended, and waits until the control plane has heard it.
    async fn finish(mut self, result: Result<ReadComplete, DirectoryError>) -> Result<&'static str> {
        let (message, summary) = match result {
            Ok(complete) => {
                tracing::info!(records = self.records, rejected = self.rejected, "directory read to its end");
                (upload_request::Message::Complete(self.completion(&complete)), "complete")
            }
            Err(error) => {
                let reason = error.failure_reason();
                let failure = ReadFailure { reason: reason.into(), message: error.to_string() };
                tracing::warn!(?reason, "directory not read");
                (upload_request::Message::Failed(failure), "failed")
            }
        };
        self.sender.send(to_request(message)).await.context("the upload is lost")?;
        drop(self.sender);
        match next_reply(&mut self.replies).await? {
            None => Ok(summary),
            Some(_) => bail!("the control plane goes on after the end"),
        }
    }

    fn completion(&self, complete: &ReadComplete) -> Complete {
        let roots = complete.roots().iter().map(|root| RootRead {
            root: root.root.clone(),
            // Zero where the root is missing.
            base_fingerprint: root.fingerprint.to_vec().into(),
            pages: root.pages,
            entries: root.entries,
            ignored_references: root.ignored_references,
            missing: root.missing,
        });
        let attributes = self.attribute_counts.counts();
        let attributes =
            attributes.map(|(name, entries)| AttributeCount { attribute: name.to_owned(), entries });
        let directory::Freshness { context_csns, invocation_id, highest_committed_usn } =
            complete.freshness().clone();
        let freshness = Freshness {
            context_csns,
            invocation_id: invocation_id.map(|id| id.to_vec()).unwrap_or_default().into(),
            highest_committed_usn: highest_committed_usn.unwrap_or_default(),
            last_usn: 0,
        };
        Complete {
            batches: self.sequence,
            records: self.records,
            rejected: self.rejected,
            server: complete.server().to_owned(),
            roots: roots.collect(),
            attributes: attributes.collect(),
            freshness: Some(freshness),
        }
    }
}

/// The wanted records of a batch.
fn pick_wanted(offered: Vec<UserRecord>, positions: &[u32]) -> Result<Vec<UserRecord>> {
    let mut wanted = positions.iter().map(|position| *position as usize).peekable();
    let mut records = Vec::with_capacity(positions.len());
    for (position, record) in offered.into_iter().enumerate() {
        if wanted.next_if_eq(&position).is_some() {
            records.push(record);
        }
    }
    if wanted.next().is_some() {
        bail!("the control plane wants a record that was not offered");
    }
    Ok(records)
}
