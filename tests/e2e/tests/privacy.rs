//! Secrets and personal data stay out of the logs, whatever happens.

use anyhow::Result;
use harness::world::World;
use rollcall_proto::admin::v1::FailureReason;

use crate::expect::{failed, flawless, join, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn logs_have_no_secret_and_no_personal_data() -> Result<()> {
    let mut world = World::builder().these_people(flawless(200)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    succeeded(&world.sync_now().await?);
    join(&world, "canary-user", "canary@canary.test")?;
    join(&world, "canary-twin", "canary@canary.test")?;
    succeeded(&world.sync_now().await?);
    world.files.write_bind_password("canary-password")?;
    failed(&world.sync_now().await?, FailureReason::BindRejected);
    let arguments = std::fs::read(format!("/proc/{}/cmdline", world.router()?.pid()))?;
    world.stop_router()?;
    world.stop_control_plane()?;

    let logs = world.logs();
    assert!(logs.contains("sync job ended"), "something was logged");
    let password = world.directory().agent_password();
    for secret in ["canary", password, "BEGIN PRIVATE KEY", "@lab.test", "uid=", "cn="] {
        assert!(!logs.contains(secret), "{secret} in the logs:\n{logs}");
        assert!(!String::from_utf8_lossy(&arguments).contains(secret));
    }
    Ok(())
}
