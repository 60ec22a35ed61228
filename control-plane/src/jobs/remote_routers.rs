//! Asks routers, those of this replica first, then those that are connected to other replicas. A
//! read of a whole source is no question: the replica that has the router runs the job.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use rollcall_proto::admin::v1::DirectoryServerTest;

use super::Inner;
use super::orders::{Answer, FetchOrder, Order, VerifyOrder};
use super::session::Session;
use super::sessions::RouterChoice;
use crate::model::{
    Asked, DistantRouter, Failure, Found, ImmutableId, LookUp, Presence, RouterId, SourceId, SourceSettings,
    TenantId, TenantNo,
};

/// The reply to a question.
#[derive(Debug)]
pub enum Reply<T> {
    /// The router answered.
    Answer(T),
    /// The router was lost, perhaps after it carried the question out.
    Lost,
    /// The question did not reach the router.
    NotAsked,
}

impl<T> Reply<T> {
    fn from_answer(answer: Option<T>) -> Self {
        answer.map_or(Self::Lost, Self::Answer)
    }

    /// Takes an answer for what it should be. A router that answers something else is as good as
    /// lost.
    fn take<U>(self, take: impl FnOnce(T) -> Option<U>) -> Reply<U> {
        match self {
            Self::Answer(answer) => Reply::from_answer(take(answer)),
            Self::Lost => Reply::Lost,
            Self::NotAsked => Reply::NotAsked,
        }
    }

    /// The answer, if there is one.
    pub(super) fn answer(self) -> Option<T> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Lost | Self::NotAsked => None,
        }
    }
}

/// What a question is about.
#[derive(Clone, Copy, Debug)]
pub struct QuestionScope<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// By which number names in the answer are keyed; only of a fetch or a verification.
    pub number: Option<TenantNo>,
    /// The source.
    pub source: &'a SourceId,
}

/// The way to other replicas.
#[async_trait]
pub trait RemoteRouters: Send + Sync + 'static {
    /// Routers of a tenant that are connected to other replicas; none if that cannot be found out.
    async fn routers(&self, tenant: &TenantId) -> Vec<DistantRouter>;
    /// Puts a question to one of them.
    async fn ask(&self, router: &DistantRouter, scope: QuestionScope<'_>, order: Order) -> Reply<Answer>;
}

/// A router that can be asked.
pub(super) enum ReachableRouter<'a> {
    Local(Session),
    Remote { router: DistantRouter, by: Arc<dyn RemoteRouters>, scope: QuestionScope<'a> },
}

impl ReachableRouter<'_> {
    pub(super) fn router(&self) -> &RouterId {
        match self {
            Self::Local(session) => session.router(),
            Self::Remote { router, .. } => &router.router,
        }
    }

    pub(super) async fn test(&self, settings: SourceSettings) -> Reply<Vec<DirectoryServerTest>> {
        match self {
            Self::Local(session) => Reply::from_answer(session.test(settings).await),
            Self::Remote { .. } => {
                let order = Order::Test { request: String::new(), settings: Box::new(settings) };
                self.ask(order).await.take(|answer| match answer {
                    Answer::Test(servers) => Some(servers),
                    _ => None,
                })
            }
        }
    }

    /// Looks one person up.
    pub(super) async fn look_up(
        &self,
        settings: &SourceSettings,
        id: &ImmutableId,
    ) -> Reply<Result<Presence, Failure>> {
        let users = LookUp::of(id.clone());
        let presences = match self {
            Self::Local(session) => Reply::from_answer(session.look_up(settings, users).await),
            Self::Remote { .. } => {
                let settings = Box::new(settings.clone());
                let order = Order::LookUp { request: String::new(), settings, users };
                self.ask(order).await.take(|answer| match answer {
                    Answer::LookUp(presences) => Some(presences),
                    _ => None,
                })
            }
        };
        presences.take(|presences| match presences.as_deref() {
            Ok([presence]) => Some(Ok(*presence)),
            Ok(_) => None,
            Err(failure) => Some(Err(failure.clone())),
        })
    }

    pub(super) async fn fetch(&self, tenant: TenantNo, order: FetchOrder) -> Reply<Result<Found, Failure>> {
        match self {
            Self::Local(session) => Reply::from_answer(session.fetch(tenant, order).await),
            Self::Remote { .. } => {
                let order = Order::Fetch { request: String::new(), order: Box::new(order) };
                self.ask(order).await.take(|answer| match answer {
                    Answer::Fetch(found) => Some(found),
                    _ => None,
                })
            }
        }
    }

    pub(super) async fn verify(&self, tenant: TenantNo, order: VerifyOrder) -> Reply<Result<Asked, Failure>> {
        match self {
            Self::Local(session) => Reply::from_answer(session.verify(tenant, order).await),
            Self::Remote { .. } => {
                let order = Order::Verify { request: String::new(), order: Box::new(order) };
                self.ask(order).await.take(|answer| match answer {
                    Answer::Verify(asked) => Some(asked),
                    _ => None,
                })
            }
        }
    }

    async fn ask(&self, order: Order) -> Reply<Answer> {
        match self {
            Self::Local(_) => Reply::NotAsked,
            Self::Remote { router, by, scope } => by.ask(router, *scope, order).await,
        }
    }
}

