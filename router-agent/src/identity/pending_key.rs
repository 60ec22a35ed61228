//! The key of a request whose answer has not come yet. An answer can get lost, and the control
//! plane knows by the key that it is asked for the same once more: a code is used for one key, and
//! a recovery counts once.

use anyhow::Result;
use secrecy::{ExposeSecret, SecretString};

use super::{Key, StateFolder};

/// The file.
const PENDING_KEY_FILE: &str = "pending.pem";
/// Starts the line that says what the key is for.
const PURPOSE_PREFIX: &str = "For: ";

/// The key for this purpose: that of a try before, else a new one, which is on the disk before
/// anyone sees it.
pub(crate) fn pending_key(state: &StateFolder, purpose: &str) -> Result<Key> {
    let mark = format!("{PURPOSE_PREFIX}{purpose}\n");
    if let Some(text) = state.read(PENDING_KEY_FILE)?.map(secrecy::SecretSlice::from)
        && text.expose_secret().starts_with(mark.as_bytes())
        && let Some(key) = Key::from_pem(text.expose_secret())
    {
        return Ok(key);
    }
    let key = Key::generate()?;
    let text = SecretString::from(mark + key.to_pem().expose_secret());
    state.write(PENDING_KEY_FILE, text.expose_secret().as_bytes())?;
    Ok(key)
}

/// Forgets it: the answer has come.
pub(crate) fn forget_pending_key(state: &StateFolder) -> Result<()> {
    Ok(state.remove(PENDING_KEY_FILE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_again_is_asked_for_with_the_same_key_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::create(&folder.path().join("state")).expect("a state folder");
        let public = |purpose| pending_key(&state, purpose).expect("a key").public();
        let first = public("one");
        assert_eq!(public("one"), first);
        let second = public("another");
        assert_ne!(second, first);
        forget_pending_key(&state).expect("a fine folder");
        assert_ne!(public("another"), second);
    }
}
