//! `router-agent`: enrolls the identity router, runs it, or checks whether it could run.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to a person")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use router_agent::commands::enroll::Enroll;
use router_agent::commands::{check, enroll};
use router_agent::config::{Config, Log, LogFormat};
use router_agent::link;
use tracing_subscriber::EnvFilter;

/// Reads a directory on the premises and streams user records to the control plane.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Gets this router its identity, with a registration code from an administrator.
    Enroll(Enroll),
    /// Runs until it is told to stop (SIGTERM or Ctrl-C).
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Checks configuration and policy, then tries every step: files, control plane, directories.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    // One provider for the whole process, before anything can ask for it.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: a crypto provider is installed already");
        return ExitCode::FAILURE;
    }
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<bool> {
    // It mostly waits for others: on one thread its tasks wake each other for nothing: 10 to 15
    // percent more sign-ins a second.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Enroll(arguments) => {
            runtime.block_on(enroll::enroll(&arguments, |line| println!("{line}")))?;
            Ok(true)
        }
        Command::Run { config: path } => {
            let config = Config::read(&path)?;
            log(&config.log);
            runtime.block_on(link::run(config))?;
            Ok(true)
        }
        Command::Check { config: path } => {
            let config = Config::read(&path)?;
            println!("ok      {} and its policy", path.display());
            Ok(runtime.block_on(check::check(&config, |line| println!("{line}"))))
        }
    }
}

fn log(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
