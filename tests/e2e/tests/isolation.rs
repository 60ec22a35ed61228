//! Tenants are walls: no call shows one tenant anything of another's, not even that it is there.

use std::time::{Duration, Instant};

use anyhow::Result;
use control_plane::api::middleware::rights;
use control_plane::model::Role;
use harness::world::{Role as Person, World, connect};
use rollcall_proto::admin::v1 as admin;
use rollcall_proto::prost::Message;
use rollcall_proto::prost::bytes::Bytes;
use rollcall_proto::router::v1::{Records, UserRecord};
use rollcall_proto::router::v1::{upload_request::Message as Say, upload_response::Message as Answer};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::expect::succeeded;
use crate::methods::{Call, Names, call, every_call, mixed_calls};
use crate::scripted::{Router, complete};

/// Is in whatever a tenant has.
const MARKER: &str = "zebra";
/// Is in what its people are called, too, and in no name of a source or router, which the log may
/// have.
const PERSONAL: &str = "quagga";

/// Fills a tenant with two users, a source, a router and a job; everything has the marker in it.
async fn fill(world: &World, tenant: &str, marker: &str) -> Result<(Names, Router)> {
    world.operator.set_license(tenant, 10).await?;
    let filler = world.admin_as(&world.files.issue_admin_of(tenant, "filler", Person::SuperAdmin)?)?;
    let (source, router) = (format!("{marker}-hq"), format!("{marker}-router"));
    let mut names = Names::of(tenant, &source, &router, "latest");
    let mut scripted = Router::connect(world, tenant, &router).await?;
    let mut settings = world.settings();
    settings.roots = vec![format!("ou={marker},dc=example,dc=com")];
    filler.create_and_publish(&names.source, settings).await?;
    let receiver = admin::Webhook { url: format!("https://{marker}.invalid/"), ..Default::default() };
    filler.create_webhook(&names.webhook, receiver).await?;
    let job = filler.start_sync(&names.source).await?;
    let order = scripted.order().await?;
    let mut upload = scripted.open(&order).await?;
    let person = |number: u8| UserRecord {
        immutable_id: vec![number; 16].into(),
        digest: vec![number; 16].into(),
        user_name: format!("{marker}-{PERSONAL}{number}"),
        mail: format!("{marker}-{PERSONAL}{number}@lab.test"),
        display_name: format!("{marker} {PERSONAL}"),
        mark_proved: true,
        ..UserRecord::default()
    };
    let records = Records { sequence: 1, records: vec![person(1), person(2)], rejected: Vec::new() };
    upload.say(Say::Records(records)).await?;
    assert!(matches!(upload.answer().await?, Some(Answer::Applied(_))));
    upload.say(Say::Complete(complete(&order, 2))).await?;
    assert_eq!(succeeded(&filler.watch(&job.name, |_| {}).await?), [2, 0, 0, 0, 0]);
    names.job = job.name;
    let read = admin::GetIdentitySourceRequest { name: names.source.clone() };
    names.etag = filler.sources.clone().get_identity_source(read).await?.into_inner().etag;
    Ok((names, scripted))
}

/// Everything that an answer shows.
fn shown(answer: &Result<Bytes, Status>) -> String {
    match answer {
        Ok(message) => String::from_utf8_lossy(message).into_owned(),
        Err(status) => {
            let metadata: Vec<_> = status
                .metadata()
                .iter()
                .map(|pair| format!("{pair:?}"))
                .filter(|pair| !pair.contains("\"date\""))
                .collect();
            format!(
                "{:?} {} {:?} {}",
                status.code(),
                status.message(),
                metadata,
                String::from_utf8_lossy(status.details())
            )
        }
    }
}

