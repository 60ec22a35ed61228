//! Passwords that the directory verifies at a sign-in: through our two real programs, a real
//! OpenLDAP, and a domain of Active Directory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::Samba;
use harness::world::{Database, Policy, Role, SOURCE, TENANT, World};
use rollcall_proto::admin::v1::audit_event::{Outcome as Done, Type};
use rollcall_proto::admin::v1::single_sync::Outcome as Synced;
use rollcall_proto::admin::v1::verify_password_response::Outcome;
use rollcall_proto::admin::v1::{
    AuditEvent, FailureReason, IdentitySourceSettings, VerifyPasswordRequest, VerifyPasswordResponse,
};
use rollcall_proto::router::v1::verify_result::{Found, Verdict};
use rollcall_proto::router::v1::{ReadFailure, VerifyOrder, VerifyResult};
use tonic::{Code, Status};

use crate::expect::{entry, join, succeeded, users};
use crate::just_in_time::SignIn;
use crate::on_both_databases;
use crate::scripted::Router;

on_both_databases! {
    whoever_has_the_password_is_synchronized_and_let_in_and_nobody_else,
    what_is_wrong_with_an_account_is_said,
    whoever_guesses_is_stopped_before_the_directory_is_asked_whether_or_not_there_is_such_a_user,
}

/// A world whose source verifies passwords, and whose router's policy allows it.
pub(crate) async fn start(builder: harness::world::Builder) -> Result<SignIn> {
    let world = builder.policy(|policy| Policy { verify_passwords: true, ..policy }).start().await?;
    world.create_and_publish_source(verifying(&world)).await?;
    SignIn::over(world).await
}

fn verifying(world: &World) -> IdentitySourceSettings {
    IdentitySourceSettings { verify_passwords: true, ..world.settings() }
}

/// Adds a person with a password.
pub(crate) fn with_password(world: &World, uid: &str, password: &str) -> Result<()> {
    let entry = entry(world, uid, &format!("{uid}@lab.test"));
    world.directory().add(&format!("{entry}userPassword: {password}\n"))
}

impl SignIn {
    async fn verify(&self, login: &str, password: &str) -> Result<VerifyPasswordResponse, Status> {
        let request = VerifyPasswordRequest {
            parent: format!("tenants/{TENANT}"),
            login: login.to_owned(),
            password: password.to_owned(),
        };
        Ok(self.service.just_in_time.clone().verify_password(request).await?.into_inner())
    }

    /// What a password comes to, what the sync that followed did, and whether the user is let in.
    pub(crate) async fn verified(
        &self,
        login: &str,
        password: &str,
    ) -> Result<(Outcome, Option<Synced>, bool)> {
        let answer = self.verify(login, password).await?;
        ensure!(!answer.message.is_empty(), "{answer:?}");
        Ok((answer.outcome(), answer.sync.as_ref().map(|sync| sync.outcome()), answer.allowed))
    }

