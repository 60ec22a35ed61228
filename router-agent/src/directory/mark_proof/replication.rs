//! Active Directory: a filter takes an attribute that may not be read for one that is missing
//! (MS-ADTS 3.1.1.4.3), so it proves nothing. The entry's replication metadata lists every
//! replicated attribute that it has or ever had: by name in `msDS-ReplAttributeMetaData`, by number
//! in `replPropertyMetaData`. Which attributes are replicated, and their numbers, the schema says.

use std::sync::PoisonError;

use ldap3::Scope;

use super::super::connect::Connection;
use super::super::proof_cache::Replicated;
use super::super::references::ReferenceRule;
use super::super::root_dse::RootDse;
use super::super::search::{Interrupted, Search};
use super::context::{ProofContext, search_entries};
use crate::record::Entry;

const BY_NAME: &str = "msDS-ReplAttributeMetaData";
const BY_NUMBER: &str = "replPropertyMetaData";
/// Every entry has it, so whole metadata lists it. Its number is 0.
const ALWAYS_LISTED: &str = "objectClass";
const GLOBAL_CATALOG_PORTS: [u16; 2] = [3268, 3269];
/// Of `systemFlags`: not replicated, or constructed (MS-ADTS 2.2.10).
const NOT_REPLICATED: i64 = 1 | 4;
/// Of `searchFlags`: not on a read-only domain controller.
const FILTERED: i64 = 0x200;
/// Prefixes that have the same number on every domain controller (MS-DRSR 5.16.4).
const PREFIXES: [(&str, u32); 3] = [("2.5.4.", 0), ("1.2.840.113556.1.2.", 2), ("1.2.840.113556.1.4.", 9)];

/// The entries whose metadata lists none of these attributes.
pub(super) async fn without(
    connection: &Connection,
    context: ProofContext<'_>,
    root_dse: &RootDse,
    (root, attributes): (&str, &[&str]),
    ids: &str,
) -> Result<Vec<Entry>, Interrupted> {
    let mut replicated = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        match replicated_attribute(connection, context, root_dse, attribute).await? {
            Some(found) => replicated.push((*attribute, found)),
            None => return Ok(Vec::new()),
        }
    }
    let wanted = [context.mapping.immutable_id_attribute(), BY_NAME, BY_NUMBER];
    let found = search_entries(connection, context, root_dse, (root, ids), &wanted).await?;
    let is_absent = |entry: &Entry| {
        replicated.iter().all(|(name, attribute)| {
            // Only a list that is whole: one that is cut or hidden lists nothing.
            lists_name(entry, name) == Some(false)
                || attribute.number.is_some_and(|number| lists_number(entry, number) == Some(false))
        })
    };
    Ok(found.into_iter().filter(is_absent).collect())
}

/// Whether metadata can show that an attribute is absent: the schema says that it would be listed,
/// and entries show theirs.
pub(super) async fn can_show(
    connection: &Connection,
    context: ProofContext<'_>,
    root_dse: &RootDse,
    attribute: &str,
) -> Result<bool, Interrupted> {
    let Some(replicated) = replicated_attribute(connection, context, root_dse, attribute).await? else {
        return Ok(false);
    };
    let Some(root) = context.request.roots.first() else { return Ok(false) };
    let entry = connection.read_entry(root, &[BY_NAME, BY_NUMBER], context.timeout).await?;
    Ok(entry.is_some_and(|entry| {
        lists_name(&entry, attribute).is_some()
            || replicated.number.is_some_and(|number| lists_number(&entry, number).is_some())
    }))
}

/// Whether the metadata by name lists an attribute; none if it is not there as a whole.
fn lists_name(entry: &Entry, attribute: &str) -> Option<bool> {
    if entry.has_range(BY_NAME) {
        return None;
    }
    let lists = |wanted: &str| {
        entry.values(BY_NAME).any(|value| {
            let value = String::from_utf8_lossy(value);
            let name = value.split_once("<pszAttributeName>").and_then(|(_, rest)| rest.split_once("</"));
            name.is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
        })
    };
    lists(ALWAYS_LISTED).then(|| lists(attribute))
}

/// Whether the metadata by number lists an attribute; none if it is not there as a whole: version 1
/// of replPropertyMetaDataBlob, whose elements have 48 bytes and begin with the number.
fn lists_number(entry: &Entry, number: u32) -> Option<bool> {
    let mut values = entry.values(BY_NUMBER);
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (header, elements) = value.split_at_checked(16)?;
    let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let (elements, rest) = elements.as_chunks::<48>();
    if word(0)? != 1 || word(8)? as usize != elements.len() || !rest.is_empty() {
        return None;
    }
    let lists = |wanted: u32| elements.iter().any(|element| element[..4] == wanted.to_le_bytes());
    lists(0).then(|| lists(number))
}

/// What the schema says of an attribute; none if the metadata does not list it, or nobody knows.
async fn replicated_attribute(
    connection: &Connection,
    context: ProofContext<'_>,
    root_dse: &RootDse,
    attribute: &str,
) -> Result<Option<Replicated>, Interrupted> {
    let cache = || connection.proofs.replicated.lock().unwrap_or_else(PoisonError::into_inner);
    let key = attribute.to_ascii_lowercase();
    if let Some(known) = cache().get(&key) {
        return Ok(known.clone());
    }
    let Some(schema) = &root_dse.schema else { return Ok(None) };
    let filter = format!("(&(objectClass=attributeSchema)(lDAPDisplayName={attribute}))");
    let wanted = [
        "lDAPDisplayName",
        "attributeID",
        "msDS-IntId",
        "linkID",
        "systemFlags",
        "searchFlags",
        "isMemberOfPartialAttributeSet",
    ];
    let search = Search {
        base: schema,
        scope: Scope::OneLevel,
        filter: &filter,
        attributes: &wanted,
        control: None,
        size_limit: 0,
        max_entries: 2,
        allow_large: false,
        references: ReferenceRule::AllBut(&[]),
        timeout: context.timeout,
    };
    let answer = connection.search(search).await?;
    let is_global_catalog = GLOBAL_CATALOG_PORTS.contains(&context.port);
    let found = match &answer.entries[..] {
        [entry] if answer.result.rc == 0 => from_schema(entry, attribute, is_global_catalog),
        _ => None,
    };
    cache().insert(key, found.clone());
    Ok(found)
}

