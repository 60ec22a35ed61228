//! Waits for the database at the start: a server that is down or a disk that is full passes, and whoever starts everything at once
//! after a power cut need not know the order. What does not pass is told at once.

use std::sync::Arc;
use std::time::Duration;

use crate::store::{self, OpenError, Store};

/// Pauses between the tries; the last one is repeated.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// Opens the database, as soon as it can be.
///
/// # Errors
/// If waiting would not help.
pub(super) async fn open(url: &str) -> Result<Arc<Store>, OpenError> {
    let mut pauses = PAUSES.into_iter();
    let mut pause = PAUSES[0];
    loop {
        match store::open(url).await {
            Err(error) if error.passes() => {
                pause = pauses.next().unwrap_or(pause);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot open the database; not serving yet, trying again in {} s",
                    pause.as_secs()
                );
                tokio::time::sleep(pause).await;
            }
            result => return result,
        }
    }
}
