//! `cargo xtask test --quick`: format, lints, unit tests, and the store tests on SQLite.

use std::process::Command;

use anyhow::Result;

use super::step::{has, run_command};

/// Binaries of integration tests that need no server and link fast.
const BINARIES: [&str; 5] = ["store", "architecture", "authorization", "migrations", "cookbook"];

/// Tests that are left out, by a part of their name. They need a server, or take long. The harness
/// refuses to start a server in a quick run, so a test that needs one belongs here.
const LEFT_OUT: [&str; 9] = [
    "postgres",
    "a_commit_whose_answer_is_lost_is_counted_once",
    "a_database_of_a_newer_version_is_refused_with_both_numbers",
    "a_write_that_loses_a_deadlock_is_repeated_and_its_caller_does_not_notice",
    "deletions_at_any_moment_bring_nobody_back_and_every_sum_adds_up",
    "each_way_to_ask_is_answered_in_the_words_of_the_contract",
    "replicas_that_start_at_once_on_a_fresh_database_all_start_and_make_the_tables_once",
    "the_moments_that_a_random_order_seldom_meets",
    "whoever_is_deleted_between_two_reads_of_a_job_counts_once",
];

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
    command.args(["--workspace", "--lib", "--bin", "xtask"]);
    for binary in BINARIES {
        command.args(["--test", binary]);
    }
    if nextest {
        let left_out: Vec<_> = LEFT_OUT.iter().map(|name| format!("test({name})")).collect();
        command.args(["-E", &format!("not ({})", left_out.join(" | "))]);
    } else {
        command.arg("--").args(LEFT_OUT.iter().flat_map(|name| ["--skip", name]));
    }
    run_command("unit tests and store tests on SQLite", command.env("ROLLCALL_QUICK", "1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{sources, workspace};

    #[test]
    fn every_test_that_a_quick_run_leaves_out_exists() {
        let text: String = ["control-plane", "router-agent"]
            .iter()
            .map(|package| sources(&workspace().join(package)))
            .collect();
        for name in &LEFT_OUT[1..] {
            assert!(text.contains(&format!("fn {name}(")), "no test has the name {name}");
        }
    }
}
