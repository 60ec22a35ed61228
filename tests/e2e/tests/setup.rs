//! How the programs are set up: `router-agent check`, wrong configurations, and the examples beside
//! the code.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::programs::program;
use harness::world::{TENANT, World};

fn run(name: &str, arguments: &[&str], config: &Path) -> Result<Output> {
    let mut command = Command::new(program(name)?);
    command.args(arguments).arg("--config").arg(config).output().context("the program")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tries_every_step_and_says_which_one_failed() -> Result<()> {
    let mut world = World::builder().people(3).start().await?;
    let config = world.files.router_config();
    let fine = run("router-agent", &["check"], &config)?;
    let lines = said(&fine);
    ensure!(fine.status.success(), "{lines}");
    for step in [
        "identity: tenants/acme/identityRouters/hq-1, certificate 1, valid until",
        ", renewal in about ",
        ": name",
        ": connection and TLS",
        ": accepts this router",
        ": audit trail",
        ": connection and TLS (LDAPS)",
        ": connection and TLS (StartTLS)",
        ": bind with credential directory",
        ": roots of the policy",
    ] {
        ensure!(lines.contains(step), "no step {step:?} in\n{lines}");
    }
    ensure!(lines.lines().all(|line| line.starts_with("ok")), "{lines}");
    let logs = world.router()?.logs();
    ensure!(!logs.contains("not connected"), "the router that runs beside it goes on:\n{logs}");

    world.files.write_bind_password("wrong")?;
    let wrong = run("router-agent", &["check"], &config)?;
    let lines = said(&wrong);
    ensure!(!wrong.status.success(), "a failed step is a failed check");
    ensure!(
        lines.contains("FAILED  directory") && lines.contains("bind with credential directory"),
        "{lines}"
    );
    ensure!(!lines.contains("roots of the policy"), "what was not tried is not reported:\n{lines}");

    world.stop_control_plane()?;
    let lines = said(&run("router-agent", &["check"], &config)?);
    ensure!(lines.contains("connection and TLS: ") && lines.contains("FAILED  control plane"), "{lines}");
    Ok(())
}

/// As where a proxy of the house ends TLS, or somebody else has the control plane's name.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_does_not_talk_to_a_control_plane_of_another_authority() -> Result<()> {
    let (mut world, other) =
        (World::builder().without_router().start().await?, World::builder().without_router().start().await?);
    std::fs::copy(other.files.authority(), world.files.state(0).authorities())?;
    std::fs::set_permissions(world.files.state(0).authorities(), PermissionsExt::from_mode(0o600))?;
    let lines = said(&run("router-agent", &["check"], &world.files.router_config())?);
    ensure!(lines.contains("FAILED  control plane") && lines.contains("not vouched for"), "{lines}");

    world.start_router()?;
    world.router()?.wait_for_log("not connected to the control plane", Duration::from_secs(60))?;
    let routers = world.admin.routers(TENANT).await?;
    ensure!(routers.len() == 1 && routers[0].version.is_empty(), "it has said what it is: {routers:?}");
    Ok(())
}

#[test]
fn every_mistake_in_a_configuration_is_said_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("router.toml");
    std::fs::create_dir(folder.path().join("state"))?;
    std::fs::set_permissions(folder.path().join("state"), PermissionsExt::from_mode(0o755))?;
    std::fs::write(
        &config,
        "control_plane = \"http://x\"\npolicy = \"policy.toml\"\nstate = \"state\"\n\
         [credentials.directory]\nbind_dn = \"\"\npassword_env = \"ROLLCALL_NOT_SET\"\n",
    )?;
    let output = run("router-agent", &["check"], &config)?;
    let lines = said(&output);
    ensure!(!output.status.success());
    for mistake in ["control_plane", "state: ", "chmod 700", "policy.toml", "ROLLCALL_NOT_SET"] {
        ensure!(lines.contains(mistake), "{mistake} is not named in\n{lines}");
    }
    Ok(())
}

#[test]
fn a_misspelt_key_is_named_and_not_ignored() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("control-plane.toml");
    std::fs::write(&config, "listen = \"127.0.0.1:0\"\ndatabse = \"sqlite:x.db\"\n")?;
    let output = run("control-plane", &["serve"], &config)?;
    ensure!(!output.status.success() && said(&output).contains("databse"), "{}", said(&output));
    Ok(())
}

/// The examples are what people copy: with the files that they name beside them, both programs take
/// them as they are.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_configurations_load() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir()?;
    let make = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new(program("control-plane")?);
        let output = command.current_dir(folder.path()).arg("ca").args(arguments).output()?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(())
    };
    make(&["init", "--dir", "ca"])?;
    make(&["issue-server", "--dir", "ca", "--host", "localhost", "--out", "server"])?;
    let world = World::builder().without_router().start().await?;
    std::fs::create_dir(folder.path().join("state"))?;
    std::fs::set_permissions(folder.path().join("state"), PermissionsExt::from_mode(0o700))?;
    for file in std::fs::read_dir(&world.files.state(0).0)? {
        let file = file?;
        std::fs::copy(file.path(), folder.path().join("state").join(file.file_name()))?;
    }
    std::fs::write(folder.path().join("bind.password"), "secret")?;
    std::fs::set_permissions(folder.path().join("bind.password"), PermissionsExt::from_mode(0o600))?;
    std::fs::write(folder.path().join("jwks.json"), harness::world::Issuer::new("k1")?.jwks())?;
    for from in ["router-agent/config", "control-plane/config"] {
        for file in std::fs::read_dir(root.join(from))? {
            let file = file?;
            std::fs::copy(file.path(), folder.path().join(file.file_name()))?;
        }
    }
    for example in ["router.minimal.toml", "router.full.toml"] {
        router_agent::config::Config::read(&folder.path().join(example))?;
    }
    for example in ["control-plane.minimal.toml", "control-plane.full.toml"] {
        control_plane::config::Config::read(&folder.path().join(example))?;
    }
    Ok(())
}
