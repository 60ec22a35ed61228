//! The mapper: any entry is one record within the limits or one rejected entry with a sentence, and
//! the order of attributes and values has no say.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rollcall_proto::admin::v1::{AttributeMapping, DisabledRule, ValueList, disabled_rule};
use rollcall_proto::prost::Message;
use router_agent::fuzzing;
use router_agent::record::{Mapped, Mapping, Occurrences, map_entry};

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    id_format: u8,
    mail_optional: bool,
    rule: u8,
    dn: &'a [u8],
    attributes: Vec<(u8, Vec<Value<'a>>)>,
}

/// Values that mean something, beside any others.
#[derive(Arbitrary, Debug)]
enum Value<'a> {
    Bytes(&'a [u8]),
    Text(&'a str),
    Long { unit: &'a str, times: u16 },
    Uuid,
    Mail,
    Number(i64),
}

const NAMES: &[&str] = &[
    "id",
    "ID",
    "uid",
    "mail",
    "mail;lang-de",
    "givenName",
    "sn",
    "cn",
    "tel",
    "flag",
    "groups",
    "groups;range=0-1",
    "title",
    "other",
];

impl Value<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Long { unit, times } => {
                unit.repeat(usize::from(*times).min(10_000 / unit.len().max(1))).into()
            }
            Self::Uuid => b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6".to_vec(),
            Self::Mail => b"anna@lab.test".to_vec(),
            Self::Number(number) => number.to_string().into(),
        }
    }
}

fn mapping(case: &Case) -> Mapping {
    let text = |text: &str| text.to_owned();
    let test = match case.rule % 3 {
        0 => disabled_rule::Test::BitsSet(2),
        1 => disabled_rule::Test::Present(true),
        _ => disabled_rule::Test::AnyValueOf(ValueList { values: vec![text("inactive"), text("İ")] }),
    };
    let settings = AttributeMapping {
        immutable_id: text("id"),
        immutable_id_format: i32::from(case.id_format % 4),
        user_name: text("uid"),
        mail: text("mail"),
        mail_optional: case.mail_optional,
        first_name: text("givenName"),
        last_name: text("sn"),
        display_name: text("cn"),
        phone: text("tel"),
        disabled: Some(DisabledRule { attribute: text("flag"), test: Some(test) }),
        policy_attributes: vec![text("groups"), text("title")],
    };
    Mapping::new(&settings, 1, 1_800_000_000).expect("a mapping")
}

fuzz_target!(|case: Case| {
    let mapping = mapping(&case);
    let attributes: Vec<(&str, Vec<Vec<u8>>)> = case
        .attributes
        .iter()
        .map(|(name, values)| {
            (NAMES[usize::from(*name) % NAMES.len()], values.iter().map(Value::bytes).collect())
        })
        .collect();
    let map = |turned: bool| {
        let mut parts: Vec<(&str, Vec<&[u8]>)> = attributes
            .iter()
            .map(|(name, values)| (*name, values.iter().map(Vec::as_slice).collect()))
            .collect();
        if turned {
            parts.reverse();
            parts.iter_mut().for_each(|(_, values)| values.reverse());
        }
        let parts: Vec<(&str, &[&[u8]])> = parts.iter().map(|(name, values)| (*name, &values[..])).collect();
        let entry = fuzzing::entry(case.dn, &parts);
        let mut occurrences = Occurrences::of(mapping.attributes());
        occurrences.add(&entry);
        assert!(occurrences.counts().all(|(_, entries)| entries <= 1));
        map_entry(&mapping, &entry)
    };
    let mapped = map(false);
    assert_eq!(mapped, map(true), "the order has a say");
    let shown = |text: &str, most: usize| {
        assert!(
            text.chars().count() <= most && !text.contains(char::is_control) && text.trim() == text,
            "{text:?}"
        );
    };
    match mapped {
        Mapped::Record(record) => {
            assert_eq!(record.digest.len(), 16);
            assert!((2..=258).contains(&record.immutable_id.len()));
            assert!(!record.user_name.is_empty());
            assert!(case.mail_optional || !record.mail.is_empty());
            assert!(record.mail.len() <= 254 && (record.mail.is_empty() || record.mail.contains('@')));
            shown(&record.user_name, 256);
            shown(&record.mail, 254);
            for name in [&record.first_name, &record.last_name, &record.display_name, &record.phone] {
                shown(name, 512);
            }
            shown(&record.distinguished_name, 4_096);
            for attribute in &record.policy_attributes {
                assert!((1..=100).contains(&attribute.values.len()) && attribute.values.is_sorted());
                attribute.values.iter().for_each(|value| shown(value, 1_024));
            }
            assert!(mapping.immutable_id_filter(&record.immutable_id).is_some(), "it could not be looked up");
            assert!(record.encoded_len() < 1 << 20, "a record that no batch has room for");
        }
        Mapped::Rejected(rejected) => {
            assert!(!rejected.message.is_empty());
            shown(&rejected.user_name, 256);
            shown(&rejected.mail, 254);
        }
    }
});
