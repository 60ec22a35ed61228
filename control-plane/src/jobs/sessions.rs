//! The identity routers that are connected to this replica.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::orders::Order;
use super::session::Session;
use crate::model::{Admitted, RouterId, SourceId, TenantId};

/// Which router to pick for a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouterChoice<'a> {
    /// The source that it is to read.
    pub(super) source: &'a SourceId,
    /// Those that may read the source, the best first; empty means any.
    pub(super) allowed: &'a [String],
    /// The router that read the source last.
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
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (session, receiver) = Session::open(number, tenant.clone(), router.clone(), admitted);
        if let Some(older) = self.lock().insert((tenant, router), session.clone()) {
            older.closed().cancel();
        }
        (session, receiver)
    }

    pub(super) fn close(&self, session: &Session) -> bool {
        session.closed().cancel();
        let key = (session.tenant.clone(), session.router().clone());
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

    /// Ends the sessions for which `denied` holds.
    pub(super) fn disconnect_where(&self, denied: impl Fn(&TenantId, &RouterId, i64) -> bool) {
        for session in self.lock().values() {
            if denied(&session.tenant, session.router(), session.admitted.generation) {
                session.closed().cancel();
            }
        }
    }

    /// The connected routers of every tenant.
    pub(super) fn all_connected(&self) -> Vec<(TenantId, RouterId)> {
        self.lock().keys().cloned().collect()
    }

    /// A router's session.
    pub(super) fn get(&self, tenant: &TenantId, router: &RouterId) -> Option<Session> {
        self.lock().get(&(tenant.clone(), router.clone())).cloned()
    }

    pub(super) fn connected(&self, tenant: &TenantId) -> Vec<RouterId> {
        self.lock().keys().filter(|(of, _)| of == tenant).map(|(_, router)| router.clone()).collect()
    }

    /// A connected router: the first of those that are allowed; where any is, the one that read
    /// last, or any other.
    pub(super) fn pick(&self, tenant: &TenantId, choice: RouterChoice<'_>) -> Option<Session> {
        let sessions = self.lock();
        let connected = |router: &RouterId| sessions.get(&(tenant.clone(), router.clone()));
        let able =
            |session: &&Session| !choice.except.contains(session.router()) && session.may_read(choice.source);
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
        let choice = RouterChoice { source: &source, allowed: &allowed, last: last.as_ref(), except: &[] };
        sessions.pick(&"acme".into(), choice).map(|session| session.router().0.clone())
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
        sessions.disconnect_where(|_, router, generation| router.as_str() == "gone" && generation == 3);
        assert!(gone.0.closed().is_cancelled() && !stays.0.closed().is_cancelled());
    }
}
