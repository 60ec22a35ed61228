//! The authority of identity routers, from which the control plane issues while it runs. A
//! certificate of it always authenticates a router, and no other certificate does: its key cannot
//! make an administrator.
//!
//! Its folder may hold several certificates: the one of `ca.key` issues, and all are trusted, so
//! that an authority can be replaced.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{CERTIFICATE, KEY, common_name, read_file, trust_domain};
use super::identity::Caller;
use super::{CaError, RequestedKey};
use crate::model::{KeyFingerprint, RouterId, TenantId, Timestamp};

/// For clocks that are a little behind.
const BACKDATED: Duration = Duration::from_secs(300);

/// The authority of identity routers.
pub struct RouterAuthority {
    trust_domain: String,
    issuer: Issuer<'static, KeyPair>,
    /// The one of the issuer's key.
    own: CertificateDer<'static>,
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// A router's certificate that has been shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterCertificate {
    /// The tenant.
    pub tenant: TenantId,
    /// The router.
    pub router: RouterId,
    /// Its public key, as a SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// The key's fingerprint.
    pub key: KeyFingerprint,
    /// The certificate's end.
    pub expires: Timestamp,
}

impl RouterAuthority {
    /// Opens the authority of a folder.
    ///
    /// # Errors
    /// If there is none, or its files do not fit together.
    pub fn open(folder: &Path) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(&read_file(folder, KEY)?)?;
        let pem = read_file(folder, CERTIFICATE)?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| CaError::Mismatch(folder.to_owned()))?;
        let own_key = key.subject_public_key_info();
        let own =
            certificates.iter().find(|certificate| spki(certificate).is_some_and(|spki| spki == own_key));
        let own = own.cloned().ok_or_else(|| CaError::Mismatch(folder.to_owned()))?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|_| CaError::Mismatch(folder.to_owned()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|_| CaError::Mismatch(folder.to_owned()))?;
        let issuer = Issuer::from_ca_cert_der(&own, key)?;
        Ok(Self { trust_domain: trust_domain(folder)?, issuer, own, certificates, verifier })
    }

    /// Its certificates: whom to trust.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Issues a certificate for a key, put together from nothing: itself first, then the
    /// authority's.
    ///
    /// # Errors
    /// If a name cannot be used or the library refuses.
    pub fn issue(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        key: &RequestedKey,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, CaError> {
        let mut serial = [0; 16];
        rand::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
        serial[0] &= 0x7f; // a serial number is positive
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = common_name(&format!("{tenant}/{router}"));
        let uri = format!("rollcall://{}/tenant/{tenant}/router/{router}", self.trust_domain);
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into()?)];
        (params.not_before, params.not_after) = (date(now.minus(BACKDATED))?, date(expires)?);
        let key = SubjectPublicKeyInfo::from_der(key.spki())?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(vec![certificate.der().clone(), self.own.clone()])
    }

    /// Whether a chain that was shown is of this authority, at this time.
    #[must_use]
    pub fn vouches_for(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let Some((certificate, intermediates)) = chain.split_first() else { return false };
        let since = Duration::from_micros(u64::try_from(now.0).unwrap_or_default());
        let now = UnixTime::since_unix_epoch(since);
        self.verifier.verify_client_cert(certificate, intermediates, now).is_ok()
    }

    /// Reads a certificate of this authority that may have expired: it must have been good until
    /// its end.
    #[must_use]
    pub fn read_expired(&self, certificate: &[u8]) -> Option<RouterCertificate> {
        let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
        let (caller, expires) = Caller::from_certificate(certificate).ok()?;
        let Caller::Router { tenant, router, key, .. } = caller else { return None };
        let spki = parsed.public_key().raw.to_vec();
        let sound = rest.is_empty() && self.vouches_for(&[CertificateDer::from(certificate)], expires);
        sound.then_some(RouterCertificate { tenant, router, spki, key, expires })
    }
}

impl fmt::Debug for RouterAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterAuthority").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

/// The public key of a certificate, as a SubjectPublicKeyInfo.
pub(crate) fn spki(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.public_key().raw.to_vec())
}

fn date(time: Timestamp) -> Result<OffsetDateTime, CaError> {
    OffsetDateTime::from_unix_timestamp(time.0.div_euclid(1_000_000)).map_err(|_| rcgen::Error::Time.into())
}
