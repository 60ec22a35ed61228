//! `control-plane ca …`: creates the authorities and issues certificates from the command line.
#![expect(clippy::print_stdout, reason = "this command talks to a person")]

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::ca::{Authority, Subject, with_extension};

/// Commands of the certificate authority.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Makes two new authorities: one for the server and people, whose key may be kept offline, and
    /// one for identity routers, which the control plane issues from.
    Init {
        /// Folder for ca.pem and ca.key, and in the folder routers within it the same of the other
        /// authority.
        #[arg(long)]
        dir: PathBuf,
        /// Name of this installation in every certificate.
        #[arg(long, default_value = "rollcall")]
        trust_domain: String,
    },
    /// Issues the control plane's own certificate.
    IssueServer {
        /// Options that all of these commands have.
        #[command(flatten)]
        common: Common,
        /// Host name or address that clients connect to; may be given more than once.
        #[arg(long, required = true)]
        host: Vec<String>,
    },
    /// Issues an administrator's certificate.
    IssueAdmin {
        /// Options that all of these commands have.
        #[command(flatten)]
        common: Common,
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// Name of the administrator.
        #[arg(long)]
        name: String,
        /// What the administrator may do.
        #[arg(long)]
        role: AdminRole,
    },
    /// Issues an operator's certificate: tenants and licenses.
    IssueOperator {
        /// Options that all of these commands have.
        #[command(flatten)]
        common: Common,
        /// Name of the operator.
        #[arg(long)]
        name: String,
    },
    /// Issues the certificate of the service that synchronizes users at sign-in.
    IssueAuthenticator {
        /// Options that all of these commands have.
        #[command(flatten)]
        common: Common,
        /// Name of the service.
        #[arg(long)]
        name: String,
    },
    /// Issues a console's certificate: a service that presents the tokens of persons, and has no
    /// right of its own.
    IssueConsole {
        /// Options that all of these commands have.
        #[command(flatten)]
        common: Common,
        /// Name of the console, as in `consoles` of the configuration.
        #[arg(long)]
        name: String,
    },
}

/// What every certificate needs.
#[derive(Args, Debug)]
pub struct Common {
    /// Folder of the authority.
    #[arg(long)]
    dir: PathBuf,
    /// Where to write: OUT.pem and OUT.key, which must not exist.
    #[arg(long)]
    out: PathBuf,
    /// Days that the certificate is valid. Default: 30 for servers and services, 7 for people.
    #[arg(long)]
    days: Option<i64>,
    /// Instead of --days: the end, such as 2030-01-01T00:00:00Z.
    #[arg(long, conflicts_with = "days")]
    not_after: Option<String>,
}

/// Roles of administrators.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AdminRole {
    /// Everything.
    SuperAdmin,
    /// Looks, and synchronizes single users.
    HelpDesk,
    /// Looks.
    Auditor,
}

/// Runs a command.
///
/// # Errors
/// If nothing was issued; the message says why.
pub fn run(command: CaCommand) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    let texts = |parts: &[&str]| Subject::Client(parts.iter().map(|part| (*part).to_owned()).collect());
    let (common, subject, days) = match command {
        CaCommand::Init { dir, trust_domain } => {
            Authority::init(&dir, &trust_domain, now)?;
            println!(
                "wrote {} and ca.key for the server and people, routers/ca.pem and routers/ca.key for identity routers; issue the \
                 server's certificate next",
                dir.join("ca.pem").display()
            );
            return Ok(());
        }
        CaCommand::IssueServer { common, host } => (common, Subject::Server(host), 30),
        CaCommand::IssueOperator { common, name } => (common, texts(&["operator", &name]), 7),
        CaCommand::IssueConsole { common, name } => (common, texts(&["console", &name]), 30),
        CaCommand::IssueAuthenticator { common, name } => (common, texts(&["authenticator", &name]), 30),
        CaCommand::IssueAdmin { common, tenant, name, role } => {
            let role = match role {
                AdminRole::SuperAdmin => "super-admin",
                AdminRole::HelpDesk => "help-desk",
                AdminRole::Auditor => "auditor",
            };
            (common, texts(&["tenant", &tenant, "admin", &name, role]), 7)
        }
    };
    let not_after = match &common.not_after {
        Some(end) => {
            OffsetDateTime::parse(end, &Rfc3339).context("--not-after must look like 2030-01-01T00:00:00Z")?
        }
        None => now + Duration::days(common.days.unwrap_or(days)),
    };
    let authority = Authority::open(&common.dir)
        .context("cannot open the authority; make one with `control-plane ca init`")?;
    authority.issue(&subject, now, not_after, &common.out)?;
    let until = not_after.format(&Rfc3339).unwrap_or_default();
    println!("wrote {} and .key, valid until {until}", with_extension(&common.out, "pem").display());
    Ok(())
}
