//! The newest event of the tenant's audit trail that this router has seen. A Welcome names it, the
//! router keeps it, and the next Hello shows it. A control plane whose trail no longer has that
//! event was set back, or its trail was rewritten.

use anyhow::{Context, Result};
use rollcall_proto::router::v1::{AuditHead, Welcome};
use serde::{Deserialize, Serialize};

use crate::identity::{AUDIT_HEAD_FILE, StateError, StateFolder, hex};

/// As in the file. The hash is in hexadecimal, as administrators see it.
#[derive(Debug, Deserialize, Serialize)]
struct StoredHead {
    sequence: i64,
    hash: String,
}

/// What was kept; none if nothing was, or if it cannot be read any more.
pub(crate) fn load(state: &StateFolder) -> Result<Option<AuditHead>, StateError> {
    let Some(bytes) = state.read(AUDIT_HEAD_FILE)? else { return Ok(None) };
    let head = serde_json::from_slice::<StoredHead>(&bytes).ok().and_then(|stored| {
        let hash = parse_hex(&stored.hash)?;
        Some(AuditHead { sequence: stored.sequence, hash: hash.into() })
    });
    head.map(Some).ok_or_else(|| StateError::Damaged(state.path(AUDIT_HEAD_FILE)))
}

/// Keeps what a Welcome says; `shown` is what the Hello said. A trail that forked is reported, and
/// what was kept stays as evidence.
pub(super) fn record_welcome(
    state: &StateFolder,
    shown: Option<&AuditHead>,
    welcome: &Welcome,
) -> Result<()> {
    if welcome.audit_forked {
        let sequence = shown.map(|head| head.sequence);
        tracing::error!(
            sequence,
            "the control plane's audit trail does not have the event that this router saw: it was restored from a backup, or rewritten; \
             ask its operator. Once that is settled, remove {}",
            state.path(AUDIT_HEAD_FILE).display()
        );
        return Ok(());
    }
    let Some(head) = &welcome.audit_head else { return Ok(()) };
    if shown.is_some_and(|shown| shown.sequence >= head.sequence) {
        return Ok(());
    }
    let stored = StoredHead { sequence: head.sequence, hash: hex(&head.hash) };
    let text = serde_json::to_vec(&stored).context("the newest event cannot be written")?;
    Ok(state.write(AUDIT_HEAD_FILE, &text)?)
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: i64, hash: u8) -> AuditHead {
        AuditHead { sequence, hash: vec![hash; 32].into() }
    }

    fn welcome(head: AuditHead, audit_forked: bool) -> Welcome {
        Welcome { audit_head: Some(head), audit_forked, ..Welcome::default() }
    }

    #[test]
    fn the_newest_event_that_was_seen_is_kept_and_never_replaced_by_an_older_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::create(&folder.path().join("state")).expect("a state folder");
        assert_eq!(load(&state).expect("a fine folder"), None);
        for (say, forked, keep) in [
            (head(5, 0x0a), false, head(5, 0x0a)),
            (head(9, 0xbc), false, head(9, 0xbc)),
            (head(7, 3), false, head(9, 0xbc)),
            (head(12, 4), true, head(9, 0xbc)),
            (head(12, 5), false, head(12, 5)),
        ] {
            let shown = load(&state).expect("a fine folder");
            record_welcome(&state, shown.as_ref(), &welcome(say, forked)).expect("a fine folder");
            assert_eq!(load(&state).expect("a fine folder"), Some(keep));
        }
        record_welcome(&state, None, &Welcome::default()).expect("nothing to keep");
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_a_trail() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::create(&folder.path().join("state")).expect("a state folder");
        for text in ["", "{}", "{\"sequence\":1,\"hash\":\"abc\"}", "{\"sequence\":1,\"hash\":\"zz\"}"] {
            state.write(AUDIT_HEAD_FILE, text.as_bytes()).expect("a written file");
            assert!(matches!(load(&state), Err(StateError::Damaged(_))), "{text}");
        }
    }
}
