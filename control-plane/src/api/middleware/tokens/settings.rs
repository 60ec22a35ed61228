//! Checks what the configuration says of the issuers of tokens.

use std::path::{Path, PathBuf};

use http::Uri;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::issuer::{Issuer, KeyLocation, TokenRules};
use super::key_set::{self, KeySetError};
use crate::ca::is_id;
use crate::model::TenantId;

/// An issuer as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerSection {
    issuer: String,
    audience: String,
    keys: String,
    keys_ca: Option<PathBuf>,
    #[serde(default = "algorithms")]
    algorithms: Vec<String>,
    #[serde(default = "tenant_claim")]
    tenant_claim: String,
    #[serde(default = "role_claim")]
    role_claim: String,
    consoles: Vec<String>,
    #[serde(default = "all_tenants")]
    tenants: Vec<String>,
}

fn algorithms() -> Vec<String> {
    ["EdDSA", "ES256", "RS256"].map(str::to_owned).to_vec()
}

fn tenant_claim() -> String {
    "tenant".to_owned()
}

fn role_claim() -> String {
    "rollcall_role".to_owned()
}

fn all_tenants() -> Vec<String> {
    vec!["*".to_owned()]
}

/// The issuers of a file in this folder; everything that is wrong with them is added to `wrong`.
pub(crate) fn check_issuers(
    entries: Vec<IssuerSection>,
    folder: &Path,
    wrong: &mut Vec<String>,
) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for entry in entries {
        let name = format!("tokens of {:?}", entry.issuer);
        if issuers.iter().any(|other| other.rules.issuer == entry.issuer) {
            wrong.push(format!("{name}: there are two such sections; keep one"));
        }
        match entry.check(folder) {
            Ok(issuer) => issuers.push(issuer),
            Err(why) => wrong.extend(why.into_iter().map(|why| format!("{name}: {why}"))),
        }
    }
    issuers
}

impl IssuerSection {
    fn check(self, folder: &Path) -> Result<Issuer, Vec<String>> {
        let mut wrong = Vec::new();
        for (key, value) in [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("tenant_claim", &self.tenant_claim),
            ("role_claim", &self.role_claim),
        ] {
            if value.is_empty() {
                wrong.push(format!("{key} must not be empty"));
            }
        }
        let mut pinned = Vec::new();
        for algorithm in &self.algorithms {
            match algorithm.as_str() {
                "EdDSA" => pinned.push(Algorithm::EdDSA),
                "ES256" => pinned.push(Algorithm::ES256),
                "RS256" => pinned.push(Algorithm::RS256),
                _ => wrong.push(format!("algorithms has {algorithm:?}; EdDSA, ES256 and RS256 are possible")),
            }
        }
        if self.algorithms.is_empty() {
            wrong.push("algorithms must have at least one of EdDSA, ES256 and RS256".to_owned());
        }
        if self.consoles.is_empty() || !self.consoles.iter().all(|console| is_id(console)) {
            wrong.push("consoles must have the names of consoles, as in their certificates".to_owned());
        }
        let every = self.tenants.iter().any(|tenant| tenant == "*");
        if !every && (self.tenants.is_empty() || !self.tenants.iter().all(|tenant| is_id(tenant))) {
            wrong.push("tenants must have ids of tenants, or \"*\" for all".to_owned());
        }
        let place = parse_location(&self.keys, folder).map_err(|why| wrong.push(why));
        let keys_ca = self.keys_ca.map(|path| folder.join(path));
        if let Some(path) = &keys_ca
            && let Err(error) = std::fs::metadata(path)
        {
            wrong.push(format!("keys_ca: {}: {error}", path.display()));
        }
        let Ok(keys) = place.and_then(|place| if wrong.is_empty() { Ok(place) } else { Err(()) }) else {
            return Err(wrong);
        };
        let rules = TokenRules {
            issuer: self.issuer,
            audience: self.audience,
            algorithms: pinned,
            tenant_claim: self.tenant_claim,
            role_claim: self.role_claim,
            consoles: self.consoles,
            tenants: (!every).then(|| self.tenants.into_iter().map(TenantId).collect()),
        };
        Ok(Issuer { rules, keys, keys_ca })
    }
}

fn parse_location(keys: &str, folder: &Path) -> Result<KeyLocation, String> {
    if keys.contains("://") {
        let uri: Option<Uri> = keys.parse().ok();
        let sound = uri.filter(|uri| {
            uri.scheme_str() == Some("https")
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        return sound.map(KeyLocation::Url).ok_or_else(|| {
            format!("keys = {keys:?} must be a file or a URL that begins with https:// and has no password")
        });
    }
    let path = folder.join(keys);
    match key_set::read(&path) {
        Ok(_) => Ok(KeyLocation::File(path)),
        Err(error @ KeySetError::File { .. }) => Err(format!("keys: {}", error_chain(&error))),
        Err(error) => Err(format!("keys: {}: {}", path.display(), error_chain(&error))),
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", error_chain(source)),
        None => error.to_string(),
    }
}
