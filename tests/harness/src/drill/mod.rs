//! Drills: a directory with a fault, people who sign in meanwhile, a sync, and the repair. Each
//! returns figures that a person or a test judges; only the public API is asked.
//!
//! - `fault`: the faults, and on which directories each can be made
//! - `lab`: a world with such a directory: how the fault is made, and how it is repaired
//! - `sign_ins`: the drill of sign-ins

mod fault;
mod lab;
pub mod sign_ins;

pub use fault::{Fault, Kind};
pub use sign_ins::Figures;

/// How many people a drill has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// People in the directory.
    pub people: u64,
    /// Enabled people that the fault concerns and that sign in.
    pub sign_ins: usize,
}

impl Size {
    /// As the drill has it.
    pub const WHOLE: Self = Self { people: 300, sign_ins: 60 };
    /// As the suite has it.
    pub const SHORT: Self = Self { people: 60, sign_ins: 10 };
}
