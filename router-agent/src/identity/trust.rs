//! Who may be the control plane: until a router has enrolled, whoever the authority vouches for
//! that the registration code names by its public key; afterwards, whoever the authorities vouch
//! for that the control plane handed out. No authority of the system counts.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity_file::pem;
use super::state::AUTHORITIES_FILE;
use super::{StateError, StateFolder, fingerprint};

/// More than anyone needs, also in the middle of a change from one to the next.
const MAX_AUTHORITIES: usize = 16;

/// Certificates of authorities; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorities(Vec<CertificateDer<'static>>);

/// Why these are no authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthoritiesError {
    #[error("there is no authority")]
    None,
    #[error("there are too many authorities")]
    TooMany,
    #[error("a certificate is not that of an authority, or cannot be read")]
    Unusable,
}

impl Authorities {
    /// Takes certificates that are all those of authorities.
    pub(crate) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, AuthoritiesError> {
        match certificates.len() {
            0 => return Err(AuthoritiesError::None),
            1..=MAX_AUTHORITIES => {}
            _ => return Err(AuthoritiesError::TooMany),
        }
        for certificate in &certificates {
            let (rest, parsed) =
                X509Certificate::from_der(certificate).map_err(|_| AuthoritiesError::Unusable)?;
            if !rest.is_empty() || !parsed.is_ca() {
                return Err(AuthoritiesError::Unusable);
            }
        }
        let authorities = Self(certificates);
        authorities.roots().map(|_| authorities).map_err(|_| AuthoritiesError::Unusable)
    }

    /// As the control plane hands them out.
    pub(crate) fn handed_out(ders: &[bytes::Bytes]) -> Result<Self, AuthoritiesError> {
        Self::new(ders.iter().map(|der| CertificateDer::from(der.to_vec())).collect())
    }

    /// Those in the state folder.
    pub(crate) fn load(state: &StateFolder) -> Result<Self, StateError> {
        let damaged = || StateError::Damaged(state.path(AUTHORITIES_FILE));
        let bytes = state.read(AUTHORITIES_FILE)?.ok_or_else(damaged)?;
        let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
        certificates.ok().and_then(|certificates| Self::new(certificates).ok()).ok_or_else(damaged)
    }

    /// Replaces those in the state folder.
    pub(crate) fn store(&self, state: &StateFolder) -> Result<(), StateError> {
        let text: String = self.0.iter().map(pem).collect();
        state.write(AUTHORITIES_FILE, text.as_bytes())
    }

    /// These and those that are not among them, as far as there is room.
    pub(crate) fn with(&self, others: &Self) -> Self {
        let mut all = self.0.clone();
        all.extend(others.0.iter().filter(|other| !self.0.contains(other)).cloned());
        all.truncate(MAX_AUTHORITIES);
        Self(all)
    }

    /// Whether one of them has this public key.
    pub(crate) fn have_key(&self, authority: &[u8; 32]) -> bool {
        self.0.iter().any(|certificate| has_key(certificate, authority))
    }

    /// Accepts whom they vouch for.
    pub(crate) fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        verifier(self.roots()?)
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.0 {
            roots.add(certificate.clone())?;
        }
        Ok(roots)
    }
}

/// Whether these authorities alone vouch for whoever showed this chain.
pub(crate) fn vouches(
    authorities: &Authorities,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: OffsetDateTime,
) -> bool {
    let Some((certificate, intermediates)) = chain.split_first() else { return false };
    let since = std::time::Duration::from_secs(u64::try_from(now.unix_timestamp()).unwrap_or_default());
    let now = UnixTime::since_unix_epoch(since);
    authorities
        .verifier()
        .is_ok_and(|verifier| verifier.verify_server_cert(certificate, intermediates, name, &[], now).is_ok())
}

/// Nobody's certificate leads to the authority that the code names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authority that the registration code names does not vouch for whoever answers")]
pub(crate) struct WrongAuthority;

/// Accepts whom the authority with this public key vouches for; its certificate has to be in the
/// chain that is shown.
#[derive(Debug)]
pub(crate) struct PinnedAuthority {
    authority: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl PinnedAuthority {
    /// `authority` is the SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) fn new(authority: [u8; 32]) -> Self {
        Self { authority, provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()) }
    }

    /// The authority's certificate in a chain that was accepted.
    pub(crate) fn authority_in(&self, chain: &[CertificateDer<'_>]) -> Option<Authorities> {
        let found = chain.iter().find(|certificate| has_key(certificate, &self.authority))?;
        Authorities::new(vec![found.clone().into_owned()]).ok()
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let wrong =
            || Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(WrongAuthority))));
        let authority = self.authority_in(intermediates).ok_or_else(wrong)?;
        let verified =
            authority.verifier()?.verify_server_cert(certificate, intermediates, name, stapled, now);
        match verified {
            // The authority's certificate can be shown by anyone; what counts is that it signed.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => Err(wrong()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn verifier(roots: RootCertStore) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
        .map_err(|error| Error::General(error.to_string()))
}

