//! `identity.pem`: the key and the certificate's chain in one file, so that they always fit. What
//! is in it is written for people, too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rollcall_proto::router::v1::IssuedCertificate;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{IDENTITY_FILE, Key, StateError, StateFolder, fingerprint};

/// Starts the line of the file that says which certificate of the router it is.
const GENERATION_PREFIX: &str = "Generation: ";
/// Control planes backdate certificates by this much, for clocks that are behind.
const BACKDATED_BY: Duration = Duration::minutes(5);

/// Who a router is, and how it shows that.
pub struct Identity {
    pub(crate) key: Key,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// What is in the certificate.
    pub facts: Facts,
}

/// What a router's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The router, by resource name.
    pub name: String,
    /// From when to when it is good.
    pub validity: Validity,
    /// SHA-256 of its key, in hexadecimal.
    pub fingerprint: String,
    /// Number of the certificate, if known.
    pub generation: Option<i32>,
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when on.
    pub not_before: OffsetDateTime,
    /// Until when.
    pub not_after: OffsetDateTime,
}

impl Validity {
    /// When it was issued, as far as can be told.
    #[must_use]
    pub fn issued_at(&self) -> OffsetDateTime {
        let issued = self.not_before + BACKDATED_BY;
        if issued < self.not_after { issued } else { self.not_before }
    }

    /// From its issue to its end.
    #[must_use]
    pub fn length(&self) -> std::time::Duration {
        (self.not_after - self.issued_at()).try_into().unwrap_or_default()
    }

    /// How much of it is over: 0 at its issue, 1 at its end.
    #[must_use]
    pub fn elapsed_fraction(&self, now: OffsetDateTime) -> f64 {
        (now - self.issued_at()).as_seconds_f64() / self.length().as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Why what the control plane answered is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// None, or not one.
    #[error("the control plane's answer has no certificate that can be read")]
    Unreadable,
    /// For another key.
    #[error("the control plane's answer is a certificate for another key")]
    Key,
    /// For nobody, or for somebody else.
    #[error("the control plane's answer is a certificate for {0}")]
    Name(String),
}

/// Takes a certificate that was issued for a key. `name` is whose it has to be, where that is
/// known.
pub(crate) fn issued(
    key: Key,
    certificate: &IssuedCertificate,
    name: Option<&str>,
) -> Result<Identity, IssueError> {
    let chain: Vec<_> = certificate.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let identity = read_identity(key, chain, Some(certificate.generation))?;
    match name {
        Some(name) if name != identity.facts.name => Err(IssueError::Name(identity.facts.name)),
        _ => Ok(identity),
    }
}

/// The identity in the state folder; none if it was never enrolled.
pub(crate) fn load(state: &StateFolder) -> Result<Option<Identity>, StateError> {
    let Some(bytes) = state.read(IDENTITY_FILE)?.map(SecretSlice::from) else { return Ok(None) };
    let bytes = bytes.expose_secret();
    let damaged = || StateError::Damaged(state.path(IDENTITY_FILE));
    let key = Key::from_pem(bytes).ok_or_else(damaged)?;
    let chain =
        CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>().map_err(|_| damaged())?;
    let mut lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let generation = lines.find_map(|line| line.strip_prefix(GENERATION_PREFIX)?.trim().parse().ok());
    read_identity(key, chain, generation).map(Some).map_err(|_| damaged())
}

/// Replaces the identity in the state folder.
pub(crate) fn store(state: &StateFolder, identity: &Identity) -> Result<(), StateError> {
    let Facts { name, validity, generation, .. } = &identity.facts;
    let mut text = format!(
        "Key and certificate of {name}, until {}. Made by router-agent, which replaces them by itself.\n",
        validity.not_after
    );
    if let Some(generation) = generation {
        text += &format!("{GENERATION_PREFIX}{generation}\n");
    }
    let mut text = text + identity.key.to_pem().expose_secret().trim_end() + "\n";
    for certificate in &identity.chain {
        text += &pem(certificate);
    }
    let text = SecretString::from(text);
    state.write(IDENTITY_FILE, text.expose_secret().as_bytes())
}

fn read_identity(
    key: Key,
    chain: Vec<CertificateDer<'static>>,
    generation: Option<i32>,
) -> Result<Identity, IssueError> {
    let leaf = chain.first().ok_or(IssueError::Unreadable)?;
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| IssueError::Unreadable)?;
    let public = certificate.public_key().raw;
    if public != key.public() {
        return Err(IssueError::Key);
    }
    let name = name_in(&certificate)?;
    let validity = Validity {
        not_before: certificate.validity().not_before.to_datetime(),
        not_after: certificate.validity().not_after.to_datetime(),
    };
    let facts = Facts { name, validity, fingerprint: hex(&fingerprint(public)), generation };
    Ok(Identity { key, chain, facts })
}

