//! Limits what one caller may ask: calls a second, and open calls, for each identity over all of
//! its connections. Stands behind the gate, so each person at a console has an account. Uploads of
//! routers are not counted by rate.
//!
//! Accounts that are full again are pruned, so memory is bounded by the number of active callers.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use super::limits::Limits;
use crate::api::common::status::DOMAIN;
use crate::ca::identity::Caller;
use crate::model::Role;

/// Calls that a router may begin a second, and at once.
const ROUTER_RATE: (u32, u32) = (5, 20);
/// Accounts from which on those that are full are forgotten.
const PRUNED_ACCOUNTS: usize = 10_000;

/// What a caller has used up.
#[derive(Debug)]
struct Account {
    /// When it will be full again; in the past, if it is.
    full: Instant,
    /// Calls whose answers have not been sent to their end.
    open: usize,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitExceeded {
    /// Too many a second: wait for so long.
    Rate(Duration),
    /// Too many at a time.
    OpenCalls,
}

/// The accounts of all callers.
#[derive(Debug)]
pub struct RateLimiter {
    limits: Limits,
    accounts: Mutex<HashMap<String, Account>>,
}

impl RateLimiter {
    /// Nobody has asked for anything yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, accounts: Mutex::default() })
    }

    fn rate(&self, role: Role, path: &str) -> Option<(u32, u32)> {
        match role {
            Role::Router if path.ends_with("/Upload") => None,
            Role::Router => Some(ROUTER_RATE),
            // Everyone's sign-ins come from there; how many wait at a time is bounded all the same.
            Role::Authenticator => None,
            _ => Some((self.limits.calls_per_second, self.limits.calls_at_once)),
        }
    }

    /// Takes a call out of an account.
    fn acquire(
        self: &Arc<Self>,
        account: String,
        rate: Option<(u32, u32)>,
        now: Instant,
    ) -> Result<CallPermit, LimitExceeded> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= PRUNED_ACCOUNTS && !accounts.contains_key(&account) {
            accounts.retain(|_, account| account.open > 0 || account.full > now);
        }
        let entry = accounts.entry(account.clone()).or_insert(Account { full: now, open: 0 });
        if entry.open >= self.limits.open_calls {
            return Err(LimitExceeded::OpenCalls);
        }
        if let Some((per_second, at_once)) = rate {
            let one = Duration::from_secs(1) / per_second.max(1);
            let full = entry.full.max(now) + one;
            let beyond = full.duration_since(now).saturating_sub(one * at_once);
            if !beyond.is_zero() {
                return Err(LimitExceeded::Rate(beyond));
            }
            entry.full = full;
        }
        entry.open += 1;
        Ok(CallPermit { limiter: Arc::clone(self), account })
    }
}

/// A call that counts until it is dropped.
#[derive(Debug)]
struct CallPermit {
    limiter: Arc<RateLimiter>,
    account: String,
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        let mut accounts = self.limiter.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get_mut(&self.account) {
            account.open = account.open.saturating_sub(1);
        }
    }
}

fn exceeded_status(exceeded: LimitExceeded, limits: &Limits) -> Status {
    let (retry, message) = match exceeded {
        LimitExceeded::Rate(retry) => (
            retry,
            format!(
                "You have made too many calls: {} a second are allowed, {} at once. Wait, then try again.",
                limits.calls_per_second, limits.calls_at_once
            ),
        ),
        LimitExceeded::OpenCalls => (
            Duration::from_secs(1),
            format!("You have {} calls open, which is the most. Let some of them end.", limits.open_calls),
        ),
    };
    let mut details = ErrorDetails::with_error_info("RATE_LIMITED", DOMAIN, HashMap::new());
    details.set_retry_info(Some(retry));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// Tenant and name: one account for each, whatever certificate or token they show.
pub(crate) fn account_name(caller: &Caller) -> String {
    match caller {
        Caller::Admin { tenant, .. } | Caller::Router { tenant, .. } => format!("{tenant}/{caller}"),
        Caller::Operator { .. } | Caller::Console { .. } | Caller::Authenticator { .. } => caller.to_string(),
    }
}

/// Puts a [`RateLimit`] in front.
#[derive(Clone, Debug)]
pub struct RateLimitLayer(pub Arc<RateLimiter>);

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, limiter: Arc::clone(&self.0) }
    }
}

