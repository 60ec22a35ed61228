//! Single users, at sign-in and on demand: through our two real programs and a real OpenLDAP, on
//! both databases.

use anyhow::{Context, Result};
use harness::world::{Admin, Database, Role, SOURCE, TENANT, World};
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::admin::v1::sync_user_request::Whom;
use rollcall_proto::admin::v1::user::{DisabledReason, Status};
use rollcall_proto::admin::v1::{
    GetJustInTimeSettingsRequest, JustInTimeSettings, SingleSync, SyncAtSignInRequest, SyncUserRequest,
    UpdateJustInTimeSettingsRequest, hold::Reason,
};
use tonic::Code;

use crate::expect::{enabled, entry, flawless, held, join, succeeded, users};
use crate::on_both_databases;

on_both_databases! {
    a_sign_in_brings_the_user_as_the_directory_has_it_and_says_who_may_enter,
    whoever_has_left_is_denied_and_a_sync_of_all_disables_and_frees_the_name,
    what_cannot_be_applied_is_said_and_nothing_else_changes,
    sources_are_asked_in_order_and_whoever_moved_between_them_may_enter,
    an_approved_list_leaves_out_who_came_back_by_signing_in,
}

/// A world whose tenant synchronizes at sign-in, and the service that asks for it.
pub(crate) struct SignIn {
    pub(crate) world: World,
    pub(crate) service: Admin,
}

impl SignIn {
    pub(crate) async fn over(world: World) -> Result<Self> {
        let service = world.admin_as(&world.files.issue_authenticator("signin")?)?;
        let sign_in = Self { world, service };
        sign_in.set(JustInTimeSettings { deadline: seconds(30), ..on() }).await?;
        Ok(sign_in)
    }

    async fn start(builder: harness::world::Builder) -> Result<Self> {
        let world = builder.start().await?;
        world.create_and_publish_source(world.settings()).await?;
        Self::over(world).await
    }

    pub(crate) async fn set(&self, settings: JustInTimeSettings) -> Result<JustInTimeSettings> {
        let name = format!("tenants/{TENANT}/justInTimeSettings");
        let settings = JustInTimeSettings { name, ..settings };
        let request = UpdateJustInTimeSettingsRequest { just_in_time_settings: Some(settings) };
        Ok(self.world.admin.just_in_time.clone().update_just_in_time_settings(request).await?.into_inner())
    }

    pub(crate) async fn try_to(&self, login: &str) -> Result<SingleSync, tonic::Status> {
        let request = SyncAtSignInRequest { parent: format!("tenants/{TENANT}"), login: login.to_owned() };
        let answer = self.service.just_in_time.clone().sync_at_sign_in(request).await?;
        Ok(answer.into_inner().sync.unwrap_or_default())
    }

    /// What a sign-in comes to, and whether it is let in.
    pub(crate) async fn came_to(&self, login: &str) -> Result<(Outcome, bool)> {
        let sync = self.try_to(login).await?;
        assert!(!sync.message.is_empty());
        Ok((sync.outcome(), sync.allowed))
    }

    async fn sync(&self, admin: &Admin, whom: Whom) -> Result<SingleSync, tonic::Status> {
        let request = SyncUserRequest { parent: format!("tenants/{TENANT}"), whom: Some(whom) };
        let answer = admin.just_in_time.clone().sync_user(request).await?;
        Ok(answer.into_inner().sync.unwrap_or_default())
    }

    fn dn(&self, uid: &str) -> String {
        format!("uid={uid},{}", self.world.directory().people_dn())
    }
}

pub(crate) fn on() -> JustInTimeSettings {
    JustInTimeSettings { enabled: true, ..JustInTimeSettings::default() }
}

pub(crate) fn seconds<T>(seconds: u64) -> Option<T>
where
    T: TryFrom<std::time::Duration>,
{
    T::try_from(std::time::Duration::from_secs(seconds)).ok()
}

