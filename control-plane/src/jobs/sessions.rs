//! The identity routers that are connected to this replica, and the orders they are sent. What they are sent is forgotten with
//! the session: whoever gave an order gives it again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollcall_proto::admin::v1::DirectoryServerTest;
use rollcall_proto::router::v1::{session_request, session_response};
use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::model::{
    Admitted, Asked, Failure, FetchBy, Found, ImmutableId, KnownBy, Presence, RouterId, SourceId,
    SourceSettings, TenantId, TenantNo,
};

/// Orders that a slow router may have outstanding; more, and the session is as good as lost.
const OUTSTANDING_ORDERS: usize = 64;
/// Fetches that a router has under way: it refuses more than these, so whoever comes then waits for a turn.
const FETCHES: usize = 64;

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
    /// Look users up again who were not in a complete read.
    LookUp {
        /// Comes back in the answer.
        request: String,
        /// The source as it was read.
        settings: Box<SourceSettings>,
        /// Whom.
        ids: Vec<ImmutableId>,
    },
    /// Fetch one person.
    Fetch {
        /// Comes back in the answer.
        request: String,
        /// Whom, and from where.
        order: Box<FetchOrder>,
    },
    /// Have a password verified.
    Verify {
        /// Comes back in the answer.
        request: String,
        /// Whose, and by whom.
        order: Box<VerifyOrder>,
    },
    /// Another replica's question, which goes on as it came.
    Forwarded(Box<session_response::Message>),
}

/// A password that is to be verified.
#[derive(Clone, Debug)]
pub struct VerifyOrder {
    /// Whose.
    pub person: FetchOrder,
    /// The name that was typed.
    pub login: String,
    /// The password. Wiped when it is dropped, and nothing shows it.
    pub password: SecretString,
}

/// One person that is to be fetched.
#[derive(Clone, Debug)]
pub struct FetchOrder {
    /// From where.
    pub settings: SourceSettings,
    /// Revision of the settings.
    pub revision: i32,
    /// Whom.
    pub by: FetchBy,
    /// How long the directory may take.
    pub deadline: Duration,
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
    /// What users are known by so far, where each entry is to be read with both ids.
    pub former: Option<KnownBy>,
}

/// What a connection test found.
#[derive(Clone, Debug)]
pub struct ConnectionTest {
    /// Who tested.
    pub router: RouterId,
    /// One result a server.
    pub servers: Vec<DirectoryServerTest>,
}

/// What a router answers to an order that is a question.
#[derive(Debug)]
pub enum Answer {
    /// To a connection test.
    Test(Vec<DirectoryServerTest>),
    /// To a look-up.
    LookUp(Result<Vec<Presence>, Failure>),
    /// To a fetch.
    Fetch(Result<Found, Failure>),
    /// To a verification.
    Verify(Result<Asked, Failure>),
    /// To another replica's question: as it came.
    Forwarded(Box<session_request::Message>),
}

/// A question that waits for its answer.
struct Question {
    answer: oneshot::Sender<Answer>,
    /// By which number names in the answer are keyed; only of a fetch or a verification.
    tenant: Option<TenantNo>,
    /// Whether another replica asks: it takes the answer apart itself.
    forwarded: bool,
}

type Answers = Mutex<HashMap<String, Question>>;

/// A connected router.
#[derive(Clone)]
pub struct Session {
    number: u64,
    tenant: TenantId,
    router: RouterId,
    admitted: Admitted,
    orders: mpsc::Sender<Order>,
    answers: Arc<Answers>,
    fetches: Arc<Semaphore>,
    closed: CancellationToken,
}

impl Session {
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

