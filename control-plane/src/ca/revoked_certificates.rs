//! Certificates of people and services that are revoked before they expire: a key was stolen, or
//! somebody left. (Tenants revoke their routers in the database.)
//!
//! The list is a file with one certificate name a line and, optionally, a time: certificates of
//! that name that were issued before it are revoked.
//!
//! `rollcall://rollcall/tenant/acme/admin/alice/super-admin 2027-01-15T08:00:00Z`

use std::collections::HashMap;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::BACKDATED;

/// The revoked names, each with the time before which its certificates are revoked; none for
/// always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokedCertificates(HashMap<String, Option<OffsetDateTime>>);

/// A line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {0} must be the URI name of a certificate, such as rollcall://rollcall/tenant/acme/admin/alice/super-admin, and optionally a time, such as 2027-01-15T08:00:00Z"
)]
pub struct InvalidLine(usize);

impl RevokedCertificates {
    /// Reads a list. Empty lines and those that begin with `#` are ignored.
    ///
    /// # Errors
    /// The first line that cannot be read: half a list would let a revoked certificate in.
    pub fn parse(text: &str) -> Result<Self, InvalidLine> {
        let mut revoked = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || InvalidLine(at + 1);
            let mut words = line.split_whitespace();
            let name = words.next().filter(|name| name.starts_with("rollcall://")).ok_or_else(wrong)?;
            let before = words.next().map(|time| OffsetDateTime::parse(time, &Rfc3339)).transpose();
            let before = before.map_err(|_| wrong())?;
            if words.next().is_some() {
                return Err(wrong());
            }
            // Of two lines for one name the one that refuses more counts.
            let known: &mut Option<OffsetDateTime> = revoked.entry(name.to_owned()).or_insert(before);
            *known = known.zip(before).map(|(one, other)| one.max(other));
        }
        Ok(Self(revoked))
    }

    /// Whether a certificate is revoked. One that cannot be read is.
    #[must_use]
    pub fn contains(&self, der: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Ok((_, parsed)) = X509Certificate::from_der(der) else { return true };
        let der = CertificateDer::from(der);
        let Ok(certificate) = webpki::EndEntityCert::try_from(&der) else { return true };
        let issued = parsed.validity().not_before.to_datetime() + BACKDATED;
        let revoked =
            |name: &str| self.0.get(name).is_some_and(|before| before.is_none_or(|before| issued < before));
        certificate.valid_uri_names().any(revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_not_understood_is_no_list() {
        let alice = "rollcall://rollcall/tenant/acme/admin/alice/super-admin";
        let list = format!(
            "# left the company\n\n{alice} 2027-01-15T08:00:00Z\n{alice}\nrollcall://rollcall/operator/ops 2027-01-15T08:00:00+01:00\n"
        );
        let RevokedCertificates(names) = RevokedCertificates::parse(&list).expect("a list");
        assert_eq!(names.get(alice), Some(&None), "whenever refuses more");
        assert_eq!(names.len(), 2);
        for (text, line) in [
            ("alice".to_owned(), 1),
            (format!("{alice}\n{alice} yesterday"), 2),
            (format!("\n\n{alice} 2027-01-15T08:00:00Z for ever"), 3),
        ] {
            assert_eq!(RevokedCertificates::parse(&text), Err(InvalidLine(line)), "{text}");
        }
    }
}
