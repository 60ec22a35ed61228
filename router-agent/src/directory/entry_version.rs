//! Which version of an entry was read: what the vendor of the server counts or stamps, of which two
//! can be compared.

use bytes::Bytes;
use rollcall_proto::router::v1::EntryVersion;
use rollcall_proto::router::v1::entry_version::Kind;

use super::root_dse::{RootDse, Vendor};
use crate::record::Entry;

const MODIFY_TIMESTAMP: &str = "modifyTimestamp";
/// Longest version: an entryCSN has 40 characters.
const MAX_VERSION_BYTES: usize = 64;

/// Where a server's entries have their version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionSource {
    /// What is better than a time stamp: its kind, attribute, and whose count it is.
    own: Option<(Kind, &'static str, Bytes)>,
    /// Whether a time stamp is a second choice.
    has_stamp: bool,
    /// What identifies the server whose stamps they are, if it says so.
    instance: Bytes,
}

impl VersionSource {
    pub(super) fn new(root_dse: &RootDse, invocation_id: Option<[u8; 16]>) -> Self {
        let instance = root_dse.instance.as_deref().map(|instance| {
            let origin = blake3::hash(instance.to_lowercase().as_bytes());
            Bytes::copy_from_slice(&origin.as_bytes()[..16])
        });
        let own = match root_dse.vendor {
            Vendor::OpenLdap => Some((Kind::EntryCsn, "entryCSN", Bytes::new())),
            Vendor::ActiveDirectory => {
                invocation_id.map(|id| (Kind::UsnChanged, "uSNChanged", Bytes::copy_from_slice(&id)))
            }
            Vendor::DirectoryServer389 => {
                let origin = instance.clone().filter(|_| !root_dse.last_usns.is_empty());
                origin.map(|origin| (Kind::EntryUsn, "entryusn", origin))
            }
            Vendor::Unknown => None,
        };
        // Active Directory makes it of whenChanged, which is of one copy and no version.
        let has_stamp = root_dse.vendor != Vendor::ActiveDirectory;
        Self { own, has_stamp, instance: instance.unwrap_or_default() }
    }

    /// The attributes to ask for.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        let own = self.own.as_ref().map(|(_, attribute, _)| *attribute);
        own.into_iter().chain(self.has_stamp.then_some(MODIFY_TIMESTAMP))
    }

    /// The version of an entry; none if it shows none.
    #[must_use]
    pub fn version_of(&self, entry: &Entry) -> Option<EntryVersion> {
        let own = self.own.as_ref().and_then(|(kind, attribute, origin)| {
            let is_number = !matches!(kind, Kind::EntryCsn);
            let value = single(entry, attribute).filter(|value| !is_number || value.parse::<i64>().is_ok());
            Some(EntryVersion { kind: (*kind).into(), value: value?.to_owned(), origin: origin.clone() })
        });
        let stamp = || {
            let value = single(entry, MODIFY_TIMESTAMP).filter(|_| self.has_stamp)?.to_owned();
            Some(EntryVersion { kind: Kind::ModifyTimestamp.into(), value, origin: self.instance.clone() })
        };
        own.or_else(stamp)
    }
}

/// The one value of an attribute, if it is short and printable.
fn single<'e>(entry: &'e Entry, attribute: &str) -> Option<&'e str> {
    let mut values = entry.values(attribute);
    let value = std::str::from_utf8(values.next()?).ok()?;
    let is_fine =
        (1..=MAX_VERSION_BYTES).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    (is_fine && values.next().is_none()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry::from_parts(
            "uid=a",
            &[
                ("entryCSN", &[b"20260101120000.000001Z#000000#001#000000"]),
                ("uSNChanged", &[b"17"]),
                ("entryusn", &[b"18"]),
                ("modifyTimestamp", &[b"20260101120000Z"]),
            ],
        )
    }

    #[test]
    fn each_vendor_has_its_own_kind_and_a_time_stamp_is_the_second_choice() {
        let of = |vendor| RootDse {
            vendor,
            last_usns: vec![("userroot".to_owned(), 20)],
            instance: (vendor == Vendor::DirectoryServer389).then(|| "cn=ldap://dc=a:389".to_owned()),
            ..RootDse::default()
        };
        let kind = |vendor, id| {
            let version = VersionSource::new(&of(vendor), id).version_of(&entry());
            version.map(|version| (version.kind(), version.value, version.origin.len()))
        };
        let csn = "20260101120000.000001Z#000000#001#000000".to_owned();
        assert_eq!(kind(Vendor::OpenLdap, None), Some((Kind::EntryCsn, csn, 0)));
        let usn = Some((Kind::UsnChanged, "17".to_owned(), 16));
        assert_eq!(kind(Vendor::ActiveDirectory, Some([7; 16])), usn);
        assert_eq!(kind(Vendor::ActiveDirectory, None), None);
        assert_eq!(kind(Vendor::DirectoryServer389, None), Some((Kind::EntryUsn, "18".to_owned(), 16)));
        let stamp = Some((Kind::ModifyTimestamp, "20260101120000Z".to_owned(), 0));
        assert_eq!(kind(Vendor::Unknown, None), stamp);
        // Without its plug-in for change numbers, of which server the stamp is.
        let without = RootDse { last_usns: Vec::new(), ..of(Vendor::DirectoryServer389) };
        let version = VersionSource::new(&without, None).version_of(&entry());
        let stamp = version.map(|version| (version.kind(), version.origin.len()));
        assert_eq!(stamp, Some((Kind::ModifyTimestamp, 16)));
        let hidden = Entry::from_parts("uid=a", &[("modifyTimestamp", &[b"20260101120000Z"])]);
        let second = VersionSource::new(&of(Vendor::OpenLdap), None).version_of(&hidden);
        assert_eq!(second.map(|version| version.kind()), Some(Kind::ModifyTimestamp));
        assert_eq!(VersionSource::default().version_of(&entry()), None);
    }
}
