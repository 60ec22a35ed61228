//! The private directory server does what tests rely on.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use harness::{Certificate, People, Slapd};

type Outcome = anyhow::Result<()>;

#[test]
fn a_directory_of_500_people_answers_with_every_one_of_them() -> Outcome {
    let people = People::new(500);
    let slapd = Slapd::builder().these_people(people.clone()).start()?;
    assert_eq!(slapd.search_count("(objectClass=inetOrgPerson)")?, 500);
    let without_mail = people.iter().filter(|person| person.mails.is_empty()).count();
    assert!(without_mail > 0);
    assert_eq!(slapd.search_count("(&(objectClass=inetOrgPerson)(!(mail=*)))")?, without_mail);
    for person in people.iter() {
        let by_id = slapd.search(&person.dn(slapd.base_dn()), "(objectClass=*)", &["entryUUID"])?;
        assert!(by_id.contains(&person.entry_uuid.to_string()), "{by_id}");
    }
    Ok(())
}

#[test]
fn changes_are_applied_and_survive_a_stop() -> Outcome {
    let people = People::new(20);
    let mut slapd = Slapd::builder().these_people(people.clone()).start()?;
    let base = slapd.base_dn().to_owned();
    let dn = |number| people.person(number).dn(&base);
    slapd.delete(&dn(0))?;
    slapd.replace(&dn(1), "mail", &["moved@example.com"])?;
    slapd.rename(&dn(2), "cn=Zoë \\2C the new one", Some(&slapd.archive_dn()))?;
    let mut joiner = Vec::new();
    people.person(20).write_ldif(&mut joiner, &base)?;
    // the server gives ids to those who join
    let joiner = String::from_utf8(joiner)?.replace("entryUUID", "#");
    slapd.add(&joiner)?;
    slapd.add_referral(
        &format!("ou=elsewhere,{}", slapd.people_dn()),
        "ldap://dc2.example.com/ou=people,dc=example,dc=com",
    )?;

    let (ldap, ldaps) = (slapd.ldap_address(), slapd.ldaps_address());
    slapd.stop()?;
    assert!(TcpStream::connect(ldap).is_err() && TcpStream::connect(ldaps).is_err());
    slapd.start_again()?;
    assert_eq!((slapd.ldap_address(), slapd.ldaps_address()), (ldap, ldaps));
    assert_eq!(slapd.search_count("(objectClass=inetOrgPerson)")?, 20);
    assert_eq!(slapd.search_count("(mail=moved@example.com)")?, 1);
    assert_eq!(slapd.search_count("(objectClass=referral)")?, 1);
    let moved = slapd.search(&slapd.archive_dn(), "(objectClass=inetOrgPerson)", &["entryUUID"])?;
    assert!(moved.contains(&people.person(2).entry_uuid.to_string()), "{moved}");
    Ok(())
}

#[test]
fn a_size_limit_can_be_set_and_lifted_while_it_runs() -> Outcome {
    let slapd = Slapd::builder().people(50).size_limit(10).start()?;
    let read = |dn: String, password: &str| -> anyhow::Result<(bool, usize)> {
        let output = std::process::Command::new("ldapsearch")
            .env("LDAPNOINIT", "1")
            .args([
                "-x",
                "-LLL",
                "-H",
                &format!("ldap://127.0.0.1:{}", slapd.ldap_port()),
                "-D",
                &dn,
                "-w",
                password,
            ])
            .args(["-E", "pr=5/noprompt", "-b", &slapd.people_dn(), "(objectClass=inetOrgPerson)", "1.1"])
            .output()?;
        let lines = String::from_utf8(output.stdout)?;
        Ok((output.status.success(), lines.lines().filter(|line| line.starts_with("dn:")).count()))
    };
    assert_eq!(read(slapd.limited_dn(), slapd.limited_password())?, (false, 10));
    assert_eq!(read(slapd.agent_dn(), slapd.agent_password())?, (true, 50));
    slapd.limit_agent(Some(20))?;
    assert_eq!(read(slapd.agent_dn(), slapd.agent_password())?, (false, 20));
    slapd.limit_agent(None)?;
    assert_eq!(read(slapd.agent_dn(), slapd.agent_password())?, (true, 50));
    assert!(!read(slapd.agent_dn(), "wrong")?.0);
    Ok(())
}

#[test]
fn a_certificate_is_valid_or_expired_as_asked() -> Outcome {
    let mut slapd = Slapd::builder().start()?;
    let search = |slapd: &Slapd, url: String, starttls: &[&str]| -> anyhow::Result<bool> {
        let mut command = std::process::Command::new("ldapsearch");
        command
            .env("LDAPTLS_CACERT", slapd.ca_pem_path())
            .args(["-x", "-H", &url, "-s", "base", "-b", "", "1.1"]);
        Ok(command.args(starttls).output()?.status.success())
    };
    let urls = |slapd: &Slapd| {
        // By address: OpenLDAP's client compares `localhost` with the machine's own name.
        let ldaps = format!("ldaps://127.0.0.1:{}", slapd.ldaps_port());
        (ldaps, format!("ldap://127.0.0.1:{}", slapd.ldap_port()))
    };
    let (ldaps, ldap) = urls(&slapd);
    assert!(search(&slapd, ldaps.clone(), &[])?);
    assert!(search(&slapd, ldap.clone(), &["-ZZ"])?);
    slapd.change_certificate(&Certificate::Expired)?;
    assert!(!search(&slapd, ldaps.clone(), &[])?);
    assert!(!search(&slapd, ldap, &["-ZZ"])?);
    slapd.change_certificate(&Certificate::ForHost("other.example.com".to_owned()))?;
    assert!(!search(&slapd, ldaps.clone(), &[])?);
    slapd.change_certificate(&Certificate::Valid)?;
    assert!(search(&slapd, ldaps, &[])?);
    Ok(())
}

#[test]
fn a_frozen_server_keeps_its_port_open_and_says_nothing() -> Outcome {
    let mut slapd = Slapd::builder().start()?;
    slapd.freeze()?;
    let mut stream = TcpStream::connect_timeout(&slapd.ldap_address(), Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    // An anonymous bind (RFC 4511, 4.2), which is otherwise answered at once.
    stream.write_all(&[0x30, 0x0c, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0])?;
    let error = stream.read(&mut [0; 64]).expect_err("a held server answers nothing");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    slapd.thaw()?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    assert!(stream.read(&mut [0; 64])? > 0);
    assert_eq!(slapd.search_count("(ou=people)")?, 1);
    Ok(())
}

#[test]
fn dropping_it_ends_the_server_and_removes_its_files() -> Outcome {
    let slapd = Slapd::builder().start()?;
    let (address, ca) = (slapd.ldap_address(), slapd.ca_pem_path());
    assert!(ca.exists());
    drop(slapd);
    assert!(TcpStream::connect(address).is_err());
    assert!(!ca.parent().expect("a file is in a folder").exists());
    Ok(())
}

#[test]
fn entries_that_the_server_refuses_are_an_error_that_names_the_cause() {
    let error = Slapd::builder().ldif("dn: ou=x,dc=other\nobjectClass: organizationalUnit\nou: x").start();
    let text = error.expect_err("another suffix cannot be loaded").to_string();
    assert!(text.contains("slapadd refused") && text.contains("dc=other"), "{text}");
}
