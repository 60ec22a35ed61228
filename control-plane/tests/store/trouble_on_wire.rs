//! A wire to PostgreSQL that breaks anywhere, also between a commit and its answer: a write that
//! was reported as lost may well be there. It counts once all the same, since counts are in the
//! transaction of what they count and the next read asks what is there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use control_plane::model::{Fence, JobNo, Offered};
use control_plane::reconcile::offer;
use control_plane::store::{self, StoreError};
use harness::{Cable, Direction, Postgres};

use crate::database::{NOW, block_on};
use crate::drive::Seen;
use crate::trouble::{Dice, Site, person};

/// Jobs, and how many reads of each are cut.
const JOBS: u32 = 4;
const CUTS: u32 = 20;
/// People whom the first job finds; each later one finds ten more, and a third of all changed.
const PEOPLE: u32 = 60;

fn people(round: u32) -> u32 {
    PEOPLE + round * 10
}

/// Reads the directory once, as job number `round` finds it; a cut ends the read. `before` is told
/// of each batch, `answered` is what the store has answered: how many batches, and how many users
/// the job has changed.
async fn read(
    site: &Site,
    job: JobNo,
    round: u32,
    mut before: impl FnMut(u64),
    answered: &mut (u64, i64),
) -> Result<Fence, StoreError> {
    let start = site.begin(job).await?;
    let fence = start.fence;
    let title = |n: u32| (0..=round).rev().find(|earlier| earlier % 3 == n % 3).unwrap_or(0);
    let records: Vec<_> = (0..people(round)).map(|n| person(fence.tenant, n, title(n))).collect();
    let mut seen = BTreeSet::new();
    for (batch, records) in (0..).zip(records.chunks(3)) {
        before(batch);
        let offered: Vec<_> =
            records.iter().map(|record| Offered { id: record.id.clone(), digest: record.digest }).collect();
        let ids = offered.iter().map(|offer| offer.id.clone()).collect();
        let known = soon(site.store.known_users(fence, ids)).await?;
        let plan = offer::plan(job, &offered, &known, start.beyond_limit, &Seen(&seen));
        seen.extend(plan.seen);
        let wanted = plan.want.iter().map(|position| records[*position as usize].clone()).collect();
        let applied =
            soon(site.store.apply(fence, Arc::new(wanted), Vec::new(), plan.unchanged, NOW)).await?;
        seen.extend(applied.seen);
        *answered = (answered.0.max(batch + 1), applied.counts.added + applied.counts.updated);
    }
    Ok(fence)
}

/// Does not wait for as long as the store would for a wire to be mended: this test mends it once it
/// knows.
async fn soon<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(Duration::from_secs(1), call).await;
    answer.unwrap_or_else(|late| Err(StoreError::Unavailable(Box::new(late))))
}

/// Added and updated users, as the job counted them and as the table has them, in one look.
fn look(server: &Postgres, database: &str, job: JobNo) -> [i64; 4] {
    let job = job.0;
    let row = server.psql(
        database,
        &format!(
            "SELECT added, updated, (SELECT count(*) FROM users WHERE added_job = {job}), \
             (SELECT count(*) FROM users WHERE changed_job = {job} AND added_job <> {job}) FROM sync_jobs WHERE job_no = {job}"
        ),
    );
    let numbers: Vec<i64> =
        row.expect("a job").split('|').map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("four numbers")
}

#[test]
fn a_commit_whose_answer_is_lost_is_counted_once() {
    block_on(async {
        let server = Postgres::start().expect("a PostgreSQL server");
        let direct = server.database().expect("a database");
        let cable = Cable::to(server.address()).await.expect("a cable");
        let url = direct.replace(&server.port().to_string(), &cable.port().to_string());
        let site = Site::set_up(store::open(&url).await.expect("a store")).await;
        let mut dice = Dice(0);
        let (mut cuts, mut there_though_lost) = (0, 0);
        for round in 0..JOBS {
            let job = site.job("hq").await;
            let mut answered = (0, 0);
            for _ in 0..CUTS {
                let [added, updated, ..] = look(&server, &direct, job);
                answered.1 = added + updated;
                let next = answered.0;
                let anywhere = dice.below(3) == 0;
                let arm = |batch| {
                    if batch == next && anywhere {
                        let way = if dice.below(2) == 0 { Direction::Up } else { Direction::Down };
                        cable.cut_after(way, dice.below(8_000));
                    } else if batch == next + 1 && !anywhere {
                        cable.lose_answer(b"COMMIT");
                    }
                };
                if let Err(error) = read(&site, job, round, arm, &mut answered).await {
                    assert!(matches!(error, StoreError::Unavailable(_)), "a cut is nothing else: {error:?}");
                    cuts += 1;
                }
                cable.mend().expect("mended");
                let [added, updated, rows_added, rows_updated] = look(&server, &direct, job);
                assert_eq!([added, updated], [rows_added, rows_updated], "counts are those of the rows");
                there_though_lost += i32::from(added + updated > answered.1);
            }
            let fence = loop {
                match read(&site, job, round, |_| {}, &mut answered).await {
                    Ok(fence) => break fence,
                    Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}"),
                }
            };
            let counts = site.finish(fence).await.counts;
            assert_eq!(counts.read(), i64::from(people(round)), "everyone once: {counts:?}");
            let [.., rows_added, rows_updated] = look(&server, &direct, job);
            assert_eq!([counts.added, counts.updated], [rows_added, rows_updated]);
            assert_eq!(site.users().await, people(round) as usize);
        }
        println!("{cuts} cuts, {there_though_lost} commits whose answer was lost");
        assert!(cuts > 30, "the wire was cut in the middle of reads: {cuts}");
        assert!(there_though_lost > 10, "answers of commits were lost, too: {there_though_lost}");
    });
}