    /// Events of a type in the tenant's trail, once there is one; of a reason, if one is given.
    pub(crate) async fn noted(&self, kind: Type, reason: &str) -> Result<Vec<AuditEvent>> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let mut trail = self.world.admin.trail(&format!("tenants/{TENANT}")).await?;
            let is = |event: &AuditEvent| {
                event.r#type() == kind
                    && (reason.is_empty() || event.details.get("reason").is_some_and(|said| said == reason))
            };
            trail.retain(is);
            if !trail.is_empty() || Instant::now() > end {
                return Ok(trail);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub(crate) const REFUSED: (Outcome, Option<Synced>, bool) = (Outcome::WrongPasswordOrUnknown, None, false);

pub(crate) fn let_in(synced: Synced) -> (Outcome, Option<Synced>, bool) {
    (Outcome::Verified, Some(synced), true)
}

async fn whoever_has_the_password_is_synchronized_and_let_in_and_nobody_else(
    database: Database,
) -> Result<()> {
    let sign_in = start(World::builder().database(database)).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    with_password(world, "anna", "anna-secret")?;
    with_password(world, "ben", "pässwörd mit Räumen ")?;
    join(world, "carla", "carla@lab.test")?;
    let dn = |uid: &str| format!("uid={uid},{}", directory.people_dn());

    // Who is no user yet is added, but not before the directory has accepted the password.
    for wrong in ["ben-secret", "Anna-secret", "anna-secret ", " ", "*", &"x".repeat(1_024)] {
        assert_eq!(sign_in.verified("anna", wrong).await?, REFUSED, "{wrong:?}");
        if wrong == "anna-secret " {
            break;
        }
    }
    assert!(users(world).await?.is_empty(), "nobody was added for a wrong password");
    let added = sign_in.verify(" Anna@Lab.Test ", "anna-secret").await?;
    assert_eq!((added.outcome(), added.allowed), (Outcome::Verified, true));
    let sync = added.sync.context("a sync")?;
    assert_eq!((sync.outcome(), sync.identity_source.as_str()), (Synced::Added, SOURCE));
    assert_eq!(sync.user.context("a user")?.user_name, "anna");
    assert_eq!(sign_in.verified("ANNA", "anna-secret").await?, let_in(Synced::Unchanged));
    assert_eq!(sign_in.verified("ben", "pässwörd mit Räumen ").await?, let_in(Synced::Added));
    assert_eq!(sign_in.verified("ben", "pässwörd mit Räumen").await?, REFUSED);
    assert_eq!(sign_in.verified("carla", "carla").await?, REFUSED, "who has no password");
    let (mut noted, end) = (false, Instant::now() + Duration::from_secs(10));
    while !noted {
        ensure!(Instant::now() < end, "whose password was verified has signed in");
        tokio::time::sleep(Duration::from_millis(20)).await;
        noted = users(world).await?["anna"].last_sign_in_time.is_some();
    }
    for nobody in ["nobody", "*", "anna)(uid=*"] {
        assert_eq!(sign_in.verified(nobody, "anna-secret").await?, REFUSED, "{nobody}");
    }

    // What the directory has changed meanwhile follows the right password only.
    directory.replace(&dn("anna"), "displayName", &["Anna Ärmel"])?;
    assert_eq!(sign_in.verified("anna", "wrong").await?, REFUSED);
    assert_ne!(users(world).await?["anna"].display_name, "Anna Ärmel");
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Updated));
    assert_eq!(users(world).await?["anna"].display_name, "Anna Ärmel");
    directory.replace(&dn("anna"), "employeeType", &["inactive"])?;
    let disabled = (Outcome::AccountDisabled, Some(Synced::DisabledInDirectory), false);
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, disabled, "the mapping says so");
    assert_eq!(sign_in.verified("anna", "wrong").await?, REFUSED, "which nobody else is told");
    directory.replace(&dn("anna"), "employeeType", &["employee"])?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Reenabled));

    // Two at the same time are two, and each is told of its own password.
    let (right, wrong) = ("anna-secret", "anna-sekret");
    let answers = tokio::join!(
        sign_in.verified("anna", right),
        sign_in.verified("anna", wrong),
        sign_in.verified("anna", right),
        sign_in.verified("anna", wrong),
    );
    let expected = let_in(Synced::Unchanged);
    assert_eq!((answers.0?, answers.1?, answers.2?, answers.3?), (expected, REFUSED, expected, REFUSED));

    // Whoever has the name by now is asked, not whoever had it.
    directory.rename(&dn("anna"), "uid=anna.b", None)?;
    directory.replace(&dn("anna.b"), "mail", &["anna.b@lab.test"])?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, REFUSED, "it is another one's name");
    with_password(world, "anna", "other-secret")?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, REFUSED);
    assert_eq!(sign_in.verified("anna.b", "anna-secret").await?, let_in(Synced::Updated));
    assert_eq!(sign_in.verified("anna", "other-secret").await?, let_in(Synced::Added));
    // Nobody can say who of two was meant.
    for uid in ["dora", "emil"] {
        with_password(world, uid, "same-secret")?;
        directory.replace(&dn(uid), "mail", &["both@lab.test"])?;
    }
    assert_eq!(sign_in.verified("both@lab.test", "same-secret").await?, REFUSED);
    // Gone: nobody verified that it is the user who asks, so nobody is disabled for it.
    directory.delete(&dn("ben"))?;
    assert_eq!(sign_in.verified("ben", "pässwörd mit Räumen ").await?, REFUSED);
    assert_eq!(users(world).await?.len(), 3);
    // That it is absent is noted behind the answer.
    let (mut absent, end) = (false, Instant::now() + Duration::from_secs(10));
    while !absent {
        ensure!(Instant::now() < end, "a user that is not found is marked");
        tokio::time::sleep(Duration::from_millis(20)).await;
        absent = users(world).await?["ben"].absent_since_time.is_some();
    }
    assert_eq!(succeeded(&world.sync_now().await?)[3], 1, "a sync of all sees to it");

    let calls = [("anna", ""), ("", "x"), ("a\u{7}b", "x"), ("anna", &"x".repeat(1_025))];
    let before = (directory.searches()?, directory.connections()?);
    for (login, password) in calls {
        let refused = sign_in.verify(login, password).await.expect_err("not asked");
        assert_eq!(refused.code(), Code::InvalidArgument, "{login:?}");
    }
    // The questions here are a connection and a search of their own.
    assert_eq!(
        (directory.searches()?, directory.connections()?),
        (before.0 + 2, before.1 + 2),
        "the directory was asked"
    );
    Ok(())
}

