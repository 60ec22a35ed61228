//! `cargo xtask test --quick`: format, lints, unit tests, and the store tests on SQLite.

use std::process::Command;

use anyhow::Result;

use super::step::{has, run_command};

/// Binaries of integration tests that need no server and link fast.
const BINARIES: [&str; 5] = ["store", "architecture", "authorization", "migrations", "cookbook"];

/// Tests that are left out, by a part of their name. They need a server, or take long.
/// The harness refuses to start a server in a quick run, so a test that needs one belongs here.
const LEFT_OUT: [(&str, &str); 1] = [("postgres", "needs PostgreSQL")];

pub(super) fn run() -> Result<()> {
    super::format()?;
    super::lint()?;
    run_tests()
}

fn run_tests() -> Result<()> {
    let mut command = Command::new("cargo");
    let nextest = has("cargo-nextest");
    command.args(if nextest { &["nextest", "run"][..] } else { &["test", "--quiet"] });
    // The whole workspace, since cargo would build what is shared with other features for a part.
    command.args(["--workspace", "--lib", "--bins"]);
    for binary in BINARIES {
        command.args(["--test", binary]);
    }
    if nextest {
        let left_out: Vec<_> = LEFT_OUT.iter().map(|(name, _)| format!("test({name})")).collect();
        command.args(["-E", &format!("not ({})", left_out.join(" | "))]);
    } else {
        command.arg("--").args(LEFT_OUT.iter().flat_map(|(name, _)| ["--skip", name]));
    }
    run_command("unit tests and store tests on SQLite", command.env("ROLLCALL_QUICK", "1"))
}
