//! Which values are text that can be shown, stored and compared.

use rollcall_proto::limits::is_longer;

use super::Entry;
use crate::ldap_syntax::is_named;

/// A value that cannot be used. Ordered, so that of several reasons always the same is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TextError {
    /// Not UTF-8.
    NotText,
    /// NUL or another control character.
    ControlCharacter,
    /// More characters than fit.
    TooLong(usize),
}

impl std::fmt::Display for TextError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotText => f.write_str("is not text"),
            Self::ControlCharacter => f.write_str("has a control character"),
            Self::TooLong(max_chars) => write!(f, "is longer than {max_chars} characters"),
        }
    }
}

/// The value as trimmed text of at most `max_chars` characters.
pub(super) fn parse_text(value: &[u8], max_chars: usize) -> Result<&str, TextError> {
    let text = std::str::from_utf8(value).map_err(|_| TextError::NotText)?.trim();
    // Most values are ASCII, which need not be taken apart into characters.
    let ascii = text.is_ascii();
    if ascii && text.bytes().any(|byte| byte.is_ascii_control())
        || !ascii && text.chars().any(char::is_control)
    {
        return Err(TextError::ControlCharacter);
    }
    if is_longer(text, max_chars) {
        return Err(TextError::TooLong(max_chars));
    }
    Ok(text)
}

/// The value that counts: of those that are text, those of the right form if there are any; of
/// these the one that the entry is named by, else the smallest by its bytes. An error only if no
/// value can be used and one is not text.
pub(super) fn choose_value<'e>(
    entry: &'e Entry,
    attribute: &str,
    max_chars: usize,
    form: impl Fn(&str) -> bool,
) -> Result<Option<&'e str>, TextError> {
    if attribute.is_empty() {
        return Ok(None);
    }
    let mut wrong: Option<TextError> = None;
    let mut best: Option<&str> = None;
    let dn = || std::str::from_utf8(entry.dn()).unwrap_or_default();
    // Most entries have one value; only between two something has to be decided.
    let rank = |value: &str| (!form(value), !is_named(dn(), attribute, value));
    for value in entry.values(attribute) {
        match parse_text(value, max_chars) {
            Ok("") => {}
            Ok(value) => {
                best = Some(match best {
                    Some(other) if (rank(other), other) <= (rank(value), value) => other,
                    _ => value,
                });
            }
            Err(error) => wrong = Some(wrong.map_or(error, |other| other.min(error))),
        }
    }
    match (best, wrong) {
        (None, Some(error)) => Err(error),
        (best, _) => Ok(best),
    }
}

/// Whether a text can be a mail address: one `@` behind a local part, a domain without white space
/// behind it. Addresses with characters outside ASCII are addresses (RFC 6531); more than this only
/// sending a mail can tell.
pub(super) fn is_mail(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    !local.is_empty()
        && !local.contains('@')
        && !domain.is_empty()
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !domain.contains("..")
        && !text.contains(char::is_whitespace)
        && !text.contains([',', ';', '<', '>', '"'])
        && text.len() <= 254
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_mail_address_is_one() {
        for good in ["a@b.c", "anna.müller@exämple.de", "a+b@localhost", "x'y@z.test"] {
            assert!(is_mail(good), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a b@c", "a@b@c", "a@.b", "a@b.", "a@b..c", "a@b,c@d", "<a@b>"] {
            assert!(!is_mail(bad), "{bad}");
        }
    }

    #[test]
    fn text_is_trimmed_and_has_no_control_characters() {
        assert_eq!(parse_text(b"  Anna ", 10), Ok("Anna"));
        assert_eq!(parse_text(b"a\0b", 10), Err(TextError::ControlCharacter));
        assert_eq!(parse_text(b"\xff", 10), Err(TextError::NotText));
        assert_eq!(parse_text("ééé".as_bytes(), 2), Err(TextError::TooLong(2)));
    }
}