/// A certificate as PEM.
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// `rollcall://{trust domain}/tenant/{tenant}/router/{router}` as a resource name.
fn name_in(certificate: &X509Certificate<'_>) -> Result<String, IssueError> {
    let names = certificate.subject_alternative_name().map_err(|_| IssueError::Unreadable)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let [GeneralName::URI(uri)] = names else { return Err(IssueError::Name("nobody".to_owned())) };
    let parts: Vec<_> = uri.strip_prefix("rollcall://").unwrap_or_default().split('/').collect();
    match parts[..] {
        [_, "tenant", tenant, "router", router] => Ok(format!("tenants/{tenant}/identityRouters/{router}")),
        _ => Err(IssueError::Name((*uri).to_owned())),
    }
}

/// In hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, Issuer, KeyPair, SanType};

    use super::*;

    fn answer(key: &Key, uris: &[&str]) -> IssuedCertificate {
        let authority = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("a URI"))).collect();
        let issuer = Issuer::new(CertificateParams::default(), authority);
        let public = rcgen::SubjectPublicKeyInfo::from_der(&key.public()).expect("a public key");
        let certificate = params.signed_by(&public, &issuer).expect("a certificate");
        IssuedCertificate {
            chain: vec![certificate.der().to_vec().into()],
            generation: 7,
            ..Default::default()
        }
    }

    fn state() -> (tempfile::TempDir, StateFolder) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::create(&folder.path().join("state")).expect("a state folder");
        (folder, state)
    }

    const URI: &str = "rollcall://rollcall/tenant/acme/router/hq-1";
    const NAME: &str = "tenants/acme/identityRouters/hq-1";

    #[test]
    fn an_identity_is_the_same_after_it_was_written() {
        let (_folder, state) = state();
        assert!(load(&state).expect("a fine folder").is_none());
        let key = Key::generate().expect("a key");
        let answer = answer(&key, &[URI]);
        let identity = issued(key, &answer, Some(NAME)).expect("an identity");
        store(&state, &identity).expect("a written file");
        let again = load(&state).expect("a fine folder").expect("an identity");
        assert_eq!((again.facts.name.as_str(), again.facts.generation), (NAME, Some(7)));
        assert_eq!((again.facts, again.chain), (identity.facts, identity.chain));
        assert_eq!(again.key.public(), identity.key.public());
    }

    #[test]
    fn what_is_not_for_this_key_and_this_router_is_no_identity() {
        let (key, other) = (Key::generate().expect("a key"), Key::generate().expect("a key"));
        let of = |key: &Key, answer: &IssuedCertificate, name| {
            let again = Key::from_pem(key.to_pem().expose_secret().as_bytes()).expect("the key");
            issued(again, answer, name).map(drop).expect_err("a refusal")
        };
        assert_eq!(of(&other, &answer(&key, &[URI]), None), IssueError::Key);
        assert_eq!(
            of(&key, &answer(&key, &[URI]), Some("tenants/acme/identityRouters/hq-2")),
            IssueError::Name(NAME.to_owned())
        );
        for uris in [&[][..], &[URI, URI], &["rollcall://rollcall/operator/ops"]] {
            assert!(matches!(of(&key, &answer(&key, uris), None), IssueError::Name(_)), "{uris:?}");
        }
        assert_eq!(of(&key, &IssuedCertificate::default(), None), IssueError::Unreadable);
    }

    #[test]
    fn a_damaged_file_is_said_to_be_damaged() {
        let (_folder, state) = state();
        state.write(IDENTITY_FILE, b"-----BEGIN PRIVATE KEY-----\nAAAA").expect("a written file");
        assert!(matches!(load(&state), Err(StateError::Damaged(_))));
    }

    #[test]
    fn a_life_begins_when_the_certificate_was_issued_and_not_when_it_was_backdated_to() {
        let issued = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        let validity =
            Validity { not_before: issued - BACKDATED_BY, not_after: issued + Duration::seconds(20) };
        assert_eq!((validity.issued_at(), validity.length().as_secs()), (issued, 20));
        assert!((validity.elapsed_fraction(issued + Duration::seconds(15)) - 0.75).abs() < 1e-9);
        let short = Validity { not_before: issued, not_after: issued + Duration::minutes(1) };
        assert_eq!(short.issued_at(), issued, "where nothing was backdated");
    }
}
