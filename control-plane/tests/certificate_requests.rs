//! Whatever a certificate request asks for, the certificate is ours: only the public key is taken,
//! and only of one kind.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use control_plane::ca::identity::Caller;
use control_plane::ca::{Authority, RequestError, RequestedKey, RouterAuthority, fingerprint};
use control_plane::model::{RouterId, TenantId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SanType,
    SignatureAlgorithm,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

const LIFE: Duration = Duration::from_secs(3_600);

struct Desk {
    _folder: tempfile::TempDir,
    authority: RouterAuthority,
    now: Timestamp,
}

fn desk() -> Desk {
    let folder = tempfile::tempdir().expect("a folder");
    let now = OffsetDateTime::now_utc();
    Authority::init(folder.path(), "rollcall", now).expect("an authority");
    let authority = RouterAuthority::open(&folder.path().join("routers")).expect("the routers' authority");
    Desk { _folder: folder, authority, now: Timestamp(now.unix_timestamp() * 1_000_000) }
}

impl Desk {
    /// Issues for a request, and checks that everything in the certificate but the key is ours.
    fn issue(&self, request: &[u8], key: &KeyPair, what: &str) {
        let (tenant, router) = (TenantId::from("acme"), RouterId::from("hq-1"));
        let requested = RequestedKey::from_request(request).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(requested.spki(), key.subject_public_key_info(), "{what}");
        let end = self.now.plus(LIFE);
        let chain = self.authority.issue(&tenant, &router, &requested, self.now, end).expect("a certificate");
        let (rest, issued) = X509Certificate::from_der(&chain[0]).expect("a certificate that can be read");
        assert!(rest.is_empty());
        assert_eq!(issued.subject().to_string(), "CN=acme/hq-1", "{what}");
        assert_eq!(issued.validity().not_after.timestamp(), end.0 / 1_000_000, "{what}");
        assert_eq!(issued.validity().not_before.timestamp(), self.now.0 / 1_000_000 - 300, "{what}");
        assert!(issued.raw_serial().len() >= 14, "{what}: a random serial number");
        let mut extensions: Vec<_> = issued.extensions().iter().map(|one| one.oid.to_id_string()).collect();
        extensions.sort();
        // Subject key identifier, key usage, subject alternative name, basic constraints, authority
        // key identifier, extended key usage.
        let ours = ["2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37"];
        assert_eq!(extensions, ours, "{what}");
        for extension in issued.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    assert!(!constraints.ca && extension.critical, "{what}");
                }
                ParsedExtension::KeyUsage(usage) => assert_eq!(usage.flags, 1, "{what}: signatures only"),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    assert!(usage.client_auth && !usage.server_auth && !usage.any, "{what}");
                    assert!(!usage.code_signing && usage.other.is_empty(), "{what}");
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    let ours = GeneralName::URI("rollcall://rollcall/tenant/acme/router/hq-1");
                    assert_eq!(names.general_names, [ours], "{what}");
                }
                _ => {}
            }
        }
        let (caller, _) = Caller::from_certificate(&chain[0]).expect("a router");
        let key = fingerprint(requested.spki());
        assert!(
            matches!(caller, Caller::Router { router: of, key: shown, .. } if of == router && shown == key)
        );
        assert!(self.authority.vouches_for(&chain, self.now), "{what}");
    }
}

fn p256() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn of_kind(kind: &'static SignatureAlgorithm) -> Vec<u8> {
    let key = KeyPair::generate_for(kind).expect("a key");
    CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec()
}