fn from_schema(entry: &Entry, attribute: &str, is_global_catalog: bool) -> Option<Replicated> {
    let text = |name: &str| entry.values(name).next().and_then(|value| std::str::from_utf8(value).ok());
    let number = |name: &str| text(name).map_or(Some(0), |value| value.parse::<i64>().ok());
    let is_own = text("lDAPDisplayName")?.eq_ignore_ascii_case(attribute);
    // Values of linked attributes are replicated one by one, and have metadata of their own.
    let is_listed = text("linkID").is_none()
        && number("systemFlags")? & NOT_REPLICATED == 0
        && number("searchFlags")? & FILTERED == 0
        && (!is_global_catalog || text("isMemberOfPartialAttributeSet") == Some("TRUE"));
    if !is_own || !is_listed {
        return None;
    }
    let own = text("msDS-IntId").map(|value| value.parse::<i64>().ok());
    let number = match own {
        // Written as a signed number.
        Some(value) => value.and_then(|value| u32::try_from(value & 0xFFFF_FFFF).ok()),
        None => text("attributeID").and_then(number_of),
    };
    Some(Replicated { number })
}

/// The number of an attribute of the base schema, from its object identifier.
fn number_of(oid: &str) -> Option<u32> {
    PREFIXES.iter().find_map(|(prefix, number)| {
        let last: u32 = oid.strip_prefix(prefix)?.parse().ok()?;
        // From 0x4000 on the encoding has another form.
        (last < 0x4000).then_some(number << 16 | last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(numbers: &[u32]) -> Vec<u8> {
        let mut blob =
            [1_u32, 0, u32::try_from(numbers.len()).expect("few"), 0].map(u32::to_le_bytes).concat();
        for number in numbers {
            blob.extend_from_slice(&number.to_le_bytes());
            blob.extend_from_slice(&[0; 44]);
        }
        blob
    }

    #[test]
    fn only_metadata_that_is_whole_shows_that_an_attribute_is_absent() {
        let lists = |value: &[u8]| lists_number(&Entry::from_parts("", &[(BY_NUMBER, &[value])]), 0x9_0008);
        assert_eq!(lists(&blob(&[0, 3, 0x9_0008])), Some(true));
        let without = blob(&[0, 3]);
        assert_eq!(lists(&without), Some(false));
        assert_eq!(lists(&blob(&[3])), None, "not even what every entry has");
        assert_eq!(lists(&without[..without.len() - 1]), None);
        assert_eq!(lists(&[&without[..], &[0; 48]].concat()), None);
        assert_eq!((lists(&[]), lists(&without[..10])), (None, None));

        let meta =
            |name: &str| format!("<DS_REPL_ATTR_META_DATA>\n\t<pszAttributeName>{name}</pszAttributeName>");
        let (class, mark) = (meta("objectClass"), meta("extensionAttribute1"));
        let names = |values: &[&[u8]], key: &str| {
            lists_name(&Entry::from_parts("", &[(key, values)]), "ExtensionAttribute1")
        };
        assert_eq!(names(&[class.as_bytes(), mark.as_bytes()], BY_NAME), Some(true));
        assert_eq!(names(&[class.as_bytes()], BY_NAME), Some(false));
        assert_eq!(names(&[], BY_NAME), None);
        assert_eq!(names(&[class.as_bytes()], "msDS-ReplAttributeMetaData;range=0-0"), None);
    }

    #[test]
    fn an_attribute_that_is_not_replicated_or_linked_is_never_shown_to_be_absent() {
        let of = |more: &[(&str, &[&[u8]])], is_global_catalog| {
            let own: [(&str, &[&[u8]]); 2] =
                [("lDAPDisplayName", &[b"pager"]), ("attributeID", &[b"1.2.840.113556.1.4.8"])];
            from_schema(&Entry::from_parts("", &[&own[..], more].concat()), "PAGER", is_global_catalog)
        };
        assert_eq!(of(&[], false), Some(Replicated { number: Some(0x9_0008) }));
        assert_eq!(of(&[("linkID", &[b"2"])], false), None);
        assert_eq!(of(&[("systemFlags", &[b"4"])], false), None);
        assert_eq!(of(&[("systemFlags", &[b"17"])], false), None);
        assert_eq!(of(&[("systemFlags", &[b"16"])], false), Some(Replicated { number: Some(0x9_0008) }));
        assert_eq!(of(&[("searchFlags", &[b"512"])], false), None);
        assert_eq!(of(&[], true), None);
        let own = of(&[("msDS-IntId", &[b"-1904738816"])], false).and_then(|it| it.number);
        assert_eq!(own, Some((-1_904_738_816_i32).cast_unsigned()));
        assert_eq!((number_of("2.5.4.20"), number_of("1.3.6.1.4.1.1")), (Some(20), None));
    }
}
