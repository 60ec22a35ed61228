//! Webhooks and their messages.
//!
//! - `webhook`: webhooks as rows.
//! - `outbox`: writes messages, in the transaction that they tell of.
//! - `deliveries`: messages that are due, claimed, attempted.

pub(crate) mod deliveries;
pub(crate) mod outbox;
pub(crate) mod webhook;
