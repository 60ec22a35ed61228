//! Whoever can write to the database can change the audit trail, and cannot hide it: a thousand
//! random ways, and `verify` finds each. One it cannot find by itself: the newest events cut off
//! together with the head. For that there are heads outside, with the routers and with whoever
//! writes down what `verify` says.

use std::sync::Arc;

use control_plane::commands::audit::verify;
use control_plane::model::{AuditEvent, AuditHead, Broken, Event, EventType, TenantNo, Timestamp, Trail};
use control_plane::store::{self, Store};

use crate::database::{Engine, NOW, admin, block_on, on_both};
use crate::tool::Tool;
use crate::trouble::{Dice, Site};

on_both! {
    a_trail_that_was_tampered_with_in_any_way_is_found_broken
    a_tail_that_was_cut_with_its_head_is_found_by_a_head_from_outside
    a_trail_can_be_verified_beside_a_running_control_plane
}

const WAYS: u64 = 1_000;
const COLUMNS: [&str; 8] = ["event_time", "type", "outcome", "actor", "via", "address", "subject", "details"];

/// Two tenants and the installation, with trails of their own.
struct Trails {
    store: Arc<Store>,
    tool: Tool,
    /// Number, and how many events.
    trails: Vec<(i64, i64)>,
}

impl Trails {
    async fn make(engine: &Engine) -> Self {
        let url = engine.url();
        let site = Site::set_up(store::open(&url).await.expect("a store")).await;
        let globex = Trail::Tenant("globex".into());
        site.store.set_license_limit(&"globex".into(), 9, true, &admin(), NOW).await.expect("a tenant");
        for (trail, many) in [(site.trail(), 30), (globex, 20), (Trail::Installation, 10)] {
            for at in 0..many {
                let event = Event::refused(EventType::CallRefused, format!("/method/{at}")).with("count", at);
                let now = Timestamp(NOW.0 + at);
                site.store.record(&trail, &admin(), event, now).await.expect("an event");
            }
        }
        let mut tool = Tool::open(&url).await;
        for table in ["audit_events", "audit_heads", "tenants"] {
            tool.run(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await;
        }
        let mut trails = Vec::new();
        while let Some(next) =
            site.store.next_trail(trails.last().map(|(number, _)| TenantNo(*number))).await.expect("a trail")
        {
            let head = site.store.stored_head(next.number).await.expect("a head").expect("a head");
            trails.push((next.number.0, head.sequence));
        }
        assert_eq!(trails.len(), 3);
        Self { store: site.store, tool, trails }
    }

    async fn restore(&mut self) {
        self.tool
            .run(
                "BEGIN; DELETE FROM audit_events; INSERT INTO audit_events SELECT * FROM saved_audit_events; \
                 DELETE FROM audit_heads; INSERT INTO audit_heads SELECT * FROM saved_audit_heads; \
                 UPDATE tenants SET id = (SELECT s.id FROM saved_tenants s WHERE s.tenant_no = tenants.tenant_no); COMMIT",
            )
            .await;
    }

    /// The first trail that is broken, and how.
    async fn broken(&self) -> Option<Broken> {
        let mut after = None;
        while let Some(next) = self.store.next_trail(after).await.expect("a trail") {
            after = Some(next.number);
            let verdict = verify(&self.store, &next, Vec::new()).await.expect("a verdict");
            if verdict.broken.is_some() {
                return verdict.broken;
            }
        }
        None
    }

    async fn event(&self, trail: i64, sequence: i64) -> AuditEvent {
        let events = self.store.stored_events(TenantNo(trail), Some(sequence - 1), 1).await.expect("events");
        events.into_iter().next().flatten().expect("an event")
    }

    fn zeros(&self) -> &'static str {
        match self.tool {
            Tool::Sqlite(_) => "zeroblob(32)",
            Tool::Postgres(_) => "decode(repeat('00', 32), 'hex')",
        }
    }

    fn bytes(&self, hash: &[u8]) -> String {
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.tool {
            Tool::Sqlite(_) => format!("x'{hex}'"),
            Tool::Postgres(_) => format!("decode('{hex}', 'hex')"),
        }
    }

