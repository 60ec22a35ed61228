//! The authorities in force while the control plane runs: the routers' authority, and what routers
//! are told of the server's. Their files are read again when they change, so every issue uses the
//! current ones.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::{CaError, RequestedKey, RouterAuthority};
use crate::model::{Certified, KeyFingerprint, NewCertificate, Timestamp};

/// The authorities in force.
#[derive(Debug)]
pub struct Authorities {
    /// Issues routers' certificates.
    pub routers: RouterAuthority,
    /// SHA-256 of the public key of the authority that issued the server's certificate: what codes
    /// carry.
    pub pin: KeyFingerprint,
    /// The authorities that may vouch for the control plane.
    pub control_plane: Vec<CertificateDer<'static>>,
}

/// The authorities, and for how long they issue. Clones share them.
#[derive(Clone, Debug)]
pub struct CertificateIssuer {
    current: Arc<RwLock<Option<Arc<Authorities>>>>,
    life: Duration,
    recovery: Duration,
}

impl CertificateIssuer {
    /// With these authorities, or none.
    #[must_use]
    pub fn new(authorities: Option<Arc<Authorities>>, life: Duration, recovery: Duration) -> Self {
        Self { current: Arc::new(RwLock::new(authorities)), life, recovery }
    }

    /// The authorities; none if this control plane enrolls nobody.
    #[must_use]
    pub fn authorities(&self) -> Option<Arc<Authorities>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes others.
    pub fn replace(&self, authorities: Option<Arc<Authorities>>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = authorities;
    }

    /// How long a router's certificate is valid.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }

    /// How long after its end a certificate is good for a recovery.
    #[must_use]
    pub fn recovery(&self) -> Duration {
        self.recovery
    }

    /// A certificate that begins now.
    #[must_use]
    pub fn plan(&self, key: &RequestedKey, now: Timestamp) -> NewCertificate {
        // Certificates count in seconds.
        let expires_at = Timestamp(now.plus(self.life).0.div_euclid(1_000_000) * 1_000_000);
        NewCertificate { key: key.fingerprint(), expires_at, forget_before: now.minus(self.recovery) }
    }
}

impl Authorities {
    /// Issues what was planned: the router's certificate first, then its authority's.
    ///
    /// # Errors
    /// If the certificate cannot be made.
    pub fn issue(
        &self,
        of: &Certified,
        key: &RequestedKey,
        plan: NewCertificate,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, CaError> {
        self.routers.issue(&of.tenant, &of.router, key, now, plan.expires_at)
    }
}
