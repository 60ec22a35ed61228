//! How entries become records, and which do not.

use proptest::prelude::*;
use rollcall_proto::admin::v1::attribute_mapping::ImmutableIdFormat;
use rollcall_proto::admin::v1::{AttributeMapping, DisabledRule, disabled_rule};
use rollcall_proto::router::v1::FormerImmutableId;

use super::super::MappingError;
use super::super::optional::json_length;
use super::*;

const UUID: &[u8] = b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

fn settings() -> AttributeMapping {
    AttributeMapping {
        immutable_id: "entryUUID".to_owned(),
        user_name: "uid".to_owned(),
        mail: "mail".to_owned(),
        first_name: "givenName".to_owned(),
        disabled: Some(DisabledRule {
            attribute: "userAccountControl".to_owned(),
            test: Some(disabled_rule::Test::BitsSet(2)),
        }),
        policy_attributes: vec!["memberOf".to_owned()],
        ..AttributeMapping::default()
    }
}

fn mapping() -> Mapping {
    Mapping::new(&settings(), 1, 0).expect("a mapping")
}

/// Anna, but for these attributes.
fn anna(changed: &[(&str, &[&[u8]])]) -> Entry {
    let mut attributes: Vec<(&str, &[&[u8]])> =
        vec![("entryUUID", &[UUID]), ("uid", &[b"anna"]), ("mail", &[b"anna@lab.test"])];
    attributes.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    attributes.extend(changed);
    Entry::from_parts("uid=anna,dc=lab,dc=test", &attributes)
}

fn record(entry: &Entry) -> UserRecord {
    match map_entry(&mapping(), entry) {
        Mapped::Record(record) => record,
        Mapped::Rejected(rejected) => panic!("{rejected:?}"),
    }
}

fn reason(entry: &Entry) -> (Reason, bool) {
    match map_entry(&mapping(), entry) {
        Mapped::Record(record) => panic!("{record:?}"),
        Mapped::Rejected(rejected) => {
            assert!(!rejected.message.is_empty(), "a reason without a sentence");
            (rejected.reason(), !rejected.immutable_id.is_empty())
        }
    }
}

#[test]
fn both_ids_are_read_and_the_former_one_changes_no_digest() {
    let former =
        FormerImmutableId { attribute: "employeeNumber".to_owned(), format: ImmutableIdFormat::Text.into() };
    let both = mapping().with_former(&former).expect("a mapping");
    assert!(both.attributes().iter().any(|attribute| attribute == "employeeNumber"));
    let entry = anna(&[("employeeNumber", &[b"17"])]);
    let (Mapped::Record(with), Mapped::Record(without)) =
        (map_entry(&both, &entry), map_entry(&mapping(), &entry))
    else {
        panic!("records")
    };
    assert_eq!(with.former_id, Bytes::from_static(b"\xFF17"));
    assert_eq!((with.digest, without.former_id), (without.digest, Bytes::new()));
    // An entry without the former id is nobody's, and says by which id it is known from now on.
    let Mapped::Rejected(nobody) = map_entry(&both, &anna(&[])) else { panic!("a record") };
    assert_eq!(nobody.reason(), Reason::MissingUniqueId);
    assert!(nobody.message.contains("employeeNumber") && nobody.former_id.is_empty());
    assert_eq!(nobody.immutable_id, without.immutable_id);
    let secret = FormerImmutableId { attribute: "userPassword".to_owned(), format: 0 };
    assert!(mapping().with_former(&secret).is_err());
}

#[test]
fn what_an_entry_lacks_is_its_reason_and_its_id_stays_known() {
    let identified = true;
    let cases: &[(&str, &[&[u8]], Reason, bool)] = &[
        ("entryUUID", &[], Reason::MissingUniqueId, !identified),
        ("entryUUID", &[b"not a UUID"], Reason::MissingUniqueId, !identified),
        ("uid", &[], Reason::MissingUsername, identified),
        ("uid", &[b"  "], Reason::MissingUsername, identified),
        ("uid", &[b"an\0na"], Reason::InvalidAttribute, identified),
        ("uid", &[b"\xff\xfe"], Reason::InvalidAttribute, identified),
        ("mail", &[b""], Reason::MissingEmail, identified),
        ("mail", &[b"anna at lab.test"], Reason::InvalidEmail, identified),
        ("mail", &[&[b'a'; 1 << 20]], Reason::InvalidEmail, identified),
        ("userAccountControl", &[b"disabled"], Reason::InvalidAttribute, identified),
    ];
    for (attribute, values, expected, identified) in cases {
        let shown = values.first().map(|value| value.escape_ascii().to_string());
        assert_eq!(reason(&anna(&[(attribute, values)])), (*expected, *identified), "{attribute} {shown:?}");
    }
}