#[test]
fn whatever_a_request_asks_for_beside_its_key_is_not_in_the_certificate() {
    let desk = desk();
    type Ask = Box<dyn Fn(&mut CertificateParams)>;
    let asks: Vec<(&str, Ask)> = vec![
        ("nothing", Box::new(|_| {})),
        ("an authority", Box::new(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        ("a narrow authority", Box::new(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(3)))),
        ("signing certificates", Box::new(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign])),
        ("signing lists", Box::new(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign])),
        (
            "a server",
            Box::new(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        ("any usage", Box::new(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any])),
        ("code", Box::new(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning])),
        (
            "a usage of its own",
            Box::new(|params| {
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 2])];
            }),
        ),
        ("an operator", Box::new(|params| names(params, &["rollcall://rollcall/operator/ops"]))),
        (
            "an administrator",
            Box::new(|params| names(params, &["rollcall://rollcall/tenant/acme/admin/alice/super-admin"])),
        ),
        (
            "another tenant's router",
            Box::new(|params| names(params, &["rollcall://rollcall/tenant/globex/router/hq-1"])),
        ),
        (
            "two names",
            Box::new(|params| {
                names(
                    params,
                    &["rollcall://rollcall/tenant/acme/router/hq-1", "rollcall://rollcall/operator/ops"],
                );
            }),
        ),
        (
            "a host",
            Box::new(|params| {
                params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().expect("a name"))];
            }),
        ),
        (
            "an address",
            Box::new(|params| {
                params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
            }),
        ),
        (
            "mail",
            Box::new(|params| {
                params.subject_alt_names =
                    vec![SanType::Rfc822Name("root@lab.test".try_into().expect("a name"))];
            }),
        ),
        (
            "a subject",
            Box::new(|params| params.distinguished_name.push(DnType::CommonName, "Rollcall CA of rollcall")),
        ),
        (
            "a long subject",
            Box::new(|params| params.distinguished_name.push(DnType::CommonName, "x".repeat(2_000))),
        ),
        (
            "an extension of its own",
            Box::new(|params| {
                let oid = &[2, 5, 29, 30]; // name constraints
                params.custom_extensions = vec![CustomExtension::from_oid_content(oid, vec![0x30, 0x00])];
            }),
        ),
    ];
    for (what, ask) in asks {
        let key = p256();
        let mut params = CertificateParams::default();
        ask(&mut params);
        let request = params.serialize_request(&key).expect("a request");
        desk.issue(request.der(), &key, what);
    }
}

fn names(params: &mut CertificateParams, uris: &[&str]) {
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("a URI"))).collect();
}

#[test]
fn a_request_for_another_kind_of_key_is_refused() {
    for kind in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        assert_eq!(RequestedKey::from_request(&of_kind(kind)), Err(RequestError::Kind));
    }
}

#[test]
fn a_request_that_is_damaged_in_any_place_gives_no_other_key() {
    let key = p256();
    let good = CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec();
    let own = RequestedKey::from_request(&good).expect("a key");
    let mut refused = 0;
    for at in 0..good.len() {
        for flip in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            // The readers of DER forgive a class of a tag here and there, outside of what is
            // signed.
            assert!(
                RequestedKey::from_request(&bad).map_or(true, |key| key == own),
                "byte {at} with {flip:#x}"
            );
            refused += usize::from(RequestedKey::from_request(&bad).is_err());
        }
        assert!(RequestedKey::from_request(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(refused > good.len() * 2 - 10, "{refused} of {}", good.len() * 2);
    assert_eq!(
        RequestedKey::from_request(&[&good[..], &[0]].concat()),
        Err(RequestError::Unreadable),
        "a byte behind"
    );
    assert_eq!(
        RequestedKey::from_request(&[&good[..], &good[..]].concat()),
        Err(RequestError::Unreadable),
        "twice"
    );
    assert_eq!(
        RequestedKey::from_request(&[0x30; 4_096]),
        Err(RequestError::Unreadable),
        "nested without end"
    );
}

#[test]
fn a_request_of_more_than_4_kib_is_not_read() {
    let key = p256();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "x".repeat(5_000));
    let request = params.serialize_request(&key).expect("a request");
    assert_eq!(RequestedKey::from_request(request.der()), Err(RequestError::Unreadable));
}

#[test]
fn a_request_signed_by_another_key_is_refused() {
    let (own, other) = (p256(), p256());
    let good = CertificateParams::default().serialize_request(&own).expect("a request").der().to_vec();
    // The same request with the other one's signature: both are what they say, and do not fit
    // together.
    let info = x509_parser::certification_request::X509CertificationRequest::from_der(&good);
    let info = info.expect("a request").1.certification_request_info.raw.to_vec();
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &other.serialize_der());
    let signature = signer.expect("a key").sign(&SystemRandom::new(), &info).expect("a signature");
    let algorithm = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let bits = der(0x03, &[&[0], signature.as_ref()].concat());
    let forged = der(0x30, &[&info[..], &algorithm, &bits].concat());
    assert_eq!(RequestedKey::from_request(&forged), Err(RequestError::Signature));
}

