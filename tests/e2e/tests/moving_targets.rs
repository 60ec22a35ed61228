//! A directory that is not one thing: replicas that lag behind, people who move while they are
//! read. Nobody is disabled for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Slapd;
use harness::world::World;
use rollcall_proto::admin::v1::hold::Reason;

use crate::expect::{enabled, held, succeeded, users};

const PEOPLE: &str = "ou=people,dc=example,dc=com";

/// A unit below the people that is the same entry on each server that has it.
fn unit(name: &str, number: u32) -> String {
    format!(
        "dn: ou={name},{PEOPLE}\nobjectClass: organizationalUnit\nou: {name}\n\
         entryUUID: 00000000-0000-4000-8000-{number:012}\n\n"
    )
}

fn uid(number: u32) -> String {
    format!("u{number:04}")
}

/// People with these numbers in a unit, the same on each server.
fn members(unit: &str, numbers: std::ops::Range<u32>) -> String {
    let member = |number: u32| {
        let uid = uid(number);
        format!(
            "dn: uid={uid},ou={unit},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n\
             mail: {uid}@lab.test\nentryUUID: 00000000-0000-4000-9000-{number:012}\n\n"
        )
    };
    numbers.map(member).collect()
}

/// The servers are compared by their `contextCSN` where they show one; where they do not, another
/// server is not believed without an approval.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_behind_disables_nobody_after_a_fail_over() -> Result<()> {
    for shows_how_recent_it_is in [true, false] {
        let team = unit("Team", 1);
        let server = |numbers| {
            let builder = Slapd::builder().ldif(&(team.clone() + &members("Team", numbers)));
            if shows_how_recent_it_is { builder.provider() } else { builder }
        };
        let first = server(0..40);
        let mut world = World::builder().directory(|_| first).spare(server(0..37)).start().await?;
        let mut settings = world.settings();
        settings.roots = vec![format!("ou=Team,{PEOPLE}")];
        world.create_and_publish_source(settings).await?;
        // What the second server has not heard of yet.
        world.directory().replace(&format!("uid={},ou=Team,{PEOPLE}", uid(0)), "title", &["Chief"])?;
        assert_eq!(succeeded(&world.sync_now().await?), [40, 0, 0, 0, 0]);

        world.directory_mut().stop()?;
        let job = world.sync_now().await?;
        let message = held(&job, Reason::OlderServer);
        assert!(message.contains("be behind") || message.contains("is behind"), "{message}");
        assert_eq!(job.hold.unwrap_or_default().user_count, 3, "{message}");
        assert_eq!(enabled(&users(&world).await?), 40);

        world.directory_mut().start_again()?;
        let job = world.sync_now().await?;
        let [added, updated, unchanged, disabled, others] = succeeded(&job);
        assert_eq!((added, updated + unchanged, disabled, others), (0, 40, 0, 0));
        assert_eq!(job.withheld_disables, None, "everyone is there again");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moves_from_a_root_that_is_still_to_be_read_to_one_that_was_stays_enabled() -> Result<()> {
    const EACH: u32 = 300;
    let ldif =
        [unit("North", 1), members("North", 0..EACH), unit("South", 2), members("South", EACH..2 * EACH)];
    let world = World::builder().directory(|slapd| slapd.ldif(&ldif.concat())).cables().start().await?;
    let mut settings = world.settings();
    settings.roots = ["North", "South"].map(|name| format!("ou={name},{PEOPLE}")).to_vec();
    settings.page_size = 50;
    world.create_and_publish_source(settings).await?;
    let cable = world.directory_link()?;
    let before = cable.bytes_down();
    assert_eq!(succeeded(&world.sync_now().await?), [600, 0, 0, 0, 0]);
    let whole = cable.bytes_down() - before;

    // North is read, and the end of South, where the last one is, is not.
    cable.slow(Some(whole / 8));
    let start = cable.bytes_down();
    let job = world.start_sync().await?;
    while cable.bytes_down() - start < whole * 6 / 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cable.stall();
    ensure!(cable.bytes_down() - start < whole * 8 / 10, "too late: the machine is busy");
    let last = uid(2 * EACH - 1);
    let south = format!("uid={last},ou=South,{PEOPLE}");
    world.directory().rename(&south, &format!("uid={last}"), Some(&format!("ou=North,{PEOPLE}")))?;
    cable.slow(None);
    cable.resume();

    let job = world.finished(&job).await?;
    assert_eq!(succeeded(&job), [0, 0, 599, 0, 0], "the one was in neither root when that was read");
    assert_eq!(job.counts.unwrap_or_default().still_in_scope(), 1);
    assert_eq!(enabled(&users(&world).await?), 600);
    assert_eq!(succeeded(&world.sync_now().await?), [0, 1, 599, 0, 0], "the move itself is an update");
    Ok(())
}
