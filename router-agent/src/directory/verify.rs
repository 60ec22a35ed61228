//! Whether a password is somebody's: the directory is asked by a bind as that person, on a
//! connection of its own that is closed at once. Only where the policy allows it, which it does not
//! by itself. What the answer means is told apart as far as the server says it: Active Directory in
//! the text of its answer, OpenLDAP by the control of its password policy.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ldap3::LdapResult;
use ldap3::controls::RawControl;
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::connect::{check_not_anonymous, no_server_error, open, simple_bind};
use super::result_code::INVALID_CREDENTIALS;
use super::{DirectoryError, Server, Timeouts, dial, tls_config};
use crate::policy::MayVerify;

/// Password policy for LDAP directories (draft-behera-ldap-password-policy-10). Others ignore it,
/// so it is not critical.
const PASSWORD_POLICY: &str = "1.3.6.1.4.1.42.2.27.8.5.1";

/// A password that somebody typed. Wiped when it is dropped, and nothing shows it.
pub struct Password(SecretString);

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(SecretString::from(password))
    }
}

/// What the directory says of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordVerdict {
    /// It is the person's.
    Right,
    /// It is not, or there is no such person: nobody is told which.
    Wrong,
    /// The account is disabled.
    Disabled,
    /// The account's time is over.
    Expired,
    /// The password's time is over.
    PasswordExpired,
    /// Too many wrong ones.
    Locked,
    /// It is the person's, who has to change it before anything else.
    MustChange,
}

/// Asks the first of these servers that takes the question whether this is the password of the
/// entry with this name.
///
/// # Errors
/// If nobody said so: then it is not known to be the person's.
pub async fn verify(
    _allowed: MayVerify,
    servers: &[Server],
    dn: &str,
    password: &Password,
    ca_file: Option<&Path>,
    within: Duration,
) -> Result<PasswordVerdict, DirectoryError> {
    // Directories take a bind with an empty password for one of nobody, and accept it (RFC 4513,
    // 5.1.2).
    if dn.trim().is_empty() || password.0.expose_secret().is_empty() {
        return Ok(PasswordVerdict::Wrong);
    }
    let tls = tls_config(ca_file)?;
    let deadline = Instant::now() + within;
    let mut errors = Vec::new();
    let sent = AtomicBool::new(false);
    for (at, server) in servers.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(servers.len() - at).unwrap_or(u32::MAX);
        let asked = tokio::time::timeout(share, bind_as_user(server, dn, (password, &sent), &tls, share));
        let late = || DirectoryError::Unreachable(format!("{server} (no answer in time)"));
        match asked.await.unwrap_or_else(|_| Err(late())) {
            // One server's word counts: a wrong password tried everywhere would lock the account.
            Ok(verdict) => return Ok(verdict),
            // Nor is one tried again that a server may have seen, whether it answers or not.
            Err(error) if error.try_next_server() && !sent.load(Ordering::Relaxed) => errors.push(error),
            Err(error) => return Err(error),
        }
    }
    Err(no_server_error(errors))
}

async fn bind_as_user(
    server: &Server,
    dn: &str,
    (password, sent): (&Password, &AtomicBool),
    tls: &Arc<ClientConfig>,
    share: Duration,
) -> Result<PasswordVerdict, DirectoryError> {
    let timeouts = Timeouts::within(share);
    let addresses = dial::resolve(server, &timeouts).await?;
    let guarded = dial::connect(server, &addresses, tls, &timeouts).await?;
    let mut connection = open(server, guarded).await?;
    let control = RawControl { ctype: PASSWORD_POLICY.to_owned(), crit: false, val: None };
    connection.ldap.with_controls(control);
    sent.store(true, Ordering::Relaxed);
    let result = simple_bind(server, &mut connection, dn, password.0.expose_secret(), &timeouts).await?;
    let verdict = verdict_of(&result).ok_or_else(|| DirectoryError::bind_refused(server, result.rc))?;
    if matches!(verdict, PasswordVerdict::Right) {
        // A server that accepts everybody, as a stranger, has verified nobody.
        check_not_anonymous(server, &mut connection, &timeouts).await?;
    }
    Ok(verdict)
}