/// Lets through who has not asked too much.
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    limiter: Arc<RateLimiter>,
}

impl<S> Service<Request<Body>> for RateLimit<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<CountedCall<S::Future>, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The gate lets nobody through who is nobody.
        let permit = match request.extensions().get::<Caller>() {
            None => Err(LimitExceeded::OpenCalls),
            Some(caller) => {
                let rate = self.limiter.rate(caller.role(), request.uri().path());
                self.limiter.acquire(account_name(caller), rate, Instant::now())
            }
        };
        match permit {
            Ok(permit) => {
                Either::Left(CountedCall { call: Box::pin(self.inner.call(request)), permit: Some(permit) })
            }
            Err(exceeded) => {
                Either::Right(ready(Ok(exceeded_status(exceeded, &self.limiter.limits).into_http())))
            }
        }
    }
}

/// A call that is being answered.
pub struct CountedCall<F> {
    call: Pin<Box<F>>,
    permit: Option<CallPermit>,
}

impl<F, E> Future for CountedCall<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(self.call.as_mut().poll(context));
        let permit = self.permit.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| Body::new(CountedBody { body, _permit: permit }))))
    }
}

/// An answer that is being sent: an answer that nobody takes counts as an open call.
struct CountedBody {
    body: Body,
    _permit: Option<CallPermit>,
}

impl http_body::Body for CountedBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Option<(u32, u32)> = Some((10, 20));

    fn limiter(open_calls: usize) -> Arc<RateLimiter> {
        RateLimiter::new(Limits { open_calls, ..Limits::default() })
    }

    fn alice() -> String {
        "acme/admins/alice".to_owned()
    }

    #[test]
    fn a_burst_is_served_and_then_as_many_a_second_as_allowed_and_others_notice_nothing() {
        let (limiter, start) = (limiter(1_000), Instant::now());
        let served =
            |at: Duration| (0..100).filter(|_| limiter.acquire(alice(), RATE, start + at).is_ok()).count();
        assert_eq!(served(Duration::ZERO), 20);
        assert_eq!(served(Duration::from_secs(1)), 10);
        assert_eq!(served(Duration::from_secs(3_600)), 20, "it does not save up");
        assert!(limiter.acquire("acme/admins/bob".to_owned(), RATE, start).is_ok());
        let Err(LimitExceeded::Rate(wait)) =
            limiter.acquire(alice(), RATE, start + Duration::from_secs(3_600))
        else {
            panic!("not refused")
        };
        assert!(
            limiter.acquire(alice(), RATE, start + Duration::from_secs(3_600) + wait).is_ok(),
            "as it said"
        );
    }

    #[test]
    fn open_calls_are_bounded_until_they_end_whatever_their_rate() {
        let (limiter, now) = (limiter(2), Instant::now());
        let first = limiter.acquire(alice(), None, now).expect("a call");
        let _second = limiter.acquire(alice(), None, now).expect("a call");
        assert_eq!(limiter.acquire(alice(), None, now).err(), Some(LimitExceeded::OpenCalls));
        drop(first);
        assert!(limiter.acquire(alice(), None, now).is_ok());
    }

    #[test]
    fn accounts_that_are_full_are_forgotten_and_others_are_kept() {
        let (limiter, now) = (limiter(10), Instant::now());
        let open = limiter.acquire("open".to_owned(), RATE, now).expect("a call");
        for number in 0..PRUNED_ACCOUNTS {
            let _ = limiter.acquire(number.to_string(), RATE, now);
        }
        let _ = limiter.acquire("later".to_owned(), RATE, now + Duration::from_secs(60));
        let accounts = limiter.accounts.lock().expect("no panic");
        assert!(accounts.len() < 10 && accounts.contains_key("open"), "{}", accounts.len());
        drop(accounts);
        drop(open);
    }
}
