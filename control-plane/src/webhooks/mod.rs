//! Webhooks: delivers the messages that the store has written to the systems of the tenants.
//! Delivery is at least once, and in order as long as that is possible; a slow receiver delays only
//! its own messages. A tenant sets its webhooks through `api`.
//!
//! - `deliveries`: finds messages that are due, and delivers them under a lease
//! - `send`: one attempt to deliver a message
//! - `retry`: when a message is sent again (pure)
//! - `address`: where messages may go (pure)
//! - `secret`: seals secrets, and signs with them

pub mod address;
mod deliveries;
pub mod retry;
pub mod secret;
pub mod send;

use address::{Network, Networks};

pub use deliveries::Webhooks;

/// What the configuration says of webhooks.
#[derive(Clone, Debug, Default)]
pub struct WebhookSettings {
    /// Networks that are allowed although they are not public.
    pub allow_networks: Vec<Network>,
    /// Networks that are forbidden.
    pub deny_networks: Vec<Network>,
    /// Further authorities of receivers, PEM.
    pub ca: Option<std::path::PathBuf>,
    /// The key that secrets are sealed with, if it is not to be the database's own.
    pub key: Option<std::path::PathBuf>,
}

impl WebhookSettings {
    /// Where messages may go.
    #[must_use]
    pub fn networks(&self) -> Networks {
        Networks { allow: self.allow_networks.clone(), deny: self.deny_networks.clone() }
    }
}
