//! Exact numbers through crashes: a directory changes at random, and while it is synchronized
//! random things go wrong at random moments. Whatever happens, the end is the one that the oracle
//! computes from the directory.
//!
//! A seed decides everything: the database (even: SQLite, odd: PostgreSQL), the people, the
//! changes, the faults and their moments. `CAMPAIGN_SEED=n` runs that seed, `CAMPAIGN_RUNS=n` as
//! many seeds, from that one or from the first.

mod changes;
mod faults;
mod oracle;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::world::{Admin, Database, TENANT, World};
use harness::{Dice, People};
use rollcall_proto::admin::v1::{DisableGuard, FailureReason, SyncJob, sync_job::Phase, sync_job::State};
use tokio::task::JoinHandle;

use crate::on_both_databases;
use faults::Fault;

const PEOPLE: u64 = 3_000;
/// Seeds when none are asked for.
const RUNS: u64 = 6;
/// Syncs with faults of one seed; the first one finds no users.
const ROUNDS: u64 = 2;
const UNLIMITED: i32 = 1_000_000;
/// Short, so that a crash costs little; still longer than most pauses.
const LEASE: Duration = Duration::from_millis(1_500);
/// When a job that goes on by itself must have ended.
const DEADLINE: Duration = Duration::from_secs(120);
const CALL: Duration = Duration::from_secs(5);

on_both_databases! {
    the_numbers_are_exact_whatever_is_killed_cut_or_frozen,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a long run is watched by a person")]
async fn the_numbers_are_exact_whatever_is_killed_cut_or_frozen(database: Database) -> Result<()> {
    let seed = number("CAMPAIGN_SEED")?;
    let runs = number("CAMPAIGN_RUNS")?.unwrap_or(if seed.is_some() { 1 } else { RUNS });
    let first = seed.unwrap_or(1);
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for seed in first..first + runs {
        if (seed % 2 == 0) != (database == Database::Sqlite) {
            continue;
        }
        if let Err(error) = campaign(seed, database, &mut tally).await {
            let message = format!(
                "seed {seed}: {error:#}\nrepeat: CAMPAIGN_SEED={seed} cargo nextest run -p e2e campaign"
            );
            eprintln!("{message}");
            failures.push(message);
        }
        if runs > RUNS {
            println!("{database:?} up to seed {seed}: {} failures, {tally:?}", failures.len());
        }
    }
    println!("{database:?}: {tally:?}");
    ensure!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    Ok(Some(text.parse().with_context(|| format!("{variable} must be a number"))?))
}

/// What was run.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    /// Of each kind, how many there were, and how many of them came before the job's end.
    faults: BTreeMap<String, [u64; 2]>,
    /// Jobs that were read more than once.
    repeated: u64,
    /// Jobs that ended FAILED as they may.
    failed: BTreeMap<String, u64>,
}

async fn campaign(seed: u64, database: Database, tally: &mut Tally) -> Result<()> {
    let mut dice = Dice::new(seed, 0);
    let people = People { seed, ..People::new(PEOPLE) };
    let world = World::builder().database(database).these_people(people.clone()).cables().lease(LEASE);
    let mut world = world.start().await?;
    let mut settings = world.settings();
    // OpenLDAP shows of nobody what became of them; whoever leaves is within this guard.
    settings.disable_guard =
        Some(DisableGuard { max_unexplained_users: 500, max_unexplained_permille: 50, ..Default::default() });
    world.create_and_publish_source(settings).await?;
    let mut next = PEOPLE;
    for round in 0..ROUNDS {
        let tight = round > 0 && dice.below(3) == 0;
        if round > 0 {
            changes::change(world.directory(), &people, Dice::new(seed, round), &mut next, tight)?;
        }
        // Some reads are slow enough to be met in their middle.
        let pace = (dice.below(3) > 0).then(|| 400_000 + dice.below(2_000_000));
        let faults = faults::throw(&mut dice, database);
        let outcome = one_round(&mut world, tight, pace, &faults, tally).await;
        outcome.with_context(|| {
            format!("round {round}, tight license: {tight}, pace {pace:?}, {faults:#?}\n{}\n", world.logs())
        })?;
    }
    Ok(())
}