/// What an answer to a bind means; none if it is about something else than the password.
fn verdict_of(result: &LdapResult) -> Option<PasswordVerdict> {
    let control = result.ctrls.iter().find(|control| control.1.ctype == PASSWORD_POLICY);
    let policy_error = control.and_then(|control| policy_error_in(control.1.val.as_deref()?));
    match (result.rc, policy_error) {
        // Accepted only so that it can be changed.
        (0, Some(2)) => Some(PasswordVerdict::MustChange),
        (0, Some(0)) => Some(PasswordVerdict::PasswordExpired),
        (0, Some(1)) => Some(PasswordVerdict::Locked),
        (0, _) => Some(PasswordVerdict::Right),
        (INVALID_CREDENTIALS, Some(0)) => Some(PasswordVerdict::PasswordExpired),
        (INVALID_CREDENTIALS, Some(1)) => Some(PasswordVerdict::Locked),
        (INVALID_CREDENTIALS, _) => Some(match active_directory_code(&result.text) {
            Some("532") => PasswordVerdict::PasswordExpired,
            Some("533") => PasswordVerdict::Disabled,
            Some("701") => PasswordVerdict::Expired,
            Some("773") => PasswordVerdict::MustChange,
            Some("775") => PasswordVerdict::Locked,
            // 525, no such user, and 52e, wrong password, among others.
            _ => PasswordVerdict::Wrong,
        }),
        // No such entry, and an entry that has no password: some servers say so rather than 49.
        (32 | 48, _) => Some(PasswordVerdict::Wrong),
        _ => None,
    }
}

/// The code in a text such as `80090308: LdapErr: DSID-0C090400, comment: AcceptSecurityContext
/// error, data 52e, v1db1`.
fn active_directory_code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("AcceptSecurityContext error, data ")?;
    rest.split(',').next().map(str::trim)
}

/// The error in the value of the control: a SEQUENCE of an optional warning `[0]` and an optional
/// error `[1]`, which is a small number.
fn policy_error_in(value: &[u8]) -> Option<u8> {
    let [0x30, length, content @ ..] = value else { return None };
    let mut rest = content.get(..usize::from(*length)).filter(|content| content.len() < 0x80)?;
    while let [tag, length, content @ ..] = rest {
        let (own, others) = content.split_at_checked(usize::from(*length))?;
        match (*tag, own) {
            (0x81, [error]) => return Some(*error),
            _ => rest = others,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use ldap3::controls::Control;
    use proptest::prelude::*;

    use super::*;

    fn answer(rc: u32, text: &str, control: Option<&[u8]>) -> Option<PasswordVerdict> {
        let raw = |value: &[u8]| RawControl {
            ctype: PASSWORD_POLICY.to_owned(),
            crit: false,
            val: Some(value.to_vec()),
        };
        let ctrls = control.map(|value| Control(None, raw(value))).into_iter().collect();
        verdict_of(&LdapResult { rc, matched: String::new(), text: text.to_owned(), refs: Vec::new(), ctrls })
    }

    #[test]
    fn active_directorys_codes_are_told_apart() {
        for (code, expected) in [
            ("52e", PasswordVerdict::Wrong),
            ("525", PasswordVerdict::Wrong),
            ("533", PasswordVerdict::Disabled),
            ("532", PasswordVerdict::PasswordExpired),
            ("701", PasswordVerdict::Expired),
            ("773", PasswordVerdict::MustChange),
            ("775", PasswordVerdict::Locked),
            ("999", PasswordVerdict::Wrong),
        ] {
            let text = format!(
                "80090308: LdapErr: DSID-0C090400, comment: AcceptSecurityContext error, data {code}, v1db1"
            );
            assert_eq!(answer(49, &text, None), Some(expected), "{code}");
        }
        assert_eq!(answer(49, "", None), Some(PasswordVerdict::Wrong));
    }

    #[test]
    fn the_control_of_a_password_policy_is_read_with_and_without_a_warning() {
        let error = |number| [0x30, 3, 0x81, 1, number];
        let warned = [0x30, 8, 0xA0, 3, 0x80, 1, 9, 0x81, 1, 2];
        assert_eq!(answer(49, "", Some(&error(0))), Some(PasswordVerdict::PasswordExpired));
        assert_eq!(answer(49, "", Some(&error(1))), Some(PasswordVerdict::Locked));
        assert_eq!(answer(0, "", Some(&error(2))), Some(PasswordVerdict::MustChange));
        assert_eq!(answer(0, "", Some(&warned)), Some(PasswordVerdict::MustChange));
        assert_eq!(answer(0, "", Some(&warned[..7])), Some(PasswordVerdict::Right));
        assert_eq!(answer(0, "", Some(&[0x30, 0])), Some(PasswordVerdict::Right));
    }

    #[test]
    fn only_success_is_right_and_what_is_not_about_the_password_is_no_verdict() {
        for code in 1..=255 {
            assert_ne!(answer(code, "", None), Some(PasswordVerdict::Right), "{code}");
        }
        for code in [1, 8, 13, 51, 52, 53] {
            assert_eq!(answer(code, "", None), None, "{code}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_control_panic_and_none_make_a_wrong_password_right(
            bytes in proptest::collection::vec(any::<u8>(), 0..40), text in any::<String>(),
        ) {
            prop_assert_ne!(answer(49, &text, Some(&bytes)), Some(PasswordVerdict::Right));
        }
    }
}