    /// Orders a look-up and waits for its answer, one presence an id; none if the session is lost meanwhile or the answer is none.
    pub(super) async fn look_up(
        &self,
        settings: &SourceSettings,
        ids: Vec<ImmutableId>,
    ) -> Option<Result<Vec<Presence>, Failure>> {
        let (settings, asked) = (Box::new(settings.clone()), ids.len());
        match self.ask(|request| Order::LookUp { request, settings, ids }).await? {
            Answer::LookUp(Ok(presences)) if presences.len() != asked => None,
            Answer::LookUp(answer) => Some(answer),
            _ => None,
        }
    }

    /// Orders one person to be fetched and waits for the answer; none if the session is lost meanwhile. Many are under way at a time; beyond
    /// that, and where the router is slow to take orders, this waits for its turn.
    pub(super) async fn fetch(&self, tenant: TenantNo, order: FetchOrder) -> Option<Result<Found, Failure>> {
        match self.ask_in_turn(tenant, |request| Order::Fetch { request, order: Box::new(order) }).await? {
            Answer::Fetch(answer) => Some(answer),
            _ => None,
        }
    }

    /// Orders a password to be verified and waits for the answer, in the same turns; none if the session is lost meanwhile, perhaps with the
    /// order carried out.
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
        self.put(order(request), answered).await
    }

    /// Puts another replica's question, in the same turns, and waits for the answer as it comes; none if the session is lost meanwhile.
    /// `order` gets the question's id.
    pub async fn forward(
        &self,
        order: impl FnOnce(String) -> session_response::Message,
    ) -> Option<session_request::Message> {
        let _turn = tokio::select! {
            turn = self.fetches.acquire() => turn.ok()?,
            () = self.closed.cancelled() => return None,
        };
        let (request, answered, _forget) = self.question(None, true);
        match self.put(Order::Forwarded(Box::new(order(request))), answered).await? {
            Answer::Forwarded(answer) => Some(*answer),
            _ => None,
        }
    }

    async fn put(&self, order: Order, answered: oneshot::Receiver<Answer>) -> Option<Answer> {
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
    ) -> (String, oneshot::Receiver<Answer>, Forget<'_>) {
        let request = Uuid::now_v7().to_string();
        let (answer, answered) = oneshot::channel();
        self.answers().insert(request.clone(), Question { answer, tenant, forwarded });
        let forget = Forget { answers: &self.answers, request: request.clone() };
        (request, answered, forget)
    }

    async fn answered(&self, answered: oneshot::Receiver<Answer>) -> Option<Answer> {
        tokio::select! {
            answer = answered => answer.ok(),
            () = self.closed.cancelled() => None,
        }
    }

    /// Hands on the answer to a connection test; one that nobody waits for is dropped.
    pub fn answer_test(&self, request: &str, servers: Vec<DirectoryServerTest>) {
        self.answer(request, Answer::Test(servers));
    }

    /// Hands on the answer to a look-up.
    pub fn answer_look_up(&self, request: &str, presences: Result<Vec<Presence>, Failure>) {
        self.answer(request, Answer::LookUp(presences));
    }

    /// The number of the tenant for which a fetch or a verification was asked; none if nobody waits for it any more.
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

    fn answers(&self) -> MutexGuard<'_, HashMap<String, Question>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a question that nobody waits for any more.
struct Forget<'a> {
    answers: &'a Answers,
    request: String,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.request);
    }
}

/// Which router to pick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    /// The source that it is to read.
    pub(super) source: &'a SourceId,
    /// Those that may read the source, the best first; empty means any.
    pub(super) allowed: &'a [String],
    /// Who read the source last: it knows the way.
    pub(super) last: Option<&'a RouterId>,
    /// Those that could not do it, or lost it.
    pub(super) except: &'a [RouterId],
}

/// All sessions of this replica.
#[derive(Default)]
pub(super) struct Sessions {
    sessions: Mutex<BTreeMap<(TenantId, RouterId), Session>>,
    next: AtomicU64,
}

