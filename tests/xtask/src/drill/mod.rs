//! `cargo xtask drill NAME`: a directory with a fault, and what becomes of the people meanwhile.
//! Without a name it lists the drills. A check that fails is told with its figures; the drill goes
//! on and fails at its end.

mod sign_ins;

use anyhow::{Result, bail};
use harness::drill::{Fault, Kind};

/// Drills by name, each with what it does.
const DRILLS: [(&str, &str); 1] = [(
    "signins",
    "300 people behind each fault of a directory: 60 sign in, a sync runs, the fault is repaired",
)];

/// Options of `cargo xtask drill`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Which drill; without it, the drills are listed.
    name: Option<String>,
    /// Only faults whose name has this text.
    #[arg(long)]
    fault: Option<String>,
    /// Only directories whose name has this text.
    #[arg(long)]
    directory: Option<String>,
}

impl Options {
    /// What the drill goes through: each fault on each directory where it can be made.
    fn chosen(&self) -> Vec<(Fault, Kind)> {
        let has = |text: &Option<String>, name: String| {
            text.as_ref().is_none_or(|text| name.to_lowercase().contains(&text.to_lowercase()))
        };
        let pairs = Fault::ALL.into_iter().flat_map(|fault| Kind::ALL.map(|kind| (fault, kind)));
        pairs
            .filter(|(fault, kind)| fault.is_possible_on(*kind))
            .filter(|(fault, kind)| {
                has(&self.fault, fault.to_string()) && has(&self.directory, kind.to_string())
            })
            .collect()
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match options.name.as_deref() {
        None => {
            for (name, what) in DRILLS {
                println!("{name}: {what}");
            }
            Ok(())
        }
        Some("signins") => tokio::runtime::Runtime::new()?.block_on(sign_ins::run(&options.chosen())),
        Some(other) => bail!("there is no drill {other:?}; `cargo xtask drill` lists them"),
    }
}
