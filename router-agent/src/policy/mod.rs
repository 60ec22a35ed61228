//! The policy of this site: what the control plane may have read, and what may leave the premises.

mod check;
mod policy_file;

pub use check::{Denial, MayVerify};
pub use policy_file::{Directory, Policy};
