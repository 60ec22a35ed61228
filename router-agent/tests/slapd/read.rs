//! What a read says beside the people: which roots there were, and how recent the data was.

use harness::ldap::Slapd;
use router_agent::directory::{self, DirectoryError, ReadComplete};
use tokio::sync::mpsc;

use super::{Source, person, source, unit};

const PEOPLE: &str = "ou=people,dc=example,dc=com";

async fn read(source: &Source) -> Result<ReadComplete, DirectoryError> {
    let (sink, mut pages) = mpsc::channel(1);
    let drain = tokio::spawn(async move { while pages.recv().await.is_some() {} });
    let read =
        directory::read(&source.read_request, &source.credential, source.tls.clone(), &source.timeouts, sink)
            .await;
    drain.await.expect("drained");
    read
}

#[tokio::test]
async fn one_of_two_roots_may_be_missing_and_says_so_but_not_both() {
    let (hamburg, lyon) = (format!("ou=hamburg,{PEOPLE}"), format!("ou=lyon,{PEOPLE}"));
    let ldif = unit("hamburg", PEOPLE) + &person("eva", &hamburg, 5);
    let slapd = Slapd::builder().ldif(&ldif).start().expect("a directory");
    let source = source(&slapd, &[&lyon, &hamburg]);
    let complete = read(&source).await.expect("a whole read");
    let [missing, read_through] = complete.roots() else { panic!("{complete:?}") };
    assert!(missing.missing && missing.root == lyon, "{missing:?}");
    assert_eq!((missing.fingerprint, missing.pages, missing.entries), ([0; 16], 0, 0));
    assert!(!read_through.missing && read_through.entries == 1, "{read_through:?}");

    slapd.rename(&hamburg, "ou=bremen", None).expect("renamed");
    let outcome = read(&source).await;
    assert!(matches!(outcome, Err(DirectoryError::RootNotFound { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_provider_says_how_recent_it_is_and_grows_with_every_change() {
    let ldif = person("anna", PEOPLE, 1);
    let slapd = Slapd::builder().ldif(&ldif).provider().start().expect("a directory");
    let source = source(&slapd, &[PEOPLE]);
    let before = read(&source).await.expect("a whole read").freshness().clone();
    let again = read(&source).await.expect("a whole read").freshness().clone();
    slapd.replace(&format!("uid=anna,{PEOPLE}"), "mail", &["anna@example.org"]).expect("changed");
    let after = read(&source).await.expect("a whole read").freshness().clone();
    assert_eq!(before.context_csns.len(), 1, "{before:?}");
    assert_eq!(before, again, "changed by itself");
    // Of one provider: the values compare as they are.
    assert!(after.context_csns > before.context_csns, "{before:?} {after:?}");
    assert_eq!((before.invocation_id, before.highest_committed_usn), (None, None));
}

#[tokio::test]
async fn a_server_that_does_not_say_how_recent_it_is_is_read_all_the_same() {
    let slapd = Slapd::builder().ldif(&person("anna", PEOPLE, 1)).start().expect("a directory");
    let complete = read(&source(&slapd, &[PEOPLE])).await.expect("a whole read");
    assert_eq!(complete.freshness(), &directory::Freshness::default());
    assert_eq!(complete.roots()[0].entries, 1);
}
