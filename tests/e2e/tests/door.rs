//! The control plane's door when many knock: silent connections, and no file descriptors left.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::world::World;

use crate::expect::{flawless, succeeded};

const PATIENCE: Duration = Duration::from_secs(60);

/// More than may shake hands at a time.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_say_anything_keep_nobody_out() -> Result<()> {
    let mut world = World::builder().these_people(flawless(50)).without_router().start().await?;
    let address = world.address();
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    world.start_router()?;
    world.router_connected().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 50);
    drop(silent);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_has_no_file_descriptors_left_serves_again_once_it_has() -> Result<()> {
    let mut world = World::builder().these_people(flawless(50)).without_router().start().await?;
    let pid = world.control_plane()?.pid().to_string();
    let limit = |files: u32| -> Result<()> {
        let limit = format!("--nofile={files}:{files}");
        ensure!(Command::new("prlimit").args(["--pid", &pid, &limit]).status()?.success(), "prlimit");
        Ok(())
    };
    let open = u32::try_from(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())?;
    limit(open + 10)?;
    let address = world.address();
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    world.control_plane()?.wait_for_log("cannot accept a connection", PATIENCE)?;
    drop(silent);
    world.start_router()?;
    world.router_connected().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 50);
    Ok(())
}