async fn a_sign_in_brings_the_user_as_the_directory_has_it_and_says_who_may_enter(
    database: Database,
) -> Result<()> {
    let sign_in = SignIn::start(World::builder().database(database)).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    join(world, "anna", "anna@lab.test")?;
    assert_eq!(sign_in.came_to("nobody").await?, (Outcome::NotFound, false));

    let added = sign_in.try_to(" Anna@Lab.Test ").await?;
    assert_eq!((added.outcome(), added.allowed), (Outcome::Added, true));
    assert_eq!(added.identity_source, SOURCE);
    let user = added.user.context("a user")?;
    assert_eq!((user.user_name.as_str(), user.mail.as_str()), ("anna", "anna@lab.test"));
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::Unchanged, true));

    directory.replace(&sign_in.dn("anna"), "displayName", &["Anna Ärmel"])?;
    let updated = sign_in.try_to("anna").await?;
    assert_eq!((updated.outcome(), updated.allowed), (Outcome::Updated, true));
    assert_eq!(updated.user.context("a user")?.display_name, "Anna Ärmel");

    // Whoever types the old name did not ask for whoever has the new one, and somebody else may
    // have the old one by now.
    directory.rename(&sign_in.dn("anna"), "uid=anna.b", None)?;
    directory.replace(&sign_in.dn("anna.b"), "mail", &["anna.b@lab.test"])?;
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::NotFound, false));
    assert_eq!(sign_in.came_to("anna.b").await?, (Outcome::Unchanged, true), "renamed all the same");
    join(world, "anna", "anna@lab.test")?;
    let other = sign_in.try_to("anna").await?;
    assert_eq!((other.outcome(), other.allowed), (Outcome::Added, true));
    assert_ne!(other.user.context("a user")?.name, user.name);
    directory.rename(&sign_in.dn("anna.b"), "uid=anna.c", None)?;
    assert_eq!(sign_in.came_to("anna.c").await?, (Outcome::Updated, true), "found by the new name");

    directory.replace(&sign_in.dn("anna.c"), "employeeType", &["inactive"])?;
    let disabled = sign_in.try_to("anna.c").await?;
    assert_eq!((disabled.outcome(), disabled.allowed), (Outcome::DisabledInDirectory, false));
    assert_eq!(disabled.user.context("a user")?.disabled_reason(), DisabledReason::DisabledInDirectory);
    assert_eq!(sign_in.came_to("anna.c").await?, (Outcome::Unchanged, false), "still disabled");
    directory.replace(&sign_in.dn("anna.c"), "employeeType", &["employee"])?;
    assert_eq!(sign_in.came_to("anna.c").await?, (Outcome::Reenabled, true));

    directory.add(&(entry(world, "ben", "ben@lab.test") + "employeeType: inactive\n"))?;
    assert_eq!(sign_in.came_to("ben").await?, (Outcome::DisabledNotAdded, false));
    assert_eq!(users(world).await?.len(), 2);
    assert_eq!(world.license().await?.used(), 2);
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 2, 0, 0], "a sync of all finds them as they are");
    Ok(())
}

async fn whoever_has_left_is_denied_and_a_sync_of_all_disables_and_frees_the_name(
    database: Database,
) -> Result<()> {
    let sign_in = SignIn::start(World::builder().database(database)).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    let names = ["anna", "ben", "carla", "dora", "emil"];
    for name in names {
        join(world, name, &format!("{name}@lab.test"))?;
    }
    assert_eq!(succeeded(&world.sync_now().await?)[0], 5);

    directory.rename(&sign_in.dn("anna"), "uid=anna", Some(&directory.archive_dn()))?;
    let moved = sign_in.try_to("anna").await?;
    assert_eq!((moved.outcome(), moved.allowed), (Outcome::Absent, false));
    let user = moved.user.context("a user")?;
    assert_eq!((user.status(), user.absent_since_time.is_some()), (Status::Enabled, true));
    assert_eq!(world.license().await?.used(), 5, "the seat is kept");
    // So is the name, until a sync has disabled the user.
    join(world, "anna2", "anna@lab.test")?;
    assert_eq!(sign_in.came_to("anna@lab.test").await?, (Outcome::Absent, false));
    assert_eq!(sign_in.came_to("anna2").await?, (Outcome::DuplicateEmail, false));
    assert_eq!(succeeded(&world.sync_now().await?)[..4], [1, 0, 4, 1]);
    let gone = &users(world).await?["anna"];
    assert_eq!((gone.status(), gone.disabled_reason()), (Status::Disabled, DisabledReason::OutOfScope));
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::NotFound, false), "the name is free");
    assert_eq!(sign_in.came_to("anna@lab.test").await?, (Outcome::Unchanged, true));

    directory.delete(&sign_in.dn("anna2"))?;
    directory.rename(
        &format!("uid=anna,{}", directory.archive_dn()),
        "uid=anna",
        Some(&directory.people_dn()),
    )?;
    // Found by name; whoever had the address meanwhile is still a user.
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::DuplicateEmail, false));
    assert_eq!(sign_in.came_to("anna2").await?, (Outcome::Absent, false));

    // Whoever cannot be found is denied, however many they are: that is the matter of a sync.
    for name in ["ben", "carla", "dora"] {
        directory.delete(&sign_in.dn(name))?;
        assert_eq!(sign_in.came_to(name).await?, (Outcome::Absent, false));
    }
    assert_eq!(enabled(&users(world).await?), 5, "and stays as it was");
    let message = held(&world.sync_now().await?, Reason::UnexplainedAbsences);
    assert!(message.contains("does not show what became of them"), "{message}");

    // By number a user is asked for who has no name any more.
    let admin = &world.admin;
    let again = sign_in.sync(admin, Whom::User(moved_name(&users(world).await?, "anna"))).await?;
    assert_eq!((again.outcome(), again.allowed), (Outcome::DuplicateEmail, false));
    Ok(())
}

