//! The attributes that a filter asks about: a filter can find out a value by guessing, so the
//! policy has to allow each of them. They are taken from what would be sent, so that no spelling is
//! read here in one way and there in another. Pure.
//!
//! Size and depth are looked at first: the crate's parser calls itself for each parenthesis, and a
//! stack has an end.

use ldap3::asn1::{ASNTag, PL, StructureTag};
use rollcall_proto::limits::FILTER_BYTES;

/// Deepest nesting of parentheses. People write five.
const MAX_DEPTH: usize = 32;

/// Kinds of a filter (RFC 4511, 4.5.1), by the number of their tag.
const AND: u64 = 0;
const OR: u64 = 1;
const NOT: u64 = 2;
const PRESENT: u64 = 7;
const EXTENSIBLE: u64 = 9;
/// The attribute in an extensible match.
const EXTENSIBLE_TYPE: u64 = 2;

/// Why a filter is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Longer than any that the control plane stores.
    #[error("has more than {FILTER_BYTES} bytes")]
    Long,
    /// Parentheses in parentheses.
    #[error("is nested more than {MAX_DEPTH} deep")]
    Deep,
    /// Not RFC 4515.
    #[error("is not an RFC 4515 filter")]
    Malformed,
    /// An extensible match without an attribute asks about every attribute that its rule fits.
    #[error("has a match that names no attribute, and so asks about all of them")]
    EveryAttribute,
}

/// The attributes that a filter asks about, with their options.
///
/// # Errors
/// If it is not a filter whose attributes can be told.
pub fn attributes_in(filter: &str) -> Result<Vec<String>, FilterError> {
    // Parentheses in values are escaped, so each of these is one of the filter's own.
    let mut depth = 0_usize;
    for byte in filter.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(FilterError::Deep);
        }
    }
    if filter.len() > FILTER_BYTES {
        return Err(FilterError::Long);
    }
    let parsed = ldap3::parse_filter(filter).map_err(|()| FilterError::Malformed)?;
    let mut attributes = Vec::new();
    walk(parsed.into_structure(), &mut attributes)?;
    Ok(attributes)
}

fn walk(filter: StructureTag, attributes: &mut Vec<String>) -> Result<(), FilterError> {
    let name = match (filter.id, filter.payload) {
        (AND | OR | NOT, PL::C(parts)) => {
            return parts.into_iter().try_for_each(|part| walk(part, attributes));
        }
        (PRESENT, PL::P(name)) => name,
        (EXTENSIBLE, PL::C(parts)) => parts
            .into_iter()
            .find(|part| part.id == EXTENSIBLE_TYPE)
            .map(primitive)
            .ok_or(FilterError::EveryAttribute)??,
        (_, PL::C(parts)) => parts.into_iter().next().map(primitive).ok_or(FilterError::Malformed)??,
        (_, PL::P(_)) => return Err(FilterError::Malformed),
    };
    attributes.push(String::from_utf8(name).map_err(|_| FilterError::Malformed)?);
    Ok(())
}

fn primitive(tag: StructureTag) -> Result<Vec<u8>, FilterError> {
    match tag.payload {
        PL::P(bytes) => Ok(bytes),
        PL::C(_) => Err(FilterError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(filter: &str) -> Vec<String> {
        attributes_in(filter).expect("a filter")
    }

    #[test]
    fn every_kind_of_match_names_its_attribute() {
        assert_eq!(
            names("(&(a=1)(|(b=x*y)(!(c=*)))(d>=1)(e<=1)(f~=1)(g:dn:2.5.13.2:=1)(2.5.4.35=z)(h;x-y=1))"),
            ["a", "b", "c", "d", "e", "f", "g", "2.5.4.35", "h;x-y"]
        );
        assert_eq!(names("userPassword=a*"), ["userPassword"], "parentheses are not needed");
        assert_eq!(names("(mail=\\28userPassword=a\\29)"), ["mail"], "a value is no filter");
    }

    #[test]
    fn a_match_of_every_attribute_is_none_that_could_be_allowed() {
        for filter in ["(:octetStringMatch:=x)", "(:dn:2.5.13.17:=x)", "(|(mail=a)(!(:2.5.13.2:=x)))"] {
            assert_eq!(attributes_in(filter), Err(FilterError::EveryAttribute), "{filter}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_not_parsed() {
        let nested = |depth| format!("{}(a=b){}", "(!".repeat(depth), ")".repeat(depth));
        assert_eq!(names(&nested(MAX_DEPTH - 1)), ["a"]);
        assert_eq!(attributes_in(&nested(MAX_DEPTH)), Err(FilterError::Deep));
        assert_eq!(attributes_in(&nested(100_000)), Err(FilterError::Deep));
        assert_eq!(attributes_in(&"(!".repeat(500_000)), Err(FilterError::Deep));
        assert_eq!(attributes_in(&format!("(a={})", "b".repeat(FILTER_BYTES))), Err(FilterError::Long));
        for filter in ["", "(", "a", "(a=b)(c=d)", "(a=b))(|(c=*)", "*)(userPassword=*", "(a=b\0)", "(a=\\2)"]
        {
            assert_eq!(attributes_in(filter), Err(FilterError::Malformed), "{filter:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(filter in "[()&|!=*:;a-b0-2.\\\\<>~ ]{0,60}") {
            let _ = attributes_in(&filter);
        }
    }
}
