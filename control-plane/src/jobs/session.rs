//! A router that is connected to this replica: it is given orders, and its answers are handed to
//! whatever waits for them. Both are forgotten with the session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollcall_proto::admin::v1::DirectoryServerTest;
use rollcall_proto::router::v1::{session_request, session_response};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::orders::{Answer, FetchOrder, Order, VerifyOrder};
use crate::model::{
    Admitted, Asked, Failure, Found, LookUp, Presence, RouterId, SourceId, SourceSettings, TenantId, TenantNo,
};

/// Orders that a slow router may have outstanding; with more the session counts as lost.
const MAX_OUTSTANDING_ORDERS: usize = 64;
/// Fetches that a router has under way. It refuses more, so further ones wait for their turn.
const MAX_CONCURRENT_FETCHES: usize = 64;

/// A question that waits for its answer.
struct PendingQuestion {
    answer: oneshot::Sender<Answer>,
    /// By which number names in the answer are keyed; only of a fetch or a verification.
    tenant: Option<TenantNo>,
    /// Whether another replica asks: it takes the answer apart itself.
    forwarded: bool,
}

type Answers = Mutex<HashMap<String, PendingQuestion>>;

/// A connected router.
#[derive(Clone)]
pub struct Session {
    pub(super) number: u64,
    pub(super) tenant: TenantId,
    router: RouterId,
    pub(super) admitted: Admitted,
    orders: mpsc::Sender<Order>,
    answers: Arc<Answers>,
    fetches: Arc<Semaphore>,
    closed: CancellationToken,
}

impl Session {
    /// A new session, and the orders that it is given.
    pub(super) fn open(
        number: u64,
        tenant: TenantId,
        router: RouterId,
        admitted: Admitted,
    ) -> (Self, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(MAX_OUTSTANDING_ORDERS);
        let session = Self {
            number,
            tenant,
            router,
            admitted,
            orders,
            answers: Arc::default(),
            fetches: Arc::new(Semaphore::new(MAX_CONCURRENT_FETCHES)),
            closed: CancellationToken::new(),
        };
        (session, receiver)
    }

    /// The router.
    #[must_use]
    pub fn router(&self) -> &RouterId {
        &self.router
    }

    /// Whether the router was enrolled to read this source.
    #[must_use]
    pub fn may_read(&self, source: &SourceId) -> bool {
        self.admitted.sources.is_empty() || self.admitted.sources.contains(source)
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
        let settings = Box::new(settings);
        match self.ask(|request| Order::Test { request, settings }).await? {
            Answer::Test(servers) => Some(servers),
            _ => None,
        }
    }

    /// Orders a look-up and waits for its answer, one presence an id; none if the session is lost
    /// meanwhile or the answer is none.
    pub(super) async fn look_up(
        &self,
        settings: &SourceSettings,
        users: LookUp,
    ) -> Option<Result<Vec<Presence>, Failure>> {
        let (settings, asked) = (Box::new(settings.clone()), users.ids.len());
        match self.ask(|request| Order::LookUp { request, settings, users }).await? {
            Answer::LookUp(Ok(presences)) if presences.len() != asked => None,
            Answer::LookUp(answer) => Some(answer),
            _ => None,
        }
    }

    /// Orders one person to be fetched and waits for the answer; none if the session is lost
    /// meanwhile. Many are under way at a time; beyond that, and where the router is slow to take
    /// orders, this waits for its turn.
    pub(super) async fn fetch(&self, tenant: TenantNo, order: FetchOrder) -> Option<Result<Found, Failure>> {
        match self.ask_in_turn(tenant, |request| Order::Fetch { request, order: Box::new(order) }).await? {
            Answer::Fetch(answer) => Some(answer),
            _ => None,
        }
    }

    /// Orders a password to be verified and waits for the answer, in the same turns; none if the
    /// session is lost meanwhile, perhaps with the order carried out.
    pub(super) async fn verify(
        &self,
        tenant: TenantNo,
        order: VerifyOrder,
    ) -> Option<Result<Asked, Failure>> {
        match self.ask_in_turn(tenant, |request| Order::Verify { request, order: Box::new(order) }).await? {
            Answer::Verify(answer) => Some(answer),
            _ => None,
        }
    }

