//! What needs a key of the installation: page tokens, and the secrets of webhooks. A key is made at
//! the first start and kept in the database, so that every replica has the same.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::api::common::page::PageKey;
use crate::outbound::Trust;
use crate::store::Store;
use crate::webhooks::WebhookSettings;
use crate::webhooks::secret::{self, Sealer};
use crate::webhooks::send::{self, Sender};

/// The key of page tokens.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn page_key(store: &Store) -> Result<PageKey> {
    let mut fresh = [0; 32];
    aws_lc_rs::rand::fill(&mut fresh)?;
    let key = store.secret(PageKey::NAME, fresh).await.context("cannot read the key of page tokens")?;
    Ok(PageKey::new(&key)?)
}

/// What sends messages to webhooks. Their secrets are sealed with the configured key, if there is
/// one.
///
/// # Errors
/// If a key or the authorities cannot be read.
pub(super) async fn webhook_sender(store: &Store, settings: &WebhookSettings) -> Result<Sender> {
    let mut fresh = [0; 32];
    aws_lc_rs::rand::fill(&mut fresh)?;
    let kept = store.secret(Sealer::NAME, fresh).await.context("cannot read the key of webhook secrets")?;
    let file = settings.key.as_deref().map(secret::read_key).transpose()?;
    let trust = match Trust::new(settings.ca.as_deref(), true) {
        Ok(trust) => trust,
        Err(error) if settings.ca.is_some() => return Err(error.context("webhooks.ca")),
        Err(error) => {
            tracing::warn!("no webhook can be delivered: {error:#} (webhooks.ca), or install the system's");
            Trust::none()?
        }
    };
    let sealer = Sealer::new(&kept, file.as_ref())?;
    let networks = Arc::new(settings.networks());
    Ok(Sender { networks, trust, sealer, resolve: send::system_resolver() })
}
