//! What a real directory says of a password, with and without a password policy.

use std::time::Duration;

use harness::Cable;
use harness::ldap::Slapd;
use router_agent::directory::{DirectoryError, Password, PasswordVerdict, Security, Server, verify};
use router_agent::policy::{MayVerify, Policy};

use super::{person, settings, source};

const PEOPLE: &str = "ou=people,dc=example,dc=com";
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The word of a policy that allows it.
fn allowed(slapd: &Slapd) -> MayVerify {
    let policy = format!(
        "verify_passwords = true\n[[directory]]\nhost = \"localhost\"\nports = [{}]\ncredentials = [\"d\"]\n\
         roots = [\"{PEOPLE}\"]\nattributes = [\"entryUUID\", \"uid\", \"mail\", \"employeeType\"]\n",
        slapd.ldaps_port()
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), policy).expect("written");
    let mut settings = settings(slapd, &[PEOPLE]);
    settings.credential = "d".to_owned();
    Policy::read(file.path()).expect("a policy").may_verify(&settings).expect("allowed")
}

async fn ask(slapd: &Slapd, name: &str, password: &str) -> Result<PasswordVerdict, DirectoryError> {
    let source = source(slapd, &[PEOPLE]);
    let (dn, password) = (format!("uid={name},{PEOPLE}"), Password::from(password.to_owned()));
    verify(allowed(slapd), &source.read_request.servers, &dn, &password, Some(&source.ca_file), TEST_TIMEOUT)
        .await
}

fn directory() -> Slapd {
    let with_password = |(number, name): (u128, &str)| {
        person(name, PEOPLE, number).replace("sn: ", &format!("userPassword: {name}-secret\nsn: "))
    };
    let people: String = (1..).zip(["anna", "ben", "carl", "dora"]).map(with_password).collect();
    Slapd::builder().ldif(&(people + &person("eva", PEOPLE, 9))).start().expect("a directory")
}

#[tokio::test]
async fn only_the_right_password_of_the_right_person_is_right() {
    let slapd = directory();
    assert_eq!(ask(&slapd, "anna", "anna-secret").await, Ok(PasswordVerdict::Right));
    for (name, password) in [
        ("anna", "ben-secret"),
        ("anna", "Anna-secret"),
        ("anna", "anna-secret "),
        ("anna", "anna-secret\0"),
        ("anna", ""),
        ("eva", "eva-secret"),
        ("nobody", "nobody-secret"),
    ] {
        assert_eq!(ask(&slapd, name, password).await, Ok(PasswordVerdict::Wrong), "{name} {password:?}");
    }
}

#[tokio::test]
async fn an_empty_password_is_wrong_before_anyone_is_asked() {
    let slapd = directory();
    // A directory that takes it for a bind of nobody, and accepts it.
    slapd
        .configure(
            "dn: cn=config\nchangetype: modify\nreplace: olcAllows\nolcAllows: bind_anon_dn bind_anon_cred\n",
        )
        .expect("configured");
    let cable = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let source = source(&slapd, &[PEOPLE]);
    let servers = [Server { host: "localhost".to_owned(), port: cable.port(), security: Security::Ldaps }];
    let dn = format!("uid=anna,{PEOPLE}");
    for (dn, password) in [(dn.as_str(), ""), ("", ""), (" ", "x")] {
        let password = Password::from(password.to_owned());
        let verdict =
            verify(allowed(&slapd), &servers, dn, &password, Some(&source.ca_file), TEST_TIMEOUT).await;
        assert_eq!(verdict, Ok(PasswordVerdict::Wrong));
    }
    assert_eq!(cable.connections(), 0, "the directory was asked");
}

#[tokio::test]
async fn a_password_policys_reasons_are_told_apart() {
    let slapd = directory();
    slapd.police_passwords().expect("a password policy");
    assert_eq!(ask(&slapd, "anna", "anna-secret").await, Ok(PasswordVerdict::Right));

    slapd.replace(&format!("uid=ben,{PEOPLE}"), "pwdReset", &["TRUE"]).expect("changed");
    assert_eq!(ask(&slapd, "ben", "ben-secret").await, Ok(PasswordVerdict::MustChange));
    assert_eq!(ask(&slapd, "ben", "anna-secret").await, Ok(PasswordVerdict::Wrong));

    for _ in 0..3 {
        assert_eq!(ask(&slapd, "carl", "wrong").await, Ok(PasswordVerdict::Wrong));
    }
    assert_eq!(ask(&slapd, "carl", "carl-secret").await, Ok(PasswordVerdict::Locked));

    slapd.replace("cn=policy,dc=example,dc=com", "pwdMaxAge", &["1"]).expect("changed");
    // A password has an age only once it was set under the policy.
    slapd.replace(&format!("uid=dora,{PEOPLE}"), "userPassword", &["dora-new"]).expect("changed");
    let began = std::time::Instant::now();
    slapd.replace("cn=policy,dc=example,dc=com", "pwdMustChange", &["FALSE"]).expect("changed");
    slapd.replace(&format!("uid=dora,{PEOPLE}"), "pwdReset", &[]).ok();
    while ask(&slapd, "dora", "dora-new").await != Ok(PasswordVerdict::PasswordExpired) {
        assert!(
            began.elapsed() < TEST_TIMEOUT,
            "the password never expires: {:?}",
            ask(&slapd, "dora", "dora-new").await
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn the_next_server_is_asked_if_the_first_does_not_answer_and_not_if_it_says_no() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    let dead = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    dead.cut().expect("cut");
    let counted = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let server = |cable: &Cable| Server {
        host: "localhost".to_owned(),
        port: cable.port(),
        security: Security::Ldaps,
    };
    let dn = format!("uid=anna,{PEOPLE}");
    let right = Password::from("anna-secret".to_owned());
    let servers = [server(&dead), source.read_request.servers[0].clone()];
    let verdict = verify(allowed(&slapd), &servers, &dn, &right, Some(&source.ca_file), TEST_TIMEOUT);
    assert_eq!(verdict.await, Ok(PasswordVerdict::Right));
    let wrong = Password::from("wrong".to_owned());
    let servers = [source.read_request.servers[0].clone(), server(&counted)];
    let verdict = verify(allowed(&slapd), &servers, &dn, &wrong, Some(&source.ca_file), TEST_TIMEOUT);
    assert_eq!(verdict.await, Ok(PasswordVerdict::Wrong));
    assert_eq!(counted.connections(), 0, "tried everywhere, it would lock the account");
}
