//! A world for a drill: how a fault is made on each kind of directory, and how it is repaired.

use anyhow::{Context, Result, bail};
use rollcall_proto::admin::v1::{DisableGuard, IdentitySourceSettings, attribute_mapping::ImmutableIdFormat};

use super::{Fault, Kind, Size};
use crate::{
    ldap::{Ds389, Samba, Slapd, ldif},
    people::{People, Person},
    world::World,
};

/// Of a hundred people so many are disabled in the directory.
const DISABLED_PERMILLE: u64 = 50;
/// The department of about half of the people begins like this.
const HALF: &str = "D1";
/// The container that a proxy takes from another server.
const BRANCH: &str = "ou=branch";
const TEXT_ID: &str = "employeeNumber";
/// Of those who sign in behind an older server, so many of ten joined after its backup.
const JOINED_OF_TEN: usize = 2;

pub(super) struct Lab {
    pub(super) world: World,
    fault: Fault,
    kind: Kind,
    settings: IdentitySourceSettings,
    /// Enabled people that the fault concerns: those who sign in.
    pub(super) callers: Vec<Person>,
    /// People that are disabled in the directory.
    pub(super) locked: Vec<Person>,
    /// The server behind a proxy.
    branch: Option<Slapd>,
    /// An entry of Active Directory that is hidden, with its descriptor before.
    hidden: Option<(String, String)>,
}

impl Lab {
    /// Starts the world and publishes the source. Nobody is synchronized yet.
    pub(super) async fn start(fault: Fault, kind: Kind, size: Size) -> Result<Self> {
        let people = everyone(size);
        let branch = match fault {
            Fault::BranchMissing => Some(branch(&people, size)?),
            _ => None,
        };
        let builder = match (kind, &branch) {
            (Kind::Ds389, _) => {
                World::builder().directory_server(Ds389::builder().these_people(people.clone()))
            }
            (Kind::ActiveDirectory, _) => {
                World::builder().active_directory(Samba::builder().these_people(people.clone()))
            }
            (Kind::OpenLdap, None) => World::builder().these_people(people.clone()),
            (Kind::OpenLdap, Some(branch)) => {
                World::builder().these_people(people.clone()).directory(|slapd| {
                    slapd.proxied(&format!("{BRANCH},ou=people,{}", branch.base_dn()), branch)
                })
            }
        };
        let world = builder.start().await?;
        let mut settings = world.settings();
        // The rules must protect the people, not the guard's numbers.
        settings.disable_guard = Some(DisableGuard {
            max_users: 10_000,
            max_percent: 100,
            max_unexplained_users: 10_000,
            max_unexplained_permille: 1000,
        });
        let root = settings.roots.first().cloned().context("a root")?;
        let concerned: Box<dyn Fn(&Person) -> bool> = match fault {
            Fault::RootRenamed => {
                let below = people_dn(&root);
                settings.roots = vec![format!("ou=Berlin,{below}"), format!("ou=Boston,{below}")];
                Box::new(|person| person.unit == "ou=Berlin")
            }
            Fault::PeopleHidden if kind == Kind::ActiveDirectory => {
                Box::new(|person| person.unit == "ou=Berlin")
            }
            Fault::PeopleHidden => Box::new(|person| person.department.starts_with(HALF)),
            Fault::RootHidden => {
                settings.roots = vec![people_dn(&root)];
                Box::new(|_| true)
            }
            _ => Box::new(|_| true),
        };
        let in_scope = |person: &Person| {
            fault != Fault::RootRenamed || person.unit.ends_with("ou=Boston") || person.unit == "ou=Berlin"
        };
        let enabled = people.iter().filter(|person| !person.disabled && concerned(person));
        let mut callers: Vec<Person> = match fault {
            Fault::BranchMissing => branch_people(&people, size).collect(),
            _ => enabled.take(size.sign_ins).collect(),
        };
        if fault == Fault::OlderServer {
            callers.truncate(size.sign_ins - size.sign_ins * JOINED_OF_TEN / 10);
        }
        let locked = people.iter().filter(|person| person.disabled && in_scope(person)).collect();
        if matches!(fault, Fault::EntryWithoutId | Fault::IdOfOtherForm)
            && let Some(mapping) = &mut settings.mapping
        {
            mapping.immutable_id = TEXT_ID.to_owned();
            mapping.set_immutable_id_format(match fault {
                Fault::IdOfOtherForm => ImmutableIdFormat::Uuid,
                _ => ImmutableIdFormat::Text,
            });
        }
        world.create_and_publish_source(settings.clone()).await?;
        let lab = Self { world, fault, kind, settings, callers, locked, branch, hidden: None };
        lab.give_ids(&people)?;
        Ok(lab)
    }