async fn what_is_wrong_with_an_account_is_said(database: Database) -> Result<()> {
    let sign_in = start(World::builder().database(database)).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    for uid in ["anna", "ben", "carla"] {
        with_password(world, uid, &format!("{uid}-secret"))?;
    }
    directory.police_passwords()?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Added));
    directory.replace(&format!("uid=ben,{}", directory.people_dn()), "pwdReset", &["TRUE"])?;
    assert_eq!(sign_in.verified("ben", "ben-secret").await?, (Outcome::MustChange, None, false));
    for _ in 0..3 {
        assert_eq!(sign_in.verified("carla", "wrong").await?, REFUSED);
    }
    assert_eq!(sign_in.verified("carla", "carla-secret").await?, (Outcome::AccountLocked, None, false));
    assert_eq!(users(world).await?.len(), 1, "only who was accepted was synchronized");
    assert!(!sign_in.noted(Type::PasswordRefused, "ACCOUNT_LOCKED").await?.is_empty());
    Ok(())
}

async fn whoever_guesses_is_stopped_before_the_directory_is_asked_whether_or_not_there_is_such_a_user(
    database: Database,
) -> Result<()> {
    let sign_in = start(World::builder().database(database)).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    for uid in ["anna", "ben"] {
        with_password(world, uid, &format!("{uid}-secret"))?;
        assert_eq!(sign_in.verified(uid, &format!("{uid}-secret")).await?, let_in(Synced::Added));
    }
    // In any case of the letters, and as many for a name that nobody has.
    let mut spent = Vec::new();
    for login in ["anna", "nobody"] {
        for guess in 0..5 {
            let typed = if guess % 2 == 0 { login.to_owned() } else { login.to_uppercase() };
            assert_eq!(sign_in.verified(&typed, &format!("guess-{guess}")).await?, REFUSED, "{typed}");
        }
        let before = (directory.binds()?, directory.searches()?);
        let stopped = sign_in.verify(login, "anna-secret").await?;
        assert_eq!((stopped.outcome(), stopped.allowed), (Outcome::TooManyAttempts, false), "{login}");
        let wait = stopped.retry_delay.context("when to try again")?.seconds;
        assert!((200..=300).contains(&wait), "{wait}");
        assert_eq!((directory.binds()?, directory.searches()?), (before.0 + 2, before.1 + 2), "was asked");
        spent.push((stopped.message, stopped.sync));
    }
    assert_eq!(spent[0], spent[1], "nobody is told which of them there is");
    // Nobody else is locked out, and whoever knows the password is forgiven.
    for guess in 0..12 {
        if guess % 4 == 3 {
            assert_eq!(sign_in.verified("ben", "ben-secret").await?, let_in(Synced::Unchanged));
        } else {
            assert_eq!(sign_in.verified("ben", "wrong").await?, REFUSED);
        }
    }
    // The trail names users by number, and nothing that was typed.
    let user = users(world).await?["anna"].name.clone();
    let refused = sign_in.noted(Type::PasswordRefused, "WRONG_PASSWORD_OR_UNKNOWN").await?;
    let subjects: Vec<_> = refused.iter().map(|event| event.subject.as_str()).collect();
    assert!(subjects.contains(&user.as_str()) && subjects.contains(&"tenants/acme"), "{subjects:?}");
    for event in refused.iter().chain(&sign_in.noted(Type::PasswordRefused, "TOO_MANY_ATTEMPTS").await?) {
        assert_eq!((event.outcome(), event.actor.as_str()), (Done::Refused, "authenticators/signin"));
        assert_eq!(event.details.keys().collect::<Vec<_>>(), ["count", "reason"]);
    }
    let forgiven = sign_in.noted(Type::PasswordAcceptedAfterRefusals, "").await?;
    let first = forgiven.first().context("an event")?;
    assert_eq!((first.outcome(), first.details["refused"].as_str()), (Done::Done, "3"));
    Ok(())
}