    /// Changes an event and gives it the hash that it must have now, as somebody would who can read
    /// this program.
    async fn forge(&mut self, trail: i64, sequence: i64) -> String {
        let mut event = self.event(trail, sequence).await;
        let before = match sequence {
            1 => [0; 32],
            _ => self.event(trail, sequence - 1).await.hash,
        };
        event.subject.push('x');
        let of = self.store.next_trail(Some(TenantNo(trail - 1))).await.expect("a trail").expect("a trail");
        let hash = event.link(&of.trail.expect("of somebody"), &before);
        let (subject, hash) = (&event.subject, self.bytes(&hash));
        format!(
            "UPDATE audit_events SET subject = '{subject}', hash = {hash} WHERE tenant_no = {trail} AND sequence = {sequence}"
        )
    }

    /// One random way to tamper, as statements.
    async fn way(&mut self, dice: &mut Dice) -> String {
        let mut below = |limit: i64| dice.below(limit.unsigned_abs()).cast_signed();
        let (trail, many) = self.trails[below(3).unsigned_abs() as usize];
        let (one, other) = (1 + below(many), 1 + below(many));
        let other = if one == other { other % many + 1 } else { other };
        let row = |sequence: i64| format!("WHERE tenant_no = {trail} AND sequence = {sequence}");
        let elsewhere = self.trails.iter().find(|(number, _)| *number != trail).expect("another trail").0;
        let zeros = self.zeros();
        match below(16) {
            0..=2 => {
                let column = COLUMNS[below(8).unsigned_abs() as usize];
                let value = match column {
                    "event_time" | "type" | "outcome" => format!("{column} + {}", 1 + below(5)),
                    _ if below(4) == 0 && column != "via" => "''".to_owned(),
                    _ => format!("{column} || 'x'"),
                };
                format!("UPDATE audit_events SET {column} = {value} {}", row(one))
            }
            3 => format!("UPDATE audit_events SET hash = (SELECT hash FROM audit_events {}) {}", row(other), row(one)),
            4 => format!("UPDATE audit_events SET hash = {zeros} {}", row(one)),
            5 => format!("DELETE FROM audit_events {}", row(one)),
            6 => format!("DELETE FROM audit_events WHERE tenant_no = {trail} AND sequence > {}", below(many)),
            // Cut at the front, and numbered anew, with the head.
            7 => format!(
                "DELETE FROM audit_events {}; UPDATE audit_events SET sequence = -sequence WHERE tenant_no = {trail} AND sequence > {one}; \
                 UPDATE audit_events SET sequence = -sequence - 1 WHERE tenant_no = {trail} AND sequence < 0; \
                 UPDATE audit_heads SET sequence = sequence - 1 WHERE tenant_no = {trail}",
                // The newest one cut with its head is another test's.
                row(one.min(many - 1)),
            )
            .replace(&format!("> {one}"), &format!("> {}", one.min(many - 1))),
            8 => format!(
                "UPDATE audit_events SET sequence = 0 {}; UPDATE audit_events SET sequence = {one} {}; UPDATE audit_events SET sequence = {other} {}",
                row(one), row(other), row(0)
            ),
            9 => format!("UPDATE audit_events SET sequence = {} {}", [0, -one, many + one][below(3).unsigned_abs() as usize], row(one)),
            10 => {
                let to = [many + 1, 0, -1, many + 50][below(4).unsigned_abs() as usize];
                format!(
                    "INSERT INTO audit_events SELECT tenant_no, {to}, event_time, type, outcome, actor, via, address, subject, details, hash \
                     FROM audit_events {}",
                    row(one)
                )
            }
            11 => format!("UPDATE audit_events SET tenant_no = {} {}", [77, -7][below(2).unsigned_abs() as usize], row(one)),
            // The same number in another trail, which changes places with it.
            12 => format!(
                "UPDATE audit_events SET tenant_no = 99 WHERE tenant_no = {elsewhere} AND sequence = {0}; \
                 UPDATE audit_events SET tenant_no = {elsewhere} WHERE tenant_no = {trail} AND sequence = {0}; \
                 UPDATE audit_events SET tenant_no = {trail} WHERE tenant_no = 99",
                one.min(10)
            ),
            13 => {
                let head = [
                    "SET sequence = sequence + 1".to_owned(),
                    "SET sequence = sequence - 1".to_owned(),
                    format!("SET hash = {zeros}"),
                    format!("SET sequence = {one} - 1, hash = {zeros}"),
                ];
                format!("UPDATE audit_heads {} WHERE tenant_no = {trail}", head[below(4).unsigned_abs() as usize])
            }
            14 => format!("DELETE FROM audit_heads WHERE tenant_no = {trail}"),
            _ if below(4) == 0 => "UPDATE tenants SET id = id || 'x' WHERE id = 'acme'".to_owned(),
            _ => self.forge(trail, one).await,
        }
    }
}

