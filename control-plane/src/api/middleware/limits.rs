//! The limits of callers, as the `[limits]` section of the configuration sets them.

use serde::Deserialize;

/// How much callers may ask. Routers' uploads have limits of their own.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one caller.
    pub connections_per_caller: usize,
    /// Calls of one caller a second.
    pub calls_per_second: u32,
    /// Calls of one caller at once, after a pause.
    pub calls_at_once: u32,
    /// Calls of one caller that are open at a time, such as streams.
    pub open_calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_caller: 32,
            calls_per_second: 50,
            calls_at_once: 200,
            open_calls: 256,
        }
    }
}

impl Limits {
    /// Adds what is wrong with the section.
    pub(crate) fn check(&self, wrong: &mut Vec<String>) {
        let Self { connections, connections_per_caller, calls_per_second, calls_at_once, open_calls } = self;
        for (key, zero) in [
            ("connections", *connections == 0),
            ("connections_per_caller", *connections_per_caller == 0),
            ("calls_per_second", *calls_per_second == 0),
            ("calls_at_once", *calls_at_once == 0),
            ("open_calls", *open_calls == 0),
        ] {
            if zero {
                wrong.push(format!("limits.{key} must be at least 1"));
            }
        }
    }
}
