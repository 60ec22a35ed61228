//! The private 389 Directory Server does what tests rely on.

use std::{net::TcpStream, process::Command};

use anyhow::Result;
use harness::{Ds389, People};

/// Entries below the people that the router's account sees, over LDAPS, and whether it may.
fn seen(directory: &Ds389, filter: &str, attribute: &str) -> Result<(bool, usize)> {
    let output = Command::new("ldapsearch")
        .env("LDAPTLS_CACERT", directory.ca_pem_path())
        // By address: OpenLDAP's client compares `localhost` with the machine's own name.
        .args(["-x", "-LLL", "-H", &format!("ldaps://127.0.0.1:{}", directory.ldaps_port())])
        .args(["-D", &directory.agent_dn(), "-w", directory.agent_password()])
        .args(["-E", "pr=100/noprompt", "-b", &directory.people_dn(), filter, attribute])
        .output()?;
    let lines = String::from_utf8(output.stdout)?;
    let shown = |line: &&str| line.to_lowercase().starts_with(&format!("{}:", attribute.to_lowercase()));
    Ok((output.status.success(), lines.lines().filter(shown).count()))
}

#[test]
fn a_directory_server_of_300_people_answers_and_loses_rights_as_told() -> Result<()> {
    if !Ds389::can_run() {
        return Ok(());
    }
    let people = People::new(300);
    let mut directory = Ds389::builder().these_people(people.clone()).start()?;
    let all = "(objectClass=inetOrgPerson)";
    assert_eq!(directory.search_count(all)?, 300);
    assert_eq!(seen(&directory, all, "uid")?, (true, 300));
    for person in people.iter().step_by(29) {
        let id = format!("(nsUniqueId={})", Ds389::unique_id(&person));
        assert_eq!(seen(&directory, &id, "uid")?, (true, 1), "{id}");
    }
    let locked = people.iter().filter(|person| person.disabled).count();
    assert!(locked > 0);
    assert_eq!(seen(&directory, "(nsAccountLock=true)", "nsAccountLock")?, (true, locked));

    directory.hide_attribute("nsAccountLock")?;
    assert_eq!(seen(&directory, all, "nsAccountLock")?, (true, 0));
    directory.show_everything()?;
    directory.forbid_search_for("nsUniqueId")?;
    let id = format!("(nsUniqueId={})", Ds389::unique_id(&people.person(0)));
    assert_eq!(seen(&directory, all, "nsUniqueId")?, (true, 300));
    assert_eq!(seen(&directory, &id, "uid")?, (true, 0));
    directory.show_everything()?;
    let berlin = people.iter().filter(|person| person.unit == "ou=Berlin").count();
    directory.hide_subtree(&format!("ou=Berlin,{}", directory.people_dn()))?;
    assert_eq!(seen(&directory, all, "uid")?, (true, 300 - berlin));
    directory.show_everything()?;
    directory.hide_people("(nsAccountLock=true)")?;
    assert_eq!(seen(&directory, all, "uid")?, (true, 300 - locked));
    directory.show_everything()?;
    directory.hide_subtree(&directory.people_dn())?;
    assert_eq!(seen(&directory, all, "uid")?, (true, 0), "success and nothing");
    directory.show_everything()?;
    directory.limit_agent(Some(20))?;
    assert!(!seen(&directory, all, "uid")?.0);
    directory.limit_agent(None)?;
    assert_eq!(seen(&directory, all, "uid")?, (true, 300));

    directory.back_up("old")?;
    directory.delete(&directory.person_dn(&people.person(0)))?;
    directory.set_disabled(&directory.person_dn(&people.person(1)), true)?;
    directory.join(&people.person(300))?;
    let moved = people.person(2);
    directory.rename(&directory.person_dn(&moved), &moved.rdn, Some(&directory.archive_dn()))?;
    assert_eq!(seen(&directory, all, "uid")?, (true, 299));
    assert_eq!(seen(&directory, "(nsAccountLock=true)", "uid")?, (true, locked + 1));
    let address = directory.ldaps_address();
    directory.stop()?;
    assert!(TcpStream::connect(address).is_err());
    directory.start_again()?;
    assert_eq!(seen(&directory, all, "uid")?, (true, 299));
    directory.restore_backup("old")?;
    assert_eq!(seen(&directory, all, "uid")?, (true, 300));
    assert_eq!(seen(&directory, "(nsAccountLock=true)", "uid")?, (true, locked));

    drop(directory);
    assert!(TcpStream::connect(address).is_err());
    Ok(())
}