#[test]
fn names_in_every_script_pass_as_they_are() {
    for name in ["Þórdís", "李小龍", "עברית", "नमस्ते", "e\u{301}", "O'Brien, Jr.", "\u{1f600}"]
    {
        assert_eq!(record(&anna(&[("givenName", &[name.as_bytes()])])).first_name, name);
    }
}

#[test]
fn of_several_values_the_one_that_names_the_entry_counts_else_the_smallest_that_is_usable() {
    let entry = anna(&[
        ("uid", &[b"aaron", b"Anna", b"\xff", b"zoe"]),
        ("mail", &[b" ", b"b@lab.test", b"a at lab.test", b"a@lab.test"]),
        ("givenName", &[b"Beth", b"an\0na", b"Anna"]),
        ("memberOf", &[b"y", b"x", b"y"]),
    ]);
    let record = record(&entry);
    assert_eq!([&*record.user_name, &record.mail, &record.first_name], ["Anna", "a@lab.test", "Anna"]);
    assert_eq!(record.policy_attributes[0].values, ["x", "y"]);
}

#[test]
fn an_entry_with_two_immutable_ids_has_none() {
    let other = b"f81d4fae-7dec-11d0-a765-00a0c91e6bf7";
    assert_eq!(reason(&anna(&[("entryUUID", &[UUID, other])])), (Reason::MissingUniqueId, false));
}

/// An attribute and its values.
type Values<'a> = (&'a str, &'a [&'a [u8]]);

