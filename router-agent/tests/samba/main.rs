//! What the router does with a real Active Directory. A domain takes ten seconds to make, so all is
//! proved step by step on one.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use harness::{Person, Samba, ldap::Access};
use rollcall_proto::admin::v1::{
    AttributeMapping, DirectoryServer, DisabledRule, IdentitySourceSettings,
    attribute_mapping::ImmutableIdFormat, directory_server::Security, disabled_rule,
};
use router_agent::directory::{
    self, Credential, DirectoryError, Evidence, Fetched, LookupAnswer, LookupRequest, Password,
    PasswordVerdict, Pool, PoolLimits, Presence, ReadComplete, ReadRequest, Timeouts, UserSelector,
};
use router_agent::policy::Policy;
use router_agent::record::{Entry, Mapped, Mapping, Name, NameQuery, map_entry};
use tokio::sync::mpsc;

const PEOPLE: u64 = 40;

#[tokio::test]
async fn a_domain_is_read_and_its_people_are_told_apart_when_they_are_gone() {
    if !Samba::can_run() {
        return;
    }
    let mut domain = Samba::builder().people(PEOPLE).start().expect("a domain");
    its_own_references_and_partitions_leave_a_read_whole(&domain).await;
    it_says_how_recent_it_is_and_of_which_copy(&mut domain).await;
    starttls_is_as_good_as_ldaps_and_without_either_it_takes_no_password(&domain).await;
    who_moved_was_disabled_deleted_or_stayed_is_told_apart(&domain).await;
    one_person_is_fetched_by_name_and_by_id_as_a_read_has_them(&domain).await;
    no_accent_more_or_less_is_taken_for_the_same_name(&domain).await;
    without_the_right_to_see_them_the_deleted_are_not_found(&domain).await;
    what_is_wrong_with_a_password_or_an_account_is_told_apart(&domain).await;
}

/// Where the router reads, and with what.
struct Source {
    read_request: ReadRequest,
    mapping: Mapping,
    credential: Credential,
    tls: std::sync::Arc<rustls::ClientConfig>,
    ca_file: std::path::PathBuf,
}

/// All people below a root, over this protection.
fn source(domain: &Samba, root: &str, security: Security) -> Source {
    let Access { host, ldap_port, ldaps_port, ca_pem, bind_dn, password, .. } = domain.access();
    let mapping = AttributeMapping {
        immutable_id: "objectGUID".to_owned(),
        immutable_id_format: ImmutableIdFormat::Guid.into(),
        user_name: "sAMAccountName".to_owned(),
        mail: "mail".to_owned(),
        mail_optional: true,
        disabled: Some(DisabledRule {
            attribute: "userAccountControl".to_owned(),
            test: Some(disabled_rule::Test::BitsSet(2)),
        }),
        ..AttributeMapping::default()
    };
    let port = if security == Security::Ldaps { ldaps_port } else { ldap_port };
    let settings = IdentitySourceSettings {
        directory_servers: vec![DirectoryServer { host, port: i32::from(port), security: security.into() }],
        roots: vec![root.to_owned()],
        object_class: "user".to_owned(),
        extra_filter: "(&(objectCategory=person)(title=*))".to_owned(),
        page_size: 10,
        mapping: Some(mapping.clone()),
        ..IdentitySourceSettings::default()
    };
    let mapping = Mapping::new(&mapping, 1, 0).expect("a mapping");
    Source {
        read_request: ReadRequest::new(&settings, &mapping).expect("a request"),
        mapping,
        credential: Credential { bind_dn, password: password.into() },
        tls: directory::tls_config(Some(&ca_pem)).expect("an authority"),
        ca_file: ca_pem,
    }
}

/// The end of a read, and whom it had: immutable ids by account name.
async fn read(source: &Source) -> Result<(ReadComplete, BTreeMap<String, Bytes>), DirectoryError> {
    let (sink, mut pages) = mpsc::channel(1);
    let timeouts = Timeouts::default();
    let reading =
        directory::read(&source.read_request, &source.credential, source.tls.clone(), &timeouts, sink);
    let collecting = async {
        let mut people = BTreeMap::new();
        while let Some(page) = pages.recv().await {
            for entry in page {
                let name = entry.values("sAMAccountName").next().expect("an account name");
                let id = source.mapping.immutable_id(&entry).expect("an immutable id");
                people.insert(String::from_utf8_lossy(name).into_owned(), id);
            }
        }
        people
    };
    let (read, people) = tokio::join!(reading, collecting);
    Ok((read?, people))
}

