//! Active Directory, as its administrators change it: one real domain, read from its naming context
//! down. A domain takes ten seconds to make, so what is promised here is proved step by step on the
//! same one.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::programs::program;
use harness::world::{TENANT, World};
use harness::{People, Person, Samba};
use rollcall_proto::admin::v1::{
    DisableGuard, IdentitySourceSettings, SyncJob, SyncUserRequest, User, hold::Reason, single_sync::Outcome,
    sync_job_detail::Category, sync_user_request::Whom, user::DisabledReason, user::Status,
};

use crate::expect::{enabled, held, numbers, succeeded, usable, users};

/// Administrator, Guest, krbtgt and the router's own account have no mail address.
const ACCOUNTS_OF_THE_DOMAIN: i32 = 4;

struct Domain {
    world: World,
    people: People,
    /// People that are users and those that cannot be.
    usable: i32,
    others: i32,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_synchronized_as_its_administrators_change_it() -> Result<()> {
    if !Samba::can_run() {
        return Ok(());
    }
    let domain = Domain::start().await?;
    everyone_is_added_and_disabled_accounts_come_in_disabled(&domain).await?;
    an_unchanged_domain_changes_nobody(&domain).await?;
    who_is_deleted_is_disabled_and_told_as_deleted(&domain).await?;
    who_comes_back_from_the_recycle_bin_is_the_same_user_enabled_again(&domain).await?;
    who_moves_within_the_domain_stays_the_same_user(&domain).await?;
    a_new_account_name_is_an_update(&domain).await?;
    an_account_that_is_disabled_and_enabled_again_is_so_here(&domain).await?;
    an_account_that_expires_is_disabled_until_its_date_is_moved(&domain).await?;
    who_is_deleted_out_of_sight_is_unexplained_and_few_of_those_are_disabled(&domain).await?;
    many_deleted_at_once_are_held_and_told_as_deleted(&domain).await?;
    who_moves_out_of_a_root_is_disabled_as_moved(&domain).await?;
    // Last: it takes the place of the router's session for a moment.
    the_router_checks_every_step_to_a_domain(&domain)
}

impl Domain {
    async fn start() -> Result<Self> {
        let people = People::new(300);
        let (usable, unusable) = usable(people.iter());
        let directory = Samba::builder().these_people(people.clone()).ldif(&no_people());
        let world = World::builder().active_directory(directory).start().await?;
        world.create_and_publish_source(settings(&world)).await?;
        Ok(Self { world, people, usable, others: unusable + ACCOUNTS_OF_THE_DOMAIN })
    }

    fn directory(&self) -> Result<&Samba> {
        self.world.active_directory()
    }

    /// The nth person whose account is enabled and whose mail address is nobody else's.
    fn person(&self, nth: usize) -> Result<Person> {
        let shared: Vec<_> = self.people.iter().filter_map(|person| person.shares_mail_with).collect();
        let fine = |person: &Person| {
            person.mail().is_some()
                && !person.disabled
                && person.shares_mail_with.is_none()
                && !shared.contains(&person.number)
        };
        self.people.iter().filter(fine).nth(nth).context("a person")
    }

    fn dn(&self, nth: usize) -> Result<String> {
        Ok(self.directory()?.person_dn(&self.person(nth)?))
    }

    /// What a person is named by, and below what.
    fn names(&self, nth: usize) -> Result<(String, String)> {
        let dn = self.dn(nth)?;
        let (rdn, parent) = dn.split_once(",OU=").context("a person is in a unit")?;
        Ok((rdn.to_owned(), format!("OU={parent}")))
    }

    fn delete(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        for nth in numbers {
            self.directory()?.delete(&self.dn(nth)?)?;
        }
        Ok(())
    }

    /// A sync that must succeed: added, updated, unchanged, disabled.
    async fn sync(&self) -> Result<(SyncJob, [i32; 4])> {
        let job = self.world.sync_now().await?;
        let [added, updated, unchanged, disabled, others] = succeeded(&job);
        ensure!(others == self.others, "{others} were not synchronized instead of {}", self.others);
        Ok((job, [added, updated, unchanged, disabled]))
    }

