//! Persons' tokens: which are accepted, and why every other one is not. The keys come from a real
//! file and a real HTTPS server.

mod accepted;
mod keys;
mod refused;
mod signer;
