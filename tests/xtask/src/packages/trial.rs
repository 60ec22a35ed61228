//! What becomes of a machine that gets the packages: installed, set up by the commands of their own
//! README files, a sync and a renewed certificate under the units' rules, a backup, an upgrade,
//! removed and purged.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::Slapd;
use harness::ports::free_port;
use harness::world::{Admin, Identity, ROUTER, SOURCE, TENANT, files};
use rollcall_proto::admin::v1::{
    DirectoryServer, IdentitySourceSettings, directory_server::Security, identity_router, sync_job,
};

use super::machine::Machine;
use super::{PROGRAMS, symbols};
use crate::tools;

const PEOPLE: u64 = 200;
/// For the router to connect, and to renew its certificate.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long its certificate is valid here. It renews from half of that on.
const CERTIFICATE_LIFE: &str = "40s";
const STATE: &str = "/var/lib/rollcall-router-agent";

/// Mode, owner and path of what an installation brings.
const INSTALLED: [&str; 9] = [
    "755 root:root /etc/rollcall",
    "640 root:rollcall-control-plane /etc/rollcall/control-plane.toml",
    "640 root:rollcall-router-agent /etc/rollcall/router.toml",
    "640 root:rollcall-router-agent /etc/rollcall/policy.toml",
    "755 root:root /usr/bin/control-plane",
    "755 root:root /usr/bin/router-agent",
    "644 root:root /usr/lib/systemd/system/rollcall-control-plane.service",
    "700 rollcall-control-plane:rollcall-control-plane /var/lib/rollcall-control-plane",
    "700 rollcall-router-agent:rollcall-router-agent /var/lib/rollcall-router-agent",
];

/// Where a service may write. The first three are the kernel's and hold nothing that lasts, the
/// next two are the service's own and go with it.
const WRITABLE: [&str; 5] = ["/proc", "/dev/pts", "/dev/hugepages", "/tmp", "/var/tmp"];

pub(super) fn run(machine: &Machine, packages: &[PathBuf]) -> Result<()> {
    let before = everything(machine)?;
    let names = install(machine, packages)?;
    installed(machine)?;
    let directory = Slapd::builder().people(PEOPLE).start()?;
    let port = free_port()?;
    // An administrator's editor, for the files that have to know where everything is.
    let editor = machine.path("/usr/local/bin/editor-of-the-trial");
    set_up_control_plane(machine, &editor, port)?;
    tokio::runtime::Runtime::new()?.block_on(synchronize(machine, &editor, port, &directory))?;
    for program in PROGRAMS {
        confined(machine, program)?;
    }
    only_its_own(machine)?;
    back_up(machine)?;
    upgrade(machine, &names)?;
    stop(machine)?;
    fs::remove_file(editor)?;
    remove(machine, &before)
}

fn install(machine: &Machine, packages: &[PathBuf]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in packages {
        let name = package.file_name().context("a package")?.to_string_lossy();
        fs::copy(package, machine.path("/root").join(&*name))?;
        names.push(format!("/root/{name}"));
    }
    let said = machine.shell(&format!("apt-get install -y {}", names.join(" ")))?;
    for program in PROGRAMS {
        ensure!(
            said.contains(&format!("rollcall-{program} is not started yet")),
            "nobody says what is next:\n{said}"
        );
    }
    Ok(names)
}

/// Files, modes and owners are as stated; both programs run; systemd has nothing to say about the
/// units, and starts neither.
fn installed(machine: &Machine) -> Result<()> {
    for line in INSTALLED {
        let (_, path) = line.rsplit_once(' ').context("a path")?;
        let is = machine.run(&["stat", "--format=%a %U:%G %n", path])?;
        ensure!(is.trim() == line, "{} instead of {line}", is.trim());
    }
    for program in PROGRAMS {
        symbols::check_function_names(&machine.path(&format!("/usr/bin/{program}")))?;
        let said = machine.run(&[program, "--version"])?;
        ensure!(said.trim() == format!("{program} {}", env!("CARGO_PKG_VERSION")), "{program} says {said}");
        let needs = machine.run(&[
            "dpkg-query",
            "--show",
            "--showformat=${Depends}",
            &format!("rollcall-{program}"),
        ])?;
        ensure!(needs.contains("libc6 (>= ") && needs.contains("adduser"), "{program} says it needs {needs}");
        let unit = format!("rollcall-{program}.service");
        let said = machine.shell(&format!("systemd-analyze verify {unit} 2>&1"))?;
        ensure!(said.is_empty(), "systemd about {unit}:\n{said}");
        let state = machine
            .shell(&format!("systemctl is-enabled {unit} || true; systemctl is-active {unit} || true"))?;
        ensure!(state == "disabled\ninactive\n", "after the installation {unit} is {state}");
    }
    Ok(())
}

