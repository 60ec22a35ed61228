//! A company renames its domain: another server, another suffix, other mail addresses, another bind
//! account, and the very same people.

use std::fs;

use anyhow::{Context, Result};
use harness::Slapd;
use harness::world::{SOURCE, World};

use crate::expect::{flawless, succeeded, users};
use crate::plans::{draft, dry_run};

const FORMER: &str = "dc=example,dc=com";
const NEW: &str = "dc=renamed,dc=test";

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_domain_turns_nobody_into_a_stranger() -> Result<()> {
    let renamed = Slapd::builder().base(NEW).these_people(flawless(20));
    let mut world = World::builder().these_people(flawless(20)).spare(renamed).start().await?;
    let mut settings = world.settings();
    let new_server = settings.directory_servers.pop().context("the server of the renamed domain")?;
    world.create_and_publish_source(settings.clone()).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [20, 0, 0, 0, 0]);
    let before = users(&world).await?;

    for user in before.values() {
        let dn = user.distinguished_name.replace(FORMER, NEW);
        world.directories[1].replace(&dn, "mail", &[&format!("{}@renamed.test", user.user_name)])?;
    }
    world.directories[0].stop()?;
    // On the premises: what the router may read, and with which account.
    world.stop_router()?;
    for file in ["router.toml", "policy.toml"] {
        let path = world.dir().join(file);
        let text = fs::read_to_string(&path)?;
        assert!(text.contains(FORMER), "{file} names the former domain");
        fs::write(&path, text.replace(FORMER, NEW))?;
    }
    world.start_router()?;
    world.router_connected().await?;

    settings.directory_servers = vec![new_server];
    settings.roots = vec![world.directories[1].people_dn()];
    draft(&world, settings).await?;
    assert_eq!(succeeded(&dry_run(&world, true).await?), [0, 20, 0, 0, 0], "what publishing will lead to");
    world.admin.publish(SOURCE).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 20, 0, 0, 0]);
    let after = users(&world).await?;
    for (user_name, user) in &before {
        let now = &after[user_name];
        assert_eq!((&now.name, now.status), (&user.name, user.status), "{user_name}");
        assert!(now.mail.ends_with("@renamed.test") && now.distinguished_name.ends_with(NEW), "{now:?}");
    }
    assert_eq!(after.len(), before.len());
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 20, 0, 0]);
    Ok(())
}
