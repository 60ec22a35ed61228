//! The commands of the audit trail: what they take, and what they print.
#![expect(clippy::print_stdout, reason = "this command talks to a person")]

use std::io::BufWriter;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use super::{export, verify};
use crate::config::Config;
use crate::model::{AuditHead, TenantId, Trail, hex, names};
use crate::store::{self, Store, StoredTrail};

/// Commands of the audit trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Says whether the trails are as they were written, and where not.
    Verify {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Which trails.
        #[command(flatten)]
        whose: TrailSelector,
        /// A newest event that was written down earlier, as this command prints it; may be given
        /// more than once.
        #[arg(long, value_name = "SEQUENCE:HASH", requires = "whose")]
        head: Vec<Head>,
    },
    /// Writes a trail to standard output, one line of JSON an event.
    Export {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Which trails.
        #[command(flatten)]
        whose: TrailSelector,
        /// The first sequence number to write.
        #[arg(long, default_value_t = 1)]
        from: i64,
    },
}

/// Which trails.
#[derive(Args, Clone, Debug)]
#[group(id = "whose", multiple = false)]
pub struct TrailSelector {
    /// That of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// What belongs to no tenant.
    #[arg(long)]
    installation: bool,
}

impl TrailSelector {
    /// None for everyone's.
    fn trail(&self) -> Option<Trail> {
        match &self.tenant {
            Some(tenant) => Some(Trail::Tenant(TenantId::from(tenant.as_str()))),
            None => self.installation.then_some(Trail::Installation),
        }
    }
}

/// A newest event, as text.
#[derive(Clone, Copy, Debug)]
pub struct Head(AuditHead);

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be a sequence number, a colon, and 64 hexadecimal digits".to_owned();
        let (sequence, digits) = text.split_once(':').ok_or_else(wrong)?;
        let sequence = sequence.parse().ok().filter(|sequence: &i64| *sequence > 0).ok_or_else(wrong)?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(AuditHead { sequence, hash }))
    }
}

/// Runs a command.
///
/// # Errors
/// If the database cannot be read, or a trail is broken.
pub fn run(command: AuditCommand) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    match command {
        AuditCommand::Verify { config, whose, head } => {
            let config = Config::read(&config)?;
            let outside = head.into_iter().map(|head| head.0).collect();
            runtime.block_on(verify_all(&config, whose.trail(), outside))
        }
        AuditCommand::Export { config, whose, from } => {
            let config = Config::read(&config)?;
            let trail = whose.trail().context("say whose trail: --tenant TENANT or --installation")?;
            let mut out = BufWriter::new(std::io::stdout());
            runtime.block_on(async {
                let store = open(&config).await?;
                export(&store, &trail, from, &mut out).await.context("cannot export the trail")?;
                Ok(())
            })
        }
    }
}

async fn open(config: &Config) -> Result<std::sync::Arc<Store>> {
    store::open_trail(&config.database).await.context("cannot open the database")
}

async fn verify_all(config: &Config, only: Option<Trail>, outside: Vec<AuditHead>) -> Result<()> {
    let store = open(config).await?;
    let (mut after, mut trails, mut broken) = (None, 0, 0);
    while let Some(next) = store.next_trail(after).await.context("cannot read the trails")? {
        after = Some(next.number);
        if only.is_some() && next.trail != only {
            continue;
        }
        let report = verify(&store, &next, outside.clone()).await.context("cannot read the trail")?;
        let name = trail_name(&next);
        let AuditHead { sequence, hash } = report.last;
        trails += 1;
        match report.broken {
            None if sequence == 0 => println!("{name}: no events"),
            None => println!("{name}: sound, {sequence} events, head {sequence}:{}", hex(&hash)),
            Some(why) => {
                broken += 1;
                println!("{name}: BROKEN: {why}; sound up to event {sequence}");
            }
        }
    }
    if trails == 0 {
        bail!("there is no such trail");
    }
    if broken > 0 {
        bail!("{broken} of {trails} audit trails are broken");
    }
    Ok(())
}

fn trail_name(of: &StoredTrail) -> String {
    match &of.trail {
        Some(Trail::Installation) => "installation".to_owned(),
        Some(Trail::Tenant(tenant)) => names::tenant(tenant),
        None => format!("tenant number {}", of.number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_printed_and_nothing_else_is() {
        let text = format!("12:{}", "0a".repeat(32));
        let head = Head::from_str(&text).expect("a head").0;
        assert_eq!((head.sequence, hex(&head.hash)), (12, "0a".repeat(32)));
        for text in ["12", "12:0a", ":", &format!("0:{}", "0a".repeat(32)), &format!("1:{}", "+a".repeat(32))]
        {
            assert!(Head::from_str(text).is_err(), "{text}");
        }
    }
}
