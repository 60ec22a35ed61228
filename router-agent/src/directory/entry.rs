//! From ldap3's parsed message to an [`Entry`]. ldap3's own converter panics on what it does not expect; this one says so.

use ldap3::asn1::{PL, StructureTag};

use crate::record::Entry;

/// The entry in a SearchResultEntry (RFC 4511, 4.5.2).
pub(super) fn entry(message: StructureTag) -> Result<Entry, &'static str> {
    let mut parts = constructed(message)?.into_iter();
    let (Some(name), Some(list)) = (parts.next(), parts.next()) else {
        return Err("an entry without name or attributes");
    };
    let dn = String::from_utf8(primitive(name)?).map_err(|_| "a distinguished name that is not UTF-8")?;
    let list = constructed(list)?;
    let mut attributes = Vec::with_capacity(list.len());
    for attribute in list {
        let mut parts = constructed(attribute)?.into_iter();
        let (Some(kind), Some(values)) = (parts.next(), parts.next()) else {
            return Err("an attribute without name or values");
        };
        let kind = String::from_utf8(primitive(kind)?).map_err(|_| "an attribute name that is not UTF-8")?;
        let values = constructed(values)?.into_iter().map(primitive).collect::<Result<_, _>>()?;
        attributes.push((kind, values));
    }
    Ok(Entry { dn, attributes })
}

/// The URLs in a SearchResultReference.
pub(super) fn references(message: StructureTag) -> Result<Vec<String>, &'static str> {
    constructed(message)?
        .into_iter()
        .map(|url| String::from_utf8(primitive(url)?).map_err(|_| "a reference that is not UTF-8"))
        .collect()
}

/// Size and cookie of a paged results response control (RFC 2696).
pub(super) fn cookie(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "a paged results control that cannot be read";
    let (rest, control) = ldap3::asn1::parse_tag(value).map_err(|_| WRONG)?;
    let mut parts = constructed(control).map_err(|_| WRONG)?.into_iter();
    let (Some(size), Some(cookie), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(WRONG);
    };
    if !rest.is_empty() || size.id != 2 || cookie.id != 4 {
        return Err(WRONG);
    }
    primitive(cookie).map_err(|_| WRONG)
}

fn constructed(tag: StructureTag) -> Result<Vec<StructureTag>, &'static str> {
    match tag.payload {
        PL::C(parts) => Ok(parts),
        PL::P(_) => Err("a value where a list belongs"),
    }
}

fn primitive(tag: StructureTag) -> Result<Vec<u8>, &'static str> {
    match tag.payload {
        PL::P(bytes) => Ok(bytes),
        PL::C(_) => Err("a list where a value belongs"),
    }
}
