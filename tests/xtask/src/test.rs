//! `cargo xtask test`: format, lints, unit and conformance tests, end to end; the quickest first, the first failure ends it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use harness::install;

use crate::packages;
use crate::tools::CARGO_DENY;

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave out format and lints.
    #[arg(long)]
    tests_only: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.tests_only {
        step("format", "cargo", &["fmt", "--all", "--check"])?;
        dependencies()?;
        optional("protos", "buf", "buf", &["lint", "proto"])?;
        step(
            "lints",
            "cargo",
            &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"],
        )?;
    }
    install::ensure(&["slapd", "ldap-utils", "postgresql"])?;
    if install::is_root() {
        install::ensure(&install::SAMBA)?;
    } else {
        println!("==> Active Directory: left out, it needs root");
    }
    // Everything at once: what is built in parts is built for each part anew, since each has other features of what they share.
    // The end-to-end tests start the two programs as an administrator would: from their files.
    step("programs and tests", "cargo", &["build", "--quiet", "--workspace", "--all-targets"])?;
    let (unit, end_to_end) = ("unit, property and conformance tests", "end-to-end tests");
    if has("cargo-nextest") {
        let run = ["nextest", "run", "--workspace", "-E"];
        step(unit, "cargo", &[&run[..], &["not package(e2e)"]].concat())?;
        packages::check()?;
        step(end_to_end, "cargo", &[&run[..], &["package(e2e)"]].concat())
    } else {
        step(unit, "cargo", &["test", "--quiet", "--workspace", "--exclude", "e2e"])?;
        packages::check()?;
        step(end_to_end, "cargo", &["test", "--quiet", "--package", "e2e"])
    }
}

/// What the crates that we depend on are allowed to be; and, where the advisories can be had, that none is out against one.
fn dependencies() -> Result<()> {
    let deny = CARGO_DENY.ensure()?;
    let check = ["--log-level", "error", "check", "bans", "licenses", "sources"];
    step("licenses, banned crates, sources", &deny, &check)?;
    let fetched =
        Command::new(&deny).args(["--log-level", "off", "fetch", "db"]).stdin(Stdio::null()).status();
    if !fetched.is_ok_and(|status| status.success()) {
        println!(
            "==> advisories: left out, their database cannot be fetched; unit tests hold the floors that matter"
        );
        return Ok(());
    }
    step("advisories", &deny, &["--log-level", "error", "--offline", "check", "advisories"])
}

fn step(what: &str, program: &str, arguments: &[&str]) -> Result<()> {
    println!("==> {what}: {program} {}", arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        // All at once, before the tests: alone they would be built anew, while the first tests wait.
        .env("ROLLCALL_PROGRAMS_BUILT", "1")
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{what} failed; to repeat only this: {program} {}", arguments.join(" "));
    }
    Ok(())
}

/// A step for a tool that the Rust toolchain does not bring: left out, and said, where it is missing.
fn optional(what: &str, tool: &str, program: &str, arguments: &[&str]) -> Result<()> {
    if has(tool) {
        return step(what, program, arguments);
    }
    println!("==> {what}: left out, {tool} is not installed");
    Ok(())
}

fn has(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