async fn look_up(source: &Source, ids: &[Bytes]) -> Result<LookupAnswer, DirectoryError> {
    let wanted =
        LookupRequest { ids, mapping: &source.mapping, include_moved: true, evidence: Evidence::default() };
    let timeouts = Timeouts::default();
    directory::lookup(&source.read_request, wanted, &source.credential, source.tls.clone(), &timeouts).await
}

fn person(number: u64) -> Person {
    harness::People::new(PEOPLE).person(number)
}

async fn its_own_references_and_partitions_leave_a_read_whole(domain: &Samba) {
    let (complete, people) =
        read(&source(domain, domain.base_dn(), Security::Ldaps)).await.expect("a whole read");
    let [root] = complete.roots() else { panic!("{complete:?}") };
    assert_eq!((root.entries, people.len() as u64), (PEOPLE, PEOPLE));
    assert!((0..PEOPLE).all(|number| people.contains_key(&person(number).uid)), "{people:?}");
    // Configuration and both DNS partitions.
    assert!(root.ignored_references >= 3, "{root:?}");
}

async fn it_says_how_recent_it_is_and_of_which_copy(domain: &mut Samba) {
    let source = source(domain, &domain.people_dn(), Security::Ldaps);
    let freshness = async || read(&source).await.expect("a whole read").0.freshness().clone();
    let before = freshness().await;
    domain.replace(&domain.person_dn(&person(0)), "title", &["Captain"]).expect("changed");
    let after = freshness().await;
    assert!(
        before.invocation_id.is_some_and(|id| id != [0; 16]) && before.context_csns.is_empty(),
        "{before:?}"
    );
    assert_eq!(after.invocation_id, before.invocation_id);
    assert!(after.highest_committed_usn > before.highest_committed_usn, "{before:?} {after:?}");
    domain.stop().expect("stopped");
    assert!(matches!(read(&source).await, Err(DirectoryError::Unreachable(_))));
    domain.start_again().expect("started");
    let again = freshness().await;
    assert_eq!(again.invocation_id, before.invocation_id);
    assert!(again.highest_committed_usn >= after.highest_committed_usn, "{after:?} {again:?}");
}

async fn starttls_is_as_good_as_ldaps_and_without_either_it_takes_no_password(domain: &Samba) {
    let (_, people) =
        read(&source(domain, domain.base_dn(), Security::Starttls)).await.expect("a whole read");
    assert_eq!(people.len() as u64, PEOPLE);
    let refused = read(&source(domain, domain.base_dn(), Security::Plain)).await.expect_err("no protection");
    assert!(matches!(refused, DirectoryError::BindNotProtected { code: 8, .. }), "{refused:?}");
    assert!(refused.to_string().contains("use LDAPS or STARTTLS"), "{refused}");
    let mut wrong = source(domain, domain.base_dn(), Security::Ldaps);
    wrong.credential.password = "wrong".into();
    let refused = read(&wrong).await.expect_err("a wrong password");
    assert!(matches!(refused, DirectoryError::BindRejected { code: 49, .. }), "{refused:?}");
}

async fn who_moved_was_disabled_deleted_or_stayed_is_told_apart(domain: &Samba) {
    let source = source(domain, &domain.people_dn(), Security::Ldaps);
    let ids = read(&source).await.expect("a whole read").1;
    let id = |number| ids[&person(number).uid].clone();
    let dn = |number| domain.person_dn(&person(number));
    domain.rename(&dn(1), &format!("CN={}", person(1).uid), Some(&domain.archive_dn())).expect("moved");
    domain.replace(&dn(2), "title", &[]).expect("out of the filter");
    domain.delete(&dn(3)).expect("deleted");
    domain.set_disabled(&dn(4), true).expect("disabled");
    let nobody = Bytes::from_static(&[7; 16]);
    let found =
        look_up(&source, &[id(1), id(2), id(3), id(4), id(5), nobody]).await.expect("a whole look-up");
    use Presence::{Deleted, InScope, NotFound, NotMatching, OutOfScope};
    assert_eq!(found.presences, [OutOfScope, NotMatching, Deleted, InScope, InScope, NotFound]);

    // Where the root is the domain, so is the container of what was deleted.
    let all = self::source(domain, domain.base_dn(), Security::Ldaps);
    let found = look_up(&all, &[id(1), id(3)]).await.expect("a whole look-up");
    assert_eq!(found.presences, [InScope, Deleted]);

    domain.restore(&person(3)).expect("restored");
    let found = look_up(&source, &[id(3)]).await.expect("a whole look-up");
    assert_eq!(found.presences, [InScope]);
    assert_eq!(read(&source).await.expect("a whole read").1.get(&person(3).uid), Some(&id(3)));
}