fn moved_name(
    users: &std::collections::BTreeMap<String, rollcall_proto::admin::v1::User>,
    name: &str,
) -> String {
    users.get(name).map(|user| user.name.clone()).unwrap_or_default()
}

async fn what_cannot_be_applied_is_said_and_nothing_else_changes(database: Database) -> Result<()> {
    let sign_in = SignIn::start(World::builder().database(database).license(2)).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    for name in ["anna", "ben", "carla"] {
        join(world, name, &format!("{name}@lab.test"))?;
    }
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::Added, true));
    directory.replace(&sign_in.dn("ben"), "mail", &["ANNA@lab.test"])?;
    let duplicate = sign_in.try_to("ben").await?;
    assert_eq!((duplicate.outcome(), duplicate.allowed), (Outcome::DuplicateEmail, false));
    assert!(duplicate.message.contains("users/1 of identity source hq"), "{}", duplicate.message);
    // The address is on two entries of one source.
    assert_eq!(sign_in.came_to("anna@lab.test").await?, (Outcome::Unchanged, true), "known by the name");
    directory.replace(&sign_in.dn("ben"), "mail", &["ben@lab.test"])?;
    assert_eq!(sign_in.came_to("ben").await?, (Outcome::Added, true));
    let full = sign_in.try_to("carla").await?;
    assert_eq!((full.outcome(), full.allowed, full.user), (Outcome::LicenseLimit, false, None));

    // A conflict locks nobody out who is there and enabled.
    directory.replace(&sign_in.dn("ben"), "mail", &["anna@lab.test"])?;
    let kept = sign_in.try_to("ben").await?;
    assert_eq!((kept.outcome(), kept.allowed), (Outcome::DuplicateEmail, true));
    assert_eq!(kept.user.context("a user")?.mail, "ben@lab.test");
    directory.replace(&sign_in.dn("ben"), "mail", &[])?;
    assert_eq!(sign_in.came_to("ben").await?, (Outcome::MissingEmail, false));
    directory.replace(&sign_in.dn("ben"), "mail", &["no address"])?;
    assert_eq!(sign_in.came_to("ben").await?, (Outcome::InvalidEmail, false));

    for mail in ["twin@lab.test", "twin@lab.test"].into_iter().zip(["dora", "emil"]) {
        join(world, mail.1, mail.0)?;
    }
    assert_eq!(sign_in.came_to("twin@lab.test").await?, (Outcome::Ambiguous, false));
    let invalid = sign_in.sync(&world.admin, Whom::Mail("no address".to_owned())).await?;
    assert_eq!((invalid.outcome(), invalid.allowed), (Outcome::InvalidEmail, false));
    assert_eq!(world.license().await?.used(), 2);
    for login in ["", "   ", "a\u{7}b"] {
        assert_eq!(sign_in.try_to(login).await.expect_err("no name").code(), Code::InvalidArgument);
    }
    Ok(())
}

async fn sources_are_asked_in_order_and_whoever_moved_between_them_may_enter(
    database: Database,
) -> Result<()> {
    let archive = "ou=archive,dc=example,dc=com";
    let builder = World::builder().database(database).policy(move |mut policy| {
        policy.roots.push(archive.to_owned());
        policy
    });
    let sign_in = SignIn::start(builder).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    let mut settings = world.settings();
    settings.roots = vec![archive.to_owned()];
    let second = format!("tenants/{TENANT}/identitySources/old");
    world.admin.create_and_publish(&second, settings).await?;
    join(world, "anna", "anna@lab.test")?;
    directory.rename(&sign_in.dn("anna"), "uid=anna", Some(archive))?;
    let found = sign_in.try_to("anna").await?;
    assert_eq!(
        (found.outcome(), found.allowed, found.identity_source),
        (Outcome::Added, true, second.clone())
    );

    // Whoever has a name in both is of the first.
    for parent in [directory.people_dn(), archive.to_owned()] {
        let ben = entry(world, "ben", "ben@lab.test").replace(&directory.people_dn(), &parent);
        directory.add(&ben)?;
    }
    let ben = sign_in.try_to("ben").await?;
    assert_eq!((ben.outcome(), ben.identity_source.as_str()), (Outcome::Added, SOURCE));

    // Moved to the other source: gone from the one once that was read, and a new user in the other.
    directory.rename(&format!("uid=anna,{archive}"), "uid=anna", Some(&directory.people_dn()))?;
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::Absent, false), "its source was not read yet");
    let job = world.admin.start_sync(&second).await?;
    // Ben is in both, and is of the first.
    assert_eq!(succeeded(&world.finished(&job).await?)[3..], [1, 1]);
    let moved = sign_in.try_to("anna").await?;
    assert_eq!(
        (moved.outcome(), moved.allowed, moved.identity_source.as_str()),
        (Outcome::Added, true, SOURCE)
    );
    assert_eq!((enabled(&users(world).await?), world.license().await?.used()), (2, 2));
    Ok(())
}

