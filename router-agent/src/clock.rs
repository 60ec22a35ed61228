//! The only place that asks what time it is; everything that decides is given it.

use std::time::SystemTime;

use time::OffsetDateTime;

/// This machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one permitted call")]
pub fn now() -> OffsetDateTime {
    SystemTime::now().into()
}
