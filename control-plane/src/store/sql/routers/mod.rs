//! Identity routers, their codes and certificates, and replicas.
//!
//! - `router`: routers as rows.
//! - `codes`: registration codes.
//! - `enrollment`: enrolled, renewed, recovered, admitted, revoked.
//! - `certificates`: numbers and keys of certificates.
//! - `replicas`: replicas and the routers connected to them.

pub(crate) mod certificates;
pub(crate) mod codes;
pub(crate) mod enrollment;
pub(crate) mod replicas;
pub(crate) mod router;