/// One sync with faults, what it must have done, and one more without anything.
async fn one_round(
    world: &mut World,
    tight: bool,
    pace: Option<u64>,
    faults: &[Fault],
    tally: &mut Tally,
) -> Result<()> {
    let people = oracle::people(&changes::read(world.directory(), &world.directory().people_dn())?)?;
    let before = oracle::by_id(world.users().await?)?;
    let used = world.license().await?.used();
    let unlimited = oracle::expect(&before, &people, UNLIMITED);
    let limit = if tight { used.max(unlimited.enabled - unlimited.seats_for_new / 2) } else { UNLIMITED };
    world.set_license(limit).await?;

    world.directory_link()?.slow(pace);
    let sampler = sample_license(world.admin.clone(), limit);
    let job = world.start_sync().await?;
    let interrupted = faults.iter().any(|fault| fault.kind.interrupts_reconciling());
    let watching = tokio::spawn(watch(world.admin.clone(), job.name.clone(), interrupted));
    for fault in faults {
        let met = fault.happen(world, pace, || !watching.is_finished()).await;
        let met = met.with_context(|| format!("{fault:?} went wrong"))?;
        let [all, in_time] = tally.faults.entry(format!("{:?}", fault.kind)).or_default();
        *all += 1;
        *in_time += u64::from(met);
    }
    let job = watching.await??;
    world.directory_link()?.slow(None);
    sampler.abort();
    if let Ok(exceeded) = sampler.await {
        bail!("{exceeded} seats were taken of {limit}");
    }
    tally.rounds += 1;
    tally.repeated += u64::from(job.attempt > 1);

    let expected = oracle::expect(&before, &people, limit);
    let after = oracle::by_id(world.users().await?)?;
    let (before, expected) = if job.state() == State::Succeeded {
        (before, expected)
    } else {
        legitimate(&job, faults)?;
        *tally.failed.entry(format!("{:?}", job.error.clone().unwrap_or_default().reason())).or_default() +=
            1;
        expected.check_partial(&before, &people, &after)?;
        let expected = oracle::expect(&after, &people, limit);
        let job = settled(world).await?;
        ensure!(
            numbers(&job)? == expected.numbers,
            "after the failed job {:?} instead of {expected:?}",
            numbers(&job)?
        );
        (after, expected)
    };
    let after = oracle::by_id(world.users().await?)?;
    if job.state() == State::Succeeded {
        ensure!(numbers(&job)? == expected.numbers, "{:?} instead of {:?}", numbers(&job)?, expected.numbers);
    }
    expected.check(&before, &people, &after)?;
    ensure!(world.license().await?.used() == expected.enabled, "the seats taken are not the users enabled");

    let again = numbers(&settled(world).await?)?;
    let (others, known) = (expected.numbers[4], i32::try_from(people.len())?);
    ensure!(again == [0, 0, known - others, 0, others], "the next sync found something to do: {again:?}");
    ensure!(oracle::by_id(world.users().await?)? == after, "the next sync changed somebody");
    Ok(())
}

/// A sync that nothing disturbs.
async fn settled(world: &mut World) -> Result<SyncJob> {
    world.router_connected().await?;
    let job = world.start_sync().await?;
    let job = watch(world.admin.clone(), job.name, false).await?;
    ensure!(job.state() == State::Succeeded, "an undisturbed sync ended {:?}: {:?}", job.state(), job.error);
    ensure!(job.attempt == 1, "an undisturbed sync was read {} times", job.attempt);
    Ok(job)
}

/// Added, updated, unchanged, disabled, not synchronized, if they add up.
fn numbers(job: &SyncJob) -> Result<[i32; 5]> {
    let counts = job.counts.unwrap_or_default();
    let [added, updated, unchanged, others] =
        [counts.added(), counts.updated(), counts.unchanged(), counts.not_synchronized()];
    ensure!(counts.read() == added + updated + unchanged + others, "the numbers do not add up: {counts:?}");
    ensure!(counts.waiting() == 0, "{} still wait after the end", counts.waiting());
    Ok([added, updated, unchanged, counts.disabled(), others])
}

/// Whether a job could not but fail.
fn legitimate(job: &SyncJob, faults: &[Fault]) -> Result<()> {
    let reason = job.error.clone().unwrap_or_default().reason();
    let unreadable = matches!(reason, FailureReason::ReadIncomplete | FailureReason::DirectoryUnreachable);
    let broken = faults.iter().any(|fault| fault.kind.may_fail_a_job());
    ensure!(job.state() == State::Failed && unreadable && broken, "ended {:?}: {:?}", job.state(), job.error);
    numbers(job)?;
    let interrupted = faults.iter().any(|fault| fault.kind.interrupts_reconciling());
    ensure!(
        interrupted || job.counts.unwrap_or_default().disabled() == 0,
        "disabled somebody and failed: {job:?}"
    );
    Ok(())
}

/// Watches a job to its end, over restarts of the control plane. Nobody may be disabled for absence
/// while the directory is still read.
async fn watch(admin: Admin, job: String, interrupted: bool) -> Result<SyncJob> {
    let end = Instant::now() + DEADLINE;
    loop {
        let mut too_early = None;
        let seen = |now: &SyncJob| {
            let reading = matches!(now.phase(), Phase::Reading) && now.state() == State::Running;
            if reading && now.counts.unwrap_or_default().disabled() > 0 && !interrupted {
                too_early = Some(now.clone());
            }
        };
        let watched =
            tokio::time::timeout(end.saturating_duration_since(Instant::now()), admin.watch(&job, seen))
                .await;
        if let Some(job) = too_early {
            bail!("disabled somebody before the read was complete: {job:?}");
        }
        match watched {
            Err(_) => bail!("{job} has not ended within {DEADLINE:?}"),
            Ok(Ok(job)) => return Ok(job),
            Ok(Err(_)) if Instant::now() < end => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(Err(error)) => return Err(error.context("cannot be watched")),
        }
    }
}

/// Looks at the seats all the time; ends, with what it saw, only if there were too many.
fn sample_license(admin: Admin, limit: i32) -> JoinHandle<i32> {
    tokio::spawn(async move {
        loop {
            // Whoever is killed or frozen does not answer.
            if let Ok(Ok(license)) = tokio::time::timeout(CALL, admin.license(TENANT)).await
                && license.used() > limit
            {
                return license.used();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}
