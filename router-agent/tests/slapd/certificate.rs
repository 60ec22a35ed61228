//! Whose certificate a real directory may show, by both ways to TLS.

use harness::Certificate;
use harness::ldap::Slapd;
use router_agent::directory::{self, DirectoryError, ReadComplete, Security};
use tokio::sync::mpsc;

use super::{Source, person, source};

const PEOPLE: &str = "ou=people,dc=example,dc=com";

async fn read(slapd: &Slapd, source: &Source, security: Security) -> Result<ReadComplete, DirectoryError> {
    let mut read_request = source.read_request.clone();
    read_request.servers[0].security = security;
    read_request.servers[0].port = match security {
        Security::Ldaps => slapd.ldaps_port(),
        _ => slapd.ldap_port(),
    };
    let (sink, mut pages) = mpsc::channel(1);
    let drain = tokio::spawn(async move { while pages.recv().await.is_some() {} });
    let tls = source.tls.clone();
    let read = directory::read(&read_request, &source.credential, tls, &source.timeouts, sink).await;
    drain.await.expect("drained");
    read
}

#[tokio::test]
async fn only_a_certificate_of_the_authority_for_this_host_and_this_time_is_trusted() {
    let mut slapd = Slapd::builder().ldif(&person("anna", PEOPLE, 1)).start().expect("a directory");
    let of_another_authority = source(&slapd, &[PEOPLE]);
    let kinds = [
        Certificate::Expired,
        Certificate::NotYetValid,
        Certificate::ForHost("elsewhere.example.com".to_owned()),
        Certificate::ByCommonNameOnly,
        Certificate::ForClients,
        Certificate::SelfSigned,
        Certificate::Valid, // the last one: the authority is another one by now
    ];
    for kind in kinds {
        slapd.change_certificate(&kind).expect("a certificate");
        let right = source(&slapd, &[PEOPLE]);
        for security in [Security::Ldaps, Security::StartTls] {
            let outcome = read(&slapd, &of_another_authority, security).await;
            assert!(matches!(outcome, Err(DirectoryError::Tls { .. })), "of another authority: {outcome:?}");
            let outcome = read(&slapd, &right, security).await;
            match kind {
                Certificate::Valid => assert_eq!(outcome.expect("a whole read").roots()[0].entries, 1),
                _ => assert!(
                    matches!(outcome, Err(DirectoryError::Tls { .. })),
                    "{kind:?}, {security:?}: {outcome:?}"
                ),
            }
        }
    }
}
