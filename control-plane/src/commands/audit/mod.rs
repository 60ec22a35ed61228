//! `control-plane audit …`: verifies and exports audit trails without the service. It only reads,
//! and may run beside a control plane that serves the same database.
//!
//! - `command`: what the commands take and print
//! - `verify`: walks the hash chain of a trail
//! - `export`: writes a trail as lines of JSON

mod command;
mod export;
mod verify;

pub use command::{AuditCommand, run};
pub use export::export;
pub use verify::{TrailReport, verify};
