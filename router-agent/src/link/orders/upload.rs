//! One upload: pages of the directory are mapped, cut into batches, offered, and sent as far as
//! they are wanted. No more than the window's batches are unanswered; while it is full no page is
//! taken, and the read of the directory waits.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{
    AttributeCount, Complete, Offer, Open, ReadFailure, Records, RootRead, SyncOrder, UploadRequest,
    UploadResponse, UserRecord, Want, upload_request, upload_response,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::authorize::PreparedRead;
use super::batches::{Batch, Batches, MappedRecord};
use super::limits::window_and_batch;
use super::reply::to_proto_freshness;
use crate::directory::{
    self, DirectoryError, MarkProver, ReadComplete, Server, Timeouts, Unproved, VersionSource,
};
use crate::record::{AttributeCounts, Entry, Mapped, Mapping, map_entry, unseen_marks};

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
    let timeouts = Timeouts::default();
    let (credential_again, tls_again) = (credential.clone(), Arc::clone(&tls));
    let prover =
        MarkProver::new(request.clone(), mapping.clone(), credential_again, tls_again, timeouts.clone());
    // Set before the first page comes.
    let opened: Arc<OnceLock<(Server, VersionSource)>> = Arc::default();
    let opening = Arc::clone(&opened);
    let directory = DirectoryRead(tokio::spawn(async move {
        let open = directory::open_read(&request, &credential, tls, &timeouts).await?;
        let _ = opening.set((open.server().clone(), open.versions().clone()));
        open.run(&request, &timeouts, sink).await
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
        mapping,
        opened,
        prover,
    };
    upload.send_all(pages, Batches::new(max_records)).await?;
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
    unfinished: BTreeMap<u64, Vec<MappedRecord>>,
    sequence: u64,
    records: u64,
    rejected: u64,
    /// Over all roots, rejected entries too.
    attribute_counts: AttributeCounts,
    mapping: Mapping,
    /// The server that is read, and where its entries have their version.
    opened: Arc<OnceLock<(Server, VersionSource)>>,
    prover: MarkProver,
}

impl Upload {
    async fn send_all(&mut self, mut pages: mpsc::Receiver<Vec<Entry>>, mut batches: Batches) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                reply = next_reply(&mut self.replies), if !self.unfinished.is_empty() => self.handle_reply(reply?).await?,
                page = pages.recv(), if self.unfinished.len() < self.window => {
                    let Some(page) = page else { break };
                    for entry in page {
                        self.attribute_counts.add(&entry);
                        let unseen = unseen_marks(&self.mapping, &entry);
                        if let Some(batch) = batches.push(self.map(&entry), unseen) {
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

    /// What becomes of an entry, with its version.
    fn map(&self, entry: &Entry) -> Mapped {
        let mut mapped = map_entry(&self.mapping, entry);
        let version = self.opened.get().and_then(|(_, versions)| versions.version_of(entry));
        match &mut mapped {
            Mapped::Record(record) => record.version = version,
            Mapped::Rejected(rejected) => rejected.version = version,
        }
        mapped
    }

    /// The records; those at these positions say whether their mark is proved.
    async fn prove(
        &mut self,
        mut records: Vec<MappedRecord>,
        is_asked: impl Fn(usize) -> bool,
    ) -> Vec<UserRecord> {
        let needs_proof = |(at, one): &(usize, &MappedRecord)| {
            is_asked(*at) && !one.record.disabled && !one.record.mark_proved
        };
        let positions: Vec<_> = records.iter().enumerate().filter(needs_proof).map(|(at, _)| at).collect();
        if let (false, Some((server, _))) = (positions.is_empty(), self.opened.get()) {
            let unproved = positions.iter().map(|at| {
                let MappedRecord { record, unseen } = &records[*at];
                let (id, dn) = (record.immutable_id.clone(), record.distinguished_name.clone());
                Unproved { id, dn, unseen: *unseen }
            });
            let unproved: Vec<_> = unproved.collect();
            let proved = self.prover.prove(server, &unproved).await;
            for (at, is_proved) in positions.into_iter().zip(proved) {
                records[at].record.mark_proved = is_proved;
            }
        }
        records.into_iter().map(|one| one.record).collect()
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
            let records = self.prove(records, |_| true).await;
            upload_request::Message::Records(Records { sequence, records, rejected })
        } else {
            let immutable_ids = records.iter().map(|one| one.record.immutable_id.clone()).collect();
            let mut digests = Vec::with_capacity(records.len() * 16);
            records.iter().for_each(|one| digests.extend_from_slice(&one.record.digest));
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
            Some(upload_response::Message::Want(Want { sequence, positions, prove_mark })) => {
                let offered =
                    self.unfinished.remove(&sequence).context("an answer to a batch that was not sent")?;
                if positions.is_empty() {
                    return Ok(());
                }
                let records = pick_wanted(offered, &positions)?;
                let is_asked =
                    |at: usize| positions.get(at).is_some_and(|position| prove_mark.contains(position));
                let records = self.prove(records, is_asked).await;
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
                let failure = ReadFailure {
                    reason: reason.into(),
                    message: error.to_string(),
                    interrupted: error.is_interruption(),
                };
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
            fingerprint_attribute: root.fingerprint_attribute.clone(),
        });
        let attributes = self.attribute_counts.counts();
        let attributes =
            attributes.map(|(name, entries)| AttributeCount { attribute: name.to_owned(), entries });
        Complete {
            batches: self.sequence,
            records: self.records,
            rejected: self.rejected,
            server: complete.server().to_owned(),
            roots: roots.collect(),
            attributes: attributes.collect(),
            freshness: Some(to_proto_freshness(complete.freshness().clone())),
        }
    }
}

/// The wanted records of a batch.
fn pick_wanted(offered: Vec<MappedRecord>, positions: &[u32]) -> Result<Vec<MappedRecord>> {
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
