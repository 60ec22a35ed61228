//! The holder of a certificate. The chain proves that our authority issued it; its one URI name
//! says for which caller:
//!
//! `rollcall://{trust domain}/operator/{name}`, `…/console/{name}`, `…/authenticator/{name}`,
//! `…/tenant/{tenant}/admin/{name}/{role}`, `…/tenant/{tenant}/router/{name}`

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollcall_proto::code::EXPORTED;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{fingerprint, is_id};
use crate::model::{Actor, KeyFingerprint, Role, RouterId, TenantId, Timestamp};

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Who its certificate says it is.
    pub caller: Caller,
    /// From where it calls.
    pub address: SocketAddr,
    /// What became of its certificate on this connection.
    pub validity: Validity,
}

/// How long a connection may live: until the end of the certificate that was shown in its
/// handshake, or of one that was issued on it since, or until it is hung up. Clones share it.
#[derive(Clone, Debug)]
pub struct Validity {
    /// The end, and the number of the newest certificate that was issued on the connection.
    certificate: Arc<Mutex<(Timestamp, Option<i64>)>>,
    hung_up: CancellationToken,
}

impl Validity {
    /// Of a certificate with this end.
    #[must_use]
    pub fn until(end: Timestamp) -> Self {
        Self { certificate: Arc::new(Mutex::new((end, None))), hung_up: CancellationToken::new() }
    }

    /// The end.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.lock().0
    }

    /// Number of the newest certificate that was issued on the connection.
    #[must_use]
    pub fn renewed(&self) -> Option<i64> {
        self.lock().1
    }

    /// Notes that a certificate was issued on the connection.
    pub fn renew(&self, generation: i64, end: Timestamp) {
        *self.lock() = (end, Some(generation));
    }

    /// Ends the connection when it is canceled.
    #[must_use]
    pub fn hung_up(&self) -> &CancellationToken {
        &self.hung_up
    }

    fn lock(&self) -> MutexGuard<'_, (Timestamp, Option<i64>)> {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end of a connection on which a router enrolls: it has no certificate yet.
#[derive(Clone, Copy, Debug)]
pub struct UnauthenticatedPeer {
    /// From where it calls.
    pub address: SocketAddr,
    /// What TLS exports of the connection: a proof signs it, so that it is good on no other
    /// connection.
    pub exported: [u8; EXPORTED],
}

impl UnauthenticatedPeer {
    /// For the audit trail.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let address = self.address.ip().to_string();
        Actor { name: "unknown".to_owned(), via: String::new(), address }
    }
}

/// A caller: by its certificate, or for a person at a console by the token that the console
/// presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Runs the service.
    Operator {
        /// Name.
        name: String,
    },
    /// A service that speaks for persons. Its certificate alone gives it no right but to present
    /// their tokens.
    Console {
        /// Name.
        name: String,
    },
    /// The service that authenticates users of all tenants: it may synchronize each at sign-in.
    Authenticator {
        /// Name.
        name: String,
    },
    /// An administrator of one tenant.
    Admin {
        /// The tenant.
        tenant: TenantId,
        /// Name.
        name: String,
        /// What the administrator may do.
        role: Role,
        /// The console that presented the administrator's token; none for a certificate.
        via: Option<String>,
    },
    /// An identity router of one tenant.
    Router {
        /// The tenant.
        tenant: TenantId,
        /// The router.
        router: RouterId,
        /// Until when its certificate is valid.
        certificate_expires: Timestamp,
        /// The key of its certificate.
        key: KeyFingerprint,
    },
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// None, or more than one URI name.
    #[error("the certificate must have exactly one URI name")]
    Names,
    /// A URI of nobody's.
    #[error("the certificate's URI name is not one of ours")]
    Uri,
}