    /// What a sync of this person alone comes to, and the user's status after it.
    async fn sync_alone(&self, nth: usize) -> Result<(Outcome, Status)> {
        let whom = Some(Whom::UserName(self.person(nth)?.uid));
        let request = SyncUserRequest { parent: format!("tenants/{TENANT}"), whom };
        let answer = self.world.admin.just_in_time.clone().sync_user(request).await?.into_inner();
        let sync = answer.sync.context("a sync")?;
        ensure!(!sync.allowed, "{sync:?}");
        Ok((sync.outcome(), sync.user.context("a user")?.status()))
    }

    async fn user(&self, name: &str) -> Result<User> {
        users(&self.world).await?.remove(name).with_context(|| format!("no user {name}"))
    }

    /// Why the newest job disabled whom it disabled, by user name.
    async fn told(&self, category: Category) -> Result<BTreeMap<String, String>> {
        let details = self.world.details(category).await?;
        Ok(details.into_iter().map(|detail| (detail.user_name, detail.message)).collect())
    }
}

/// Several pages: Samba's cookie stays the same from one to the next.
fn settings(world: &World) -> IdentitySourceSettings {
    IdentitySourceSettings { page_size: 50, ..world.settings() }
}

/// What could be taken for people: each has a mail address.
fn no_people() -> String {
    let computer =
        "objectClass: computer\nsAMAccountName: PC1$\nuserAccountControl: 4096\nmail: pc1@lab.test\n";
    let contact = "objectClass: contact\nsn: Partner\nmail: partner@lab.test\n";
    let group = "objectClass: group\nsAMAccountName: staff\nmail: staff@lab.test\n";
    [("PC1", computer), ("Partner", contact), ("Staff", group)]
        .map(|(name, lines)| format!("dn: CN={name},OU=people,DC=lab,DC=test\n{lines}\n"))
        .concat()
}

/// Neither the computers, contacts and groups, nor the references to the domain's own partitions
/// that come with every page.
async fn everyone_is_added_and_disabled_accounts_come_in_disabled(domain: &Domain) -> Result<()> {
    let (_, counts) = domain.sync().await?;
    assert_eq!(counts, [domain.usable, 0, 0, 0]);
    let users = users(&domain.world).await?;
    let mut disabled = 0;
    for person in domain.people.iter() {
        let Some(user) = users.get(&person.uid) else { continue };
        assert_eq!(
            (user.mail.as_str(), &user.display_name),
            (person.mails[0].as_str(), &person.display_name)
        );
        assert_eq!((&user.first_name, &user.last_name), (&person.first_name, &person.last_name));
        assert_eq!(user.policy_attributes["department"].values, [person.department]);
        assert_eq!(user.disabled_reason() == DisabledReason::DisabledInDirectory, person.disabled);
        disabled += usize::from(person.disabled);
    }
    assert!(disabled > 0 && enabled(&users) == users.len() - disabled, "{disabled} of {}", users.len());
    Ok(())
}

async fn an_unchanged_domain_changes_nobody(domain: &Domain) -> Result<()> {
    let before = users(&domain.world).await?;
    assert_eq!(domain.sync().await?.1, [0, 0, domain.usable, 0]);
    assert_eq!(users(&domain.world).await?, before);
    Ok(())
}

async fn who_is_deleted_is_disabled_and_told_as_deleted(domain: &Domain) -> Result<()> {
    domain.delete(0..1)?;
    assert_eq!(domain.sync().await?.1, [0, 0, domain.usable - 1, 1]);
    let told = domain.told(Category::Disabled).await?;
    let message = told.get(&domain.person(0)?.uid).context("is told")?;
    assert!(message.contains("the directory shows that the entry was deleted"), "{message}");
    Ok(())
}

async fn who_comes_back_from_the_recycle_bin_is_the_same_user_enabled_again(domain: &Domain) -> Result<()> {
    let person = domain.person(0)?;
    let gone = domain.user(&person.uid).await?;
    assert_eq!(gone.disabled_reason(), DisabledReason::OutOfScope);
    domain.directory()?.restore(&person)?;
    let (job, counts) = domain.sync().await?;
    assert_eq!(counts, [0, 1, domain.usable - 1, 0]);
    assert_eq!(job.counts.unwrap_or_default().reenabled(), 1);
    let back = domain.user(&person.uid).await?;
    assert_eq!(
        (back.status(), back.name, back.immutable_id),
        (Status::Enabled, gone.name, gone.immutable_id)
    );
    Ok(())
}

async fn who_moves_within_the_domain_stays_the_same_user(domain: &Domain) -> Result<()> {
    let person = domain.person(1)?;
    let before = domain.user(&person.uid).await?;
    let ((rdn, parent), archive) = (domain.names(1)?, domain.directory()?.archive_dn());
    domain.directory()?.rename(&domain.dn(1)?, &rdn, Some(&archive))?;
    assert_eq!(domain.sync().await?.1, [0, 1, domain.usable - 1, 0]);
    let after = domain.user(&person.uid).await?;
    assert_eq!((&after.name, &after.immutable_id), (&before.name, &before.immutable_id));
    assert_eq!(after.distinguished_name, format!("{rdn},{archive}"));
    domain.directory()?.rename(&format!("{rdn},{archive}"), &rdn, Some(&parent))?;
    assert_eq!(domain.sync().await?.1, [0, 1, domain.usable - 1, 0]);
    Ok(())
}

async fn a_new_account_name_is_an_update(domain: &Domain) -> Result<()> {
    let person = domain.person(1)?;
    let before = domain.user(&person.uid).await?;
    domain.directory()?.replace(&domain.dn(1)?, "sAMAccountName", &["married"])?;
    assert_eq!(domain.sync().await?.1, [0, 1, domain.usable - 1, 0]);
    let after = domain.user("married").await?;
    assert_eq!((after.status(), after.name, after.mail), (Status::Enabled, before.name, before.mail));
    Ok(())
}

async fn an_account_that_is_disabled_and_enabled_again_is_so_here(domain: &Domain) -> Result<()> {
    let (dn, person) = (domain.dn(2)?, domain.person(2)?);
    domain.directory()?.set_disabled(&dn, true)?;
    let (job, counts) = domain.sync().await?;
    assert_eq!(counts, [0, 1, domain.usable - 1, 0]);
    assert_eq!(job.counts.unwrap_or_default().disabled_in_directory(), 1);
    assert_eq!(domain.user(&person.uid).await?.disabled_reason(), DisabledReason::DisabledInDirectory);
    domain.directory()?.set_disabled(&dn, false)?;
    let (job, counts) = domain.sync().await?;
    assert_eq!(counts, [0, 1, domain.usable - 1, 0]);
    assert_eq!(job.counts.unwrap_or_default().reenabled(), 1);
    assert_eq!(domain.user(&person.uid).await?.status(), Status::Enabled);
    Ok(())
}

/// New accounts have the number that means never.
async fn an_account_that_expires_is_disabled_until_its_date_is_moved(domain: &Domain) -> Result<()> {
    let (dn, person) = (domain.dn(2)?, domain.person(2)?);
    // 2020-01-01 and 2090-01-01, in 100 nanoseconds since 1601.
    for (date, status, counts) in [
        ("132223104000000000", Status::Disabled, [0, 1, domain.usable - 1, 0]),
        ("154313280000000000", Status::Enabled, [0, 1, domain.usable - 1, 0]),
        ("0", Status::Enabled, [0, 0, domain.usable, 0]),
    ] {
        domain.directory()?.replace(&dn, "accountExpires", &[date])?;
        assert_eq!(domain.sync().await?.1, counts, "{date}");
        assert_eq!(domain.user(&person.uid).await?.status(), status, "{date}");
    }
    Ok(())
}

async fn who_is_deleted_out_of_sight_is_unexplained_and_few_of_those_are_disabled(
    domain: &Domain,
) -> Result<()> {
    domain.directory()?.let_agent_see_deleted(false)?;
    domain.delete(3..4)?;
    // A sign-in proves nothing of that.
    assert_eq!(domain.sync_alone(3).await?, (Outcome::Absent, Status::Enabled));
    assert_eq!(domain.sync().await?.1, [0, 0, domain.usable - 1, 1]);
    let told = domain.told(Category::Disabled).await?;
    let message = told.get(&domain.person(3)?.uid).context("is told")?;
    assert!(message.contains("no longer shows the entry"), "{message}");

    domain.delete(4..6)?;
    let message = held(&domain.world.sync_now().await?, Reason::UnexplainedAbsences);
    assert!(message.contains("does not show what became of them"), "{message}");
    domain.directory()?.let_agent_see_deleted(true)?;
    // A tombstone does.
    assert_eq!(domain.sync_alone(4).await?, (Outcome::DisabledOutOfScope, Status::Disabled));
    assert_eq!(
        domain.sync().await?.1,
        [0, 0, domain.usable - 3, 1],
        "with the right to see it, all is explained"
    );
    Ok(())
}

async fn many_deleted_at_once_are_held_and_told_as_deleted(domain: &Domain) -> Result<()> {
    domain.delete(6..26)?;
    let job = domain.world.sync_now().await?;
    held(&job, Reason::DisableGuard);
    let told = domain.told(Category::WouldBeDisabled).await?;
    assert_eq!(told.len(), 20);
    assert!(told.values().all(|message| message.contains("shows that the entry was deleted")), "{told:?}");
    domain.world.admin.approve(&job).await?;
    let job = domain.world.admin.watch(&job.name, |_| {}).await?;
    assert_eq!(numbers(&job), [0, 0, domain.usable - 23, 20, domain.others]);
    Ok(())
}

/// With a unit as the root, where the domain's own accounts are not.
async fn who_moves_out_of_a_root_is_disabled_as_moved(domain: &Domain) -> Result<()> {
    let mut settings = settings(&domain.world);
    settings.roots = vec![domain.directory()?.people_dn()];
    // The guard looks back a day, and many have left today.
    settings.disable_guard = Some(DisableGuard { max_users: 100, max_percent: 100, ..Default::default() });
    domain.world.update_and_publish_source(settings).await?;
    let (here, others) = (domain.usable - 23, domain.others - ACCOUNTS_OF_THE_DOMAIN);
    let [added, updated, unchanged, disabled, not] = succeeded(&domain.world.sync_now().await?);
    assert_eq!([added, updated + unchanged, disabled, not], [0, here, 0, others]);

    let archive = domain.directory()?.archive_dn();
    domain.directory()?.rename(&domain.dn(30)?, &domain.names(30)?.0, Some(&archive))?;
    assert_eq!(succeeded(&domain.world.sync_now().await?), [0, 0, here - 1, 1, others]);
    let told = domain.told(Category::Disabled).await?;
    let message = told.get(&domain.person(30)?.uid).context("is told")?;
    assert!(message.contains("outside of the source's roots"), "{message}");
    Ok(())
}

fn the_router_checks_every_step_to_a_domain(domain: &Domain) -> Result<()> {
    let mut check = Command::new(program("router-agent")?);
    let output = check.arg("check").arg("--config").arg(domain.world.files.router_config()).output()?;
    let lines = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && lines.lines().all(|line| line.starts_with("ok")), "{lines}");
    for step in [
        ":636: connection and TLS (LDAPS)",
        ":389: connection and TLS (StartTLS)",
        ":389: roots of the policy",
    ] {
        ensure!(lines.contains(step), "no step {step:?} in\n{lines}");
    }
    Ok(())
}
