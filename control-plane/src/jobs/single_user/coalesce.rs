//! Coalesces calls for the same user into one search. A call joins a search that is under way and
//! began at most [`JOIN_WINDOW`] before, so its answer is at most that much older. A later call
//! gets a search of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::outcome::outcome_only;
use crate::model::{Single, SingleOutcome, TenantId, UserSelector};

/// How long after its begin a search may be joined.
pub(super) const JOIN_WINDOW: Duration = Duration::from_secs(1);

type Key = (TenantId, UserSelector);

struct SharedSearch {
    number: u64,
    begun: Instant,
    answer: Shared<BoxFuture<'static, Arc<Single>>>,
}

/// The searches under way on this replica. Clones share everything.
#[derive(Clone, Default)]
pub(in crate::jobs) struct SharedSearches(Arc<Mutex<RunningSearches>>);

#[derive(Default)]
struct RunningSearches {
    by_key: HashMap<Key, SharedSearch>,
    next: u64,
}

impl SharedSearches {
    /// Waits for the answer of a search under way, or begins `work`, which runs to its end even if
    /// no call waits for it any more.
    pub(super) async fn join(&self, key: Key, now: Instant, work: BoxFuture<'static, Single>) -> Arc<Single> {
        let answer = {
            let mut running = self.lock();
            let joined = running.by_key.get(&key).filter(|search| now <= search.begun + JOIN_WINDOW);
            match joined {
                Some(search) => search.answer.clone(),
                None => running.begin(self.clone(), key, now, work),
            }
        };
        answer.await
    }

    fn end(&self, key: &Key, number: u64) {
        let mut running = self.lock();
        if running.by_key.get(key).is_some_and(|search| search.number == number) {
            running.by_key.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, RunningSearches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningSearches {
    fn begin(
        &mut self,
        searches: SharedSearches,
        key: Key,
        now: Instant,
        work: BoxFuture<'static, Single>,
    ) -> Shared<BoxFuture<'static, Arc<Single>>> {
        self.next += 1;
        let (number, of) = (self.next, key.clone());
        let task = tokio::spawn(async move {
            // Forgotten also by a search that panics.
            let _ended = RemoveOnEnd { searches, key: of, number };
            work.await
        });
        let answer = async move {
            match task.await {
                Ok(single) => Arc::new(single),
                Err(panic) => {
                    tracing::error!(%panic, "the sync of a single user panicked");
                    Arc::new(outcome_only(SingleOutcome::Internal))
                }
            }
        };
        let answer = answer.boxed().shared();
        self.by_key.insert(key, SharedSearch { number, begun: now, answer: answer.clone() });
        answer
    }
}

struct RemoveOnEnd {
    searches: SharedSearches,
    key: Key,
    number: u64,
}

impl Drop for RemoveOnEnd {
    fn drop(&mut self) {
        self.searches.end(&self.key, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn anna() -> Key {
        (TenantId::from("acme"), UserSelector::Login("anna".to_owned()))
    }

    /// Searches that wait to be released, and are counted.
    struct Searches {
        searches: SharedSearches,
        begun: Arc<AtomicUsize>,
        release: Arc<Notify>,
    }

    impl Searches {
        fn new() -> Self {
            Self { searches: SharedSearches::default(), begun: Arc::default(), release: Arc::default() }
        }

        fn call(&self, key: Key) -> tokio::task::JoinHandle<Arc<Single>> {
            self.call_at(Instant::now(), key)
        }

        fn call_at(&self, now: Instant, key: Key) -> tokio::task::JoinHandle<Arc<Single>> {
            let (searches, begun, release) =
                (self.searches.clone(), Arc::clone(&self.begun), Arc::clone(&self.release));
            tokio::spawn(async move {
                let work = async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    release.notified().await;
                    outcome_only(SingleOutcome::Unchanged)
                };
                searches.join(key, now, work.boxed()).await
            })
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }
    }

    /// Lets everything that can go on do so.
    async fn settle() {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn calls_at_the_same_time_are_one_search_and_all_get_its_answer() {
        let searches = Searches::new();
        let calls: Vec<_> = (0..50).map(|_| searches.call(anna())).collect();
        settle().await;
        assert_eq!(searches.begun(), 1);
        searches.release.notify_one();
        for call in calls {
            assert_eq!(call.await.expect("an answer").outcome, SingleOutcome::Unchanged);
        }
        assert!(searches.searches.lock().by_key.is_empty(), "nothing is kept of it");
    }

    #[tokio::test]
    async fn a_call_that_comes_late_or_for_another_user_or_tenant_gets_a_search_of_its_own() {
        let searches = Searches::new();
        let begin = Instant::now();
        let first = searches.call_at(begin, anna());
        settle().await;
        let other_user = searches.call((TenantId::from("acme"), UserSelector::Login("bert".to_owned())));
        let other_tenant = searches.call((TenantId::from("globex"), UserSelector::Login("anna".to_owned())));
        settle().await;
        assert_eq!(searches.begun(), 3);
        let in_time = searches.call_at(begin + JOIN_WINDOW, anna());
        settle().await;
        assert_eq!(searches.begun(), 3);
        let later = begin + JOIN_WINDOW + Duration::from_millis(1);
        let late = searches.call_at(later, anna());
        settle().await;
        assert_eq!(searches.begun(), 4);
        let joins_the_late_one = searches.call_at(later, anna());
        settle().await;
        assert_eq!(searches.begun(), 4);
        for _ in 0..4 {
            searches.release.notify_one();
            settle().await;
        }
        for call in [first, in_time, other_user, other_tenant, late, joins_the_late_one] {
            call.await.expect("an answer");
        }
        assert!(searches.searches.lock().by_key.is_empty());
    }

    #[tokio::test]
    async fn a_search_goes_on_when_whoever_began_it_goes_away_and_one_that_panics_is_a_fault() {
        let searches = Searches::new();
        let gone = searches.call(anna());
        settle().await;
        gone.abort();
        let joined = searches.call(anna());
        settle().await;
        assert_eq!(searches.begun(), 1);
        searches.release.notify_one();
        assert_eq!(joined.await.expect("an answer").outcome, SingleOutcome::Unchanged);
        let fault =
            searches.searches.join(anna(), Instant::now(), async { panic!("on purpose") }.boxed()).await;
        assert_eq!((fault.outcome, fault.allowed), (SingleOutcome::Internal, false));
        assert!(searches.searches.lock().by_key.is_empty());
    }
}