/// Each of these on one database: what it proves is not the database's.
#[tokio::test(flavor = "multi_thread")]
async fn nobodys_password_is_verified_unless_source_and_policy_both_say_so() -> Result<()> {
    let mut world = World::builder().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    with_password(&world, "anna", "anna-secret")?;
    let mut sign_in = SignIn::over(world).await?;
    let not_allowed = (Outcome::NotAllowed, None, false);
    let asked = sign_in.world.directory().binds()?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, not_allowed, "neither says so");
    assert_eq!(sign_in.came_to("anna").await?, (Synced::Added, true), "synchronized all the same");
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, not_allowed, "known, and neither says so");
    world = sign_in.world;
    // The setting is one of the draft, and counts once it is published.
    let source = world.update_and_publish_source(verifying(&world)).await?;
    assert!(source.published.is_some_and(|published| published.verify_passwords));
    sign_in = SignIn { world, ..sign_in };
    let answer = sign_in.verify("anna", "anna-secret").await?;
    assert_eq!((answer.outcome(), answer.sync), (Outcome::NotAllowed, None), "the policy does not");
    assert!(answer.message.contains("set verify_passwords"), "{}", answer.message);
    // The router's own connections to fetch, and this question.
    let binds = sign_in.world.directory().binds()? - asked;
    assert!(binds <= 4, "{binds} binds");
    let ours = sign_in.noted(Type::RouterRefusedOrder, "ROUTER_POLICY").await?;
    assert_eq!(ours.first().context("an event")?.actor, "identityRouters/hq-1");
    let refused = sign_in.noted(Type::PasswordRefused, "NOT_ALLOWED").await?;
    assert!(refused.iter().all(|event| event.outcome() == Done::Refused));
    let theirs = sign_in.world.router()?.logs();
    let line = theirs.lines().find(|line| line.contains("order_refused")).context("a line")?;
    assert!(line.contains("VerifyOrder") && line.contains("verify_passwords"), "{line}");

    // Only the policy: nobody is asked for it.
    let world = &mut sign_in.world;
    world.stop_router()?;
    let policy = std::fs::read_to_string(world.files.policy())?;
    std::fs::write(
        world.files.policy(),
        policy.replace("verify_passwords = false", "verify_passwords = true"),
    )?;
    world.start_router()?;
    world.router_connected().await?;
    // Published anew, so her record has another digest, and nothing else.
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Unchanged), "both do");
    sign_in.world.update_and_publish_source(sign_in.world.settings()).await?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, not_allowed, "the source does not");
    Ok(())
}

