//! The project's commands: `cargo xtask demo`, `test`, `bench`, `drill`, `packages`. Each installs
//! what it misses, says so, and cleans up after itself.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these commands talk to a person")]

mod bench;
mod demo;
mod drill;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod floors;
mod packages;
#[cfg(test)]
mod rules;
mod test;
mod tools;
#[cfg(test)]
mod width;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of the Rollcall project.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the main job on a private OpenLDAP with 2,000 people, then stays for you to try
    /// grpcurl.
    Demo(demo::Options),
    /// Runs every check and every test, quickest first.
    Test(test::Options),
    /// Measures syncs of many users against ldapsearch and psql's \copy in the same run.
    Bench(bench::Options),
    /// Runs a drill on real directories: a fault, and what becomes of the people meanwhile.
    Drill(drill::Options),
    /// Makes the Debian packages of both programs, in target/debian.
    Packages(packages::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Drill(options) => drill::run(&options),
        Command::Packages(options) => packages::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