/// The first block of commands in a program's README, as an administrator would paste it.
fn commands(program: &str) -> Result<String> {
    let readme = tools::workspace().join(program).join("packaging/README.md");
    let text = fs::read_to_string(&readme)?;
    let block = text.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```"));
    Ok(block.with_context(|| format!("{} has no commands", readme.display()))?.0.to_owned())
}

/// Makes `$EDITOR` one that runs a script.
fn edit_with(editor: &Path, script: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(editor, format!("#!/bin/sh\nset -e\n{script}"))?;
    Ok(fs::set_permissions(editor, fs::Permissions::from_mode(0o755))?)
}

fn paste(machine: &Machine, editor: &Path, commands: &str) -> Result<String> {
    let editor = editor.file_name().context("an editor")?.to_string_lossy();
    machine
        .shell(&format!("export EDITOR={editor}\n{}", commands.replace("rollcall.example.com", "localhost")))
}

fn set_up_control_plane(machine: &Machine, editor: &Path, port: u16) -> Result<()> {
    let life = format!("router_certificate_life = \"{CERTIFICATE_LIFE}\"");
    edit_with(
        editor,
        &format!(
            "sed -i 's/^listen = .*/listen = \"127.0.0.1:{port}\"/; /^\\[authority\\]/a {life}' \"$1\"\n"
        ),
    )?;
    paste(machine, editor, &commands("control-plane")?)?;
    Ok(())
}

/// Sets the router up, has it read a real directory and renew its certificate.
async fn synchronize(machine: &Machine, editor: &Path, port: u16, directory: &Slapd) -> Result<()> {
    let state = machine.path("/var/lib/rollcall-control-plane");
    let connect = |name: &str| {
        let identity = Identity::at(&state.join(name).to_string_lossy());
        Admin::connect(port, &identity, &state.join("ca/ca.pem"))
    };
    let (operator, admin) = (connect("operator")?, connect("admin")?);
    let end = Instant::now() + PATIENCE;
    while let Err(why) = operator.set_license(TENANT, 1_000).await {
        ensure!(Instant::now() < end, "the control plane does not answer: {why:#}\n{}", journal(machine)?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let code = admin.registration_code(TENANT, ROUTER).await?.code;
    set_up_router(machine, editor, port, directory, &code)?;
    let connected = |router: &identity_router::State| *router == identity_router::State::Connected;
    while !admin.routers(TENANT).await?.iter().any(|router| connected(&router.state())) {
        ensure!(Instant::now() < end, "the router does not connect:\n{}", journal(machine)?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let server = DirectoryServer {
        host: directory.host().to_owned(),
        port: directory.ldaps_port().into(),
        security: Security::Ldaps.into(),
    };
    let settings = IdentitySourceSettings {
        directory_servers: vec![server],
        credential: files::CREDENTIAL.to_owned(),
        roots: vec![directory.people_dn()],
        object_class: "inetOrgPerson".to_owned(),
        mapping: Some(files::mapping()),
        ..Default::default()
    };
    admin.create_and_publish(SOURCE, settings).await?;
    let job = admin.start_sync(SOURCE).await?;
    let job = admin.watch(&job.name, |_| {}).await?;
    ensure!(
        job.state() == sync_job::State::Succeeded,
        "the sync ended {:?}:\n{}",
        job.state(),
        journal(machine)?
    );
    let counts = job.counts.unwrap_or_default();
    let [read, added] = [counts.read(), counts.added()].map(i64::from);
    println!("    a sync under systemd: {read} people read, {added} users added");
    ensure!(read == i64::try_from(PEOPLE)? && added > 0, "not all people were read:\n{}", journal(machine)?);
    renewed(machine, &admin).await
}

/// That the router, which the unit lets write to its state folder only, has replaced its
/// certificate there and is still connected.
async fn renewed(machine: &Machine, admin: &Admin) -> Result<()> {
    let identity = || machine.run(&["sha256sum", &format!("{STATE}/identity.pem")]);
    let (first, end) = (identity()?, Instant::now() + PATIENCE);
    let before = admin.router(TENANT, ROUTER).await?.certificate_generation;
    loop {
        let router = admin.router(TENANT, ROUTER).await?;
        let generation = router.certificate_generation;
        if generation > before && router.state() == identity_router::State::Connected && identity()? != first
        {
            println!("    a renewal under systemd: certificate {generation} after {before}");
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "the router does not renew certificate {before}:\n{}",
            journal(machine)?
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn set_up_router(machine: &Machine, editor: &Path, port: u16, directory: &Slapd, code: &str) -> Result<()> {
    let access = directory.access();
    fs::write(machine.path("/root/code"), code)?;
    fs::copy(&access.ca_pem, machine.path("/etc/rollcall/directory-ca.pem"))?;
    let policy = format!(
        "[[directory]]\nhost = {:?}\nports = [{}]\nca_file = \"directory-ca.pem\"\ncredentials = [{:?}]\n\
         roots = [{:?}]\nattributes = {:?}\n",
        access.host,
        access.ldaps_port,
        files::CREDENTIAL,
        access.root,
        access.attributes,
    );
    let script = format!(
        "sed -i 's|^control_plane = .*|control_plane = \"https://localhost:{port}\"|; s|^bind_dn = .*|bind_dn = \"{}\"|' \"$1\"\n\
         cat > \"$2\" <<'policy'\n{policy}policy\n",
        access.bind_dn
    );
    edit_with(editor, &script)?;
    let commands = commands("router-agent")?;
    let example = "'the directory password'";
    ensure!(commands.contains(example), "the router's README no longer says where its password goes");
    let commands = commands.replace(example, access.password).replace(":8443", &format!(":{port}"));
    // Whoever pastes is asked for the code at the terminal; here it comes from where the shell
    // reads.
    paste(machine, editor, &format!("exec < /root/code\n{commands}"))?;
    Ok(())
}

/// That the running service has what its unit promises, by what the kernel says of its process.
fn confined(machine: &Machine, program: &str) -> Result<()> {
    let pid = property(machine, program, "MainPID")?;
    let read = |file: &str| machine.run(&["cat", &format!("/proc/{pid}/{file}")]);
    let status = read("status")?;
    let has = |name: &str, value: &str| {
        let is = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        ensure!(is.trim() == value, "{program} has {name} {}", is.trim());
        Ok(())
    };
    for rights in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        has(rights, "0000000000000000")?;
    }
    has("NoNewPrivs:", "1")?;
    has("Seccomp:", "2")?;
    let limits = read("limits")?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    ensure!(
        core.split_whitespace().rev().nth(1) == Some("0"),
        "{program} may leave its memory behind: {core}"
    );

    let own = format!("/var/lib/rollcall-{program}");
    let (mut writable, mut runnable) = (BTreeSet::new(), BTreeSet::new());
    for line in read("mountinfo")?.lines() {
        // The container's own; a later mount at the same place hides an earlier one.
        let [_, _, _, _, at, flags, ..] = line.split(' ').collect::<Vec<_>>()[..] else {
            bail!("mountinfo: {line}")
        };
        if at.starts_with("/run/host") {
            continue;
        }
        let (can_write, cannot_run) =
            (!flags.split(',').any(|flag| flag == "ro"), flags.split(',').any(|flag| flag == "noexec"));
        for (set, is) in [(&mut writable, can_write), (&mut runnable, can_write && !cannot_run)] {
            if is {
                set.insert(at.to_owned());
            } else {
                set.remove(at);
            }
        }
    }
    ensure!(writable.remove(&own), "{program} cannot write to {own}");
    let more: Vec<_> = writable.iter().filter(|at| !WRITABLE.contains(&at.as_str())).collect();
    ensure!(more.is_empty(), "{program} can write to {more:?}");
    runnable.remove("/dev/hugepages"); // root's
    ensure!(runnable.is_empty(), "{program} can execute what it has written to {runnable:?}");
    Ok(())
}

/// That the router has written nothing outside of its state folder, and nothing there that others
/// can read.
fn only_its_own(machine: &Machine) -> Result<()> {
    let user = "rollcall-router-agent";
    let outside = machine.shell(&format!(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path {STATE} \\) -prune -o -user {user} -print"
    ))?;
    let outside: Vec<_> = outside.lines().filter(|path| !path.contains("/systemd-private-")).collect();
    ensure!(outside.is_empty(), "{user} has written {outside:?}");
    let files = machine.shell(&format!("find {STATE} -mindepth 1 -printf '%f %m %u\\n'"))?;
    let open: Vec<_> = files.lines().filter(|file| !file.ends_with(&format!(" 600 {user}"))).collect();
    ensure!(open.is_empty(), "in its state folder {user} has {open:?}");
    ensure!(files.lines().any(|file| file.starts_with("identity.pem ")), "no identity, but\n{files}");
    Ok(())
}

/// The README's way to a backup, while the service runs.
fn back_up(machine: &Machine) -> Result<()> {
    let readme = fs::read_to_string(tools::workspace().join("control-plane/packaging/README.md"))?;
    let command = readme.split_once("| back up | `").and_then(|(_, rest)| rest.split_once('`'));
    machine.shell(command.context("the control plane's README has no way to a backup")?.0)?;
    machine.run(&["test", "-s", "/var/lib/rollcall-control-plane/copy.db"]).map(drop)
}

