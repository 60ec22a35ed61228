//! The registration code that an administrator hands to an identity router: `rollcall-code-` and,
//! in base64url without padding, a version, the secret, the SHA-256 of the authority's public key,
//! and a checksum that finds slips of copying. Both programs read and write it here; neither prints
//! the secret by accident.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What every code begins with, so that people and scanners for secrets know it when they see it.
pub const PREFIX: &str = "rollcall-code-";

/// Application protocol (ALPN) of connections that enroll.
pub const PROTOCOL: &[u8] = b"rollcall-enroll/1";

/// Label under which TLS exports what a proof signs (RFC 8446, 7.5); the context is empty.
pub const EXPORTER: &[u8] = b"EXPORTER-rollcall-enroll-1";

/// Bytes that are exported.
pub const EXPORTED: usize = 32;

/// Bytes of a secret.
pub const SECRET: usize = 20;

const VERSION: u8 = 1;
const AUTHORITY: usize = 32;
const CHECKSUM: usize = 4;
const LENGTH: usize = 1 + SECRET + AUTHORITY + CHECKSUM;

/// A registration code.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// What the control plane knows a hash of. Random.
    pub secret: [u8; SECRET],
    /// SHA-256 of the public key (SubjectPublicKeyInfo) of the authority that vouches for the
    /// control plane.
    pub authority: [u8; AUTHORITY],
}

impl Code {
    /// The code as text: the only way to make its secret visible.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.authority);
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Why a text is no code. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// It does not begin as codes do.
    Prefix,
    /// It is not whole, or was mistyped.
    Damaged,
    /// It is of a later version.
    Version,
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => write!(f, "a registration code begins with {PREFIX}"),
            Self::Damaged => f.write_str("the registration code is damaged; copy all of it"),
            Self::Version => f.write_str("the registration code is for a newer version of this program"),
        }
    }
}

impl std::error::Error for CodeError {}

impl FromStr for Code {
    type Err = CodeError;

    /// Reads a code; space around it, such as the end of a line, does not matter.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(CodeError::Prefix)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| CodeError::Damaged)?;
        match bytes.first() {
            Some(&VERSION) => {}
            // A later version may be of any length, but begins with its number.
            Some(&version) if version > VERSION => return Err(CodeError::Version),
            _ => return Err(CodeError::Damaged),
        }
        let (content, _) = bytes
            .split_at_checked(LENGTH - CHECKSUM)
            .filter(|(content, sum)| **sum == checksum(content))
            .ok_or(CodeError::Damaged)?;
        let mut code = Self { secret: [0; SECRET], authority: [0; AUTHORITY] };
        code.secret.copy_from_slice(&content[1..=SECRET]);
        code.authority.copy_from_slice(&content[1 + SECRET..]);
        Ok(code)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").finish_non_exhaustive()
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: Code = Code { secret: [0xA5; SECRET], authority: [0x17; AUTHORITY] };

    #[test]
    fn a_code_is_read_as_it_was_written() {
        let text = CODE.reveal();
        assert_eq!(text.len(), PREFIX.len() + 76);
        assert_eq!(format!(" {text}\n").parse(), Ok(CODE));
    }

    #[test]
    fn a_slip_in_any_place_is_found() {
        let text = CODE.reveal();
        for at in 0..text.len() {
            let mut slip = text.clone().into_bytes();
            slip[at] = if slip[at] == b'x' { b'y' } else { b'x' };
            let slip = String::from_utf8(slip).expect("a text");
            assert!(slip.parse::<Code>().is_err(), "{slip}");
            assert!(text[..at].parse::<Code>().is_err(), "cut at {at}");
        }
        assert_eq!(format!("{text}AAAA").parse::<Code>(), Err(CodeError::Damaged));
    }

    #[test]
    fn a_code_of_a_later_version_is_told_from_a_damaged_one() {
        let later = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([2; 80]));
        assert_eq!(later.parse::<Code>(), Err(CodeError::Version));
        assert_eq!("0123".parse::<Code>(), Err(CodeError::Prefix));
        assert_eq!(PREFIX.parse::<Code>(), Err(CodeError::Damaged));
    }

    #[test]
    fn what_is_printed_for_debugging_has_no_secret() {
        use crate::admin::v1::RegistrationCode;
        use crate::router::v1::EnrollRequest;

        assert_eq!(format!("{CODE:?}"), "Code { .. }");
        let answer =
            RegistrationCode { name: "n".to_owned(), code: CODE.reveal(), ..RegistrationCode::default() };
        let printed = format!("{answer:?}");
        assert!(printed.contains("name: \"n\"") && !printed.contains(PREFIX), "{printed}");
        let request = EnrollRequest { secret: vec![0xA5; SECRET].into(), ..EnrollRequest::default() };
        let printed = format!("{request:?}");
        assert!(!printed.contains("165") && !printed.contains("\\xa5"), "{printed}");
    }
}
