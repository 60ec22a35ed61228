//! `control-plane`: serves administrators and identity routers; makes certificates.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to a person")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use control_plane::commands::{after_restore, audit, ca};
use control_plane::config::{Config, Log, LogFormat};
use control_plane::{server, store};
use tracing_subscriber::EnvFilter;

/// Keeps a cloud service's users true to a company's own directory.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until it is told to stop (SIGTERM or Ctrl-C).
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Checks a configuration file and says everything that is wrong with it.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Copies a SQLite database to a new file, also while it is served.
    Backup {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The file to make.
        #[arg(long)]
        out: PathBuf,
    },
    /// Verifies and exports the audit trail, also while it is served.
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// After a backup was restored, before serving: voids all open registration codes, and says
    /// what to check.
    AfterRestore {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Makes the certificate authority and issues certificates.
    Ca {
        #[command(subcommand)]
        command: ca::CaCommand,
    },
}

fn main() -> ExitCode {
    // One provider for the whole process, before anything can ask for it.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: a crypto provider is installed already");
        return ExitCode::FAILURE;
    }
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ca { command } => ca::run(command),
        Command::Audit { command } => audit::run(command),
        Command::Check { config } => {
            Config::read(&config)?;
            println!("{} is fine", config.display());
            Ok(())
        }
        Command::Backup { config, out } => {
            let config = Config::read(&config)?;
            tokio::runtime::Runtime::new()?.block_on(store::backup(&config.database, &out))?;
            println!("{} is a copy of the database", out.display());
            Ok(())
        }
        Command::AfterRestore { config } => {
            let config = Config::read(&config)?;
            let report = tokio::runtime::Runtime::new()?.block_on(after_restore::run(&config))?;
            println!("{report}");
            Ok(())
        }
        Command::Serve { config } => {
            let config = Config::read(&config)?;
            start_logging(&config.log);
            tokio::runtime::Runtime::new()?.block_on(server::run(config))
        }
    }
}

fn start_logging(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
