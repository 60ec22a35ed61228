//! `cargo xtask demo`: the main job as an administrator sees it, on a private OpenLDAP with 2,000
//! people, the embedded database and one identity router. It only tells the story; `story` changes
//! the directory, `plans` tries, applies and undoes, `show` prints.

mod plans;
mod show;
mod story;

use anyhow::Result;
use harness::People;
use harness::world::{SOURCE, TENANT, World};
use rollcall_proto::admin::v1::{SyncJob, TestConnectionRequest, sync_job_detail::Category};

/// People in the demo's directory.
const PEOPLE: u64 = 2_000;
/// Seats at first: plenty.
const SEATS: i32 = 5_000;

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after the story instead of leaving everything running.
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(tell(options))
}

async fn tell(options: &Options) -> Result<()> {
    show::chapter("Starting a private OpenLDAP, the control plane on SQLite, and one identity router");
    println!("(the first time this builds both programs, which takes a few minutes)");
    let people = People::new(PEOPLE);
    let world = World::builder().these_people(people.clone()).license(SEATS).start().await?;
    println!(
        "{PEOPLE} people below {}, license of {SEATS} seats, identity router hq-1 enrolled with a code and connected",
        world.directory().people_dn()
    );

    show::enrollment(&world.admin.routers(TENANT).await?);

    show::chapter("An identity source: created, published, tested from the router");
    world.create_and_publish_source(world.settings()).await?;
    let request = TestConnectionRequest { name: SOURCE.to_owned(), ..Default::default() };
    show::connection(&world.admin.sources.clone().test_connection(request).await?.into_inner());

    show::chapter("Synchronize Now: the first sync");
    synchronize(&world).await?;
    show::details(&world.details(Category::NotSynchronized).await?, 8);

    show::chapter("The directory changes");
    for change in story::changes(&world, &people)? {
        println!("  - {change}");
    }
    let seats = world.license().await?.used() + story::SEATS_LEFT;
    world.set_license(seats).await?;
    println!("  - the license is cut to {seats} seats: too few for all who join");

    show::chapter("Synchronize Now: the second sync, which is held before it disables anyone");
    let held = synchronize(&world).await?;
    show::details(&world.details(Category::WouldBeDisabled).await?, 5);

    show::chapter("The administrator has looked at the list, and approves exactly that");
    world.admin.approve(&held).await?;
    watch(&world, &held).await?;
    for category in [Category::Added, Category::Updated, Category::Disabled, Category::NotSynchronized] {
        show::details(&world.details(category).await?, 5);
    }
    show::license(&world.license().await?);

    show::chapter("Synchronize Now once more: nothing has changed, nothing is done");
    synchronize(&world).await?;

    plans::tell(&world, &people).await?;

    if options.once {
        println!("\nDone; everything is stopped and removed.");
        return Ok(());
    }
    show::commands(&world, TENANT, SOURCE);
    tokio::signal::ctrl_c().await?;
    println!("\nStopped; everything is removed.");
    Ok(())
}

async fn synchronize(world: &World) -> Result<SyncJob> {
    let job = world.start_sync().await?;
    watch(world, &job).await
}

async fn watch(world: &World, job: &SyncJob) -> Result<SyncJob> {
    let mut bar = show::Progress::new();
    let job = world.admin.watch(&job.name, |job| bar.show(job)).await?;
    bar.end(&job);
    Ok(job)
}
