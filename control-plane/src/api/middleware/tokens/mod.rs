//! The bearer tokens (JWT) of persons at a console. The gate uses them only on connections with a
//! console's certificate.
//!
//! - `claims`: verifies a token and reads the person that it names; pure
//! - `fetch`: fetches a document over HTTPS
//! - `issuer`: an issuer of tokens, with the rules for its tokens
//! - `json`: a JSON object without repeated names
//! - `key_set`: reads the keys of an issuer from a document
//! - `keyring`: keeps the keys of an issuer fresh
//! - `settings`: checks what the configuration says of issuers
//! - `token_rejected`: why a token is rejected

pub mod claims;
mod fetch;
mod issuer;
mod json;
mod key_set;
mod keyring;
mod settings;
mod token_rejected;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use claims::Person;
pub use issuer::{Issuer, KeyLocation, TokenRules};
pub use key_set::KeySet;
use keyring::Keyring;
pub(crate) use settings::{IssuerSection, check_issuers};
pub use token_rejected::{MAX_TOKEN_BYTES, TokenRejected};

use crate::clock::Clock;

/// The issuers whose tokens are accepted. Clones share everything.
#[derive(Clone)]
pub struct Tokens {
    issuers: Arc<Vec<(TokenRules, Arc<Keyring>)>>,
    clock: Clock,
}

impl Tokens {
    /// Reads every issuer's keys, and follows their changes until `shutdown`. Keys at a URL may
    /// come later.
    ///
    /// # Errors
    /// If a file of keys or of authorities cannot be used; the message names it.
    pub fn start(issuers: &[Issuer], clock: Clock, shutdown: &CancellationToken) -> anyhow::Result<Self> {
        let mut started = Vec::new();
        for issuer in issuers {
            let keyring = Arc::new(Keyring::open(issuer)?);
            tokio::spawn(Arc::clone(&keyring).follow(clock.clone(), shutdown.clone()));
            started.push((issuer.rules.clone(), keyring));
        }
        Ok(Self { issuers: Arc::new(started), clock })
    }

    /// The person whom a token names that this console presents.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub async fn verify(&self, console: &str, token: &str) -> Result<Person, TokenRejected> {
        let unverified = claims::read(token)?;
        let issuer = self.issuers.iter().find(|(rules, _)| rules.issuer == unverified.issuer());
        let (rules, keyring) = issuer.ok_or(TokenRejected::UnknownIssuer)?;
        let keys = keyring.keys_with(unverified.key(), &self.clock).await?;
        unverified.verify(rules, &keys, console, self.clock.now())
    }
}
