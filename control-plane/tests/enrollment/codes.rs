//! How a router gets in.

use std::time::Duration;

use rcgen::PublicKeyData;
use rollcall_proto::admin::v1::identity_router_service_client::IdentityRouterServiceClient;
use rollcall_proto::admin::v1::{
    CreateRegistrationCodeRequest, GetIdentityRouterRequest, ListIdentityRoutersRequest,
    ListRegistrationCodesRequest, RegistrationCode, VoidRegistrationCodeRequest, identity_router,
    registration_code,
};
use rollcall_proto::code::PROTOCOL;
use rollcall_proto::router::v1::enrollment_service_client::EnrollmentServiceClient;
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{EnrollRequest, RenewCertificateRequest};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::world::{Session, World, channel, key, reason};

#[tokio::test]
async fn a_code_gives_a_certificate_with_which_the_router_is_let_in() {
    let world = World::start().await;
    let (made, code) = world.code_for("hq-1").await;
    let newcomer = world.newcomer().await;
    let authority = newcomer.chain.last().expect("an authority");
    let pinned = control_plane::ca::fingerprint(&spki(authority));
    assert_eq!(pinned, code.authority, "the chain ends with what the code is pinned to");
    drop(newcomer);

    let router = world.enrolled("hq-1").await;
    assert_eq!(router.issued.generation, 1);
    assert_eq!(router.issued.identity_router, "tenants/acme/identityRouters/hq-1");
    let mut link = world.link(&router).await.expect("a connection");
    Session::begin(&mut link, true).await.expect("it would be let in");

    let mut admin = world.admin().await;
    let name = router.issued.identity_router.clone();
    let shown =
        admin.get_identity_router(GetIdentityRouterRequest { name }).await.expect("a router").into_inner();
    assert_eq!((shown.certificate_generation, shown.recoveries_left), (1, 3));
    let key = control_plane::ca::fingerprint(&router.key.subject_public_key_info());
    assert_eq!(shown.key_fingerprint, key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert_eq!(shown.state(), identity_router::State::Disconnected, "it only asked");

    let list = ListRegistrationCodesRequest { parent: "tenants/acme".to_owned(), ..Default::default() };
    let codes = admin.list_registration_codes(list).await.expect("codes").into_inner().registration_codes;
    let states: Vec<_> = codes.iter().map(RegistrationCode::state).collect();
    assert_eq!(states, [registration_code::State::Used, registration_code::State::Voided]);
    assert_eq!(codes[1].name, made.name, "newest first");
    assert!(codes.iter().all(|code| code.code.is_empty()), "the code is shown once");
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_is_the_same() {
    let world = World::start().await;
    let used = world.code_for("hq-1").await.1;
    world.enroll(&used.secret, &key()).await.expect("a certificate");
    let voided = world.code_for("hq-2").await.1;
    world.code_for("hq-2").await;
    let (_, open) = world.code_for("hq-3").await;
    let mut answers = Vec::new();
    for secret in [&used.secret[..], &voided.secret, &[7; 20], &[7; 19], &[], &[7; 64]] {
        let status = world.enroll(secret, &key()).await.expect_err("it is refused");
        answers.push((status.code(), reason(&status), status.message().to_owned()));
        // An attempt a second is allowed.
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    // A good code with a proof of another connection, and with one by another key.
    let (one, mut other) = (world.newcomer().await, world.newcomer().await);
    let status = other.client.enroll(one.request(&open.secret, &key())).await.expect_err("it is refused");
    answers.push((status.code(), reason(&status), status.message().to_owned()));
    let mut newcomer = world.newcomer().await;
    let mut request = newcomer.request(&open.secret, &key());
    request.proof = newcomer.proof(&request.certificate_request, &key()).into();
    let status = newcomer.client.enroll(request).await.expect_err("it is refused");
    answers.push((status.code(), reason(&status), status.message().to_owned()));
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((answers[0].0, answers[0].1.as_str()), (Code::PermissionDenied, "ENROLLMENT_REFUSED"));
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    world.enroll(&open.secret, &key()).await.expect("the code was not spent on any of them");
}

#[tokio::test]
async fn who_guesses_is_slowed_down_and_then_locked_out() {
    let world = World::start().await;
    let (_, code) = world.code_for("hq-1").await;
    let mut reasons = Vec::new();
    // Whatever the machine's pace: at most 40 attempts until the lock.
    for _ in 0..40 {
        let status = world.enroll(&[7; 20], &key()).await.expect_err("it is refused");
        reasons.push(reason(&status));
        if reasons.iter().filter(|reason| *reason == "ENROLLMENT_REFUSED").count() == 10 {
            break;
        }
        if reasons.last().is_some_and(|reason| reason == "RATE_LIMITED") {
            tokio::time::sleep(Duration::from_millis(1_050)).await;
        }
    }
    let failures = reasons.iter().filter(|reason| *reason == "ENROLLMENT_REFUSED").count();
    assert_eq!(failures, 10, "{reasons:?}");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let status = world.enroll(&code.secret, &key()).await.expect_err("locked out, even with a good code");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
}

#[tokio::test]
async fn who_is_not_known_reaches_nothing_but_enrollment_and_nobody_else_reaches_that() {
    let world = World::start().await;
    let tls = world.tls(None, PROTOCOL).await.expect("a handshake");
    let unknown = channel(tls).await;
    let list = ListIdentityRoutersRequest { parent: "tenants/acme".to_owned(), ..Default::default() };
    let status = IdentityRouterServiceClient::new(unknown.clone()).list_identity_routers(list).await;
    assert_eq!(status.expect_err("it is not there").code(), Code::Unimplemented);
    let renew = RenewCertificateRequest::default();
    let status = RouterServiceClient::new(unknown.clone()).renew_certificate(renew).await;
    assert_eq!(status.expect_err("it is not there").code(), Code::Unimplemented);
    let health = HealthCheckRequest { service: String::new() };
    let status = HealthClient::new(unknown.clone()).check(health).await;
    assert_eq!(status.expect_err("it is not there").code(), Code::Unimplemented);
    let status = EnrollmentServiceClient::new(unknown).enroll(EnrollRequest::default()).await;
    assert_eq!(status.expect_err("it is there").code(), Code::InvalidArgument);

    let known = world.channel_as("admin").await;
    let status = EnrollmentServiceClient::new(known).enroll(EnrollRequest::default()).await;
    assert_eq!(status.expect_err("it is not for the known").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_message_of_more_than_16_kib_is_not_read() {
    let world = World::start().await;
    let mut newcomer = world.newcomer().await;
    let request = EnrollRequest { certificate_request: vec![0; 17 << 10].into(), ..EnrollRequest::default() };
    let status = newcomer.client.enroll(request).await.expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_code_is_made_by_a_super_admin_of_the_tenant_for_what_can_be() {
    let world = World::start().await;
    let request = |id: &str| CreateRegistrationCodeRequest {
        parent: "tenants/acme".to_owned(),
        identity_router_id: id.to_owned(),
        ..CreateRegistrationCodeRequest::default()
    };
    let mut admin = world.admin().await;
    let ttl = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let sources = |name: &str| vec![name.to_owned()];
    for wrong in [
        request(""),
        request("HQ"),
        request("../hq"),
        CreateRegistrationCodeRequest { ttl: ttl(59), ..request("hq") },
        CreateRegistrationCodeRequest { ttl: ttl(86_401), ..request("hq") },
        CreateRegistrationCodeRequest { ttl: ttl(-1), ..request("hq") },
        CreateRegistrationCodeRequest { identity_sources: sources("hq"), ..request("hq") },
        CreateRegistrationCodeRequest {
            identity_sources: sources("tenants/globex/identitySources/hq"),
            ..request("hq")
        },
        CreateRegistrationCodeRequest {
            identity_sources: vec!["tenants/acme/identitySources/hq".to_owned(); 101],
            ..request("hq")
        },
    ] {
        let status = admin.create_registration_code(wrong.clone()).await.expect_err("it is refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{wrong:?}");
    }
    let nowhere = sources("tenants/acme/identitySources/nowhere");
    let nowhere = CreateRegistrationCodeRequest { identity_sources: nowhere, ..request("hq") };
    let status = admin.create_registration_code(nowhere).await.expect_err("it is refused");
    assert_eq!(status.code(), Code::NotFound);
    let made = admin.create_registration_code(request("hq")).await.expect("a code").into_inner();
    assert_eq!(made.created_by, "admins/alice");
    let name = made.name;
    let mut foreign = world.admin_as("foreign").await;
    let status = foreign.create_registration_code(request("hq")).await.expect_err("another tenant's");
    assert_eq!(status.code(), Code::NotFound);
    let void = VoidRegistrationCodeRequest { name: name.clone() };
    let status = foreign.void_registration_code(void.clone()).await.expect_err("another tenant's");
    assert_eq!(status.code(), Code::NotFound);
    let voided = admin.void_registration_code(void.clone()).await.expect("it is void").into_inner();
    assert_eq!(voided.state(), registration_code::State::Voided);
    let status = admin.void_registration_code(void).await.expect_err("it is void");
    assert_eq!(reason(&status), "CODE_ENDED");
}

fn spki(certificate: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    X509Certificate::from_der(certificate).expect("a certificate").1.public_key().raw.to_vec()
}
