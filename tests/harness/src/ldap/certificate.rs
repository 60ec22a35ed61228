//! A certificate authority and a server certificate for one directory server.
//! Has nothing to do with the control plane's own authority.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// What kind of certificate a directory server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Valid now, for `localhost` and 127.0.0.1.
    Valid,
    /// For the right names, and for ten more seconds.
    Ending,
    /// For the right names, and expired an hour ago.
    Expired,
    /// For the right names, from tomorrow on.
    NotYetValid,
    /// Valid now, for another host name.
    ForHost(String),
    /// Valid now, and names its host as its subject only, as certificates did before 2000.
    ByCommonNameOnly,
    /// Valid now, for the right names, and for clients.
    ForClients,
    /// Valid now, for the right names, and signed by itself.
    SelfSigned,
}

/// Writes `ca.pem`, `server.pem` and `server.key` into a folder.
pub fn write(dir: &Path, kind: &Certificate) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "Directory test CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca.not_before, ca.not_after) = (now - Duration::days(30), now + Duration::days(365));
    fs::write(dir.join("ca.pem"), ca.self_signed(&ca_key)?.pem())?;

    let names = match kind {
        Certificate::ForHost(host) => vec![host.clone()],
        Certificate::ByCommonNameOnly => Vec::new(),
        _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
    };
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(names)?;
    let subject = if *kind == Certificate::ByCommonNameOnly { "localhost" } else { "directory" };
    server.distinguished_name.push(DnType::CommonName, subject);
    server.extended_key_usages = vec![match kind {
        Certificate::ForClients => ExtendedKeyUsagePurpose::ClientAuth,
        _ => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.use_authority_key_identifier_extension = true;
    (server.not_before, server.not_after) = match kind {
        Certificate::Expired => (now - Duration::days(20), now - Duration::hours(1)),
        Certificate::Ending => (now - Duration::days(20), now + Duration::seconds(10)),
        Certificate::NotYetValid => (now + Duration::days(1), now + Duration::days(90)),
        _ => (now - Duration::days(20), now + Duration::days(90)),
    };
    let signed = match kind {
        Certificate::SelfSigned => server.self_signed(&key)?,
        _ => server.signed_by(&key, &Issuer::from_params(&ca, &ca_key))?,
    };
    fs::write(dir.join("server.pem"), signed.pem())?;
    fs::write(dir.join("server.key"), key.serialize_pem())?;
    fs::set_permissions(dir.join("server.key"), fs::Permissions::from_mode(0o600))?;
    Ok(())
}
