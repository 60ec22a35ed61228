//! `control-plane audit …`: looks at the audit trail without the service, and without taking the service's word for it. `verify` walks
//! the chains, `export` writes one out. Both only read, beside a control plane that serves the same database or without one.

mod command;
mod export;
mod verify;

pub use command::{AuditCommand, run};
pub use export::export;
pub use verify::{Verdict, verify};