async fn without_the_right_to_see_them_the_deleted_are_not_found(domain: &Samba) {
    let source = source(domain, &domain.people_dn(), Security::Ldaps);
    let ids = read(&source).await.expect("a whole read").1;
    domain.let_agent_see_deleted(false).expect("taken");
    domain.delete(&domain.person_dn(&person(6))).expect("deleted");
    let id = ids[&person(6).uid].clone();
    let found = look_up(&source, std::slice::from_ref(&id)).await.expect("a whole look-up");
    assert_eq!(found.presences, [Presence::NotFound]);
    domain.let_agent_see_deleted(true).expect("given");
    let found = look_up(&source, &[id]).await.expect("a whole look-up");
    assert_eq!(found.presences, [Presence::Deleted]);
}

async fn fetch(source: &Source, pool: &Pool, whom: UserSelector<'_>) -> Fetched {
    let from = directory::FetchSource {
        request: &source.read_request,
        mapping: &source.mapping,
        credential: &source.credential,
        ca_file: Some(&source.ca_file),
        look_up_moved: true,
        prove_mark: true,
    };
    directory::fetch(pool, from, whom, Duration::from_secs(60)).await.expect("an answer").1
}

async fn named(source: &Source, pool: &Pool, name: Name<'_>) -> Fetched {
    let asked = NameQuery::new(&source.mapping, name).expect("mapped").expect("a name that can be");
    fetch(source, pool, UserSelector::ByName(&asked)).await
}

/// Whoever was moved, deleted and disabled before. The root is the whole domain, whose searches
/// carry references to its own partitions.
async fn one_person_is_fetched_by_name_and_by_id_as_a_read_has_them(domain: &Samba) {
    let source = source(domain, domain.base_dn(), Security::Ldaps);
    let pool = Pool::new(PoolLimits::default());
    let mapped = |entry: &Entry| match map_entry(&source.mapping, entry) {
        Mapped::Record(record) => record,
        Mapped::Rejected(rejected) => panic!("{rejected:?}"),
    };
    let (sink, mut pages) = mpsc::channel(1_000);
    let timeouts = Timeouts::default();
    directory::read(&source.read_request, &source.credential, source.tls.clone(), &timeouts, sink)
        .await
        .expect("a whole read");
    let (mut read, mut disabled) = (Vec::new(), 0);
    while let Some(page) = pages.recv().await {
        read.extend(page.iter().map(mapped));
    }
    assert!(read.len() >= 30, "{}", read.len());
    for record in &read {
        disabled += u32::from(record.disabled);
        let upper = record.user_name.to_uppercase();
        for found in [
            fetch(&source, &pool, UserSelector::ById(&record.immutable_id)).await,
            named(&source, &pool, Name::User(&record.user_name)).await,
            named(&source, &pool, Name::Login(&upper)).await,
        ] {
            let Fetched::Entry(entry) = found else { panic!("{}: {found:?}", record.user_name) };
            assert_eq!(&mapped(&entry), record);
        }
        let sharing = read.iter().filter(|other| other.mail.eq_ignore_ascii_case(&record.mail)).count();
        if !record.mail.is_empty() && sharing == 1 {
            let found = named(&source, &pool, Name::Mail(&record.mail)).await;
            let Fetched::Entry(entry) = found else { panic!("{}: {found:?}", record.mail) };
            assert_eq!(&mapped(&entry), record);
        }
    }
    assert!(disabled > 0, "nobody is disabled");
    assert_eq!(pool.connections(), 1, "one after the other need one connection");
    for nobody in ["*", "*)(sAMAccountName=*", "\\2a", "krbtgt"] {
        let found = named(&source, &pool, Name::Login(nobody)).await;
        assert!(matches!(found, Fetched::Absent(Presence::NotFound)), "{nobody}: {found:?}");
    }

    // Deleted: its tombstone is shown by id, and no name finds it. One whom no other step needs;
    // the order of a read is by chance.
    let gone = read.iter().find(|one| one.user_name == person(7).uid).expect("who is nowhere else");
    domain.delete(&gone.distinguished_name).expect("deleted");
    let found = fetch(&source, &pool, UserSelector::ById(&gone.immutable_id)).await;
    assert!(matches!(found, Fetched::Absent(Presence::Deleted)), "{found:?}");
    let found = named(&source, &pool, Name::User(&gone.user_name)).await;
    assert!(matches!(found, Fetched::Absent(Presence::NotFound)), "{found:?}");
    // Moved out of the root, which is now the people alone.
    let people = self::source(domain, &domain.people_dn(), Security::Ldaps);
    let moved = read.iter().find(|one| one.distinguished_name.ends_with(&domain.archive_dn()));
    let moved = moved.expect("who was moved before");
    let found = fetch(&people, &pool, UserSelector::ById(&moved.immutable_id)).await;
    assert!(matches!(found, Fetched::Absent(Presence::OutOfScope)), "{found:?}");
}

