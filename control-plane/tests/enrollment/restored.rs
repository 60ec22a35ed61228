//! What is told, and done, after a backup was restored.

use std::time::Duration;

use control_plane::commands::after_restore;
use control_plane::store;

use crate::world::World;

#[tokio::test]
async fn after_a_restore_no_code_of_the_backup_is_good_and_the_operator_sees_every_router() {
    let world = World::start().await;
    world.enrolled("hq-1").await;
    world.code_for("hq-2").await;
    world.code_for("hq-3").await;
    let config = world.config(world.backup().await, Duration::from_secs(3_600));
    let told = after_restore::run(&config).await.expect("what to check");
    assert!(told.starts_with("voided 2 open registration codes\n"), "{told}");
    assert!(told.ends_with("\n  tenants/acme/identityRouters/hq-1: active, certificate 1"), "{told}");
    let restored = store::open(&config.database).await.expect("a store");
    let codes = restored.list_registration_codes(&"acme".into(), None, 10).await.expect("codes");
    assert_eq!(codes.len(), 3);
    assert!(codes.iter().all(|code| code.used_at.is_some() != code.voided_at.is_some()));
    drop(restored);
    let again = after_restore::run(&config).await.expect("what to check");
    assert!(again.starts_with("voided 0 "), "{again}");
}
