//! Certificates of people and services that count no longer although they have not expired: a key was stolen, or somebody left. (Routers are
//! revoked by their tenants, in the database.) The list is a file, one certificate name a line, with the time before which what was
//! issued for it is refused:
//!
//! `rollcall://rollcall/tenant/acme/admin/alice/super-admin 2027-01-15T08:00:00Z`

use std::collections::HashMap;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::issue::BACKDATED;

/// What is refused: names, and the time before which certificates of them are; none for whenever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused(HashMap<String, Option<OffsetDateTime>>);

/// A line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {0} must be the URI name of a certificate, such as rollcall://rollcall/tenant/acme/admin/alice/super-admin, and optionally a time, such as 2027-01-15T08:00:00Z"
)]
pub struct WrongLine(usize);

impl Refused {
    /// Understands a list. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// The first line that is not understood: half a list would let somebody in.
    pub fn parse(text: &str) -> Result<Self, WrongLine> {
        let mut refused = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || WrongLine(at + 1);
            let mut words = line.split_whitespace();
            let name = words.next().filter(|name| name.starts_with("rollcall://")).ok_or_else(wrong)?;
            let before = words.next().map(|time| OffsetDateTime::parse(time, &Rfc3339)).transpose();
            let before = before.map_err(|_| wrong())?;
            if words.next().is_some() {
                return Err(wrong());
            }
            // Of two lines for one name the one that refuses more counts.
            let known: &mut Option<OffsetDateTime> = refused.entry(name.to_owned()).or_insert(before);
            *known = known.zip(before).map(|(one, other)| one.max(other));
        }
        Ok(Self(refused))
    }

    /// Whether a certificate is refused. One that cannot be read is.
    #[must_use]
    pub fn refuses(&self, der: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Ok((_, parsed)) = X509Certificate::from_der(der) else { return true };
        let der = CertificateDer::from(der);
        let Ok(certificate) = webpki::EndEntityCert::try_from(&der) else { return true };
        let issued = parsed.validity().not_before.to_datetime() + BACKDATED;
        let refused =
            |name: &str| self.0.get(name).is_some_and(|before| before.is_none_or(|before| issued < before));
        certificate.valid_uri_names().any(refused)
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
        let Refused(names) = Refused::parse(&list).expect("a list");
        assert_eq!(names.get(alice), Some(&None), "whenever refuses more");
        assert_eq!(names.len(), 2);
        for (text, line) in [
            ("alice".to_owned(), 1),
            (format!("{alice}\n{alice} yesterday"), 2),
            (format!("\n\n{alice} 2027-01-15T08:00:00Z for ever"), 3),
        ] {
            assert_eq!(Refused::parse(&text), Err(WrongLine(line)), "{text}");
        }
    }
}
