//! How a router ends.

use std::time::Duration;

use rollcall_proto::admin::v1::{RevokeIdentityRouterRequest, identity_router};
use tonic::Code;

use crate::world::{Session, World, key, reason};

#[tokio::test]
async fn a_revoked_router_is_hung_up_on_and_never_let_in_again() {
    let world = World::start().await;
    let (router, other) = (world.enrolled("hq-1").await, world.enrolled("hq-2").await);
    let mut link = world.link(&router).await.expect("a connection");
    let session = Session::begin(&mut link, false).await.expect("a session");
    let mut other_link = world.link(&other).await.expect("a connection");
    let mut stays = Session::begin(&mut other_link, false).await.expect("a session");

    let request = RevokeIdentityRouterRequest {
        name: router.issued.identity_router.clone(),
        reason: "stolen".to_owned(),
    };
    let mut foreign = world.admin_as("foreign").await;
    let status = foreign.revoke_identity_router(request.clone()).await.expect_err("another tenant's");
    assert_eq!(status.code(), Code::NotFound);
    let mut admin = world.admin().await;
    let long = RevokeIdentityRouterRequest { reason: "x".repeat(201), ..request.clone() };
    let status = admin.revoke_identity_router(long).await.expect_err("too long");
    assert_eq!(status.code(), Code::InvalidArgument);
    let revoked = admin.revoke_identity_router(request.clone()).await.expect("a revocation").into_inner();
    assert_eq!(revoked.state(), identity_router::State::Revoked);
    assert_eq!(revoked.state_message, "Revoked by admins/alice: stolen");

    let status = session.end().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "ROUTER_REVOKED"));
    let hung_up = async {
        // Until then each call is refused.
        while let Err(status) = router.renew(&mut link, &key()).await {
            if reason(&status) != "ROUTER_REVOKED" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a revoked router has renewed its certificate");
    };
    tokio::time::timeout(Duration::from_secs(60), hung_up).await.expect("an end of the connection");
    let mut link = world.link(&router).await.expect("a connection, since its certificate is still valid");
    let status = Session::begin(&mut link, true).await.err().expect("it is refused");
    assert_eq!(reason(&status), "ROUTER_REVOKED", "and on a new one");
    assert!(stays.goes_on().await, "nobody else");

    let again = admin.revoke_identity_router(request).await.expect("once more").into_inner();
    assert_eq!(again.state_message, revoked.state_message, "a second call changes nothing");
    let code = rollcall_proto::admin::v1::CreateRegistrationCodeRequest {
        parent: "tenants/acme".to_owned(),
        identity_router_id: "hq-1".to_owned(),
        ..Default::default()
    };
    let status = admin.create_registration_code(code).await.expect_err("the name is never given again");
    assert_eq!(reason(&status), "ROUTER_REVOKED");
}
