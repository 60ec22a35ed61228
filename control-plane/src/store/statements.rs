//! Lets a test see each statement that the store sends.

use std::sync::OnceLock;

/// Gets the engine's name and the text of each statement.
pub type Observer = fn(engine: &'static str, text: &str);

static OBSERVER: OnceLock<Observer> = OnceLock::new();

/// From now on, `observer` gets each statement. Only in builds with debug assertions.
pub fn set_observer(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

#[inline]
pub(super) fn observe(engine: &'static str, text: &str) {
    if cfg!(debug_assertions)
        && let Some(observer) = OBSERVER.get()
    {
        observer(engine, text);
    }
}
