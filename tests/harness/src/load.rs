//! So many callers at a time, and how long each call took: what measurements share. It prints
//! nothing and judges nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Calls `one` for each of these, so many callers at once; `means` makes what a caller calls with.
///
/// # Errors
/// The first of a call.
pub async fn call_all<T, F, One>(
    items: &Arc<[T]>,
    callers: usize,
    means: impl Fn(usize) -> One,
) -> Result<Calls>
where
    T: Clone + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send,
    One: Fn(T) -> F + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let (items, next, one) = (Arc::clone(items), Arc::clone(&next), means(caller));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    one(item.clone()).await?;
                    times.push(began.elapsed());
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.context("a caller")??);
    }
    times.sort_unstable();
    Ok(Calls { times, total: began.elapsed() })
}

/// How long calls took.
#[derive(Debug, Default)]
pub struct Calls {
    /// Each, in ascending order.
    times: Vec<Duration>,
    /// All together, where several were under way at a time.
    total: Duration,
}

impl Calls {
    /// Adds those of another round.
    pub fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.times.sort_unstable();
        self.total += other.total;
    }

    /// In milliseconds, the time within which this share was done; not a number if there are none.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    pub fn at(&self, share: f64) -> f64 {
        let at = (self.times.len().saturating_sub(1) as f64 * share) as usize;
        self.times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    }

    /// Calls a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.total.as_secs_f64()
    }
}
