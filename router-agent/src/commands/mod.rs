//! What an administrator runs beside the router itself: `enroll` and `check`.

pub mod check;
pub mod enroll;
