//! How a router gets its identity: with a registration code and nothing else, once, from the right
//! control plane.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::world::{Database, Enrollment, SOURCE, TENANT, World, router_name};
use harness::{Cable, Direction};
use rollcall_proto::admin::v1::identity_router::State;
use rollcall_proto::admin::v1::{
    ListRegistrationCodesRequest, VoidRegistrationCodeRequest, registration_code,
};
use rollcall_proto::code::Code;

use crate::expect::{flawless, succeeded};
use crate::on_both_databases;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// What a refusal says; the program must have failed.
fn refusal(output: &Output) -> Result<String> {
    ensure!(!output.status.success(), "it has enrolled: {}", said(output));
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// More than the control plane lets one address try at once waits for its turn.
async fn pace() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

/// Every file below a folder with what is in it.
fn files_below(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for found in std::fs::read_dir(folder)? {
        let found = found?;
        let kind = found.file_type()?;
        if kind.is_dir() {
            files.extend(files_below(&found.path())?);
        } else if kind.is_file() {
            files.push((found.path().display().to_string(), std::fs::read(found.path())?));
        }
    }
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_enrolls_with_nothing_but_a_code_and_the_code_is_nowhere_afterwards() -> Result<()> {
    let mut world = World::builder().these_people(flawless(20)).unenrolled().start().await?;
    let code = world.admin.registration_code(TENANT, &router_name(0)).await?;
    ensure!(
        code.state() == registration_code::State::Pending && code.created_by == "admins/alice",
        "{code:?}"
    );
    let state = world.files.state(0);
    // A slow line, so that there is time to look at the program while it has the code.
    let slow = Cable::to(world.address()).await?;
    slow.stall();
    let port = slow.port();
    let mut child = Enrollment { port, ..world.enrollment(0, &state.0)? }.spawn(&code.code)?;
    let end = Instant::now() + Duration::from_secs(30);
    while slow.connections() == 0 {
        ensure!(child.try_wait()?.is_none() && Instant::now() < end, "it does not connect");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let secret: Code = code.code.parse()?;
    let needles =
        [code.code.as_bytes()[14..].to_vec(), secret.secret.to_vec(), hex(&secret.secret).into_bytes()];
    let is_in =
        |bytes: &[u8]| needles.iter().any(|needle| bytes.windows(needle.len()).any(|part| part == needle));
    ensure!(is_in(code.code.as_bytes()), "the search finds it where it is");
    for file in ["cmdline", "environ"] {
        ensure!(!is_in(&std::fs::read(format!("/proc/{}/{file}", child.id()))?), "the code is in its {file}");
    }
    slow.resume();
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", said(&output));
    let router = world.admin.router(TENANT, &router_name(0)).await?;
    for part in
        [router.name.as_str(), &router.key_fingerprint, "certificate 1", "router-agent check", "valid until"]
    {
        ensure!(said(&output).contains(part), "{part} in {}", said(&output));
    }

    world.start_router()?;
    world.router_connected().await?;
    world.create_and_publish_source(world.settings()).await?;
    ensure!(succeeded(&world.sync_now().await?)[0] == 20, "it does its work");
    world.stop_router()?;
    world.stop_control_plane()?;
    let files = files_below(world.dir())?;
    ensure!(
        files.iter().any(|(name, _)| name.ends_with("identity.pem")),
        "it looked where the router writes"
    );
    for (name, bytes) in files {
        ensure!(!is_in(&bytes), "the code is in {name}");
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_code_the_answer_is_the_same() -> Result<()> {
    let world = World::builder().database(Database::Postgres).unenrolled().start().await?;
    let state = |name: &str| world.dir().join(name);
    let used = world.admin.registration_code(TENANT, "used").await?;
    world.enrollment(0, &state("first"))?.succeed(&used.code)?;
    let voided = world.admin.registration_code(TENANT, "voided").await?;
    let void = VoidRegistrationCodeRequest { name: voided.name.clone() };
    world.admin.routers.clone().void_registration_code(void).await?;
    let superseded = world.admin.registration_code(TENANT, "superseded").await?;
    world.admin.registration_code(TENANT, "superseded").await?;
    let expired = world.admin.registration_code(TENANT, "expired").await?;
    let postgres = world.postgres.as_ref().context("a PostgreSQL")?;
    postgres.psql(
        world.database_url(),
        "update registration_codes set expires_at = created_at - 1 where router = 'expired'",
    )?;
    let guess = Code { secret: [7; 20], ..used.code.parse()? }.reveal();

    let mut answers = BTreeSet::new();
    let codes = [&used.code, &voided.code, &superseded.code, &expired.code, &guess];
    for (at, code) in codes.into_iter().enumerate() {
        pace().await;
        let folder = state(&format!("wrong-{at}"));
        answers.insert(refusal(&world.enrollment(0, &folder)?.run(code)?)?);
        ensure!(!folder.join("identity.pem").exists() && !folder.join("pending.pem").exists(), "{at}");
    }
    ensure!(answers.len() == 1, "they can be told apart: {answers:?}");
    let answer = answers.first().context("an answer")?;
    ensure!(
        answer.contains("The enrollment was refused") && answer.contains("new registration code"),
        "{answer}"
    );
    let routers = world.admin.routers(TENANT).await?;
    ensure!(routers.len() == 1 && routers[0].name.ends_with("/used"), "{routers:?}");
    Ok(())
}

on_both_databases! {
    of_two_machines_with_one_code_exactly_one_enrolls,
}

async fn of_two_machines_with_one_code_exactly_one_enrolls(database: Database) -> Result<()> {
    let world = World::builder().database(database).unenrolled().start().await?;
    for round in 0..4 {
        let name = format!("round-{round}");
        let code = world.admin.registration_code(TENANT, &name).await?.code;
        let folders = [0, 1].map(|machine| world.dir().join(format!("{name}-{machine}")));
        let mut children = Vec::new();
        for folder in &folders {
            children.push(world.enrollment(0, folder)?.spawn(&code)?);
        }
        let mut enrolled = 0;
        for child in children {
            enrolled += usize::from(child.wait_with_output()?.status.success());
        }
        ensure!(enrolled == 1, "round {round}: {enrolled}");
        let identities = folders.iter().filter(|folder| folder.join("identity.pem").exists()).count();
        ensure!(identities == 1, "round {round}: {identities} identities");
        ensure!(world.admin.router(TENANT, &name).await?.certificate_generation == 1, "round {round}");
        // Two attempts a round.
        pace().await;
        pace().await;
    }
    Ok(())
}

/// The connection is cut after so many bytes of the answer, in the handshake, within the answer and
/// behind it.
#[tokio::test(flavor = "multi_thread")]
async fn wherever_an_enrollment_is_cut_the_same_code_brings_it_to_its_end() -> Result<()> {
    let world = World::builder().unenrolled().start().await?;
    let (mut cut_off, mut through) = (0, 0);
    for bytes in [500, 2_500, 3_100, 3_400, 3_700, 4_000, 4_500, 6_000] {
        let name = format!("cut-after-{bytes}");
        let code = world.admin.registration_code(TENANT, &name).await?.code;
        let folder = world.dir().join(&name);
        let cable = Cable::to(world.address()).await?;
        cable.cut_after(Direction::Down, bytes);
        let cut = Enrollment { port: cable.port(), ..world.enrollment(0, &folder)? }.run(&code)?;
        pace().await;
        if cut.status.success() {
            through += 1;
        } else {
            cut_off += 1;
            world.enrollment(0, &folder)?.succeed(&code).with_context(|| format!("after {bytes} bytes"))?;
            pace().await;
        }
        let router = world.admin.router(TENANT, &name).await?;
        ensure!(router.certificate_generation == 1, "{router:?}");
    }
    ensure!(cut_off > 0 && through > 0, "{cut_off} were cut off, {through} were not");
    Ok(())
}

/// A control plane of another authority stands in the place of the right one, and would take
/// whatever it is given.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_in_the_middle_is_told_nothing() -> Result<()> {
    let (ours, other) =
        (World::builder().unenrolled().start().await?, World::builder().unenrolled().start().await?);
    let code = ours.admin.registration_code(TENANT, "hq-1").await?.code;
    let folder = ours.dir().join("deceived");
    let said = refusal(&other.enrollment(0, &folder)?.run(&code)?)?;
    ensure!(said.contains("Nothing was sent") && said.contains("not vouched for"), "{said}");
    let asked = "identity router refused";
    ensure!(!other.logs().contains(asked), "it was told the secret:\n{}", other.logs());

    // The search can find it: the same secret with the other one's fingerprint does arrive there.
    let theirs: Code = other.admin.registration_code(TENANT, "hq-1").await?.code.parse()?;
    let mixed = Code { authority: theirs.authority, ..code.parse()? }.reveal();
    refusal(&other.enrollment(0, &folder)?.run(&mixed)?)?;
    ensure!(other.logs().contains(asked), "{}", other.logs());

    ours.enrollment(0, &folder)?.succeed(&code)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_or_clock_is_said_as_what_it_is_and_the_code_stays_good() -> Result<()> {
    let mut world = World::builder().unenrolled().start().await?;
    let code = world.admin.registration_code(TENANT, &router_name(0)).await?.code;
    let dir = world.dir().to_owned();
    let show = |world: &mut World, host: &str, name: &str, more: &[&str]| -> Result<()> {
        world.stop_control_plane()?;
        world.files.issue_server(host, &dir.join(name).to_string_lossy(), more)?;
        for ending in ["pem", "key"] {
            std::fs::rename(dir.join(format!("{name}.{ending}")), dir.join(format!("server.{ending}")))?;
        }
        world.start_control_plane()
    };
    let state = world.files.state(0).0;
    show(&mut world, "cp.example.com", "other-name", &[])?;
    let said = refusal(&world.enrollment(0, &state)?.run(&code)?)?;
    ensure!(said.contains("not for this name, but for") && said.contains("cp.example.com"), "{said}");

    show(&mut world, "localhost", "expired", &["--not-after", "2020-01-01T00:00:00Z"])?;
    let said = refusal(&world.enrollment(0, &state)?.run(&code)?)?;
    ensure!(said.contains("is valid until 2020-01-01T00:00:00Z, and this machine's clock says 2"), "{said}");
    ensure!(said.contains("set the clock"), "{said}");

    show(&mut world, "localhost", "good", &[])?;
    world.enrollment(0, &state)?.succeed(&code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_is_the_routers_alone_whatever_the_umask() -> Result<()> {
    let world = World::builder().unenrolled().start().await?;
    let code = world.admin.registration_code(TENANT, &router_name(0)).await?.code;
    let file = world.dir().join("code");
    std::fs::write(&file, &code)?;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600))?;
    let state = world.files.state(0).0;
    let enrollment = world.enrollment(0, &state)?;
    let control_plane = format!("https://localhost:{}", enrollment.port);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(&enrollment.program);
    command.args(["enroll", "--control-plane", &control_plane, "--state"]).arg(&state);
    let output = command.arg("--code-file").arg(&file).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    let mode = |path: &Path| std::fs::metadata(path).map(|found| found.permissions().mode() & 0o7777);
    ensure!(mode(&state)? == 0o700, "{:o}", mode(&state)?);
    let files: Vec<_> = std::fs::read_dir(&state)?.collect::<Result<_, _>>()?;
    ensure!(files.len() == 2, "{files:?}");
    for file in &files {
        ensure!(mode(&file.path())? == 0o600, "{:o} {file:?}", mode(&file.path())?);
    }

    let again = refusal(&enrollment.run(&code)?)?;
    ensure!(again.contains("--replace"), "{again}");
    let identity = state.join("identity.pem");
    std::fs::set_permissions(&identity, PermissionsExt::from_mode(0o644))?;
    let mut check = Command::new(&enrollment.program);
    let refused = refusal(&check.arg("check").arg("--config").arg(world.files.router_config()).output()?)?;
    ensure!(refused.contains("identity.pem can be read by others; run chmod 600"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_is_never_asked_to_read_a_source_that_its_code_did_not_name() -> Result<()> {
    let mut world = World::builder().these_people(flawless(20)).routers(2).unenrolled().start().await?;
    let branch = "tenants/acme/identitySources/branch";
    world.create_and_publish_source(world.settings()).await?;
    world.admin.create_and_publish(branch, world.settings()).await?;
    for (at, source) in [(0, SOURCE), (1, branch)] {
        let admin = world.admin.clone();
        let code = admin.registration_code_for(TENANT, &router_name(at), &[source], None).await?.code;
        world.enrollment(at, &world.files.state(at).0)?.succeed(&code)?;
        world.nth_router(at)?.start()?;
        world.nth_router_connected(at).await?;
        ensure!(world.admin.router(TENANT, &router_name(at)).await?.identity_sources == [source]);
    }
    for _ in 0..3 {
        for (at, source) in [(0, SOURCE), (1, branch)] {
            let job = world.admin.start_sync(source).await?;
            let job = world.finished(&job).await?;
            ensure!(job.identity_router.ends_with(&router_name(at)), "{source} by {}", job.identity_router);
        }
    }
    world.nth_router(1)?.stop()?;
    let end = Instant::now() + Duration::from_secs(60);
    while world.admin.router(TENANT, &router_name(1)).await?.state() == State::Connected {
        ensure!(Instant::now() < end, "it is still connected");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(world.admin.start_sync(branch).await.is_err(), "the other one must not read it");
    let reads = world.nth_router(0)?.logs().matches(" reading").count();
    ensure!(reads == 3, "{reads} reads:\n{}", world.logs());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_what_became_of_each_code_and_never_a_code() -> Result<()> {
    use registration_code::State::{Pending, Used, Voided};
    let world = World::builder().unenrolled().start().await?;
    let used = world.admin.registration_code(TENANT, "one").await?;
    world.enrollment(0, &world.dir().join("one"))?.succeed(&used.code)?;
    let replaced = world.admin.registration_code(TENANT, "two").await?;
    let pending = world.admin.registration_code(TENANT, "two").await?;
    let request = ListRegistrationCodesRequest { parent: format!("tenants/{TENANT}"), ..Default::default() };
    let list = world.admin.routers.clone().list_registration_codes(request).await?.into_inner();
    let found: Vec<_> = list.registration_codes.iter().map(|code| (&code.name, code.state())).collect();
    for (code, state) in [(&used, Used), (&replaced, Voided), (&pending, Pending)] {
        ensure!(found.contains(&(&code.name, state)), "{} {state:?} in {found:?}", code.name);
    }
    ensure!(list.registration_codes.iter().all(|code| code.code.is_empty()));
    Ok(())
}
