//! What comes from the directory: offers, records, and entries that could not become records.

use bytes::Bytes;

use super::{EntryVersion, NotSynchronizedReason, Status};

/// What never changes for a person: 16 bytes are a UUID, 0xFF and UTF-8 is text (with another 0xFF
/// where that makes 16). 0xFE and the 8 bytes of its number is a user who has none since the source
/// has another one: nine bytes, and 0xFE is in no text, so no entry ever has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImmutableId(pub Bytes);

impl ImmutableId {
    /// Longest id, in bytes.
    pub const MAX: usize = 258;

    /// Whether the user has none: no entry can have this id, and nobody needs to be asked for it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.first() == Some(&0xFE) && self.0.len() == 9
    }

    /// Canonical text: a UUID in its usual form, or the text itself; nothing for a user who has
    /// none.
    #[must_use]
    pub fn text(&self) -> String {
        match <[u8; 16]>::try_from(&self.0[..]) {
            _ if self.is_gone() => String::new(),
            Ok(bytes) => uuid::Uuid::from_bytes(bytes).to_string(),
            Err(_) => {
                let inner = self.0.strip_prefix(&[0xFF]).unwrap_or(&self.0);
                let inner = inner.strip_suffix(&[0xFF]).unwrap_or(inner);
                String::from_utf8_lossy(inner).into_owned()
            }
        }
    }
}

/// What one entry is called by the id that users are known by so far, and by the one that a draft
/// gives them. Either may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdPair {
    /// By what is published.
    pub former: Option<ImmutableId>,
    /// By the draft.
    pub new: Option<ImmutableId>,
    /// Digest of the record; zeros where there is none. Tells two entries that have both ids in
    /// common from one on two pages.
    pub digest: [u8; 16],
}

/// A name that is unique within a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameKind {
    /// User name.
    UserName,
    /// Mail address.
    Mail,
}

/// A folded name of one kind in one tenant, hashed to 16 bytes: equal keys mean equal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameKey(pub [u8; 16]);

/// An offer of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Whose.
    pub id: ImmutableId,
    /// Digest of the record.
    pub digest: [u8; 16],
}

/// The values of a user that come from the directory.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct UserValues {
    /// User name.
    pub user_name: String,
    /// Mail address; empty where the source allows it.
    pub mail: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Display name.
    pub display_name: String,
    /// Telephone number.
    pub phone: String,
    /// Distinguished name.
    pub distinguished_name: String,
    /// Policy attributes as a JSON object of arrays of strings; empty if there are none.
    pub policy_attributes: String,
}

/// One person as the directory has them now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub id: ImmutableId,
    /// Digest of the record.
    pub digest: [u8; 16],
    /// The values.
    pub values: UserValues,
    /// Whether the directory says that the account is disabled.
    pub disabled: bool,
    /// Of a record that is not: whether the entry itself shows that it has no mark. Without that it
    /// enables no user.
    pub mark_proved: bool,
    /// Optional values of the entry that cannot be used and were left out, a sentence each.
    pub warnings: Vec<String>,
    /// Which version of the entry was seen, if its server shows it.
    pub version: Option<EntryVersion>,
    /// Key of the user name.
    pub user_name_key: NameKey,
    /// Key of the mail address, if there is one.
    pub mail_key: Option<NameKey>,
}

impl Record {
    /// The status that the directory gives.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::in_scope(self.disabled)
    }

    /// The names that the record claims.
    pub fn names(&self) -> impl Iterator<Item = (NameKind, NameKey)> + use<> {
        [(NameKind::UserName, Some(self.user_name_key)), (NameKind::Mail, self.mail_key)]
            .into_iter()
            .filter_map(|(kind, key)| key.map(|key| (kind, key)))
    }
}

/// A record that was read and is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Whose, if known.
    pub id: Option<ImmutableId>,
    /// Why.
    pub reason: NotSynchronizedReason,
    /// A sentence for people.
    pub message: String,
    /// User name, if known.
    pub user_name: String,
    /// Mail address, if known.
    pub mail: String,
    /// Whether the entry says that the account is disabled, as far as that can be read.
    pub disabled: bool,
    /// Distinguished name of an entry without immutable id, if known.
    pub distinguished_name: String,
    /// Digest of the record, if the entry became one.
    pub digest: Option<[u8; 16]>,
    /// Which version of the entry was seen, if its server shows it.
    pub version: Option<EntryVersion>,
}

impl Rejected {
    /// An entry of which nothing more is told than the reason's usual text.
    #[must_use]
    pub fn of(id: Option<ImmutableId>, reason: NotSynchronizedReason) -> Self {
        Self {
            id,
            reason,
            message: reason.text().to_owned(),
            user_name: String::new(),
            mail: String::new(),
            disabled: false,
            distinguished_name: String::new(),
            digest: None,
            version: None,
        }
    }

    /// What tells the entry from others of the read, where anything does: an entry below two roots
    /// comes twice.
    #[must_use]
    pub fn key(&self) -> Option<[u8; 16]> {
        if self.digest.is_some() {
            return self.digest;
        }
        let mut hasher = blake3::Hasher::new();
        match &self.id {
            None if self.distinguished_name.is_empty() => return None,
            None => {
                hasher.update(self.distinguished_name.to_lowercase().as_bytes());
            }
            Some(_) => {
                hasher.update(&self.reason.number().to_le_bytes()).update(&[u8::from(self.disabled)]);
                for text in [&self.message, &self.user_name, &self.mail] {
                    hasher.update(&text.len().to_le_bytes()).update(text.as_bytes());
                }
            }
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Some(key)
    }
}
