//! The commands of `control-plane` other than `serve`: each opens what it needs, does one thing and
//! ends.

pub mod after_restore;
pub mod audit;
pub mod ca;