    /// Between the first sync and the fault: what an older state of the server does not have.
    pub(super) fn change_before(&mut self, size: Size) -> Result<bool> {
        if self.fault != Fault::OlderServer {
            return Ok(false);
        }
        self.back_up("old")?;
        let all = everyone(size);
        let people = People { disabled_permille: 0, ..all.clone() };
        let joined = (size.people..).map(|number| people.person(number));
        let joined: Vec<Person> = joined.take(size.sign_ins - self.callers.len()).collect();
        for person in &joined {
            match self.kind {
                Kind::Ds389 => self.world.directory_server()?.join(person)?,
                _ => {
                    let mut entry = Vec::new();
                    person.write_ldif(&mut entry, self.world.directory().base_dn())?;
                    let entry = String::from_utf8(entry)?.replace("entryUUID", "#");
                    self.world.directory().add(&entry)?;
                }
            }
        }
        self.callers.extend(joined);
        // The last of those who were enabled, so that none of them signs in.
        let last = (0..size.people).rev().map(|number| all.person(number));
        let left: Vec<Person> = last.filter(|person| !person.disabled).take(size.sign_ins / 6).collect();
        for person in &left {
            match self.kind {
                Kind::Ds389 => self.world.directory_server()?.set_disabled(&self.dn(person)?, true)?,
                _ => self.world.directory().replace(&self.dn(person)?, "employeeType", &["inactive"])?,
            }
        }
        self.locked.extend(left);
        self.back_up("new")?;
        Ok(true)
    }

    pub(super) async fn make_fault(&mut self) -> Result<()> {
        let people = self.people_dn()?;
        let id = self.settings.mapping.clone().unwrap_or_default().immutable_id;
        match self.fault {
            Fault::RootHidden | Fault::PeopleHidden if self.kind == Kind::ActiveDirectory => {
                let unit =
                    if self.fault == Fault::RootHidden { people } else { format!("OU=Berlin,{people}") };
                // It and what is below it: neither listed nor read.
                let former = self.world.active_directory()?.deny_agent(&unit, "(D;CI;RPLCLO;;;{agent})")?;
                self.hidden = Some((unit, former));
                Ok(())
            }
            Fault::IdHidden => {
                self.hide(&format!("to attrs={id} by * none"), |server| server.hide_attribute(&id))
            }
            Fault::IdNotSearchable => {
                // Everything of "read" but to search.
                self.hide(&format!("to attrs={id} by users =rcxd by * none"), |server| {
                    server.forbid_search_for(&id)
                })
            }
            Fault::RootHidden => self.hide(&format!("to dn.subtree=\"{people}\" by * none"), |server| {
                server.hide_subtree(&people)
            }),
            Fault::PeopleHidden => {
                let filter = format!("(departmentNumber={HALF}*)");
                self.hide(&format!("to filter={filter} by * none"), |server| server.hide_people(&filter))
            }
            Fault::RootRenamed => self.rename(&format!("ou=Berlin,{people}"), "ou=Brandenburg"),
            Fault::FilterMistyped => {
                let department = match self.kind {
                    Kind::ActiveDirectory => "department",
                    _ => "departmentNumber",
                };
                let extra_filter = format!("({department}=E*)");
                let mistyped = IdentitySourceSettings { extra_filter, ..self.settings.clone() };
                self.world.update_and_publish_source(mistyped).await?;
                Ok(())
            }
            Fault::EntryWithoutId => {
                let lines: Result<Vec<String>> = self
                    .callers
                    .iter()
                    .map(|person| ldif::replace(&self.dn(person)?, TEXT_ID, &[]))
                    .collect();
                self.modify(&lines?.join("\n"))
            }
            // It is there from the start.
            Fault::IdOfOtherForm => Ok(()),
            Fault::BranchMissing => self.branch.as_mut().context("a branch")?.stop(),
            Fault::OlderServer => self.restore("old"),
        }
    }

    pub(super) async fn repair(&mut self) -> Result<()> {
        let people = self.people_dn()?;
        if let Some((unit, former)) = self.hidden.take() {
            return self.world.active_directory()?.give_back(&unit, &former);
        }
        match self.fault {
            Fault::IdHidden | Fault::IdNotSearchable | Fault::RootHidden | Fault::PeopleHidden => {
                match self.kind {
                    Kind::OpenLdap => self.world.directory().allow(&["to * by users read by * none"]),
                    _ => self.world.directory_server()?.show_everything(),
                }
            }
            Fault::RootRenamed => self.rename(&format!("ou=Brandenburg,{people}"), "ou=Berlin"),
            Fault::FilterMistyped => {
                self.world.update_and_publish_source(self.settings.clone()).await?;
                Ok(())
            }
            Fault::EntryWithoutId => self.give_ids_to(self.callers.iter().cloned()),
            Fault::IdOfOtherForm => Ok(()),
            Fault::BranchMissing => self.branch.as_mut().context("a branch")?.start_again(),
            Fault::OlderServer => self.restore("new"),
        }
    }