fn has_key(certificate: &CertificateDer<'_>, authority: &[u8; 32]) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| fingerprint(parsed.public_key().raw) == *authority)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use time::Duration;

    use super::*;

    const HOST: &str = "cp.example.com";

    struct Ca {
        certificate: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn ca() -> Ca {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Ca { certificate, issuer: Issuer::new(params, key) }
    }

    impl Ca {
        fn server(&self, host: &str, from: i64, to: i64) -> CertificateDer<'static> {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
            let now = crate::clock::now();
            (params.not_before, params.not_after) = (now + Duration::hours(from), now + Duration::hours(to));
            params.signed_by(&key, &self.issuer).expect("a certificate").der().clone()
        }

        fn pin(&self) -> PinnedAuthority {
            let (_, parsed) = X509Certificate::from_der(&self.certificate).expect("a certificate");
            PinnedAuthority::new(fingerprint(parsed.public_key().raw))
        }

        fn authorities(&self) -> Authorities {
            Authorities::new(vec![self.certificate.clone()]).expect("an authority")
        }
    }

    fn verify(pin: &PinnedAuthority, chain: &[CertificateDer<'static>]) -> Result<(), Error> {
        let name = ServerName::try_from(HOST).expect("a name");
        let (certificate, rest) = chain.split_first().expect("a chain");
        pin.verify_server_cert(certificate, rest, &name, &[], UnixTime::now()).map(drop)
    }

    fn is_wrong_authority(result: &Result<(), Error>) -> bool {
        matches!(result, Err(Error::InvalidCertificate(CertificateError::Other(OtherError(inner))))
            if inner.is::<WrongAuthority>())
    }

    #[test]
    fn only_whom_the_pinned_authority_vouches_for_is_the_control_plane() {
        let (ours, other) = (ca(), ca());
        let pin = ours.pin();
        verify(&pin, &[ours.server(HOST, -1, 1), ours.certificate.clone()]).expect("the control plane");
        for chain in [
            vec![other.server(HOST, -1, 1), other.certificate.clone()],
            // The right authority's certificate is public: anyone can show it.
            vec![other.server(HOST, -1, 1), ours.certificate.clone()],
            vec![other.server(HOST, -1, 1), other.certificate.clone(), ours.certificate.clone()],
            vec![ours.server(HOST, -1, 1)],
        ] {
            assert!(is_wrong_authority(&verify(&pin, &chain)));
        }
        let itself = verify(&pin, &[ours.certificate.clone(), ours.certificate.clone()]);
        assert!(itself.is_err(), "the authority itself is not the control plane");
    }

    #[test]
    fn a_wrong_name_or_time_is_told_from_a_wrong_authority() {
        let ours = ca();
        let verify = |server| verify(&ours.pin(), &[server, ours.certificate.clone()]);
        for server in
            [ours.server("other.example.com", -1, 1), ours.server(HOST, -2, -1), ours.server(HOST, 1, 2)]
        {
            let refused = verify(server);
            assert!(refused.is_err() && !is_wrong_authority(&refused), "{refused:?}");
        }
    }

    #[test]
    fn nothing_and_what_cannot_be_read_are_no_authorities() {
        let ours = ca();
        assert_eq!(Authorities::handed_out(&[]), Err(AuthoritiesError::None));
        assert_eq!(Authorities::handed_out(&[vec![1, 2, 3].into()]), Err(AuthoritiesError::Unusable));
        let server = ours.server(HOST, -1, 1);
        let mixed = [ours.certificate.to_vec().into(), server.to_vec().into()];
        assert_eq!(
            Authorities::handed_out(&mixed),
            Err(AuthoritiesError::Unusable),
            "a server is no authority"
        );
        let many = vec![ours.certificate.to_vec().into(); MAX_AUTHORITIES + 1];
        assert_eq!(Authorities::handed_out(&many), Err(AuthoritiesError::TooMany));
    }

    #[test]
    fn authorities_are_the_same_after_they_were_written_and_each_is_there_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::create(&folder.path().join("state")).expect("a state folder");
        let (one, two) = (ca(), ca());
        let both = one.authorities().with(&two.authorities());
        both.store(&state).expect("a written file");
        assert_eq!(Authorities::load(&state).expect("authorities"), both);
        assert_eq!(both.with(&two.authorities()), both);
        assert!(both.have_key(&two.pin().authority) && !one.authorities().have_key(&two.pin().authority));
    }

    #[test]
    fn a_set_that_does_not_vouch_for_the_present_server_is_found_out() {
        let (old, new) = (ca(), ca());
        let name = ServerName::try_from(HOST).expect("a name");
        let shown = [old.server(HOST, -1, 1)];
        let now = crate::clock::now();
        assert!(vouches(&old.authorities(), &shown, &name, now));
        assert!(!vouches(&new.authorities(), &shown, &name, now));
        assert!(vouches(&new.authorities().with(&old.authorities()), &shown, &name, now));
        assert!(!vouches(&old.authorities(), &[], &name, now));
        assert!(!vouches(&old.authorities(), &shown, &name, now + Duration::hours(2)), "expired");
    }
}