/// The id may be read and not searched for: the entry is found by the name, and not by the id.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_of_a_user_that_is_not_found_by_its_id_lets_nobody_in() -> Result<()> {
    let sign_in = start(World::builder()).await?;
    let world = &sign_in.world;
    with_password(world, "anna", "anna-secret")?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Added));
    let rest = "to * by users read by * none";
    world.directory().allow(&["to attrs=entryUUID by users =r by * none", rest])?;
    let denied = (Outcome::Verified, Some(Synced::Absent), false);
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, denied);
    let anna = &users(world).await?["anna"];
    assert!(anna.absent_since_time.is_some() && anna.disable_time.is_none(), "{anna:?}");
    world.directory().allow(&[rest])?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Unchanged));
    assert_eq!(users(world).await?["anna"].absent_since_time, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_authentication_service_has_passwords_verified_and_only_where_sign_ins_synchronize()
-> Result<()> {
    let sign_in = start(World::builder()).await?;
    let world = &sign_in.world;
    with_password(world, "anna", "anna-secret")?;
    let request = |tenant: &str| VerifyPasswordRequest {
        parent: format!("tenants/{tenant}"),
        login: "anna".to_owned(),
        password: "anna-secret".to_owned(),
    };
    let help_desk = world.admin_as(&world.files.issue_admin("hans", Role::HelpDesk)?)?;
    for admin in [&world.admin, &help_desk, &world.operator] {
        let refused = admin.just_in_time.clone().verify_password(request(TENANT)).await.expect_err("people");
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    let refused = sign_in.service.just_in_time.clone().verify_password(request("globex")).await;
    assert_eq!(refused.expect_err("no such tenant").code(), Code::NotFound);
    sign_in.set(rollcall_proto::admin::v1::JustInTimeSettings::default()).await?;
    let refused = sign_in.verify("anna", "anna-secret").await.expect_err("off");
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("is off"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_refusal_takes_does_not_tell_whether_there_is_such_a_user() -> Result<()> {
    let sign_in = start(World::builder()).await?;
    for number in 0..6 {
        with_password(&sign_in.world, &format!("person{number}"), "secret")?;
    }
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..6 {
        for (name, times) in ["person", "nobody"].iter().zip(&mut times) {
            let begun = Instant::now();
            assert_eq!(sign_in.verified(&format!("{name}{number}"), "wrong").await?, REFUSED);
            times.push(begun.elapsed());
        }
    }
    let [person, nobody] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    println!("a wrong password: {person:?}, nobody: {nobody:?}");
    assert!(person.min(nobody) >= Duration::from_millis(500));
    assert!(person.abs_diff(nobody) < Duration::from_millis(100), "{person:?} and {nobody:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_of_the_source_that_has_the_person_and_of_no_other() -> Result<()> {
    let archive = "ou=archive,dc=example,dc=com";
    let builder = World::builder().policy(move |mut policy| {
        policy.roots.push(archive.to_owned());
        Policy { verify_passwords: true, ..policy }
    });
    let world = builder.start().await?;
    world.create_and_publish_source(verifying(&world)).await?;
    let sign_in = SignIn::over(world).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.directory());
    let second = format!("tenants/{TENANT}/identitySources/old");
    let settings = IdentitySourceSettings { roots: vec![archive.to_owned()], ..verifying(world) };
    world.admin.create_and_publish(&second, settings.clone()).await?;
    let away = |uid: &str, password: &str| -> Result<()> {
        let person = entry(world, uid, &format!("{uid}@old.test")).replace(&directory.people_dn(), archive);
        directory.add(&format!("{person}userPassword: {password}\n"))
    };
    away("anna", "old-secret")?;
    let answer = sign_in.verify("anna", "old-secret").await?;
    assert_eq!(answer.sync.context("a sync")?.identity_source, second, "found in the second");
    // The first has somebody of that name, too: who is known is asked about where it is from.
    with_password(world, "anna", "new-secret")?;
    assert_eq!(sign_in.verified("anna", "old-secret").await?, let_in(Synced::Unchanged));
    let before = directory.binds()?;
    assert_eq!(sign_in.verified("anna", "new-secret").await?, REFUSED);
    assert!(directory.binds()? <= before + 2, "one password is tried once");
    // Of two whom nobody knows yet the first one.
    with_password(world, "ben", "new-secret")?;
    away("ben", "old-secret")?;
    assert_eq!(sign_in.verified("ben", "old-secret").await?, REFUSED);
    assert_eq!(sign_in.verified("ben", "new-secret").await?, let_in(Synced::Added));
    // A source that does not verify passwords is not asked.
    away("carla", "old-secret")?;
    world
        .admin
        .update_and_publish(&second, IdentitySourceSettings { verify_passwords: false, ..settings })
        .await?;
    assert_eq!(sign_in.verified("carla", "old-secret").await?, REFUSED);
    assert_eq!(sign_in.verified("anna", "old-secret").await?, (Outcome::NotAllowed, None, false));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_as_last_known_where_nobody_verifies_the_password() -> Result<()> {
    let mut sign_in = start(World::builder()).await?;
    with_password(&sign_in.world, "anna", "anna-secret")?;
    let last_known = rollcall_proto::admin::v1::JustInTimeSettings {
        deadline: crate::just_in_time::seconds(2),
        last_known_max_age: crate::just_in_time::seconds(3_600),
        ..crate::just_in_time::on()
    };
    sign_in.set(last_known).await?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Added));
    sign_in.world.directory_mut().stop()?;
    assert_eq!(sign_in.came_to("anna").await?, (Synced::LastKnown, true), "without a password she is known");
    for _ in 0..6 {
        let answer = sign_in.verified("anna", "anna-secret").await?;
        assert_eq!(answer, (Outcome::DirectoryUnreachable, None, false), "nobody was asked, nothing counts");
    }
    sign_in.world.directory_mut().start_again()?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Unchanged));
    // Nor where it is not refused and nothing comes back: no password was sent before the person is
    // found.
    sign_in.world.directory_mut().freeze()?;
    for _ in 0..6 {
        let answer = sign_in.verified("anna", "anna-secret").await?;
        assert_eq!(answer, (Outcome::DirectoryUnreachable, None, false), "nobody was asked, nothing counts");
    }
    sign_in.world.directory_mut().thaw()?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Unchanged));
    sign_in.world.stop_router()?;
    let answer = sign_in.verified("anna", "anna-secret").await?;
    assert_eq!(answer, (Outcome::NoRouter, None, false));
    sign_in.world.start_router()?;
    sign_in.world.router_connected().await?;
    assert_eq!(sign_in.verified("anna", "anna-secret").await?, let_in(Synced::Unchanged));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_a_directory_may_have_been_asked_about_counts_and_is_not_tried_elsewhere()
