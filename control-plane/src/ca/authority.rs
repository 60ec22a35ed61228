//! Creates the authorities, and issues keys and certificates from their files. No field of a
//! certificate comes from the caller that asks for it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::is_id;

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate library refused.
    #[error("the certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// A name cannot be used.
    #[error("{0:?} must be 1 to 63 of a-z, 0-9 and hyphen, starting with a letter")]
    Name(String),
    /// No certificate of the folder is that of its key.
    #[error("{}: none of its certificates is that of ca.key", .0.display())]
    Mismatch(PathBuf),
    /// There is an authority.
    #[error("{} has an authority already; choose another folder", .0.display())]
    Exists(PathBuf),
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The control plane, by host names and addresses.
    Server(Vec<String>),
    /// A client, by the path of its URI name.
    Client(Vec<String>),
}

/// An authority that can issue.
pub struct Authority {
    trust_domain: String,
    issuer: Issuer<'static, KeyPair>,
}

/// File of an authority's certificate.
pub const CERTIFICATE: &str = "ca.pem";
/// File of its key.
pub const KEY: &str = "ca.key";
/// Certificates are valid from a little before they are issued, for clocks that are a little
/// behind.
pub(super) const BACKDATED: Duration = Duration::minutes(5);
const TRUST_DOMAIN_FILE: &str = "trust-domain";
/// Folder of the routers' authority within that of the other one.
const ROUTERS_FOLDER: &str = "routers";

impl Authority {
    /// Makes the two new authorities in a folder that has none: the server's and people's in the
    /// folder itself, the routers' in `routers` within it.
    ///
    /// # Errors
    /// If there is one, or the folder cannot be written.
    pub fn init(folder: &Path, trust_domain: &str, now: OffsetDateTime) -> Result<(), CaError> {
        if !is_id(trust_domain) {
            return Err(CaError::Name(trust_domain.to_owned()));
        }
        let routers = folder.join(ROUTERS_FOLDER);
        for folder in [folder, &routers] {
            if folder.join(CERTIFICATE).exists() || folder.join(KEY).exists() {
                return Err(CaError::Exists(folder.to_owned()));
            }
        }
        create(folder, trust_domain, &format!("Rollcall CA of {trust_domain}"), now)?;
        create(&routers, trust_domain, &format!("Rollcall routers of {trust_domain}"), now)
    }

    /// Opens the authority of a folder.
    ///
    /// # Errors
    /// If there is none, or its files cannot be read.
    pub fn open(folder: &Path) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(&read_file(folder, KEY)?)?;
        let issuer = Issuer::from_ca_cert_pem(&read_file(folder, CERTIFICATE)?, key)?;
        Ok(Self { trust_domain: trust_domain(folder)?, issuer })
    }

    /// Makes a key and a certificate for it: `{out}.key` and `{out}.pem`, neither of which may
    /// exist.
    ///
    /// # Errors
    /// If a name cannot be used or a file not written.
    pub fn issue(
        &self,
        subject: &Subject,
        now: OffsetDateTime,
        not_after: OffsetDateTime,
        out: &Path,
    ) -> Result<(), CaError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        // Backdated for clocks that are a little behind; one that has ended already is still
        // well-formed.
        (params.not_before, params.not_after) = ((now - BACKDATED).min(not_after - BACKDATED), not_after);
        match subject {
            Subject::Server(hosts) => {
                params.subject_alt_names = CertificateParams::new(hosts.clone())?.subject_alt_names;
                params.distinguished_name = common_name("Rollcall control plane");
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }
            Subject::Client(path) => {
                if let Some(wrong) = path.iter().find(|part| !is_id(part)) {
                    return Err(CaError::Name(wrong.clone()));
                }
                let uri = format!("rollcall://{}/{}", self.trust_domain, path.join("/"));
                params.distinguished_name = common_name(&path.join("/"));
                params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into()?)];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write_file(&with_extension(out, "key"), 0o600, key.serialize_pem().as_bytes())?;
        write_file(&with_extension(out, "pem"), 0o644, certificate.pem().as_bytes())
    }
}

/// Makes one authority. It may sign certificates of others, but no further authority.
fn create(folder: &Path, trust_domain: &str, name: &str, now: OffsetDateTime) -> Result<(), CaError> {
    fs::create_dir_all(folder).map_err(|source| CaError::File { path: folder.to_owned(), source })?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (now - BACKDATED, now + Duration::days(3_650));
    write_file(&folder.join(KEY), 0o600, key.serialize_pem().as_bytes())?;
    write_file(&folder.join(CERTIFICATE), 0o644, params.self_signed(&key)?.pem().as_bytes())?;
    write_file(&folder.join(TRUST_DOMAIN_FILE), 0o644, trust_domain.as_bytes())
}

/// A file of an authority.
pub(super) fn read_file(folder: &Path, name: &str) -> Result<String, CaError> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|source| CaError::File { path, source })
}

/// The trust domain of an authority.
pub(super) fn trust_domain(folder: &Path) -> Result<String, CaError> {
    let name = read_file(folder, TRUST_DOMAIN_FILE)?.trim().to_owned();
    if is_id(&name) { Ok(name) } else { Err(CaError::Name(name)) }
}

pub(super) fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// `a/b.c` and `pem` make `a/b.c.pem`.
#[must_use]
pub fn with_extension(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Writes a file that must not exist.
fn write_file(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), CaError> {
    let file = |source| CaError::File { path: path.to_owned(), source };
    let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(file)?;
    open.write_all(bytes).and_then(|()| open.sync_all()).map_err(file)
}