    /// Takes a right away: by the first rule of slapd, or by a rule of 389 DS.
    fn hide(&self, rule: &str, deny: impl FnOnce(&Ds389) -> Result<()>) -> Result<()> {
        match self.kind {
            Kind::OpenLdap => self.world.directory().allow(&[rule, "to * by users read by * none"]),
            Kind::Ds389 => deny(self.world.directory_server()?),
            Kind::ActiveDirectory => bail!("the harness takes no rights from accounts of Active Directory"),
        }
    }

    fn rename(&self, dn: &str, rdn: &str) -> Result<()> {
        match self.kind {
            Kind::OpenLdap => self.world.directory().rename(dn, rdn, None),
            Kind::Ds389 => self.world.directory_server()?.rename(dn, rdn, None),
            Kind::ActiveDirectory => self.world.active_directory()?.rename(dn, rdn, None),
        }
    }

    fn modify(&self, ldif: &str) -> Result<()> {
        match self.kind {
            Kind::OpenLdap => self.world.directory().modify(ldif),
            Kind::Ds389 => self.world.directory_server()?.modify(ldif),
            Kind::ActiveDirectory => self.world.active_directory()?.modify(ldif),
        }
    }

    fn back_up(&mut self, name: &str) -> Result<()> {
        match self.kind {
            Kind::Ds389 => self.world.directory_server_mut()?.back_up(name),
            _ => self.world.directory_mut().back_up(name),
        }
    }

    fn restore(&mut self, name: &str) -> Result<()> {
        match self.kind {
            Kind::Ds389 => self.world.directory_server_mut()?.restore_backup(name),
            _ => self.world.directory_mut().restore_backup(name),
        }
    }

    fn dn(&self, person: &Person) -> Result<String> {
        Ok(match self.kind {
            Kind::ActiveDirectory => self.world.active_directory()?.person_dn(person),
            Kind::Ds389 => self.world.directory_server()?.person_dn(person),
            Kind::OpenLdap => person.dn(self.world.directory().base_dn()),
        })
    }

    fn people_dn(&self) -> Result<String> {
        Ok(match self.kind {
            Kind::ActiveDirectory => self.world.active_directory()?.people_dn(),
            Kind::Ds389 => self.world.directory_server()?.people_dn(),
            Kind::OpenLdap => self.world.directory().people_dn(),
        })
    }

    /// Ids in an attribute of text, where the source has it so.
    fn give_ids(&self, people: &People) -> Result<()> {
        let own = self.settings.mapping.as_ref().is_some_and(|mapping| mapping.immutable_id == TEXT_ID);
        if own { self.give_ids_to(people.iter()) } else { Ok(()) }
    }

    fn give_ids_to(&self, people: impl Iterator<Item = Person>) -> Result<()> {
        let id = |person: &Person| person.entry_uuid.simple().to_string().to_uppercase();
        let lines: Result<Vec<String>> =
            people.map(|person| ldif::replace(&self.dn(&person)?, TEXT_ID, &[&id(&person)])).collect();
        self.modify(&lines?.join("\n"))
    }
}

fn everyone(size: Size) -> People {
    People {
        without_mail_permille: 0,
        shared_mail_permille: 0,
        disabled_permille: DISABLED_PERMILLE,
        ..People::new(size.people)
    }
}

/// The people's own container: in a domain of Active Directory it is below the root.
fn people_dn(root: &str) -> String {
    if root.starts_with("DC=") { format!("OU=people,{root}") } else { root.to_owned() }
}

/// People that are in the branch: none of them is in the proxy's own directory.
fn branch_people(people: &People, size: Size) -> impl Iterator<Item = Person> {
    let people = People { disabled_permille: 0, ..people.clone() };
    let numbers = size.people..size.people + size.sign_ins as u64;
    numbers.map(move |number| Person { unit: BRANCH, ..people.person(number) })
}

/// The server that has the branch, and what is above it.
fn branch(people: &People, size: Size) -> Result<Slapd> {
    let base = "dc=example,dc=com";
    let mut entries =
        format!("dn: {BRANCH},ou=people,{base}\nobjectClass: organizationalUnit\nou: branch\n\n")
            .into_bytes();
    branch_people(people, size).try_for_each(|person| person.write_ldif(&mut entries, base))?;
    Slapd::builder().ldif(&String::from_utf8(entries)?).start()
}