impl Caller {
    /// The holder of a certificate, and until when it is valid.
    ///
    /// # Errors
    /// If it names nobody.
    pub fn from_certificate(der: &[u8]) -> Result<(Self, Timestamp), IdentityError> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| IdentityError::Unreadable)?;
        let expires = Timestamp(parsed.validity().not_after.timestamp().saturating_mul(1_000_000));
        let der = CertificateDer::from(der);
        let certificate = webpki::EndEntityCert::try_from(&der).map_err(|_| IdentityError::Unreadable)?;
        let mut names = certificate.valid_uri_names();
        let (Some(uri), None) = (names.next(), names.next()) else { return Err(IdentityError::Names) };
        let key = fingerprint(parsed.public_key().raw);
        Self::from_uri(uri, expires, key).map(|caller| (caller, expires))
    }

    fn from_uri(
        uri: &str,
        certificate_expires: Timestamp,
        key: KeyFingerprint,
    ) -> Result<Self, IdentityError> {
        let rest = uri.strip_prefix("rollcall://").ok_or(IdentityError::Uri)?;
        let parts: Vec<&str> = rest.split('/').collect();
        if !parts.iter().all(|part| is_id(part)) {
            return Err(IdentityError::Uri);
        }
        match parts[..] {
            [_, "operator", name] => Ok(Self::Operator { name: name.to_owned() }),
            [_, "console", name] => Ok(Self::Console { name: name.to_owned() }),
            [_, "authenticator", name] => Ok(Self::Authenticator { name: name.to_owned() }),
            [_, "tenant", tenant, "router", router] => {
                Ok(Self::Router { tenant: tenant.into(), router: router.into(), certificate_expires, key })
            }
            [_, "tenant", tenant, "admin", name, role] => {
                let role = match role {
                    "super-admin" => Role::SuperAdmin,
                    "help-desk" => Role::HelpDesk,
                    "auditor" => Role::Auditor,
                    _ => return Err(IdentityError::Uri),
                };
                Ok(Self::Admin { tenant: tenant.into(), name: name.to_owned(), role, via: None })
            }
            _ => Err(IdentityError::Uri),
        }
    }

    /// What the caller is.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Operator { .. } => Role::Operator,
            Self::Console { .. } => Role::Console,
            Self::Authenticator { .. } => Role::Authenticator,
            Self::Admin { role, .. } => *role,
            Self::Router { .. } => Role::Router,
        }
    }

    /// Whether something of this tenant exists for the caller.
    #[must_use]
    pub fn may_see(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Operator { .. } | Self::Authenticator { .. } => true,
            Self::Console { .. } => false,
            Self::Admin { tenant: own, .. } | Self::Router { tenant: own, .. } => own == tenant,
        }
    }

    /// Its tenant, if it belongs to one.
    #[must_use]
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Operator { .. } | Self::Console { .. } | Self::Authenticator { .. } => None,
            Self::Admin { tenant, .. } | Self::Router { tenant, .. } => Some(tenant),
        }
    }

    /// For the log. A person at a console is not named there: what a token calls them may be a mail
    /// address.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Admin { via: Some(console), .. } => format!("consoles/{console}"),
            other => other.to_string(),
        }
    }

    /// For the audit trail.
    #[must_use]
    pub fn actor(&self, address: SocketAddr) -> Actor {
        let via = match self {
            Self::Admin { via: Some(console), .. } => format!("consoles/{console}"),
            _ => String::new(),
        };
        Actor { name: self.to_string(), via, address: address.ip().to_string() }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator { name } => write!(f, "operators/{name}"),
            Self::Console { name } => write!(f, "consoles/{name}"),
            Self::Authenticator { name } => write!(f, "authenticators/{name}"),
            Self::Admin { name, .. } => write!(f, "admins/{name}"),
            Self::Router { router, .. } => write!(f, "identityRouters/{router}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<Caller, IdentityError> {
        Caller::from_uri(uri, Timestamp(0), [0; 32])
    }

    #[test]
    fn only_our_own_uris_name_someone() {
        assert_eq!(
            parse("rollcall://rollcall/operator/ops").expect("an operator").to_string(),
            "operators/ops"
        );
        assert!(parse("rollcall://rollcall/tenant/acme/router/hq-1").is_ok());
        let signin = parse("rollcall://rollcall/authenticator/signin").expect("an authenticator");
        assert_eq!(
            (signin.role(), signin.to_string()),
            (Role::Authenticator, "authenticators/signin".to_owned())
        );
        assert_eq!(
            parse("rollcall://rollcall/tenant/acme/admin/alice/super-admin").expect("an admin").role(),
            Role::SuperAdmin
        );
        for uri in [
            "spiffe://rollcall/operator/ops",
            "rollcall://rollcall/operator/",
            "rollcall://rollcall/operator/ops/",
            "rollcall://rollcall/tenant/acme/authenticator/signin",
            "rollcall://rollcall/tenant/acme/admin/alice/root",
            "rollcall://rollcall/tenant/../operator/ops",
            "rollcall://rollcall/tenant/ACME/router/hq",
            "rollcall://rollcall/tenant/acme%2f/router/hq",
        ] {
            assert_eq!(parse(uri), Err(IdentityError::Uri), "{uri}");
        }
    }
}
