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
    /// For the right names, and expired an hour ago.
    Expired,
    /// Valid now, for another host name.
    ForHost(String),
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
        Certificate::Valid | Certificate::Expired => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        Certificate::ForHost(host) => vec![host.clone()],
    };
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "directory");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.use_authority_key_identifier_extension = true;
    let end = if *kind == Certificate::Expired { now - Duration::hours(1) } else { now + Duration::days(90) };
    (server.not_before, server.not_after) = (now - Duration::days(20), end);
    let signed = server.signed_by(&key, &Issuer::from_params(&ca, &ca_key))?;
    fs::write(dir.join("server.pem"), signed.pem())?;
    fs::write(dir.join("server.key"), key.serialize_pem())?;
    fs::set_permissions(dir.join("server.key"), fs::Permissions::from_mode(0o600))?;
    Ok(())
}
