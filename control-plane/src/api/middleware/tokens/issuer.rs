//! An issuer of tokens: the rules for its tokens, and where its keys are.

use std::path::PathBuf;

use http::Uri;
use jsonwebtoken::Algorithm;

use crate::model::TenantId;

/// What is asked of an issuer's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// `iss`.
    pub issuer: String,
    /// What `aud` must be or have.
    pub audience: String,
    /// Algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The claim with the tenant's id.
    pub tenant_claim: String,
    /// The claim with the role or roles.
    pub role_claim: String,
    /// The consoles that may present its tokens.
    pub consoles: Vec<String>,
    /// The tenants that it may speak for; none for all.
    pub tenants: Option<Vec<TenantId>>,
}

/// An issuer of tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What is asked of its tokens.
    pub rules: TokenRules,
    /// Where its keys are.
    pub keys: KeyLocation,
    /// The authorities of the server that has them, if not the system's.
    pub keys_ca: Option<PathBuf>,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// In a file.
    File(PathBuf),
    /// At a URL.
    Url(Uri),
}
