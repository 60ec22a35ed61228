//! The identity routers that are connected to this replica, and the orders they are sent. What they are sent is forgotten with
//! the session: whoever gave an order gives it again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollcall_proto::admin::v1::DirectoryServerTest;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::model::{RouterId, SourceId, SourceSettings, TenantId};

/// Orders that a slow router may have outstanding; more, and the session is as good as lost.
const OUTSTANDING_ORDERS: usize = 64;

/// What a router is told to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Read a source and upload it.
    Sync(Box<SyncOrder>),
    /// Stop reading.
    Cancel {
        /// The source of the job.
        source: SourceId,
        /// The job.
        job: Uuid,
        /// The read.
        epoch: i64,
    },
    /// Test the connection to a source's directory servers.
    Test {
        /// Comes back in the answer.
        request: String,
        /// What to test.
        settings: Box<SourceSettings>,
    },
}

/// A read that is ordered.
#[derive(Clone, Debug)]
pub struct SyncOrder {
    /// The source of the job.
    pub source: SourceId,
    /// The job.
    pub job: Uuid,
    /// The read.
    pub epoch: i64,
    /// What to read.
    pub settings: SourceSettings,
    /// Its revision.
    pub revision: i32,
    /// No user of the source is known: send records at once.
    pub records_only: bool,
}

/// What a connection test found.
#[derive(Clone, Debug)]
pub struct ConnectionTest {
    /// Who tested.
    pub router: RouterId,
    /// One result a server.
    pub servers: Vec<DirectoryServerTest>,
}

type Answers = Mutex<HashMap<String, oneshot::Sender<Vec<DirectoryServerTest>>>>;

/// A connected router.
#[derive(Clone)]
pub struct Session {
    number: u64,
    tenant: TenantId,
    router: RouterId,
    orders: mpsc::Sender<Order>,
    answers: Arc<Answers>,
    closed: CancellationToken,
}

impl Session {
    /// The router.
    #[must_use]
    pub fn router(&self) -> &RouterId {
        &self.router
    }

    /// Ends when the session does.
    #[must_use]
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Gives an order. False if the session is lost.
    pub(super) fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// Orders a connection test and waits for its answer; none if the session is lost meanwhile.
    pub(super) async fn test(&self, settings: SourceSettings) -> Option<Vec<DirectoryServerTest>> {
        let request = Uuid::now_v7().to_string();
        let (answer, answered) = oneshot::channel();
        self.answers().insert(request.clone(), answer);
        if !self.order(Order::Test { request, settings: Box::new(settings) }) {
            return None;
        }
        tokio::select! {
            servers = answered => servers.ok(),
            () = self.closed.cancelled() => None,
        }
    }

    /// Hands on the answer to a connection test; one that nobody waits for is dropped.
    pub fn answer_test(&self, request: &str, servers: Vec<DirectoryServerTest>) {
        if let Some(answer) = self.answers().remove(request) {
            let _ = answer.send(servers);
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Vec<DirectoryServerTest>>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All sessions of this replica.
#[derive(Default)]
pub(super) struct Sessions {
    sessions: Mutex<BTreeMap<(TenantId, RouterId), Session>>,
    next: AtomicU64,
}

impl Sessions {
    pub(super) fn open(&self, tenant: TenantId, router: RouterId) -> (Session, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(OUTSTANDING_ORDERS);
        let session = Session {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            tenant: tenant.clone(),
            router: router.clone(),
            orders,
            answers: Arc::default(),
            closed: CancellationToken::new(),
        };
        if let Some(older) = self.lock().insert((tenant, router), session.clone()) {
            older.closed.cancel();
        }
        (session, receiver)
    }

    pub(super) fn close(&self, session: &Session) -> bool {
        session.closed.cancel();
        let key = (session.tenant.clone(), session.router.clone());
        let mut sessions = self.lock();
        let newest = sessions.get(&key).is_some_and(|current| current.number == session.number);
        if newest {
            sessions.remove(&key);
        }
        newest
    }

    pub(super) fn connected(&self, tenant: &TenantId) -> Vec<RouterId> {
        self.lock().keys().filter(|(of, _)| of == tenant).map(|(_, router)| router.clone()).collect()
    }

    /// The first connected router of the preferred ones; with no preference, any of the tenant.
    pub(super) fn pick(&self, tenant: &TenantId, preferred: &[String]) -> Option<Session> {
        let sessions = self.lock();
        if preferred.is_empty() {
            return sessions.iter().find(|((of, _), _)| of == tenant).map(|(_, session)| session.clone());
        }
        preferred.iter().find_map(|router| sessions.get(&(tenant.clone(), RouterId(router.clone()))).cloned())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TenantId, RouterId), Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