async fn an_approved_list_leaves_out_who_came_back_by_signing_in(database: Database) -> Result<()> {
    let sign_in = SignIn::start(World::builder().database(database).these_people(flawless(40))).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    assert_eq!(succeeded(&world.sync_now().await?)[0], 40);
    let base = directory.base_dn().to_owned();
    let people: Vec<_> = (0..10).map(|number| flawless(40).person(number)).collect();
    for person in &people {
        directory.rename(&person.dn(&base), &person.rdn, Some(&directory.archive_dn()))?;
    }
    let job = world.sync_now().await?;
    held(&job, Reason::DisableGuard);
    // One is back and signs in, another one signs in while away.
    let (back, away) = (&people[0], &people[1]);
    directory.rename(
        &format!("{},{}", back.rdn, directory.archive_dn()),
        &back.rdn,
        Some(&directory.people_dn()),
    )?;
    assert!(sign_in.came_to(&back.uid).await?.1);
    assert_eq!(sign_in.came_to(&away.uid).await?, (Outcome::Absent, false));
    world.admin.approve(&job).await?;
    let job = world.admin.watch(&job.name, |_| {}).await?;
    assert_eq!(succeeded(&job)[3], 9, "who is back is left out, and who was not found is not");
    let users = users(world).await?;
    assert_eq!((enabled(&users), users[&back.uid].status()), (31, Status::Enabled));
    Ok(())
}

/// Each of these on one database: what it proves is not the database's.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_call_what_is_as_the_table_says() -> Result<()> {
    let sign_in = SignIn::start(World::builder()).await?;
    let world = &sign_in.world;
    join(world, "anna", "anna@lab.test")?;
    let name = || Whom::UserName("anna".to_owned());
    let code = |result: Result<SingleSync, tonic::Status>| result.map_err(|status| status.code()).map(|_| ());
    let help_desk = world.admin_as(&world.files.issue_admin("hans", Role::HelpDesk)?)?;
    let auditor = world.admin_as(&world.files.issue_admin("ann", Role::Auditor)?)?;
    assert_eq!(code(sign_in.sync(&help_desk, name()).await), Ok(()));
    assert_eq!(code(sign_in.sync(&auditor, name()).await), Err(Code::PermissionDenied));
    assert_eq!(code(sign_in.sync(&sign_in.service, name()).await), Err(Code::PermissionDenied));
    let request = SyncAtSignInRequest { parent: format!("tenants/{TENANT}"), login: "anna".to_owned() };
    let refused =
        world.admin.just_in_time.clone().sync_at_sign_in(request).await.expect_err("not for people");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(sign_in.service.users(TENANT).await.is_err(), "nothing but sign-ins");
    let request = SyncAtSignInRequest { parent: "tenants/globex".to_owned(), login: "anna".to_owned() };
    let refused =
        sign_in.service.just_in_time.clone().sync_at_sign_in(request).await.expect_err("no such tenant");
    assert_eq!(refused.code(), Code::NotFound);

    let get = GetJustInTimeSettingsRequest { name: format!("tenants/{TENANT}/justInTimeSettings") };
    let settings = auditor.just_in_time.clone().get_just_in_time_settings(get).await?.into_inner();
    assert!(settings.enabled);
    let wrong = sign_in.set(JustInTimeSettings { deadline: seconds(31), ..on() }).await;
    assert!(wrong.expect_err("too long").to_string().contains("from 1s to 30s"));
    // Off: sign-ins are refused, and single users can be synchronized all the same.
    sign_in.set(JustInTimeSettings::default()).await?;
    let refused = sign_in.try_to("anna").await.expect_err("off");
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("is off"), "{refused}");
    assert_eq!(sign_in.sync(&help_desk, name()).await?.outcome(), Outcome::Unchanged);
    Ok(())
}
