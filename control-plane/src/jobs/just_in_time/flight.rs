//! Calls for the same user at the same time are one search. A call joins a search that has not ended and began at most [`JOIN`] before:
//! what it is told was read in the directory at most that long before it came. Whoever comes later gets a search of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::came_to;
use crate::model::{Single, SingleOutcome, TenantId, Whom};

/// How long after its begin a search may be joined.
pub(super) const JOIN: Duration = Duration::from_secs(1);

type Key = (TenantId, Whom);

struct Flight {
    number: u64,
    begun: Instant,
    answer: Shared<BoxFuture<'static, Arc<Single>>>,
}

/// The searches under way on this replica. Clones share everything.
#[derive(Clone, Default)]
pub(in crate::jobs) struct Flights(Arc<Mutex<UnderWay>>);

#[derive(Default)]
struct UnderWay {
    flights: HashMap<Key, Flight>,
    next: u64,
}

impl Flights {
    /// Waits for the answer of a search under way, or begins `work`. That goes on to its end, whoever stops waiting for it.
    pub(super) async fn join(&self, key: Key, now: Instant, work: BoxFuture<'static, Single>) -> Arc<Single> {
        let answer = {
            let mut under_way = self.lock();
            let joined = under_way.flights.get(&key).filter(|flight| now <= flight.begun + JOIN);
            match joined {
                Some(flight) => flight.answer.clone(),
                None => under_way.begin(self.clone(), key, now, work),
            }
        };
        answer.await
    }

    fn end(&self, key: &Key, number: u64) {
        let mut under_way = self.lock();
        if under_way.flights.get(key).is_some_and(|flight| flight.number == number) {
            under_way.flights.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    fn begin(
        &mut self,
        flights: Flights,
        key: Key,
        now: Instant,
        work: BoxFuture<'static, Single>,
    ) -> Shared<BoxFuture<'static, Arc<Single>>> {
        self.next += 1;
        let (number, of) = (self.next, key.clone());
        let task = tokio::spawn(async move {
            // Forgotten also by a search that panics.
            let _ended = End { flights, key: of, number };
            work.await
        });
        let answer = async move {
            match task.await {
                Ok(single) => Arc::new(single),
                Err(panic) => {
                    tracing::error!(%panic, "the sync of a single user panicked");
                    Arc::new(came_to(SingleOutcome::Internal))
                }
            }
        };
        let answer = answer.boxed().shared();
        self.flights.insert(key, Flight { number, begun: now, answer: answer.clone() });
        answer
    }
}

struct End {
    flights: Flights,
    key: Key,
    number: u64,
}

impl Drop for End {
    fn drop(&mut self) {
        self.flights.end(&self.key, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn anna() -> Key {
        (TenantId::from("acme"), Whom::Login("anna".to_owned()))
    }

    /// Searches that wait to be released, and are counted.
    struct Searches {
        flights: Flights,
        begun: Arc<AtomicUsize>,
        release: Arc<Notify>,
    }

    impl Searches {
        fn new() -> Self {
            Self { flights: Flights::default(), begun: Arc::default(), release: Arc::default() }
        }

        fn call(&self, key: Key) -> tokio::task::JoinHandle<Arc<Single>> {
            self.call_at(Instant::now(), key)
        }

        fn call_at(&self, now: Instant, key: Key) -> tokio::task::JoinHandle<Arc<Single>> {
            let (flights, begun, release) =
                (self.flights.clone(), Arc::clone(&self.begun), Arc::clone(&self.release));
            tokio::spawn(async move {
                let work = async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    release.notified().await;
                    came_to(SingleOutcome::Unchanged)
                };
                flights.join(key, now, work.boxed()).await
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
        assert!(searches.flights.lock().flights.is_empty(), "nothing is kept of it");
    }

    #[tokio::test]
    async fn a_call_that_comes_late_or_for_another_user_or_tenant_gets_a_search_of_its_own() {
        let searches = Searches::new();
        let begin = Instant::now();
        let first = searches.call_at(begin, anna());
        settle().await;
        let other_user = searches.call((TenantId::from("acme"), Whom::Login("bert".to_owned())));
        let other_tenant = searches.call((TenantId::from("globex"), Whom::Login("anna".to_owned())));
        settle().await;
        assert_eq!(searches.begun(), 3);
        let just_in_time = searches.call_at(begin + JOIN, anna());
        settle().await;
        assert_eq!(searches.begun(), 3);
        let later = begin + JOIN + Duration::from_millis(1);
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
        for call in [first, just_in_time, other_user, other_tenant, late, joins_the_late_one] {
            call.await.expect("an answer");
        }
        assert!(searches.flights.lock().flights.is_empty());
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
            searches.flights.join(anna(), Instant::now(), async { panic!("on purpose") }.boxed()).await;
        assert_eq!((fault.outcome, fault.allowed), (SingleOutcome::Internal, false));
        assert!(searches.flights.lock().flights.is_empty());
    }
}