async fn a_trail_that_was_tampered_with_in_any_way_is_found_broken(engine: Engine) {
    let mut trails = Trails::make(&engine).await;
    assert_eq!(trails.broken().await, None, "before");
    let mut dice = Dice(5);
    for way in 0..WAYS {
        let sql = trails.way(&mut dice).await;
        assert!(trails.tool.run(&format!("BEGIN; {sql}; COMMIT")).await < 100, "{sql}");
        assert!(trails.broken().await.is_some(), "not found: way {way}: {sql}");
        trails.restore().await;
        if way % 100 == 0 {
            assert_eq!(trails.broken().await, None, "restored after {sql}");
        }
    }
    assert_eq!(trails.broken().await, None, "after");
}

async fn a_tail_that_was_cut_with_its_head_is_found_by_a_head_from_outside(engine: Engine) {
    let mut trails = Trails::make(&engine).await;
    let (number, many) = trails.trails[1];
    let of = trails.store.next_trail(Some(TenantNo(number - 1))).await.expect("a trail").expect("a trail");
    let written_down = trails.store.stored_head(of.number).await.expect("a head").expect("a head");
    let cut = many - 3;
    let hash = trails.event(number, cut).await.hash;
    let hash = trails.bytes(&hash);
    trails
        .tool
        .run(&format!(
            "DELETE FROM audit_events WHERE tenant_no = {number} AND sequence > {cut}; \
             UPDATE audit_heads SET sequence = {cut}, hash = {hash} WHERE tenant_no = {number}"
        ))
        .await;
    let found =
        async |outside: Vec<AuditHead>| verify(&trails.store, &of, outside).await.expect("a verdict").broken;
    assert_eq!(found(Vec::new()).await, None, "what is there fits together");
    assert_eq!(found(vec![written_down]).await, Some(Broken::Cut { said: many, found: cut }));
    // Grown again to the same length, by other events.
    for _ in 0..3 {
        let event = Event::refused(EventType::CallRefused, "/another");
        let trail = of.trail.clone().expect("of somebody");
        trails.store.record(&trail, &admin(), event, NOW).await.expect("an event");
    }
    assert_eq!(found(Vec::new()).await, None);
    assert_eq!(found(vec![written_down]).await, Some(Broken::Forked(many)));
}

/// While it writes, and although the file is its own.
async fn a_trail_can_be_verified_beside_a_running_control_plane(engine: Engine) {
    let url = engine.url();
    let site = Site::set_up(store::open(&url).await.expect("a store")).await;
    let beside = store::open_trail(&url).await.expect("the trail");
    let (store, trail) = (Arc::clone(&site.store), site.trail());
    let writer = tokio::spawn(async move {
        for at in 0..300 {
            let event = Event::refused(EventType::CallRefused, format!("/{at}"));
            store.record(&trail, &admin(), event, NOW).await.expect("an event");
        }
    });
    let mut looked = 0;
    while !writer.is_finished() || looked == 0 {
        let mut after = None;
        while let Some(next) = beside.next_trail(after).await.expect("a trail") {
            after = Some(next.number);
            assert_eq!(verify(&beside, &next, Vec::new()).await.expect("a verdict").broken, None);
        }
        looked += 1;
    }
    writer.await.expect("a writer");
    let event = Event::refused(EventType::CallRefused, "/x");
    assert!(beside.record(&site.trail(), &admin(), event, NOW).await.is_err(), "it only reads");
}
