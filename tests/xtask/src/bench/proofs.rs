//! `cargo xtask bench proofs`: what it costs to prove that entries have no mark, at a first sync in
//! which no entry shows the mark's attribute, beside a source without a mark and beside ldapsearch;
//! and what it costs to look absent users up over a link with a delay. Every sync's counts are
//! checked.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use comfy_table::{Table, presets};
use harness::People;
use harness::programs::{self, Profile};
use harness::world::{Database, World};
use rollcall_proto::admin::v1::sync_job::State;
use rollcall_proto::admin::v1::{DisabledRule, IdentitySourceSettings};

use super::measure::Samples;
use super::{measure, timed, tools};

/// What the bind account may read, and no entry has.
const UNSEEN_MARK: &str = "employeeNumber";

/// Options of `cargo xtask bench proofs`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// People in the directory.
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// How many of them are gone; 20,000 are looked up at most.
    #[arg(long, default_value_t = 20_000)]
    gone: u64,
    /// Milliseconds to the directory and back.
    #[arg(long, default_value_t = 20)]
    round_trip: u64,
    /// How often each measurement is repeated; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.gone < options.users, "somebody must be left: `gone` must be below `users`");
    measure::warn_if_busy();
    println!("building both programs as packages have them (minutes, the first time)");
    programs::build(Profile::Dist)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        Box::pin(first_syncs(options)).await?;
        Box::pin(look_ups(options)).await
    })
}

fn people(options: &Options) -> People {
    People { without_mail_permille: 0, shared_mail_permille: 0, ..People::new(options.users) }
}

/// The source with this rule for disabled accounts.
fn with_mark(world: &World, rule: Option<DisabledRule>) -> Result<IdentitySourceSettings> {
    let mut settings = world.settings();
    settings.mapping.as_mut().context("a mapping")?.disabled = rule;
    Ok(settings)
}

async fn first_syncs(options: &Options) -> Result<()> {
    let users = i32::try_from(options.users)?;
    let (mut searches, mut times) = (Samples::default(), [(); 3].map(|()| Samples::default()));
    for _ in 0..options.runs {
        for (kind, times) in times.iter_mut().enumerate() {
            let builder = World::builder().database(Database::Sqlite).license(100_000_000);
            let world = builder.profile(Profile::Dist).these_people(people(options)).start().await?;
            let shown = world.settings().mapping.and_then(|mapping| mapping.disabled).context("a rule")?;
            let rule = match kind {
                0 => None,
                1 => Some(shown),
                _ => Some(DisabledRule { attribute: UNSEEN_MARK.to_owned(), ..shown }),
            };
            world.create_and_publish_source(with_mark(&world, rule)?).await?;
            searches.push(tools::ldapsearch(world.directory())?);
            times.push(timed(&world, |counts| counts == [users, 0, 0]).await?);
        }
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["first sync (SQLite)", "median s", "min-max s", "x ldapsearch"]);
    let names =
        ["no mark is mapped", "every entry shows the mark's attribute", "no entry shows it: each is proved"];
    for (name, times) in [("ldapsearch pr=1000", &searches)].into_iter().chain(names.into_iter().zip(&times))
    {
        let (min, max) = times.range();
        let ratio = times.median() / searches.median();
        let (median, range) = (format!("{:.2}", times.median()), format!("{min:.2}-{max:.2}"));
        table.add_row([name.to_owned(), median, range, format!("{ratio:.2}")]);
    }
    println!("{table}");
    Ok(())
}

async fn look_ups(options: &Options) -> Result<()> {
    let users = i32::try_from(options.users)?;
    let builder = World::builder().database(Database::Sqlite).license(100_000_000).profile(Profile::Dist);
    let world = builder.these_people(people(options)).cables().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    timed(&world, |counts| counts == [users, 0, 0]).await?;
    world.directory_link()?.delay(Duration::from_millis(options.round_trip) / 2);
    let mut unchanged = Samples::default();
    for _ in 0..options.runs {
        unchanged.push(timed(&world, |counts| counts == [0, 0, users]).await?);
    }
    let mut ldif = String::new();
    for person in people(options).iter().take(usize::try_from(options.gone)?) {
        let mut name = Vec::new();
        harness::ldap::ldif::line(&mut name, "dn", &person.dn(world.directory().base_dn()))?;
        writeln!(ldif, "{}changetype: delete\n", String::from_utf8(name)?)?;
    }
    world.directory().modify(&ldif)?;
    let mut gone = Samples::default();
    for _ in 0..options.runs {
        let began = Instant::now();
        let job = world.sync_now().await?;
        gone.push(began.elapsed().as_secs_f64());
        let held = job.hold.as_ref().map(|hold| hold.message.as_str());
        ensure!(job.state() == State::Held, "the job is {:?}, {:?}, {held:?}", job.state(), job.error);
    }
    let looked_up = gone.median() - unchanged.median();
    println!(
        "{} look-ups of people who are gone, {} ms to the directory and back: a sync of {} takes {:.2} s instead of {:.2} s: {:.2} s more, {:.0} look-ups a second",
        options.gone,
        options.round_trip,
        options.users,
        gone.median(),
        unchanged.median(),
        looked_up,
        options.gone as f64 / looked_up
    );
    Ok(())
}
