//! Who may call what: every method as every kind of caller, compared with the table. What is not
//! allowed is exactly refused.

use std::collections::BTreeSet;

use anyhow::Result;
use control_plane::api::middleware::rights;
use control_plane::model::Role;
use harness::world::{CONSOLE, Identity, Issuer, Role as Person, World, connect};
use rollcall_proto::prost::bytes::Bytes;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::methods::{Call, Names, call, described, every_call};

/// How a caller stands to the tenant whose names it says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Own,
    Foreign,
    Ghost,
    Suspended,
    Refused,
}

struct Caller {
    what: String,
    role: Role,
    standing: Standing,
    channel: Channel,
    token: Option<String>,
}

#[test]
fn every_method_has_a_call() {
    let names = Names::of("acme", "hq", "hq-1", "latest");
    let called: BTreeSet<String> = every_call(&names).into_iter().map(|(path, _)| path.to_owned()).collect();
    let described: BTreeSet<_> =
        described().into_iter().filter(|path| !path.contains("EnrollmentService")).collect();
    assert_eq!(called, described, "a new method needs a call in methods.rs");
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Whether this is what the table says.
fn as_it_should(caller: &Caller, path: &str, answer: &Result<Bytes, Status>) -> bool {
    let refused =
        |code, why: &str| answer.as_ref().is_err_and(|status| status.code() == code && reason(status) == why);
    if caller.standing == Standing::Refused {
        return refused(Code::Unauthenticated, "TOKEN_REFUSED");
    }
    if !rights::allowed_roles(path).contains(&caller.role) {
        let why = if caller.role == Role::Console { "TOKEN_REQUIRED" } else { "NOT_ALLOWED" };
        return refused(Code::PermissionDenied, why);
    }
    let of_a_tenant = path.starts_with("/rollcall.");
    match caller.standing {
        Standing::Suspended if of_a_tenant && !rights::is_open_to_suspended(path) => {
            refused(Code::FailedPrecondition, "TENANT_SUSPENDED")
        }
        Standing::Foreign | Standing::Ghost if of_a_tenant => refused(Code::NotFound, "NOT_FOUND"),
        _ => match answer {
            Ok(_) => true,
            Err(status) => {
                ![Code::PermissionDenied, Code::Unauthenticated, Code::Unimplemented, Code::DeadlineExceeded]
                    .contains(&status.code())
                    && !status.message().is_empty()
            }
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_every_caller_as_the_table_says() -> Result<()> {
    let issuer = Issuer::new("k1")?;
    let world = World::builder().issuer(&issuer).without_router().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for tenant in ["globex", "frozen", "spare"] {
        world.operator.set_license(tenant, 10).await?;
    }
    let request = rollcall_proto::admin::v1::SuspendTenantRequest {
        name: "tenants/frozen".to_owned(),
        ..Default::default()
    };
    world.operator.tenants.clone().suspend_tenant(request).await?;

    let port = world.address().port();
    let open = |identity: &Identity| connect::channel(port, Some(identity), &world.files.authority());
    let mut callers = Vec::new();
    let mut add = |what: &str, role, standing, channel: &Channel, token: Option<String>| {
        callers.push(Caller { what: what.to_owned(), role, standing, channel: channel.clone(), token });
    };
    let roles = [
        (Person::SuperAdmin, Role::SuperAdmin),
        (Person::HelpDesk, Role::HelpDesk),
        (Person::Auditor, Role::Auditor),
    ];
    let console = open(&world.files.issue_console(CONSOLE)?)?;
    let operator = open(&world.files.issue_operator("ops-2")?)?;
    let router = open(&world.enroll("acme", "matrix").await?)?;
    let authenticator = open(&world.files.issue_authenticator("signin")?)?;
    add("authenticator", Role::Authenticator, Standing::Own, &authenticator, None);
    add("operator", Role::Operator, Standing::Own, &operator, None);
    add("router", Role::Router, Standing::Own, &router, None);
    add("console without a token", Role::Console, Standing::Own, &console, None);
    let person = |tenant: &str, role, seconds| issuer.person(tenant, "alice", role, seconds).map(Some);
    for (person_role, role) in roles {
        let what = format!("{role:?}");
        let tenants = [
            ("acme", Standing::Own),
            ("globex", Standing::Foreign),
            ("ghost", Standing::Ghost),
            ("frozen", Standing::Suspended),
        ];
        for (tenant, standing) in tenants {
            let name = what.to_lowercase();
            let admin = open(&world.files.issue_admin_of(tenant, &name, person_role)?)?;
            add(&format!("{what} of {tenant} by certificate"), role, standing, &admin, None);
            let token = person(tenant, person_role, 600)?;
            add(&format!("{what} of {tenant} by token"), role, standing, &console, token);
        }
        let expired = person("acme", person_role, -120)?;
        add(&format!("{what} with an expired token"), role, Standing::Refused, &console, expired);
    }
    let other = open(&world.files.issue_console("kiosk")?)?;
    add(
        "another console",
        Role::SuperAdmin,
        Standing::Refused,
        &other,
        person("acme", Person::SuperAdmin, 600)?,
    );

    let mut wrong = Vec::new();
    for caller in &callers {
        // The suspended tenant's callers ask for their own, everyone else for acme's.
        let tenant = if caller.standing == Standing::Suspended { "frozen" } else { "acme" };
        for of in every_call(&Names::of(tenant, "hq", "hq-1", "latest")) {
            let answer = call(&caller.channel, caller.token.as_deref(), &of).await;
            if !as_it_should(caller, of.0, &answer) {
                wrong.push(format!("{} calls {}: {answer:?}", caller.what, of.0));
            }
        }
    }
    assert!(callers.len() > 30);
    assert!(wrong.is_empty(), "{} of the calls:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_no_method_is_reached() -> Result<()> {
    let world = World::builder().without_router().start().await?;
    for of in every_call(&Names::of("acme", "hq", "hq-1", "latest")) {
        let channel = connect::channel(world.address().port(), None, &world.files.authority())?;
        let status = call(&channel, None, &of).await.expect_err("a refusal");
        assert!(std::error::Error::source(&status).is_some(), "{} was answered: {status:?}", of.0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_for_nothing_but_on_a_consoles_connection() -> Result<()> {
    let issuer = Issuer::new("k1")?;
    let world = World::builder().issuer(&issuer).without_router().start().await?;
    let token = issuer.person("acme", "alice", Person::SuperAdmin, 600)?;
    let port = world.address().port();
    let list = |tenant: &str| -> Call {
        let names = Names::of(tenant, "hq", "hq-1", "latest");
        let create = "/rollcall.admin.v1.IdentitySourceService/CreateIdentitySource";
        every_call(&names).into_iter().find(|(path, _)| *path == create).expect("a call")
    };
    for identity in [
        world.files.issue_admin("ann", Person::Auditor)?,
        world.files.issue_operator("ops-2")?,
        world.enroll("acme", "spy").await?,
    ] {
        let channel = connect::channel(port, Some(&identity), &world.files.authority())?;
        let status = call(&channel, Some(&token), &list("acme")).await.expect_err("a refusal");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "NOT_ALLOWED"));
    }
    Ok(())
}
