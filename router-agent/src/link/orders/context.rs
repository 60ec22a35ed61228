//! What all orders of one session share: the configuration, the way back, and the session's end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rollcall_proto::router::v1::{SessionRequest, session_request::Message};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::refusal_log::RefusalLog;
use crate::config::Config;

/// What all orders of one session share.
#[derive(Clone)]
pub(super) struct OrderContext {
    pub(super) config: Arc<Config>,
    /// Canceled when the session ends; what was ordered in it ends, too.
    pub(super) session_end: CancellationToken,
    sender: mpsc::Sender<SessionRequest>,
    refusal_log: Arc<Mutex<RefusalLog>>,
}

impl OrderContext {
    pub(super) fn new(
        config: Arc<Config>,
        sender: mpsc::Sender<SessionRequest>,
        session_end: CancellationToken,
    ) -> Self {
        Self { config, session_end, sender, refusal_log: Arc::default() }
    }

    /// Sends an answer. If the session is lost, so is what was ordered in it.
    pub(super) async fn send(&self, message: Message) {
        let _ = self.sender.send(SessionRequest { message: Some(message) }).await;
    }

    /// Sends an answer if there is room for it: a control plane that does not read the answers to
    /// so many orders does not get them.
    pub(super) fn try_send(&self, message: Message) {
        let _ = self.sender.try_send(SessionRequest { message: Some(message) });
    }

    /// Records that an order was refused, and by which keys of the policy.
    pub(super) fn record_refusal(&self, order: &'static str, keys: &str) {
        let mut log = self.refusal_log.lock().unwrap_or_else(PoisonError::into_inner);
        log.record(Instant::now(), order, keys);
    }
}