#[test]
fn a_certificate_of_another_authority_or_for_another_purpose_is_good_for_no_recovery() {
    let (desk, other) = (desk(), desk());
    let request = |key: &KeyPair| {
        let request = CertificateParams::default().serialize_request(key).expect("a request");
        RequestedKey::from_request(request.der()).expect("a key")
    };
    let (tenant, router) = (TenantId::from("acme"), RouterId::from("hq-1"));
    let ended = desk.now.minus(LIFE);
    let issue = |desk: &Desk| {
        let chain = desk.authority.issue(&tenant, &router, &request(&p256()), ended.minus(LIFE), ended);
        chain.expect("a certificate")[0].to_vec()
    };
    let own = issue(&desk);
    let read = desk.authority.read_expired(&own).expect("an expired certificate of ours");
    assert_eq!((read.tenant, read.router, read.expires), (tenant.clone(), router.clone(), ended));
    assert!(!desk.authority.vouches_for(&[own.clone().into()], desk.now), "expired");
    assert_eq!(desk.authority.read_expired(&issue(&other)), None, "another authority");
    assert_eq!(desk.authority.read_expired(&desk.authority.certificates()[0]), None, "the authority itself");
    assert_eq!(desk.authority.read_expired(&[&own[..], &[0]].concat()), None, "a byte behind");
    for at in 0..own.len() {
        let mut bad = own.clone();
        bad[at] ^= 1;
        assert_eq!(desk.authority.read_expired(&bad), None, "byte {at}");
    }
}

#[test]
fn an_authority_that_is_replaced_issues_no_more_and_is_trusted_until_its_certificate_is_taken_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = OffsetDateTime::now_utc();
    let at = |name: &str| folder.path().join(name);
    for name in ["old", "new"] {
        Authority::init(&at(name), "rollcall", now).expect("an authority");
    }
    let now = Timestamp(now.unix_timestamp() * 1_000_000);
    let read = |name: &str| std::fs::read_to_string(at(name).join("routers/ca.pem")).expect("a certificate");
    let open = |name: &str| RouterAuthority::open(&at(name).join("routers"));
    let issue = |authority: &RouterAuthority| {
        let request = CertificateParams::default().serialize_request(&p256()).expect("a request");
        let key = RequestedKey::from_request(request.der()).expect("a key");
        let (tenant, router) = (TenantId::from("acme"), RouterId::from("hq-1"));
        authority.issue(&tenant, &router, &key, now, now.plus(LIFE)).expect("a certificate")
    };
    let before = issue(&open("old").expect("the old authority"));
    let (old, new) = (read("old"), read("new"));
    std::fs::write(at("new").join("routers/ca.pem"), format!("{old}{new}")).expect("both");
    let both = open("new").expect("both authorities");
    let after = issue(&both);
    assert!(both.vouches_for(&before, now) && both.vouches_for(&after, now));
    assert!(!open("old").expect("the old authority").vouches_for(&after, now), "the new one has issued");
    std::fs::write(at("new").join("routers/ca.pem"), &new).expect("the new one alone");
    assert!(!open("new").expect("the new authority").vouches_for(&before, now));
    std::fs::write(at("new").join("routers/ca.pem"), &old).expect("the old one with the new key");
    assert!(open("new").is_err(), "a key without its certificate");
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a length").to_be_bytes();
    let mut bytes = vec![tag];
    match content.len() {
        0..128 => bytes.push(length[1]),
        128..256 => bytes.extend_from_slice(&[0x81, length[1]]),
        _ => bytes.extend_from_slice(&[0x82, length[0], length[1]]),
    }
    bytes.extend_from_slice(content);
    bytes
}