/// An upgrade keeps what the administrator has changed, and restarts what runs.
fn upgrade(machine: &Machine, packages: &[String]) -> Result<()> {
    let state = || -> Result<(Vec<String>, String)> {
        let pids =
            PROGRAMS.iter().map(|program| property(machine, program, "MainPID")).collect::<Result<_>>()?;
        // Not the router's identity, which it renews meanwhile.
        let kept = "/etc/rollcall/* /var/lib/rollcall-control-plane/{,ca/,ca/routers/}*.{pem,key} /var/lib/rollcall-router-agent/control-plane-ca.pem";
        Ok((pids, machine.shell(&format!("sha256sum {kept}"))?))
    };
    let (pids_before, files_before) = state()?;
    machine.shell(&format!("apt-get install -y --reinstall {}", packages.join(" ")))?;
    let (pids, files) = state()?;
    ensure!(files == files_before, "the upgrade has changed files:\n{files_before}\n{files}");
    for (at, program) in PROGRAMS.iter().enumerate() {
        ensure!(
            property(machine, program, "ActiveState")? == "active",
            "{program} is down:\n{}",
            journal(machine)?
        );
        ensure!(pids[at] != pids_before[at], "{program} still runs as it was before the upgrade");
    }
    Ok(())
}

/// SIGTERM ends both in good order.
fn stop(machine: &Machine) -> Result<()> {
    for program in PROGRAMS {
        machine.run(&["systemctl", "stop", &format!("rollcall-{program}")])?;
        let end = [property(machine, program, "Result")?, property(machine, program, "ExecMainStatus")?];
        ensure!(end == ["success", "0"], "{program} ended with {end:?}:\n{}", journal(machine)?);
    }
    Ok(())
}