impl Sessions {
    pub(super) fn open(
        &self,
        tenant: TenantId,
        router: RouterId,
        admitted: Admitted,
    ) -> (Session, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(OUTSTANDING_ORDERS);
        let session = Session {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            tenant: tenant.clone(),
            router: router.clone(),
            admitted,
            orders,
            answers: Arc::default(),
            fetches: Arc::new(Semaphore::new(FETCHES)),
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

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Ends the sessions that must not be there any more.
    pub(super) fn bar(&self, barred: impl Fn(&TenantId, &RouterId, i64) -> bool) {
        for session in self.lock().values() {
            if barred(&session.tenant, &session.router, session.admitted.generation) {
                session.closed.cancel();
            }
        }
    }

    /// Everyone, of every tenant.
    pub(super) fn all(&self) -> Vec<(TenantId, RouterId)> {
        self.lock().keys().cloned().collect()
    }

    /// A router's session.
    pub(super) fn of(&self, tenant: &TenantId, router: &RouterId) -> Option<Session> {
        self.lock().get(&(tenant.clone(), router.clone())).cloned()
    }

    pub(super) fn connected(&self, tenant: &TenantId) -> Vec<RouterId> {
        self.lock().keys().filter(|(of, _)| of == tenant).map(|(_, router)| router.clone()).collect()
    }

    /// A connected router: the first of those that are allowed; where any is, the last one to have read, otherwise whichever.
    pub(super) fn pick(&self, tenant: &TenantId, choice: Choice<'_>) -> Option<Session> {
        let sessions = self.lock();
        let connected = |router: &RouterId| sessions.get(&(tenant.clone(), router.clone()));
        let able =
            |session: &&Session| !choice.except.contains(&session.router) && session.may_read(choice.source);
        if !choice.allowed.is_empty() {
            let allowed = choice.allowed.iter().map(|router| RouterId(router.clone()));
            return allowed.into_iter().find_map(|router| connected(&router).filter(able).cloned());
        }
        let last = choice.last.and_then(connected).filter(able);
        let any =
            || sessions.iter().filter(|((of, _), _)| of == tenant).map(|(_, session)| session).find(able);
        last.or_else(any).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TenantId, RouterId), Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sessions: &Sessions, router: &str, sources: &[&str]) -> (Session, mpsc::Receiver<Order>) {
        let sources = sources.iter().map(|source| SourceId::from(*source)).collect();
        sessions.open("acme".into(), router.into(), Admitted { generation: 3, sources })
    }

    fn pick(sessions: &Sessions, source: &str, allowed: &[&str], last: Option<&str>) -> Option<String> {
        let allowed: Vec<_> = allowed.iter().map(|router| (*router).to_owned()).collect();
        let (source, last) = (SourceId::from(source), last.map(RouterId::from));
        let choice = Choice { source: &source, allowed: &allowed, last: last.as_ref(), except: &[] };
        sessions.pick(&"acme".into(), choice).map(|session| session.router.0)
    }

    #[test]
    fn a_router_that_enrolled_for_some_sources_is_picked_for_no_other() {
        let sessions = Sessions::default();
        let _bound = open(&sessions, "bound", &["hq"]);
        assert_eq!(pick(&sessions, "hq", &[], None).as_deref(), Some("bound"));
        assert_eq!(pick(&sessions, "branch", &[], None), None);
        assert_eq!(pick(&sessions, "branch", &["bound"], None), None, "not even where the source names it");
        let _free = open(&sessions, "free", &[]);
        assert_eq!(pick(&sessions, "branch", &[], Some("bound")).as_deref(), Some("free"));
        assert_eq!(pick(&sessions, "branch", &["bound", "free"], None).as_deref(), Some("free"));
    }

    #[test]
    fn who_is_barred_is_hung_up_on_and_nobody_else() {
        let sessions = Sessions::default();
        let (gone, stays) = (open(&sessions, "gone", &[]), open(&sessions, "stays", &[]));
        sessions.bar(|_, router, generation| router.as_str() == "gone" && generation == 3);
        assert!(gone.0.closed.is_cancelled() && !stays.0.closed.is_cancelled());
    }
}