-> Result<()> {
    let world = World::builder().without_router().start().await?;
    let (mut first, mut second) =
        (Router::connect(&world, TENANT, "a-1").await?, Router::connect(&world, TENANT, "b-2").await?);
    world.create_and_publish_source(verifying(&world)).await?;
    let sign_in = SignIn::over(world).await?;
    let unanswered = |request_id: String| VerifyResult {
        request_id,
        verdict: Verdict::Unanswered.into(),
        found: Some(Found::Failure(ReadFailure {
            reason: FailureReason::DirectoryUnreachable.into(),
            message: "silence".to_owned(),
            interrupted: false,
        })),
    };
    for _ in 0..4 {
        let answer = async {
            let order = first.verify().await?;
            assert_eq!((order.login.as_str(), order.password.as_str()), ("anna", "anna-secret"));
            first.verified(unanswered(order.request_id.clone())).await
        };
        let (answer, call) = tokio::join!(answer, sign_in.verified("anna", "anna-secret"));
        answer?;
        assert_eq!(call?, (Outcome::DirectoryUnreachable, None, false));
    }
    // Lost with the order: nobody knows what became of it.
    let lost = async {
        first.verify().await?;
        first.reconnect().await
    };
    let (lost, call) = tokio::join!(lost, sign_in.verified("anna", "anna-secret"));
    lost?;
    assert_eq!(call?, (Outcome::NoRouter, None, false));
    assert_eq!(sign_in.verified("anna", "anna-secret").await?.0, Outcome::TooManyAttempts);
    // Had the other router been asked, this order would not be its first one.
    let (order, _call) =
        tokio::join!(second_after(&mut second, first), sign_in.verified("ben", "ben-secret"));
    assert_eq!(order?.login, "ben");
    Ok(())
}