/// Finds one router after the other that may read a source, none of them twice: those of this
/// replica first, then those of others in the order of the source.
pub(super) struct RouterSearch<'a> {
    inner: &'a Inner,
    scope: QuestionScope<'a>,
    allowed: &'a [String],
    tried: Vec<RouterId>,
    /// Those of other replicas that are left; none before they were looked for.
    distant: Option<VecDeque<DistantRouter>>,
    found: bool,
}

impl<'a> RouterSearch<'a> {
    pub(super) fn new(inner: &'a Inner, scope: QuestionScope<'a>, allowed: &'a [String]) -> Self {
        Self { inner, scope, allowed, tried: Vec::new(), distant: None, found: false }
    }

    /// The next one, which is not counted as tried if it turns out that nothing has reached it: it
    /// may be connected elsewhere by now.
    pub(super) async fn next(&mut self) -> Option<ReachableRouter<'a>> {
        let QuestionScope { tenant, source, .. } = self.scope;
        let choice = RouterChoice { source, allowed: self.allowed, last: None, except: &self.tried };
        if let Some(session) = self.inner.sessions.pick(tenant, choice) {
            self.tried.push(session.router().clone());
            self.found = true;
            return Some(ReachableRouter::Local(session));
        }
        let by = self.inner.remote_routers.get()?;
        if self.distant.is_none() {
            self.distant = Some(able(by.routers(tenant).await, source, self.allowed));
        }
        let distant = self.distant.as_mut()?;
        loop {
            let router = distant.pop_front()?;
            if !self.tried.contains(&router.router) {
                self.found = true;
                return Some(ReachableRouter::Remote { router, by: Arc::clone(by), scope: self.scope });
            }
        }
    }

    /// Whether there was no router to ask from the beginning.
    pub(super) fn found_none(&self) -> bool {
        !self.found
    }

    /// Does not ask this router again, on whatever way: it was asked, and cannot.
    pub(super) fn skip(&mut self, router: &RouterId) {
        self.tried.push(router.clone());
    }
}

/// Those that may read a source, the best first.
fn able(routers: Vec<DistantRouter>, source: &SourceId, allowed: &[String]) -> VecDeque<DistantRouter> {
    let place = |router: &DistantRouter| allowed.iter().position(|id| *id == router.router.0);
    let may = |router: &DistantRouter| {
        (router.sources.is_empty() || router.sources.contains(source))
            && (allowed.is_empty() || place(router).is_some())
    };
    let mut able: Vec<_> = routers.into_iter().filter(may).collect();
    able.sort_by_key(place);
    able.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Replica, ReplicaKey};

    fn router(id: &str, sources: &[&str]) -> DistantRouter {
        DistantRouter {
            router: id.into(),
            sources: sources.iter().map(|source| SourceId::from(*source)).collect(),
            replica: Replica { key: ReplicaKey([7; 32]), address: "192.0.2.1:7445".to_owned() },
        }
    }

    fn order(routers: &[(&str, &[&str])], allowed: &[&str]) -> Vec<String> {
        let routers = routers.iter().map(|(id, sources)| router(id, sources)).collect();
        let allowed: Vec<String> = allowed.iter().map(|id| (*id).to_owned()).collect();
        able(routers, &"hq".into(), &allowed).into_iter().map(|router| router.router.0).collect()
    }

    #[test]
    fn routers_elsewhere_are_asked_in_the_order_of_the_source() {
        let all: [(&str, &[&str]); 3] = [("a", &[]), ("b", &[]), ("c", &[])];
        assert_eq!(order(&all, &[]), ["a", "b", "c"]);
        assert_eq!(order(&all, &["c", "a"]), ["c", "a"], "and none that it does not list");
    }

    #[test]
    fn a_router_elsewhere_that_enrolled_for_other_sources_is_not_asked() {
        assert_eq!(order(&[("a", &["branch"]), ("b", &["branch", "hq"])], &[]), ["b"]);
        assert_eq!(order(&[("a", &["branch"])], &["a"]), Vec::<String>::new());
    }
}
