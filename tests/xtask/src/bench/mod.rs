//! `cargo xtask bench`: whole syncs of many users through the real programs, beside the public
//! tools doing the same work in the same run. Prints ratios: absolute times are those of this
//! machine and this moment. Every sync's counts are checked, so that a wrong sync is not a fast
//! one. `jit` measures single users instead, `processor` this version beside another, `proofs` what
//! proofs of marks and of absences cost.

mod jit;
mod measure;
mod processor;
mod proofs;
mod tools;

use std::time::Instant;

use anyhow::{Result, ensure};
use comfy_table::{Table, presets};
use harness::People;
use harness::programs::{self, Profile};
use harness::world::{Database, World};
use rollcall_proto::admin::v1::{SyncJob, sync_job::State};

use measure::{Samples, megabytes};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// People in the directory.
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// How often each measurement is repeated; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only this database: sqlite or postgres.
    #[arg(long)]
    only: Option<String>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Measures sign-ins of known users, at 1, 16 and 128 callers, against the same searches by a
    /// plain LDAP client.
    Jit(jit::Options),
    /// Measures the control plane's processor time beside that of another version, in turns.
    Processor(processor::Options),
    /// Measures what it costs to prove that entries have no mark, and to look up absent users over
    /// a link with a delay.
    Proofs(proofs::Options),
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        Some(What::Jit(options)) => return jit::run(options),
        Some(What::Processor(options)) => return processor::run(options),
        Some(What::Proofs(options)) => return proofs::run(options),
        None => {}
    }
    measure::warn_if_busy();
    println!("building both programs as packages have them (minutes, the first time)");
    programs::build(Profile::Dist)?;
    tokio::runtime::Runtime::new()?.block_on(measure_all(options))
}

async fn measure_all(options: &Options) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "what",
        "median s",
        "min-max s",
        "x ldapsearch",
        "target",
        "bytes on the link",
        "router MB",
        "control plane MB",
    ]);
    let mut row = |what: &str, samples: &Samples, anchor: f64, target: Option<f64>, rest: [String; 3]| {
        let ratio = samples.median() / anchor;
        let target = target.map_or_else(String::new, |target| {
            format!("{target} x: {}", if ratio <= target { "met" } else { "missed" })
        });
        let [bytes, router, control_plane] = rest;
        let (min, max) = samples.range();
        table.add_row([
            what.to_owned(),
            format!("{:.2}", samples.median()),
            format!("{min:.2}-{max:.2}"),
            format!("{ratio:.2}"),
            target,
            bytes,
            router,
            control_plane,
        ]);
    };
    for (name, database) in [("sqlite", Database::Sqlite), ("postgres", Database::Postgres)] {
        if options.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let measured = Box::pin(one_database(options, database)).await?;
        let anchor = measured.ldapsearch.median();
        println!("{name}: done");
        row(
            &format!("ldapsearch pr=1000 ({name} run)"),
            &measured.ldapsearch,
            anchor,
            None,
            Default::default(),
        );
        let memory = [megabytes(measured.router_memory), megabytes(measured.control_plane_memory)];
        let [router, control_plane] = memory.clone();
        row(
            &format!("{name}: first sync"),
            &measured.first,
            anchor,
            Some(3.0),
            [measured.first_bytes.to_string(), router, control_plane],
        );
        row(
            &format!("{name}: nothing changed"),
            &measured.unchanged,
            anchor,
            Some(1.5),
            [measured.unchanged_bytes.to_string(), String::new(), String::new()],
        );
        row(&format!("{name}: 1 % changed"), &measured.changed, anchor, None, Default::default());
        if let Some(copy) = &measured.copy {
            row("psql \\copy of the same rows", copy, anchor, None, Default::default());
        }
    }
    println!("{table}");
    println!(
        "Targets for memory: router 64 MB, control plane 128 MB. SQLite's page cache is at most 32 MB for the writer and 4 MB for each of 4 readers, inside the control plane's figure; PostgreSQL's is its own."
    );
    println!("Bytes are counted by a relay on the link in a run of its own, which is not timed.");
    Ok(())
}

struct Measured {
    ldapsearch: Samples,
    first: Samples,
    unchanged: Samples,
    changed: Samples,
    copy: Option<Samples>,
    first_bytes: u64,
    unchanged_bytes: u64,
    router_memory: u64,
    control_plane_memory: u64,
}

async fn one_database(options: &Options, database: Database) -> Result<Measured> {
    let people = People { without_mail_permille: 0, shared_mail_permille: 0, ..People::new(options.users) };
    let users = i32::try_from(options.users)?;
    let world = |cables: bool| {
        let builder = World::builder().database(database).license(100_000_000).profile(Profile::Dist);
        let builder = builder.these_people(people.clone());
        if cables { builder.cables() } else { builder }
    };
    let mut measured = Measured {
        ldapsearch: Samples::default(),
        first: Samples::default(),
        unchanged: Samples::default(),
        changed: Samples::default(),
        copy: None,
        first_bytes: 0,
        unchanged_bytes: 0,
        router_memory: 0,
        control_plane_memory: 0,
    };
    for run in 0..options.runs {
        let mut world = world(false).start().await?;
        world.create_and_publish_source(world.settings()).await?;
        measured.ldapsearch.push(tools::ldapsearch(world.directory())?);
        measured.first.push(timed(&world, |counts| counts == [users, 0, 0]).await?);
        measured.unchanged.push(timed(&world, |counts| counts == [0, 0, users]).await?);
        tools::change_titles(world.directory(), &people, run)?;
        let changed = users.div_euclid(100) + i32::from(users % 100 > 0);
        measured.changed.push(timed(&world, |counts| counts == [0, changed, users - changed]).await?);
        measured.router_memory = measured.router_memory.max(world.router()?.peak_memory_kib()?);
        measured.control_plane_memory =
            measured.control_plane_memory.max(world.control_plane()?.peak_memory_kib()?);
        if let Some(postgres) = &world.postgres {
            let copied = tools::copy(postgres, world.database_url())?;
            measured.copy.get_or_insert_default().push(copied);
        }
    }
    let world = world(true).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let bytes = || -> Result<u64> { Ok(world.link()?.bytes_up() + world.link()?.bytes_down()) };
    let before = bytes()?;
    timed(&world, |counts| counts == [users, 0, 0]).await?;
    let between = bytes()?;
    timed(&world, |counts| counts == [0, 0, users]).await?;
    (measured.first_bytes, measured.unchanged_bytes) = (between - before, bytes()? - between);
    Ok(measured)
}

/// Seconds of one sync, from Synchronize Now to its end. `right` looks at added, updated and
/// unchanged.
async fn timed(world: &World, right: impl Fn([i32; 3]) -> bool) -> Result<f64> {
    let began = Instant::now();
    let job: SyncJob = world.sync_now().await?;
    let seconds = began.elapsed().as_secs_f64();
    let counts = job.counts.unwrap_or_default();
    let found = [counts.added(), counts.updated(), counts.unchanged()];
    ensure!(
        job.state() == State::Succeeded && right(found),
        "a sync went wrong: {:?} {found:?} {:?}",
        job.state(),
        job.error
    );
    Ok(seconds)
}
