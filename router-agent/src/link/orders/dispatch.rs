//! Begins what the control plane orders: reads, at most one a job, look-ups, connection tests, and
//! orders for one user. What is refused is answered with the reason, and stands in the router's
//! log.

use std::collections::HashMap;
use std::sync::Arc;

use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::session_request::Message;
use rollcall_proto::router::v1::{
    FetchOrder, LookupOrder, SessionRequest, SyncOrder, SyncRefused, TestOrder, TestResult, VerifyOrder,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use super::authorize::{Unauthorized, prepare_read};
use super::context::OrderContext;
use super::fetch_user::{self, UserFetches};
use super::limits::{LIMITS_KEY, LimitExceeded, OrderLimits, QueuePermit, check_size, is_valid_name};
use super::password_attempts::PasswordAttempts;
use super::reply::limit_failure;
use super::{lookup_users, test_connection, upload, verify_password};
use crate::config::Config;

/// Jobs that are remembered for the epoch of their last read.
const MAX_REMEMBERED_JOBS: usize = 1_000;
/// Bytes of a job's id in the log.
const MAX_LOGGED_ID_BYTES: usize = 64;

/// Orders of one session. Dropping it cancels whatever they started.
pub(in crate::link) struct Orders {
    context: OrderContext,
    client: RouterServiceClient<Channel>,
    reads: HashMap<String, JobRead>,
    limits: OrderLimits,
    fetches: UserFetches,
    _end: DropGuard,
}

/// A read of a job, or one that has ended.
struct JobRead {
    epoch: i64,
    task: JoinHandle<()>,
    _end: DropGuard,
}

impl Orders {
    pub(in crate::link) fn new(
        config: Arc<Config>,
        client: RouterServiceClient<Channel>,
        sender: mpsc::Sender<SessionRequest>,
        session_end: CancellationToken,
        attempts: Arc<PasswordAttempts>,
    ) -> Self {
        let end = session_end.clone().drop_guard();
        let context = OrderContext::new(config, sender, session_end);
        let fetches = UserFetches::new(context.clone(), attempts);
        let (reads, limits) = (HashMap::new(), OrderLimits::default());
        Self { context, client, reads, limits, fetches, _end: end }
    }

    /// Begins a read. A later one of the same job ends an earlier one.
    pub(in crate::link) fn sync(&mut self, order: SyncOrder) {
        if self.reads.get(&order.sync_job).is_some_and(|read| read.epoch >= order.epoch) {
            return;
        }
        if self.reads.len() >= MAX_REMEMBERED_JOBS {
            self.reads.retain(|_, read| !read.task.is_finished());
        }
        let permit = match self.limits.acquire_read(&order) {
            Ok(permit) => permit,
            Err(exceeded) => {
                let SyncOrder { sync_job, epoch, .. } = order;
                let refused = SyncRefused { sync_job, epoch, failure: Some(limit_failure(exceeded)) };
                return self.refuse("SyncOrder", Message::SyncRefused(refused));
            }
        };
        let cancel = self.context.session_end.child_token();
        let (job, epoch, end) = (order.sync_job.clone(), order.epoch, cancel.clone().drop_guard());
        let (context, client) = (self.context.clone(), self.client.clone());
        let task = tokio::spawn(async move {
            let _permit = permit;
            Box::pin(read(&context, client, order, &cancel)).await;
        });
        self.reads.insert(job, JobRead { epoch, task, _end: end });
    }

    /// Ends a read.
    pub(in crate::link) fn cancel(&mut self, job: &str, epoch: i64) {
        if self.reads.get(job).is_some_and(|read| read.epoch <= epoch) {
            self.reads.remove(job);
        }
    }

    /// Looks users up.
    pub(in crate::link) fn look_up(&self, order: LookupOrder) {
        let permit = match self.limits.enqueue_question(&order.request_id, order.settings.as_ref()) {
            Ok(permit) => permit,
            Err(exceeded) => {
                let result = lookup_users::result(order.request_id, Err(limit_failure(exceeded)));
                return self.refuse("LookupOrder", Message::LookupResult(result));
            }
        };
        let context = self.context.clone();
        self.answer(
            permit,
            async move { Message::LookupResult(lookup_users::look_up(&context, order).await) },
        );
    }

    /// Fetches one user.
    pub(in crate::link) fn fetch(&self, order: FetchOrder) {
        if let Err(exceeded) = check_size(&order.request_id, order.settings.as_ref()) {
            let result = fetch_user::failed(order.request_id, limit_failure(exceeded));
            return self.refuse("FetchOrder", Message::FetchResult(result));
        }
        self.fetches.fetch(order);
    }

    /// Has a password verified.
    pub(in crate::link) fn verify(&self, order: VerifyOrder) {
        let user = order.person.as_ref();
        let size = check_size(&order.request_id, user.and_then(|user| user.settings.as_ref()));
        // Directories take an empty password for a bind of nobody, and accept it (RFC 4513, 5.1.2):
        // not even the user is searched.
        if let Err(exceeded) = size.and_then(|()| match verify_password::is_password(&order.password) {
            true => Ok(()),
            false => Err(LimitExceeded::TooLarge),
        }) {
            let result = verify_password::failed(order.request_id.clone(), limit_failure(exceeded));
            return self.refuse("VerifyOrder", Message::VerifyResult(result));
        }
        self.fetches.verify(order);
    }

    /// Tests the connection to every server.
    pub(in crate::link) fn test(&self, order: TestOrder) {
        let permit = match self.limits.enqueue_question(&order.request_id, order.settings.as_ref()) {
            Ok(permit) => permit,
            Err(exceeded) => {
                let servers = vec![test_connection::not_tested(exceeded)];
                let result = TestResult { request_id: order.request_id, servers };
                return self.refuse("TestOrder", Message::TestResult(result));
            }
        };
        let context = self.context.clone();
        self.answer(permit, async move {
            let settings = order.settings.unwrap_or_default();
            let servers = test_connection::test_servers(&context, &settings).await;
            Message::TestResult(TestResult { request_id: order.request_id, servers })
        });
    }

    /// Carries out a look-up or a test once it is its turn, and sends the answer.
    fn answer(&self, permit: QueuePermit, carried_out: impl Future<Output = Message> + Send + 'static) {
        let context = self.context.clone();
        tokio::spawn(async move {
            let answer = async {
                let _running = permit.acquire().await;
                carried_out.await
            };
            tokio::select! {
                () = context.session_end.cancelled() => {}
                message = answer => context.send(message).await,
            }
        });
    }

    /// Refuses what is beyond the limits.
    fn refuse(&self, order: &'static str, message: Message) {
        self.context.record_refusal(order, LIMITS_KEY);
        let name = match &message {
            Message::SyncRefused(refused) => &refused.sync_job,
            Message::LookupResult(result) => &result.request_id,
            Message::TestResult(result) => &result.request_id,
            Message::FetchResult(result) => &result.request_id,
            Message::VerifyResult(result) => &result.request_id,
            _ => return,
        };
        if is_valid_name(name) {
            self.context.try_send(message);
        }
    }
}

/// Reads a source and uploads it, until it is canceled.
async fn read(
    context: &OrderContext,
    client: RouterServiceClient<Channel>,
    order: SyncOrder,
    cancel: &CancellationToken,
) {
    let settings = order.settings.clone().unwrap_or_default();
    match prepare_read(&context.config, &settings, order.revision, order.former.as_ref()) {
        Err(Unauthorized { failure, keys }) => {
            tracing::debug!(job = job_id(&order.sync_job), reason = ?failure.reason(), "read refused");
            context.record_refusal("SyncOrder", &keys);
            let SyncOrder { sync_job, epoch, .. } = order;
            let refused = SyncRefused { sync_job, epoch, failure: Some(failure) };
            context.send(Message::SyncRefused(refused)).await;
        }
        Ok(prepared) => {
            let id = job_id(&order.sync_job).to_owned();
            tracing::info!(job = id, epoch = order.epoch, "reading");
            tokio::select! {
                () = cancel.cancelled() => tracing::info!(job = id, "read canceled"),
                result = upload::run(client, order, prepared) => match result {
                    Ok(summary) => tracing::info!(job = id, summary, "read ended"),
                    Err(error) => tracing::warn!(job = id, error = format!("{error:#}"), "upload lost"),
                },
            }
        }
    }
}

/// The id of a job in its resource name: all that a log needs.
fn job_id(name: &str) -> &str {
    let id = name.rsplit('/').next().unwrap_or(name);
    id.get(..MAX_LOGGED_ID_BYTES).unwrap_or(id)
}
