//! How a router gets in.

use rcgen::PublicKeyData;
use rollcall_proto::admin::v1::{
    GetIdentityRouterRequest, ListRegistrationCodesRequest, identity_router, registration_code,
};
use rollcall_proto::router::v1::{SessionRequest, session_request};

use crate::world::World;

fn hello(check: bool) -> SessionRequest {
    let hello = rollcall_proto::router::v1::Hello { version: "1".to_owned(), check, ..Default::default() };
    SessionRequest { message: Some(session_request::Message::Hello(hello)) }
}

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
    let mut answers = link.session(tokio_stream::once(hello(true))).await.expect("a session").into_inner();
    assert!(answers.message().await.expect("an answer").is_some(), "Welcome");

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
    let states: Vec<_> = codes.iter().map(rollcall_proto::admin::v1::RegistrationCode::state).collect();
    assert_eq!(states, [registration_code::State::Used, registration_code::State::Voided]);
    assert_eq!(codes[1].name, made.name, "newest first");
    assert!(codes.iter().all(|code| code.code.is_empty()), "the code is shown once");
}

fn spki(certificate: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    X509Certificate::from_der(certificate).expect("a certificate").1.public_key().raw.to_vec()
}
