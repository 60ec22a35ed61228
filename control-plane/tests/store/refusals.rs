//! DenialLog reach the trail, and a flood of them does not: neither the database nor the memory
//! fills.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use control_plane::api::middleware::denials::DenialLog;
use control_plane::clock::Clock;
use control_plane::model::{Actor, AuditEvent, AuditFilter, Event, EventType, Timestamp, Trail};
use control_plane::store;
use tokio_util::sync::CancellationToken;

use crate::database::{Engine, NOW, admin, block_on};
use crate::tool::Tool;
use crate::trouble::Site;

/// A site whose clock stands still until it is moved.
struct Door {
    site: Site,
    tool: Tool,
    time: Arc<AtomicI64>,
    denials: DenialLog,
    _engine: Engine,
}

impl Door {
    async fn new() -> Self {
        let engine = Engine::sqlite();
        let url = engine.url();
        let site = Site::set_up(store::open(&url).await.expect("a store")).await;
        let time = Arc::new(AtomicI64::new(NOW.0));
        let clock = Clock::from_fn({
            let time = Arc::clone(&time);
            move || Timestamp(time.load(Ordering::Relaxed))
        });
        let denials = DenialLog::start(site.store.clone(), clock, CancellationToken::new());
        Self { tool: Tool::open(&url).await, site, time, denials, _engine: engine }
    }

    fn note(&self, trail: Trail, actor: Actor, method: &str) {
        self.denials.record(
            trail,
            actor,
            Event::refused(EventType::CallRefused, method).with("role", "AUDITOR"),
        );
    }

    async fn refused(&self, trail: &Trail) -> Vec<AuditEvent> {
        let filter = AuditFilter { kinds: vec![EventType::CallRefused.number()], ..AuditFilter::default() };
        self.site.store.events_from(trail, &filter, 1, 10_000).await.expect("events")
    }

    /// Waits for the writer of its own accord.
    async fn until(&self, many: usize) -> Vec<AuditEvent> {
        let mut events = Vec::new();
        for _ in 0..600 {
            events = self.refused(&self.site.trail()).await;
            if events.len() >= many {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        events
    }
}

#[test]
fn the_first_refusal_is_written_at_once_and_those_of_its_minute_as_one() {
    block_on(async {
        let door = Door::new().await;
        door.note(door.site.trail(), admin(), "/a");
        let events = door.until(1).await;
        assert_eq!(events[0].details, r#"{"count":"1","role":"AUDITOR"}"#);
        assert_eq!((&events[0].actor, events[0].subject.as_str()), (&admin(), "/a"));
        for _ in 0..10_000 {
            door.note(door.site.trail(), admin(), "/a");
        }
        door.note(door.site.trail(), admin(), "/b");
        let events = door.until(2).await;
        assert_eq!(events.len(), 2, "another method, and nothing more of the first: {events:?}");
        door.time.fetch_add(61_000_000, Ordering::Relaxed);
        let events = door.until(3).await;
        assert_eq!(events[2].details, r#"{"count":"10000","role":"AUDITOR"}"#);
    });
}

#[test]
fn a_flood_of_all_kinds_is_bounded_and_leaves_room_for_others() {
    block_on(async {
        let door = Door::new().await;
        for at in 0..10_000 {
            let actor = Actor { name: format!("admins/m{at}"), ..admin() };
            door.note(door.site.trail(), actor, "/a");
        }
        door.note(Trail::Installation, admin(), "/a");
        door.denials.flush().await;
        let written = door.refused(&door.site.trail()).await.len();
        assert!((1..=64).contains(&written), "{written}");
        assert_eq!(door.refused(&Trail::Installation).await.len(), 1);
        // Once its minute is over, a kind makes room.
        door.time.fetch_add(61_000_000, Ordering::Relaxed);
        door.denials.flush().await;
        door.note(door.site.trail(), admin(), "/later");
        door.denials.flush().await;
        assert_eq!(door.refused(&door.site.trail()).await.last().expect("an event").subject, "/later");
    });
}

#[test]
fn refusals_wait_for_a_database_in_trouble() {
    block_on(async {
        let mut door = Door::new().await;
        door.tool.close_the_trail().await;
        for _ in 0..3 {
            door.note(door.site.trail(), admin(), "/a");
            door.denials.flush().await;
        }
        assert!(door.refused(&door.site.trail()).await.is_empty());
        door.tool.open_the_trail().await;
        door.denials.flush().await;
        let counted: u64 = door
            .refused(&door.site.trail())
            .await
            .iter()
            .map(|event| {
                let details: serde_json::Value = serde_json::from_str(&event.details).expect("JSON");
                details["count"].as_str().expect("a count").parse::<u64>().expect("a number")
            })
            .sum();
        assert_eq!(counted, 3);
    });
}

#[test]
fn a_refusal_of_a_tenant_that_does_not_exist_is_the_installations() {
    block_on(async {
        let door = Door::new().await;
        door.note(Trail::Tenant("nobody".into()), admin(), "/a");
        door.denials.flush().await;
        assert_eq!(door.refused(&Trail::Installation).await.len(), 1);
    });
}
