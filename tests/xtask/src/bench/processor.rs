//! `cargo xtask bench processor`: processor time of the control plane for a first sync, for a sync
//! that changes nothing and for sign-ins, of this version and of another one, in alternating runs.
//! Wall time differs by a tenth from run to run; processor time shows a difference of some percent.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, presets};
use harness::load::call_all;
use harness::programs::{self, Profile};
use harness::world::World;

use super::jit::Bench;
use super::measure::Samples;
use super::timed;

/// Options of `cargo xtask bench processor`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A folder with `control-plane` and `router-agent` of the other version.
    #[arg(long)]
    against: PathBuf,
    /// A folder with those of this version; without it they are built as packages have them.
    #[arg(long)]
    this: Option<PathBuf>,
    /// People in the directory.
    #[arg(long, default_value_t = 50_000)]
    users: u64,
    /// Sign-ins a run.
    #[arg(long, default_value_t = 10_000)]
    calls: usize,
    /// Runs of each version.
    #[arg(long, default_value_t = 10)]
    runs: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    super::measure::warn_if_busy();
    let this = match &options.this {
        Some(folder) => folder.clone(),
        None => {
            println!("building both programs as packages have them (minutes, the first time)");
            let program = programs::program_in(Profile::Dist, "control-plane")?;
            program.parent().context("a folder")?.to_owned()
        }
    };
    for folder in [&this, &options.against] {
        ensure!(
            folder.join("control-plane").exists(),
            "{} has no control-plane; give a folder with both programs",
            folder.display()
        );
    }
    tokio::runtime::Runtime::new()?.block_on(measure_all(options, [&this, &options.against]))
}

const WHAT: [&str; 3] = ["first sync", "nothing changed", "sign-ins"];

async fn measure_all(options: &Options, folders: [&Path; 2]) -> Result<()> {
    let mut samples: [[Samples; 3]; 2] = Default::default();
    for run in 0..options.runs {
        // Whoever comes first finds the machine in the state that the other left it in.
        for which in if run % 2 == 0 { [0, 1] } else { [1, 0] } {
            let seconds = Box::pin(one_run(options, folders[which])).await?;
            println!("run {run} of {}: {seconds:.2?} s", ["this version", "the other"][which]);
            samples[which].iter_mut().zip(seconds).for_each(|(samples, seconds)| samples.push(seconds));
        }
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "processor seconds of the control plane",
        "this: median",
        "the other: median",
        "ratio",
        "ratio of the middle halves",
    ]);
    let [this, other] = &samples;
    for ((what, this), other) in WHAT.iter().zip(this).zip(other) {
        let sum = |samples: &Samples| samples.middle_half().iter().sum::<f64>();
        table.add_row([
            (*what).to_owned(),
            format!("{:.2}", this.median()),
            format!("{:.2}", other.median()),
            format!("{:.3}", this.median() / other.median()),
            format!("{:.3}", sum(this) / sum(other)),
        ]);
    }
    println!("{table}");
    Ok(())
}

async fn one_run(options: &Options, folder: &Path) -> Result<[f64; 3]> {
    let everyone = i32::try_from(options.users)?;
    let mut bench = Bench::prepare(options.users, |world| world.programs_in(folder.to_owned())).await?;
    let mut seconds = vec![spent(&mut bench.world)?];
    timed(&bench.world, |counts| counts == [everyone, 0, 0]).await?;
    seconds.push(spent(&mut bench.world)?);
    timed(&bench.world, |counts| counts == [0, 0, everyone]).await?;
    seconds.push(spent(&mut bench.world)?);
    bench.allow_sign_ins().await?;
    let (services, persons) = (bench.services(CALLERS)?, bench.persons(0, options.calls)?);
    let by_call = |caller: usize| {
        let service = services[caller % services.len()].clone();
        move |person| super::jit::sign_in(service.clone(), person)
    };
    call_all(&persons, CALLERS, by_call).await?;
    seconds.push(spent(&mut bench.world)?);
    Ok(std::array::from_fn(|at| seconds[at + 1] - seconds[at]))
}

/// Callers at a time.
const CALLERS: usize = 16;

/// Processor seconds that the control plane has spent so far.
fn spent(world: &mut World) -> Result<f64> {
    world.control_plane()?.processor_seconds()
}