/// Removed, the packages leave what the services have written; purged, they leave nothing.
fn remove(machine: &Machine, before: &BTreeSet<String>) -> Result<()> {
    let names = PROGRAMS.map(|program| format!("rollcall-{program}")).join(" ");
    let said = machine.shell(&format!("apt-get remove -y {names}"))?;
    ensure!(
        said.contains("stay in /var/lib/rollcall-control-plane"),
        "the removal does not say what stays:\n{said}"
    );
    machine.shell(
        "cd /var/lib; test -s rollcall-control-plane/rollcall.db; test -s rollcall-control-plane/ca/routers/ca.key; \
         test -s rollcall-router-agent/identity.pem; test -s /etc/rollcall/router.toml; ! command -v control-plane router-agent",
    )?;
    // The administrator's own: not for a package to remove.
    machine.run(&["rm", "/etc/rollcall/directory-ca.pem"])?;
    let said = machine.shell(&format!("apt-get purge -y {names}"))?;
    ensure!(
        said.contains("removing /var/lib/rollcall-control-plane"),
        "the purge does not say what goes:\n{said}"
    );
    let left: Vec<_> = everything(machine)?.difference(before).cloned().collect();
    ensure!(left.is_empty(), "the packages have left behind: {left:#?}");
    let known = machine.shell("grep rollcall /etc/passwd /etc/group /etc/shadow /etc/gshadow || true")?;
    ensure!(known.is_empty(), "the packages have left behind:\n{known}");
    Ok(())
}

/// All files of the machine but logs, caches, what apt keeps for itself and what does not outlive a
/// boot.
fn everything(machine: &Machine) -> Result<BTreeSet<String>> {
    let said = machine.shell(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /root \
         -o -path /var/log -o -path /var/cache -o -path /var/lib/apt \\) -prune -o -print",
    )?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn property(machine: &Machine, program: &str, name: &str) -> Result<String> {
    let said =
        machine.run(&["systemctl", "show", "--property", name, "--value", &format!("rollcall-{program}")])?;
    Ok(said.trim().to_owned())
}

fn journal(machine: &Machine) -> Result<String> {
    machine.run(&["journalctl", "--no-pager", "--lines=60", "--unit=rollcall-*"])
}