/// The next order to the one router, once the other is gone. It is not answered.
async fn second_after(second: &mut Router, first: Router) -> Result<VerifyOrder> {
    drop(first);
    let order = second.verify().await?;
    second.reconnect().await?;
    Ok(order)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_in_a_log_even_at_the_finest_level_nor_in_the_database() -> Result<()> {
    let mut sign_in = start(World::builder()).await?;
    let world = &mut sign_in.world;
    with_password(world, "anna", "canary-right")?;
    world.stop_router()?;
    world.stop_control_plane()?;
    for config in [world.files.router_config(), world.files.control_plane_config()] {
        let text = std::fs::read_to_string(&config)?;
        std::fs::write(&config, text + "\n[log]\nlevel = \"trace\"\n")?;
    }
    world.start_control_plane()?;
    world.start_router()?;
    world.router_connected().await?;
    assert_eq!(sign_in.verified("anna", "canary-right").await?, let_in(Synced::Added));
    assert_eq!(sign_in.verified("anna", "canary-wrong").await?, REFUSED);
    assert_eq!(sign_in.verified("nobody", "canary-nobody").await?, REFUSED);
    sign_in.noted(Type::PasswordRefused, "").await?;
    let world = &mut sign_in.world;
    world.stop_router()?;
    world.stop_control_plane()?;
    let logs = world.logs();
    assert!(logs.contains("TRACE"), "the finest level");
    let mut kept = logs.into_bytes();
    for file in std::fs::read_dir(world.dir())? {
        let path = file?.path();
        if path.is_file() {
            kept.extend(std::fs::read(path)?);
        }
    }
    let has = |text: &[u8]| kept.windows(text.len()).any(|bytes| bytes == text);
    assert!(has(b"anna@lab.test"), "the database was looked into");
    let bytes = format!("{:?}", b"canary-");
    for secret in [&b"canary-"[..], &b"Y2FuYXJ5L"[..], bytes.trim_end_matches(']').as_bytes()] {
        assert!(!has(secret), "{:?} was kept", String::from_utf8_lossy(secret));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_active_directory_says_of_an_account_is_said() -> Result<()> {
    if !Samba::can_run() {
        return Ok(());
    }
    let people = crate::expect::flawless(20);
    let sign_in =
        start(World::builder().active_directory(Samba::builder().these_people(people.clone()))).await?;
    let domain = sign_in.world.active_directory()?;
    let dn = |number: u64| domain.person_dn(&people.person(number));
    for number in 0..6 {
        domain.set_password(&dn(number), &format!("Secret-{number}"))?;
        domain.set_disabled(&dn(number), false)?;
    }
    let ask =
        async |number: u64, password: &str| sign_in.verified(&people.person(number).uid, password).await;
    assert_eq!(ask(0, "Secret-0").await?, let_in(Synced::Added));
    assert_eq!(ask(0, "Secret-1").await?, REFUSED);
    assert_eq!(ask(0, "Secret-0").await?, let_in(Synced::Unchanged));
    domain.replace(&dn(0), "displayName", &["Changed"])?;
    assert_eq!(ask(0, "Secret-0").await?, let_in(Synced::Updated));
    domain.set_disabled(&dn(1), true)?;
    assert_eq!(ask(1, "Secret-1").await?, (Outcome::AccountDisabled, None, false));
    domain.replace(&dn(2), "accountExpires", &["130000000000000000"])?;
    assert_eq!(ask(2, "Secret-2").await?, (Outcome::AccountExpired, None, false));
    domain.replace(&dn(3), "pwdLastSet", &["0"])?;
    assert_eq!(ask(3, "Secret-3").await?, (Outcome::MustChange, None, false));
    domain.replace(domain.base_dn(), "lockoutThreshold", &["3"])?;
    for _ in 0..3 {
        ask(4, "wrong").await?;
    }
    assert_eq!(ask(4, "Secret-4").await?, (Outcome::AccountLocked, None, false));
    // With the usual threshold we are quicker: the fifth wrong password is the last that the domain
    // hears of.
    domain.replace(domain.base_dn(), "lockoutThreshold", &["10"])?;
    for _ in 0..5 {
        assert_eq!(ask(5, "wrong").await?, REFUSED);
    }
    for _ in 0..6 {
        assert_eq!(ask(5, "wrong").await?.0, Outcome::TooManyAttempts);
    }
    assert_eq!(users(&sign_in.world).await?.len(), 1, "only who was accepted was synchronized");
    Ok(())
}