/// Active Directory compares some letters with and without accents as equal; who signs in is only
/// who has the very name.
async fn no_accent_more_or_less_is_taken_for_the_same_name(domain: &Samba) {
    let source = source(domain, &domain.people_dn(), Security::Ldaps);
    let pool = Pool::new(PoolLimits::default());
    let dn = domain.person_dn(&person(5));
    domain.replace(&dn, "mail", &["m\u{fc}ller@example.com"]).expect("changed");
    for (mail, is) in [
        ("m\u{fc}ller@example.com", true),
        ("MU\u{308}LLER@EXAMPLE.COM", true),
        ("muller@example.com", false),
    ] {
        let found = named(&source, &pool, Name::Mail(mail)).await;
        match found {
            Fetched::Entry(_) if is => {}
            // Where the directory takes the decomposed letter for another one, it finds nobody:
            // that denies, and lets nobody in.
            Fetched::Absent(Presence::NotFound) if !is || mail.contains('\u{308}') => {}
            other => panic!("{mail}: {other:?}"),
        }
    }
}

/// Last, since the domain's own rules for passwords are changed for it. That a password is too old,
/// Samba does not say to a bind as Active Directory does.
async fn what_is_wrong_with_a_password_or_an_account_is_told_apart(domain: &Samba) {
    let source = source(domain, &domain.people_dn(), Security::Ldaps);
    let mut policy = Policy { verify_passwords: true, ..Policy::default() };
    assert!(policy.may_verify(&IdentitySourceSettings::default()).is_ok());
    let ask = async |number: u64, password: &str| {
        let allowed = policy.may_verify(&IdentitySourceSettings::default()).expect("allowed");
        let (dn, password) = (domain.person_dn(&person(number)), Password::from(password.to_owned()));
        let patience = Duration::from_secs(60);
        directory::verify(
            allowed,
            &source.read_request.servers,
            &dn,
            &password,
            Some(&source.ca_file),
            patience,
        )
        .await
        .expect("an answer")
    };
    for number in 20..=25 {
        let dn = domain.person_dn(&person(number));
        domain.set_password(&dn, &format!("Secret-{number}")).expect("a password");
        domain.set_disabled(&dn, false).expect("enabled");
    }
    let set = |number, attribute, value: &str| {
        domain.replace(&domain.person_dn(&person(number)), attribute, &[value]).expect("changed");
    };
    assert_eq!(ask(20, "Secret-20").await, PasswordVerdict::Right);
    assert_eq!(ask(20, "Secret-21").await, PasswordVerdict::Wrong);
    assert_eq!(ask(20, "").await, PasswordVerdict::Wrong);
    domain.set_disabled(&domain.person_dn(&person(21)), true).expect("disabled");
    assert_eq!(ask(21, "Secret-21").await, PasswordVerdict::Disabled);
    set(22, "accountExpires", "130000000000000000");
    assert_eq!(ask(22, "Secret-22").await, PasswordVerdict::Expired);
    set(23, "pwdLastSet", "0");
    assert_eq!(ask(23, "Secret-23").await, PasswordVerdict::MustChange);

    domain.replace(domain.base_dn(), "lockoutThreshold", &["3"]).expect("changed");
    for _ in 0..3 {
        assert_ne!(ask(24, "wrong").await, PasswordVerdict::Right);
    }
    assert_eq!(ask(24, "Secret-24").await, PasswordVerdict::Locked);
    assert_eq!(ask(25, "Secret-25").await, PasswordVerdict::Right);
    policy.verify_passwords = false;
    assert!(policy.may_verify(&IdentitySourceSettings::default()).is_err());
}