fn for_admins(calls: Vec<Call>) -> Vec<Call> {
    let may = |path: &str| {
        rights::allowed_roles(path).contains(&Role::SuperAdmin) && path.starts_with("/rollcall.")
    };
    calls.into_iter().filter(|(path, _)| may(path)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_tenants_is_answered_as_what_never_was_and_nothing_of_it_is_shown() -> Result<()> {
    let mut world = World::builder().without_router().start().await?;
    let (own, _mine) = fill(&world, "acme", "apple").await?;
    let (other, _theirs) = fill(&world, "globex", MARKER).await?;
    let mut nobody = Names::of("nobody", "zulu-hq", "zulu-router", "018f3c1e-0000-7000-8000-000000000001");
    nobody.etag = "7".to_owned();
    let identity = world.files.issue_admin_of("acme", "bob", Person::SuperAdmin)?;
    let channel = connect::channel(world.address().port(), Some(&identity), &world.files.authority())?;

    let theirs = for_admins([every_call(&other), mixed_calls(&own, &other)].concat());
    let nowhere = for_admins([every_call(&nobody), mixed_calls(&own, &nobody)].concat());
    assert!(theirs.len() > 30 && theirs.len() == nowhere.len());
    for (foreign, never) in theirs.iter().zip(&nowhere) {
        let (of, never) = (call(&channel, None, foreign).await, call(&channel, None, never).await);
        assert_eq!(shown(&of), shown(&never), "{}", foreign.0);
        let code = of.as_ref().err().map(Status::code);
        let refused = matches!(code, Some(Code::NotFound | Code::Unimplemented));
        assert!(refused, "{}: {}", foreign.0, shown(&of));
        assert!(!shown(&of).contains(MARKER), "{}: {}", foreign.0, shown(&of));
    }
    let last = ["DeleteIdentitySource", "TestConnection"];
    let mut answers = 0;
    for own in
        for_admins(every_call(&own)).iter().filter(|(path, _)| !last.iter().any(|end| path.ends_with(end)))
    {
        let answer = call(&channel, None, own).await;
        assert!(!shown(&answer).contains(MARKER), "{}: {}", own.0, shown(&answer));
        answers += usize::from(shown(&answer).contains("apple"));
    }
    assert!(answers >= 8, "only {answers} answers had anything in them");

    world.stop_control_plane()?;
    let logs = world.logs();
    assert!(logs.contains("identity router connected"), "something was logged");
    assert!(!logs.contains(PERSONAL), "personal data in the log:\n{logs}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_leads_on_in_the_list_it_is_of_and_nowhere_else() -> Result<()> {
    let world = World::builder().without_router().start().await?;
    let (acme, _mine) = fill(&world, "acme", "apple").await?;
    let (globex, _theirs) = fill(&world, "globex", MARKER).await?;
    let admins = ["acme", "globex"].map(|tenant| {
        let identity = world.files.issue_admin_of(tenant, "pager", Person::SuperAdmin);
        identity.and_then(|identity| world.admin_as(&identity))
    });
    let [mine, theirs] = admins;
    let (mine, theirs) = (mine?, theirs?);
    let list = |names: &Names, page_token: &str, text: &str| admin::ListUsersRequest {
        parent: names.tenant.clone(),
        page_size: 1,
        page_token: page_token.to_owned(),
        text: text.to_owned(),
        ..Default::default()
    };
    let first = theirs.users.clone().list_users(list(&globex, "", "")).await?.into_inner();
    let token = first.next_page_token;
    let second = theirs.users.clone().list_users(list(&globex, &token, "")).await?.into_inner();
    assert_ne!(first.users, second.users);
    assert_eq!(second.users.len(), 1);
    let elsewhere = [
        mine.users.clone().list_users(list(&acme, &token, "")).await.map(|_| ()),
        theirs.users.clone().list_users(list(&globex, &token, "x")).await.map(|_| ()),
        theirs
            .sources
            .clone()
            .list_identity_sources(admin::ListIdentitySourcesRequest {
                parent: globex.tenant.clone(),
                page_token: token.clone(),
                ..Default::default()
            })
            .await
            .map(|_| ()),
        theirs.users.clone().list_users(list(&globex, &format!("{token}A"), "")).await.map(|_| ()),
    ];
    for answer in elsewhere {
        assert_eq!(answer.expect_err("a refusal").code(), Code::InvalidArgument);
    }
    Ok(())
}

/// How long each of two calls takes in the middle, called in turns.
async fn medians(channel: &Channel, calls: [&Call; 2]) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        for (of, times) in calls.iter().zip(&mut times) {
            let begun = Instant::now();
            let _ = call(channel, None, of).await;
            times.push(begun.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

/// Of the same order only: what is measured here goes over loopback on a busy machine.
#[tokio::test(flavor = "multi_thread")]
async fn how_long_an_answer_takes_does_not_tell_either() -> Result<()> {
    let world = World::builder().without_router().start().await?;
    let (own, _mine) = fill(&world, "acme", "apple").await?;
    let (other, _theirs) = fill(&world, "globex", MARKER).await?;
    let nobody = Names::of("nobody", "zulu-hq", "zulu-router", "018f3c1e-0000-7000-8000-000000000001");
    let identity = world.files.issue_admin_of("acme", "bob", Person::Auditor)?;
    let channel = connect::channel(world.address().port(), Some(&identity), &world.files.authority())?;
    let get = |names: &Names| -> Call {
        let request = admin::GetIdentitySourceRequest { name: names.source.clone() };
        ("/rollcall.admin.v1.IdentitySourceService/GetIdentitySource", request.encode_to_vec())
    };
    let job = |names: &Names| -> Call {
        let (own, other) = (own.clone(), names.clone());
        let calls = mixed_calls(&own, &other);
        calls.into_iter().find(|(path, _)| path.ends_with("/GetSyncJob")).expect("a call")
    };
    for (what, pair) in [
        ("another tenant's source", [get(&other), get(&nobody)]),
        ("another tenant's job", [job(&other), job(&nobody)]),
    ] {
        let [foreign, never] = medians(&channel, [&pair[0], &pair[1]]).await;
        println!("{what}: {foreign:?}; one that never was: {never:?}");
        let (long, short) = (foreign.max(never), foreign.min(never));
        assert!(long < short * 5, "{what}: {foreign:?} and {never:?}");
    }
    Ok(())
}
