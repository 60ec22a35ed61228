//! Opens the database at the start. Trouble that passes, such as a server that still starts, is
//! waited for, so that after a power cut everything may start in any order. Other errors are
//! returned at once.

use std::sync::Arc;
use std::time::Duration;

use crate::store::{self, OpenError, Store};

/// Pauses between the tries; the last one is repeated.
const RETRY_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// Opens the database, as soon as it can be.
///
/// # Errors
/// If waiting would not help.
pub(super) async fn open_when_ready(url: &str) -> Result<Arc<Store>, OpenError> {
    let mut pauses = RETRY_PAUSES.into_iter();
    let mut pause = RETRY_PAUSES[0];
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
