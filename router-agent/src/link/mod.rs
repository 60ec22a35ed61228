//! The link to the control plane: one outbound connection, kept up until the router shuts down.
//!
//! - `reconnect`: one session after the other
//! - `session`: one session: heartbeats, orders in, answers out
//! - `hello`: how a session begins
//! - `orders`: carries out what is ordered
//! - `connect`, `transport`: the connection of an enrolled router; TCP, TLS and gRPC
//! - `renewal`, `renewal_schedule`, `expiry_alarm`: keep the certificate valid
//! - `enrollment_client`: gets a certificate for a router that has no valid one
//! - `refusal`: what the control plane answers instead of what was asked
//! - `audit_head`: the newest event of the audit trail that was seen
//! - `backoff`: how long to wait before the next try

mod audit_head;
mod backoff;
pub(crate) mod connect;
pub(crate) mod enrollment_client;
mod expiry_alarm;
pub(crate) mod hello;
mod orders;
mod reconnect;
pub(crate) mod refusal;
mod renewal;
pub(crate) mod renewal_schedule;
mod session;
pub(crate) mod transport;

pub use reconnect::run;
