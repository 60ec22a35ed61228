//! Persons at a console: the bearer tokens (JWT) that it presents. `settings` is what the configuration says of an issuer, `fetch` gets a
//! document over HTTPS, `keys` reads an issuer's keys and keeps them fresh, `claims` says whom a token names; it is pure.
//!
//! Who may present a token is not decided here: the gate asks only for connections with a console's certificate.

pub mod claims;
mod fetch;
mod json;
mod keys;
mod settings;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use claims::{Person, Refusal, Rules};
pub use keys::KeySet;
pub(crate) use settings::Entry;
pub use settings::{Issuer, Place};

use crate::clock::Clock;

/// The issuers whose tokens are accepted. Clones share everything.
#[derive(Clone)]
pub struct Tokens {
    issuers: Arc<Vec<(Rules, Arc<keys::Keyring>)>>,
    clock: Clock,
}

impl Tokens {
    /// Reads every issuer's keys, and follows their changes until `shutdown`. Keys at a URL may come later.
    ///
    /// # Errors
    /// If a file of keys or of authorities cannot be used; the message names it.
    pub fn start(issuers: &[Issuer], clock: Clock, shutdown: &CancellationToken) -> anyhow::Result<Self> {
        let mut started = Vec::new();
        for issuer in issuers {
            let keyring = Arc::new(keys::Keyring::open(issuer)?);
            tokio::spawn(Arc::clone(&keyring).follow(clock.clone(), shutdown.clone()));
            started.push((issuer.rules.clone(), keyring));
        }
        Ok(Self { issuers: Arc::new(started), clock })
    }

    /// The person whom a token names that this console presents.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub async fn person(&self, console: &str, token: &str) -> Result<Person, Refusal> {
        let unverified = claims::read(token)?;
        let issuer = self.issuers.iter().find(|(rules, _)| rules.issuer == unverified.issuer());
        let (rules, keyring) = issuer.ok_or(Refusal::UnknownIssuer)?;
        let keys = keyring.with(unverified.key(), &self.clock).await?;
        unverified.verify(rules, &keys, console, self.clock.now())
    }
}
