//! Enrollment over the wire: the whole control plane on a free port, and a router made of nothing
//! but a key, TLS and the generated client. `world` starts and plays both; `codes` is how a router
//! gets in, `renewal` how it stays, `revocation` how it ends, `restored` what is told after a
//! backup was restored.

mod codes;
mod renewal;
mod restored;
mod revocation;
mod world;