    async fn ask_in_turn(&self, tenant: TenantNo, order: impl FnOnce(String) -> Order) -> Option<Answer> {
        let _turn = tokio::select! {
            turn = self.fetches.acquire() => turn.ok()?,
            () = self.closed.cancelled() => return None,
        };
        let (request, answered, _forget) = self.question(Some(tenant), false);
        self.enqueue(order(request), answered).await
    }

    /// Puts another replica's question, in the same turns, and waits for the answer as it comes;
    /// none if the session is lost meanwhile. `order` gets the question's id.
    pub async fn forward(
        &self,
        order: impl FnOnce(String) -> session_response::Message,
    ) -> Option<session_request::Message> {
        let _turn = tokio::select! {
            turn = self.fetches.acquire() => turn.ok()?,
            () = self.closed.cancelled() => return None,
        };
        let (request, answered, _forget) = self.question(None, true);
        match self.enqueue(Order::Forwarded(Box::new(order(request))), answered).await? {
            Answer::Forwarded(answer) => Some(*answer),
            _ => None,
        }
    }

    async fn enqueue(&self, order: Order, answered: oneshot::Receiver<Answer>) -> Option<Answer> {
        tokio::select! {
            sent = self.orders.send(order) => sent.ok()?,
            () = self.closed.cancelled() => return None,
        }
        self.answered(answered).await
    }

    async fn ask(&self, order: impl FnOnce(String) -> Order) -> Option<Answer> {
        let (request, answered, _forget) = self.question(None, false);
        if !self.order(order(request)) {
            return None;
        }
        self.answered(answered).await
    }

    /// A new question: its id, where its answer comes, and what forgets it.
    fn question(
        &self,
        tenant: Option<TenantNo>,
        forwarded: bool,
    ) -> (String, oneshot::Receiver<Answer>, ForgetOnDrop<'_>) {
        let request = Uuid::now_v7().to_string();
        let (answer, answered) = oneshot::channel();
        self.answers().insert(request.clone(), PendingQuestion { answer, tenant, forwarded });
        let forget = ForgetOnDrop { answers: &self.answers, request: request.clone() };
        (request, answered, forget)
    }

    async fn answered(&self, answered: oneshot::Receiver<Answer>) -> Option<Answer> {
        tokio::select! {
            answer = answered => answer.ok(),
            () = self.closed.cancelled() => None,
        }
    }

    /// Hands on the answer to a connection test; one that is not waited for is dropped.
    pub fn answer_test(&self, request: &str, servers: Vec<DirectoryServerTest>) {
        self.answer(request, Answer::Test(servers));
    }

    /// Hands on the answer to a look-up.
    pub fn answer_look_up(&self, request: &str, presences: Result<Vec<Presence>, Failure>) {
        self.answer(request, Answer::LookUp(presences));
    }

    /// The number of the tenant for which a fetch or a verification was asked; none if it is not
    /// waited for any more.
    #[must_use]
    pub fn asked_for(&self, request: &str) -> Option<TenantNo> {
        self.answers().get(request).and_then(|question| question.tenant)
    }

    /// Whether another replica waits for the answer to a question.
    #[must_use]
    pub fn is_forwarded(&self, request: &str) -> bool {
        self.answers().get(request).is_some_and(|question| question.forwarded)
    }

    /// Hands on the answer to another replica's question.
    pub fn answer_forwarded(&self, request: &str, answer: session_request::Message) {
        self.answer(request, Answer::Forwarded(Box::new(answer)));
    }

    /// Hands on what was fetched.
    pub fn answer_fetch(&self, request: &str, found: Result<Found, Failure>) {
        self.answer(request, Answer::Fetch(found));
    }

    /// Hands on what the directory says of a password.
    pub fn answer_verify(&self, request: &str, asked: Result<Asked, Failure>) {
        self.answer(request, Answer::Verify(asked));
    }

    fn answer(&self, request: &str, answer: Answer) {
        if let Some(asker) = self.answers().remove(request) {
            let _ = asker.answer.send(answer);
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, PendingQuestion>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a question when it is no longer waited for.
struct ForgetOnDrop<'a> {
    answers: &'a Answers,
    request: String,
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.request);
    }
}
