//! Secrets and personal data stay out of the logs, whatever happens.

use anyhow::Result;
use harness::world::{Admin, CONSOLE, Issuer, Policy, Role, TENANT, World, connect};
use rollcall_proto::admin::v1::verify_password_response::Outcome;
use rollcall_proto::admin::v1::{
    FailureReason, IdentitySourceSettings, JustInTimeSettings, ListUsersRequest, SyncAtSignInRequest,
    SyncUserRequest, UpdateJustInTimeSettingsRequest, VerifyPasswordRequest, sync_user_request::Whom,
};
use tonic::Request;

use crate::expect::{failed, flawless, join, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn logs_have_no_secret_and_no_personal_data() -> Result<()> {
    let issuer = Issuer::new("k1")?;
    let builder = World::builder().issuer(&issuer).these_people(flawless(200));
    let mut world = builder.policy(|policy| Policy { verify_passwords: true, ..policy }).start().await?;
    let settings = IdentitySourceSettings { verify_passwords: true, ..world.settings() };
    world.create_and_publish_source(settings).await?;
    succeeded(&world.sync_now().await?);
    join(&world, "canary-user", "canary@canary.test")?;
    join(&world, "canary-twin", "canary@canary.test")?;
    succeeded(&world.sync_now().await?);
    // A person at a console, and people who sign in: found, not found, and unusable.
    let token = issuer.person(TENANT, "canary-person@canary.test", Role::SuperAdmin, 600)?;
    let (port, identity) = (world.address().port(), world.files.issue_console(CONSOLE)?);
    let console = Admin::over(connect::channel(port, Some(&identity), &world.files.authority())?);
    call_as_a_person(&console, &token).await?;
    call_as_a_person(&console, &format!("{token}x")).await?;
    sign_in(&world, &["canary-user", "canary-twin", "canary-nobody", "canary@canary.test"]).await?;
    // Passwords: right, wrong, of nobody, and too long to be one.
    let dn = format!("uid=canary-user,{}", world.directory().people_dn());
    world.directory().replace(&dn, "userPassword", &["canary-typed"])?;
    verify(&world).await?;
    world.files.write_bind_password("canary-password")?;
    failed(&world.sync_now().await?, FailureReason::BindRejected);
    let processes = [world.router()?.pid(), world.control_plane()?.pid()];
    let mut arguments = Vec::new();
    for file in processes.iter().flat_map(|pid| ["cmdline", "environ"].map(|file| (pid, file))) {
        arguments.extend(std::fs::read(format!("/proc/{}/{}", file.0, file.1))?);
    }
    let mut trail = world.admin.trail(&format!("tenants/{TENANT}")).await?;
    trail.extend(world.operator.trail("installation").await?);
    world.stop_router()?;
    world.stop_control_plane()?;

    let logs = world.logs();
    assert!(logs.contains("sync job ended"), "something was logged");
    let trail = trail.iter().map(|event| format!("{event:?}")).collect::<String>();
    assert!(trail.contains("WRONG_PASSWORD_OR_UNKNOWN") && !trail.contains("canary-t"), "{trail}");
    let password = world.directory().agent_password();
    let code = "rollcall-code-";
    for secret in ["canary", password, &token, code, "BEGIN PRIVATE KEY", "@lab.test", "uid=", "cn="] {
        assert!(!logs.contains(secret), "{secret} in the logs:\n{logs}");
        assert!(!String::from_utf8_lossy(&arguments).contains(secret));
    }
    Ok(())
}

/// Whether the token is taken or not.
async fn call_as_a_person(console: &Admin, token: &str) -> Result<()> {
    let mut request =
        Request::new(ListUsersRequest { parent: format!("tenants/{TENANT}"), ..Default::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let _ = console.users.clone().list_users(request).await;
    Ok(())
}

async fn sign_in(world: &World, logins: &[&str]) -> Result<()> {
    let settings = JustInTimeSettings {
        name: format!("tenants/{TENANT}/justInTimeSettings"),
        enabled: true,
        ..Default::default()
    };
    let request = UpdateJustInTimeSettingsRequest { just_in_time_settings: Some(settings) };
    world.admin.just_in_time.clone().update_just_in_time_settings(request).await?;
    let service = world.admin_as(&world.files.issue_authenticator("signin")?)?;
    for login in logins {
        let (parent, login) = (format!("tenants/{TENANT}"), (*login).to_owned());
        let request = SyncAtSignInRequest { parent: parent.clone(), login: login.clone() };
        service.just_in_time.clone().sync_at_sign_in(request).await?;
        let request = SyncUserRequest { parent, whom: Some(Whom::UserName(login)) };
        world.admin.just_in_time.clone().sync_user(request).await?;
    }
    Ok(())
}

async fn verify(world: &World) -> Result<()> {
    let service = world.admin_as(&world.files.issue_authenticator("checker")?)?;
    let long = "canary-too-long".repeat(100);
    for (login, password, outcome) in [
        ("canary-user", "canary-typed", Some(Outcome::Verified)),
        ("canary-user", "canary-typed-wrong", Some(Outcome::WrongPasswordOrUnknown)),
        ("canary-nobody", "canary-typed", Some(Outcome::WrongPasswordOrUnknown)),
        ("canary-user", &long, None),
    ] {
        let parent = format!("tenants/{TENANT}");
        let (login, password) = (login.to_owned(), password.to_owned());
        let request = VerifyPasswordRequest { parent, login, password };
        let answer = service.just_in_time.clone().verify_password(request).await;
        assert_eq!(answer.as_ref().ok().map(|answer| answer.get_ref().outcome()), outcome);
        assert!(!format!("{answer:?}").contains("canary-t"), "an answer has a password: {answer:?}");
    }
    Ok(())
}