#[test]
fn an_optional_value_that_cannot_be_used_is_left_out_with_a_warning() {
    let many = [b"g" as &[u8]; 101];
    let cases: &[(&str, &[Values<'_>])] = &[
        ("givenName", &[("givenName", &[&[b'a'; 1 << 20]])]),
        ("givenName", &[("givenName", &[b"an\tna"])]),
        ("memberOf", &[("memberOf", &[b"\x80"])]),
        ("memberOf", &[("memberOf", &[b"fine", b"a\0b"])]),
        ("memberOf", &[("memberOf", &many)]),
        ("memberOf", &[("memberOf", &[]), ("memberOf;range=0-1499", &[b"x"])]),
    ];
    for (attribute, changed) in cases {
        let with = record(&anna(changed));
        let [warning] = &with.warnings[..] else { panic!("{attribute}: {:?}", with.warnings) };
        assert_eq!(&warning.attribute, attribute);
        assert!(warning.message.contains("left out"), "{}", warning.message);
        // The rest is as it would be without the attribute.
        let without = record(&anna(&[]));
        assert_ne!(with.digest, without.digest);
        assert_eq!(UserRecord { warnings: Vec::new(), digest: without.digest.clone(), ..with }, without);
    }
    let optional = AttributeMapping { mail_optional: true, phone: "givenName".to_owned(), ..settings() };
    let optional = Mapping::new(&optional, 1, 0).expect("a mapping");
    let entry = anna(&[("mail", &[b"none"]), ("givenName", &[b"\xff"])]);
    let Mapped::Record(without_mail) = map_entry(&optional, &entry) else { panic!("rejected") };
    let warned: Vec<_> = without_mail.warnings.iter().map(|warning| warning.attribute.as_str()).collect();
    assert_eq!((without_mail.mail.as_str(), &warned[..]), ("", &["mail", "givenName"][..]));
}

#[test]
fn a_rejected_entry_says_whether_its_own_mark_disables_the_account() {
    let marked: (&str, &[&[u8]]) = ("userAccountControl", &[b"514"]);
    let clear: (&str, &[&[u8]]) = ("userAccountControl", &[b"512"]);
    let wrong: &[(&str, &[&[u8]])] = &[
        ("mail", &[]),
        ("mail", &[b"none"]),
        ("uid", &[]),
        ("uid", &[b"an\0na"]),
        ("entryUUID", &[]),
        ("entryUUID", &[UUID, b"f81d4fae-7dec-11d0-a765-00a0c91e6bf7"]),
    ];
    for change in wrong {
        for (mark, expected) in [(marked, true), (clear, false)] {
            let Mapped::Rejected(rejected) = map_entry(&mapping(), &anna(&[*change, mark])) else {
                panic!("{change:?}")
            };
            assert_eq!(rejected.disabled, expected, "{change:?}");
            let has_name = !rejected.distinguished_name.is_empty();
            assert_eq!(has_name, rejected.immutable_id.is_empty(), "{change:?}");
        }
    }
    let with_dn = |dn: &[u8]| {
        let uac: &[&[u8]] = &[b"514"];
        Entry::from_parts(dn, &[("entryUUID", &[UUID]), ("uid", &[b"a"]), ("userAccountControl", uac)])
    };
    let Mapped::Rejected(bad_name) = map_entry(&mapping(), &with_dn(b"uid=a\xff,dc=lab")) else { panic!() };
    assert!(bad_name.disabled);
    let Mapped::Rejected(large) = map_entry(&mapping(), &Entry::too_large(b"uid=anna,dc=lab")) else {
        panic!()
    };
    assert_eq!((large.disabled, large.distinguished_name.as_str()), (false, "uid=anna,dc=lab"));
    // Another rule says so, where this one cannot be read.
    let both = AttributeMapping {
        expires: Some(rollcall_proto::admin::v1::ExpiryRule {
            attribute: "shadowExpire".to_owned(),
            format: rollcall_proto::admin::v1::expiry_rule::Format::DaysSince1970.into(),
        }),
        ..settings()
    };
    let both = Mapping::new(&both, 1, 1_000_000_000).expect("a mapping");
    let entry = anna(&[("userAccountControl", &[b"lots"]), ("shadowExpire", &[b"1"])]);
    let Mapped::Rejected(rejected) = map_entry(&both, &entry) else { panic!("a record") };
    assert!(rejected.disabled && rejected.reason() == Reason::InvalidAttribute, "{rejected:?}");
}

#[test]
fn only_a_mark_that_was_read_whole_or_may_be_assumed_absent_is_proved() {
    let proved = |settings: &AttributeMapping, changed: &[(&str, &[&[u8]])]| {
        let mapping = Mapping::new(settings, 1, 0).expect("a mapping");
        let Mapped::Record(record) = map_entry(&mapping, &anna(changed)) else { panic!("rejected") };
        record.mark_proved
    };
    let rule = |attribute: &str| {
        let test = Some(disabled_rule::Test::BitsSet(2));
        let disabled = Some(DisabledRule { attribute: attribute.to_owned(), test });
        AttributeMapping { disabled, ..settings() }
    };
    let (own, plain) = (rule("userAccountControl"), rule("pager"));
    assert!(proved(&own, &[("userAccountControl", &[b"512"])]));
    assert!(!proved(&own, &[]));
    assert!(unseen_marks(&mapping(), &anna(&[])).disabled);
    assert!(!proved(&own, &[("userAccountControl;range=0-0", &[b"512"])]));
    assert!(!proved(&plain, &[]));
    let assume = |settings: AttributeMapping| AttributeMapping { assume_absent_mark: true, ..settings };
    assert!(proved(&assume(plain), &[]));
    assert!(!proved(&assume(rule("USERACCOUNTCONTROL")), &[]), "every account has one");
    let none = AttributeMapping { disabled: None, ..settings() };
    assert!(proved(&none, &[]));
}

#[test]
fn an_entry_that_was_too_large_has_no_id_and_the_user_name_that_it_is_named_by() {
    for (dn, user_name) in [("uid=anna\\2C b,dc=lab", "anna, b"), ("cn=anna,dc=lab", "")] {
        let entry = Entry::too_large(dn.as_bytes());
        assert_eq!(reason(&entry), (Reason::EntryUnreadable, false));
        let Mapped::Rejected(rejected) = map_entry(&mapping(), &entry) else { panic!("{dn}") };
        assert_eq!(rejected.user_name, user_name);
    }
}

#[test]
fn policy_attributes_fit_into_what_the_control_plane_keeps_or_are_left_out() {
    // 64 values of 1,020 bytes; with quotes and commas they are 65,486, and 64 KiB are 50 more.
    let long: Vec<_> = (0..64).map(|number| format!("{number:02}{}", "x".repeat(1_018))).collect();
    let mapped = |values: &[String]| {
        let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        record(&anna(&[("memberOf", &values)]))
    };
    let fits = mapped(&long);
    assert_eq!((json_length(&fits.policy_attributes), fits.warnings.len()), (65_486, 0));
    let quoted: Vec<_> = long.iter().map(|value| value.replace("xx", "x\"")).collect();
    let left_out = mapped(&quoted);
    assert_eq!((left_out.policy_attributes.len(), left_out.warnings.len()), (0, 1));
}

#[test]
fn active_directorys_disabled_bit_disables_and_its_guid_is_read_as_such() {
    assert!(record(&anna(&[("userAccountControl", &[b"514"])])).disabled);
    assert!(!record(&anna(&[("userAccountControl", &[b"512"])])).disabled);
    let guid = AttributeMapping {
        immutable_id: "objectGUID".to_owned(),
        immutable_id_format: ImmutableIdFormat::Guid.into(),
        ..settings()
    };
    let bytes = b"\xae\x4f\x1d\xf8\xec\x7d\xd0\x11\xa7\x65\x00\xa0\xc9\x1e\x6b\xf6";
    let mapped =
        map_entry(&Mapping::new(&guid, 1, 0).expect("a mapping"), &anna(&[("objectGUID", &[bytes])]));
    let Mapped::Record(mapped) = mapped else { panic!("{mapped:?}") };
    assert_eq!(mapped.immutable_id, record(&anna(&[])).immutable_id);
}

#[test]
fn attributes_that_hold_secrets_cannot_be_mapped() {
    for secret in ["userPassword", "UNICODEPWD", "userpassword;x-a"] {
        let settings = AttributeMapping { phone: secret.to_owned(), ..settings() };
        assert_eq!(Mapping::new(&settings, 1, 0).err(), Some(MappingError::Password(secret.to_owned())));
    }
}

proptest! {
    /// The same values in another order, and the attributes too, are the same record or the same
    /// rejection.
    #[test]
    fn the_servers_order_changes_nothing(
        values in proptest::collection::vec((0usize..6, prop_oneof![
            Just(b"anna".to_vec()), Just(b"ANNA".to_vec()), Just(b"b@lab.test".to_vec()), Just(b"a@lab.test".to_vec()),
            Just(b"514".to_vec()), Just(b"512".to_vec()), Just(vec![0xff]), Just(vec![b'a', 0]), Just(Vec::new()),
            Just(vec![b'x'; 2_000]),
        ]), 0..12).prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
    ) {
        let (one, other) = values;
        let names = ["uid", "mail", "givenName", "userAccountControl", "memberOf", "MAIL"];
        let entry = |values: &[(usize, Vec<u8>)]| {
            let mut given: Vec<(&str, Vec<&[u8]>)> = vec![("entryUUID", vec![UUID])];
            given.extend(values.iter().map(|(name, value)| (names[*name], vec![&value[..]])));
            let given: Vec<(&str, &[&[u8]])> = given.iter().map(|(name, values)| (*name, &values[..])).collect();
            Entry::from_parts("uid=anna,dc=lab,dc=test", &given)
        };
        prop_assert_eq!(map_entry(&mapping(), &entry(&one)), map_entry(&mapping(), &entry(&other)));
    }

    /// Whatever bytes an entry has, it ends as a record within the limits or as one rejected entry
    /// with a sentence.
    #[test]
    fn any_entry_is_a_record_or_a_rejection(
        values in proptest::collection::vec(
            (0usize..6, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
    ) {
        let names = ["entryUUID", "uid", "mail", "givenName", "userAccountControl", "memberOf"];
        let of = |name: usize| values.iter().filter(|(n, _)| *n == name).map(|(_, v)| &v[..]).collect::<Vec<_>>();
        let given: Vec<Vec<&[u8]>> = (0..names.len()).map(of).collect();
        let changed: Vec<(&str, &[&[u8]])> = names.iter().zip(&given).filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| (*name, &values[..])).collect();
        match map_entry(&mapping(), &anna(&changed)) {
            Mapped::Record(record) => {
                prop_assert_eq!(record.digest.len(), 16);
                prop_assert!(!record.user_name.is_empty() && is_mail(&record.mail));
            }
            Mapped::Rejected(rejected) => prop_assert!(!rejected.message.is_empty()),
        }
    }
}
