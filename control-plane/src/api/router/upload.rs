//! One upload: passes the records of one read to the intake and acknowledges each batch once it is
//! committed. A router has at most one window of batches without an answer, so a slow database
//! slows the read of the directory and no memory fills up here.

use futures_util::FutureExt as _;
use rollcall_proto::router::v1::{
    Applied, Opened, UploadRequest, UploadResponse, Want, upload_request, upload_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::convert;
use super::link::{RouterIdentity, RouterLink};
use crate::jobs::{IntakeError, Wanted};
use crate::store::StoreError;

type Sender = mpsc::Sender<Result<UploadResponse, Status>>;

/// Starts an upload.
pub(super) fn start(
    link: RouterLink,
    router: RouterIdentity,
    messages: Streaming<UploadRequest>,
) -> ReceiverStream<Result<UploadResponse, Status>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(status) = serve(&link, &router, messages, &sender).await {
            tracing::info!(tenant = %router.tenant, router = %router.router, %status, "upload ended early");
            let _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(receiver)
}

async fn serve(
    link: &RouterLink,
    router: &RouterIdentity,
    mut messages: Streaming<UploadRequest>,
    sender: &Sender,
) -> Result<(), Status> {
    let Some(upload_request::Message::Open(open)) = receive(link, &mut messages).await? else {
        return Err(Status::invalid_argument("the first message of an upload must be Open"));
    };
    let job = convert::parse_job_id(&router.tenant, &open.sync_job)?;
    let mut intake = link
        .jobs
        .open_upload(&router.tenant, &router.router, job, open.epoch)
        .ok_or_else(|| Status::aborted("this read is not ordered, or was opened before"))?;
    send(sender, upload_response::Message::Opened(Opened {})).await?;
    loop {
        // What has arrived is gathered; when nothing more is there at once, or enough, it is
        // committed and answered.
        let message = match receive(link, &mut messages).now_or_never() {
            Some(message) if !intake.has_enough() => message?,
            arrived => {
                if intake.has_gathered() {
                    for sequence in intake.commit().await.map_err(intake_status)? {
                        send(sender, upload_response::Message::Applied(Applied { sequence })).await?;
                    }
                }
                match arrived {
                    Some(message) => message?,
                    None => receive(link, &mut messages).await?,
                }
            }
        };
        // The end of the stream is never completion: without Complete or Failed the read is lost,
        // and ordered again.
        let Some(message) = message else {
            return Err(Status::aborted("the upload ended without Complete or Failed"));
        };
        match message {
            upload_request::Message::Open(_) => return Err(Status::invalid_argument("a second Open")),
            upload_request::Message::Offer(offer) => {
                let (sequence, offered, rejected) = convert::offer_from_proto(offer)?;
                let wanted = intake.offer(sequence, offered, rejected).await.map_err(intake_status)?;
                let Wanted { positions, prove_mark } = wanted;
                send(sender, upload_response::Message::Want(Want { sequence, positions, prove_mark }))
                    .await?;
            }
            upload_request::Message::Records(records) => {
                let sequence = records.sequence;
                if intake.reads_both_ids() {
                    let paired = convert::paired_from_proto(intake.fence().tenant, records)?;
                    intake.paired(sequence, paired).map_err(intake_status)?;
                    continue;
                }
                let (records, rejected) = convert::records_from_proto(intake.fence().tenant, records)?;
                intake.records(sequence, records, rejected).map_err(intake_status)?;
            }
            upload_request::Message::Complete(complete) => {
                return intake
                    .complete(convert::completed_from_proto(complete)?)
                    .await
                    .map_err(intake_status);
            }
            upload_request::Message::Failed(failure) => {
                match failure.interrupted {
                    true => intake.broken_off(convert::failure_from_proto(failure)),
                    false => intake.failed(convert::failure_from_proto(failure)),
                }
                return Ok(());
            }
        }
    }
}

async fn receive(
    link: &RouterLink,
    messages: &mut Streaming<UploadRequest>,
) -> Result<Option<upload_request::Message>, Status> {
    let idle = link.jobs.idle_deadline();
    let message = tokio::time::timeout(idle, messages.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the upload was silent for too long"))??;
    match message {
        None => Ok(None),
        Some(message) => {
            message.message.map(Some).ok_or_else(|| Status::invalid_argument("an empty message"))
        }
    }
}

async fn send(sender: &Sender, message: upload_response::Message) -> Result<(), Status> {
    sender
        .send(Ok(UploadResponse { message: Some(message) }))
        .await
        .map_err(|_| Status::cancelled("the identity router went away"))
}

fn intake_status(error: IntakeError) -> Status {
    match error {
        IntakeError::Protocol(what) => Status::invalid_argument(what),
        IntakeError::Store(StoreError::Fenced) => Status::aborted("the job has ended, or is read anew"),
        IntakeError::Interrupted => {
            Status::unavailable("the database does not take records in; wait to be asked again")
        }
        IntakeError::Store(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot apply records");
            Status::unavailable("the database is not available; try again")
        }
    }
}
