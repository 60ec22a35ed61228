//! What the audit trail promises, on both engines: each change is one event, in the transaction
//! that makes it; each trail is one chain, whoever writes at the same time; nobody's events are in
//! another's trail; filters find what they say.

use std::sync::Arc;

use control_plane::commands::audit::verify;
use control_plane::model::{
    AuditEvent, AuditFilter, AuditOutcome, Decision, Event, EventType, Failure, FailureReason, Fence, Hold,
    HoldReason, IdentitySource, JobNo, License, ReadFacts, SourceId, SyncJob, TenantId, Timestamp, Trail,
    Webhook,
};
use control_plane::store::{
    self, NewJob, NewWebhook, Outcome, SourceChange, Store, StoreError, WebhookChange, Work,
};
use uuid::Uuid;

use crate::database::{Engine, NOW, admin, block_on, on_both, settings};
use crate::tool::Tool;
use crate::trouble::{Dice, OWNER, Site};

on_both! {
    what_cannot_be_audited_does_not_happen_and_what_happens_is_one_event
    the_trail_has_as_many_events_as_there_were_changes
    fifty_who_write_at_once_make_one_chain_without_gaps
    the_events_of_two_tenants_never_mix
    a_filter_finds_what_it_says_page_by_page
    a_trail_names_fields_and_numbers_and_no_values
}

/// One change of every kind, each on something of its own.
const CHANGES: [(&str, EventType); 21] = [
    ("set the limit", EventType::LicenseLimitSet),
    ("make a tenant", EventType::TenantCreated),
    ("create", EventType::SourceCreated),
    ("update", EventType::SourceUpdated),
    ("publish", EventType::SourcePublished),
    ("delete", EventType::SourceDeleted),
    ("start", EventType::SyncStarted),
    ("stop", EventType::SyncStopped),
    ("hold", EventType::SyncHeld),
    ("approve", EventType::SyncApproved),
    ("reject", EventType::SyncRejected),
    ("expire", EventType::SyncHoldExpired),
    ("succeed", EventType::SyncSucceeded),
    ("end as failed", EventType::SyncFailed),
    ("fail", EventType::SyncFailed),
    ("make a webhook", EventType::WebhookCreated),
    ("change a webhook", EventType::WebhookUpdated),
    ("rotate a secret", EventType::WebhookSecretRotated),
    ("test a webhook", EventType::WebhookTested),
    ("drop a webhook", EventType::WebhookDeleted),
    ("refuse", EventType::CallRefused),
];

/// Sources in the states that the changes start from.
struct Scene {
    site: Site,
    fences: Vec<(&'static str, Fence)>,
    failing: JobNo,
}

fn hold(expires_at: Timestamp) -> Hold {
    Hold {
        reason: HoldReason::DisableGuard,
        message: "many".to_owned(),
        broken: Vec::new(),
        users: 7,
        etag: "the list".to_owned(),
        since: NOW,
        expires_at,
        decision: Decision::Pending,
        decided_by: String::new(),
    }
}

fn job_of(site: &Site, source: &str) -> NewJob {
    NewJob {
        id: Uuid::now_v7(),
        tenant: site.tenant.clone(),
        source: SourceId::from(source),
        started_by: admin(),
        request_id: None,
        full_lists_kept: 5,
        work: Work::Sync,
        now: NOW,
    }
}

/// Everything that the changes could change.
type Picture = (License, (bool, Vec<Webhook>), Vec<IdentitySource>, Vec<SyncJob>, Vec<AuditEvent>);

fn webhook(id: &str) -> NewWebhook {
    NewWebhook {
        id: id.into(),
        uid: [7; 16],
        secret: vec![1],
        display_name: String::new(),
        url: "https://hooks.example.com/".to_owned(),
        events: Vec::new(),
        enabled: true,
    }
}

impl Scene {
    async fn set(store: Arc<Store>) -> Self {
        let site = Site::set_up(store).await;
        for source in ["update", "publish", "delete", "start", "fail"] {
            site.source(source).await;
        }
        let mut fences = Vec::new();
        for source in ["stop", "hold", "approve", "reject", "expire", "succeed", "end as failed"] {
            let id = source.replace(' ', "-");
            site.source(&id).await;
            let job = site.job(&id).await;
            let fence = site.begin(job).await.expect("a read").fence;
            if ["approve", "reject", "expire"].contains(&source) {
                let expires_at = Timestamp(NOW.0 + if source == "expire" { 10 } else { 1_000 });
                let held = site.store.hold_job(fence, hold(expires_at), ReadFacts::default()).await;
                held.expect("a held job");
            }
            fences.push((source, fence));
        }
        let failing = site.job("fail").await;
        for id in ["change-a-webhook", "rotate-a-secret", "test-a-webhook", "drop-a-webhook"] {
            site.store.create_webhook(&site.tenant, webhook(id), 30, &admin(), NOW).await.expect("a webhook");
        }
        Self { site, fences, failing }
    }

    fn fence(&self, source: &str) -> Fence {
        self.fences.iter().find(|(of, _)| *of == source).expect("a job of the source").1
    }

    async fn change(&self, what: &str) -> Result<(), StoreError> {
        let (store, tenant, by) = (&self.site.store, &self.site.tenant, &admin());
        let source = SourceId::from(what.replace(' ', "-").as_str());
        let change = || SourceChange { display_name: "another".to_owned(), draft: settings() };
        match what {
            "set the limit" => store.set_license_limit(tenant, 5, false, by, NOW).await,
            "make a tenant" => store.set_license_limit(&"globex".into(), 5, true, by, NOW).await,
            "create" => store.create_source(tenant, &source, change(), 30, by, NOW).await.map(drop),
            "update" => {
                let version = store.source(tenant, &source).await?.version;
                store.update_source(tenant, &source, version, change(), by, NOW).await.map(drop)
            }
            "publish" => store.publish_source(tenant, &source, None, by, NOW).await.map(drop),
            "delete" => store.delete_source(tenant, &source, false, by, NOW).await,
            "start" => store.create_job(job_of(&self.site, what)).await.map(drop),
            "stop" => store.stop_job(tenant, &source, None, by, NOW).await.map(drop),
            "hold" => {
                let expires = Timestamp(NOW.0 + 1_000);
                store.hold_job(self.fence(what), hold(expires), ReadFacts::default()).await.map(drop)
            }
            "approve" => store.approve_job(tenant, &source, None, "the list", by, NOW).await.map(drop),
            "reject" => store.reject_job(tenant, &source, None, by, NOW).await.map(drop),
            "expire" => {
                let expired = store.expire_holds(Timestamp(NOW.0 + 20)).await?;
                assert_eq!(expired, 1);
                Ok(())
            }
            "succeed" => {
                let done = Outcome::Succeeded { withheld: None, facts: None };
                store.finish_job(self.fence(what), done, NOW).await.map(drop)
            }
            "end as failed" => {
                let failed = Outcome::Failed(Failure::of(FailureReason::ReadIncomplete));
                store.finish_job(self.fence(what), failed, NOW).await.map(drop)
            }
            "fail" => {
                let failure = Failure::of(FailureReason::RouterLost);
                store.fail_job(self.failing, OWNER, failure, NOW).await
            }
            "make a webhook" => {
                store.create_webhook(tenant, webhook("make-a-webhook"), 30, by, NOW).await.map(drop)
            }
            "change a webhook" => {
                let change = WebhookChange { enabled: Some(false), ..WebhookChange::default() };
                store.update_webhook(tenant, &source.0.as_str().into(), change, by, NOW).await.map(drop)
            }
            "rotate a secret" => {
                let id = source.0.as_str().into();
                store
                    .rotate_webhook_secret(tenant, &id, vec![2], Timestamp(NOW.0 + 1), by, NOW)
                    .await
                    .map(drop)
            }
            "test a webhook" => {
                let (id, pause) = (source.0.as_str().into(), std::time::Duration::from_secs(5));
                store.begin_webhook_test(tenant, &id, pause, by, NOW).await.map(drop)
            }
            "drop a webhook" => store.delete_webhook(tenant, &source.0.as_str().into(), by, NOW).await,
            "refuse" => {
                let event = Event::refused(EventType::CallRefused, "/a/method");
                store.record(&self.site.trail(), by, event, NOW).await
            }
            other => panic!("{other} is no change"),
        }
    }

    /// Everything that the changes could change.
    async fn picture(&self) -> Picture {
        let (store, tenant) = (&self.site.store, &self.site.tenant);
        let sources = store.list_sources(tenant, None, 100).await.expect("sources");
        let mut jobs = Vec::new();
        for source in &sources {
            jobs.extend(store.list_jobs(tenant, &source.id, None, 100).await.expect("jobs"));
        }
        let globex = store.tenant_exists(&"globex".into()).await.expect("an answer");
        let webhooks = store.list_webhooks(tenant, None, 100).await.expect("webhooks");
        let license = store.license(tenant).await.expect("a license");
        (license, (globex, webhooks), sources, jobs, self.site.events().await)
    }
}

impl Site {
    pub(crate) fn trail(&self) -> Trail {
        Trail::Tenant(self.tenant.clone())
    }

    /// The tenant's events, oldest first.
    pub(crate) async fn events(&self) -> Vec<AuditEvent> {
        let events = self.store.events_from(&self.trail(), &AuditFilter::default(), 1, 100_000).await;
        events.expect("events")
    }
}

async fn sound(store: &Arc<Store>) {
    let (mut after, store): (_, &Store) = (None, &**store);
    while let Some(trail) = store.next_trail(after).await.expect("a trail") {
        after = Some(trail.number);
        let verdict = verify(store, &trail, Vec::new()).await.expect("a verdict");
        assert_eq!(verdict.broken, None, "{trail:?}");
    }
}

async fn what_cannot_be_audited_does_not_happen_and_what_happens_is_one_event(engine: Engine) {
    let url = engine.url();
    let scene = Scene::set(store::open(&url).await.expect("a store")).await;
    let mut tool = Tool::open(&url).await;
    let before = scene.picture().await;
    tool.close_the_trail().await;
    for (what, _) in CHANGES {
        assert!(scene.change(what).await.is_err(), "{what}");
        assert!(scene.picture().await == before, "{what} has left something");
    }
    tool.open_the_trail().await;
    let mut all = before.4;
    let globex = Trail::Tenant("globex".into());
    for (what, kind) in CHANGES {
        scene.change(what).await.expect(what);
        let made = if kind == EventType::TenantCreated {
            scene.site.store.list_events(&globex, &AuditFilter::default(), None, 10).await.expect("events")
        } else {
            let now = scene.site.events().await;
            let new = now[all.len()..].to_vec();
            all = now;
            new
        };
        assert_eq!(made.iter().map(|event| event.kind).collect::<Vec<_>>(), [kind.number()], "{what}");
        let system = [
            EventType::SyncHeld,
            EventType::SyncHoldExpired,
            EventType::SyncSucceeded,
            EventType::SyncFailed,
        ];
        let by = if system.contains(&kind) { "system" } else { "admins/test" };
        assert_eq!(made[0].actor.name, by, "{what}");
    }
    sound(&scene.site.store).await;
}

async fn the_trail_has_as_many_events_as_there_were_changes(engine: Engine) {
    let site = Site::set_up(engine.store().await).await;
    let mut expected = site.events().await.len();
    let mut dice = Dice(26);
    let by = admin();
    for _ in 0..200 {
        let source = SourceId::from(["a", "b", "c"][dice.below(3) as usize]);
        let (store, tenant) = (&site.store, &site.tenant);
        let change = SourceChange { display_name: dice.below(9).to_string(), draft: settings() };
        let done = match dice.below(8) {
            0 => store.set_license_limit(tenant, 5, false, &by, NOW).await.is_ok(),
            1 | 2 => store.create_source(tenant, &source, change, 30, &by, NOW).await.is_ok(),
            3 => store.update_source(tenant, &source, 1, change, &by, NOW).await.is_ok(),
            4 => store.publish_source(tenant, &source, None, &by, NOW).await.is_ok(),
            5 => store.delete_source(tenant, &source, false, &by, NOW).await.is_ok(),
            6 => {
                // Pressed twice: one job, one event.
                let request_id = Some(dice.below(1_000).to_string());
                let job = || NewJob { request_id: request_id.clone(), ..job_of(&site, source.as_str()) };
                let started = store.create_job(job()).await.is_ok();
                assert_eq!(store.create_job(job()).await.is_ok(), started);
                started
            }
            _ => {
                let ended = |job: Result<SyncJob, _>| job.is_ok_and(|job| job.state.ended());
                let before = ended(store.job(tenant, &source, None).await);
                ended(store.stop_job(tenant, &source, None, &by, NOW).await) && !before
            }
        };
        expected += usize::from(done);
    }
    let events = site.events().await;
    assert_eq!(events.len(), expected);
    assert!(events.iter().all(|event| event.outcome == AuditOutcome::Done.number()));
    sound(&site.store).await;
}

async fn fifty_who_write_at_once_make_one_chain_without_gaps(engine: Engine) {
    const EACH: usize = 5;
    let site = Site::set_up(engine.store().await).await;
    let before = site.events().await.len();
    let writers: Vec<_> = (0..50)
        .map(|writer| {
            let (store, tenant) = (Arc::clone(&site.store), site.tenant.clone());
            tokio::spawn(async move {
                for change in 0..EACH {
                    let by = admin();
                    // Behind the locks of a tenant, of a source, and of nothing.
                    match (writer + change) % 3 {
                        0 => store.set_license_limit(&tenant, 1_000, false, &by, NOW).await.expect("a limit"),
                        1 => drop(
                            store
                                .publish_source(&tenant, &"hq".into(), None, &by, NOW)
                                .await
                                .expect("a revision"),
                        ),
                        _ => {
                            let event = Event::refused(EventType::CallRefused, format!("/{writer}"));
                            store
                                .record(&Trail::Tenant(tenant.clone()), &by, event, NOW)
                                .await
                                .expect("an event");
                        }
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    let events = site.events().await;
    assert_eq!(events.len(), before + 50 * EACH);
    let numbers: Vec<_> = events.iter().map(|event| event.sequence).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as i64), "{numbers:?}");
    sound(&site.store).await;
}

async fn the_events_of_two_tenants_never_mix(engine: Engine) {
    let store = engine.store().await;
    let tenants = ["acme", "globex"].map(TenantId::from);
    let work = tenants.clone().map(|tenant| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let by = admin();
            store.set_license_limit(&tenant, 10, true, &by, NOW).await.expect("a tenant");
            for at in 0..20 {
                let (source, change) = (
                    SourceId(format!("s{at}")),
                    SourceChange { display_name: String::new(), draft: settings() },
                );
                store.create_source(&tenant, &source, change, 30, &by, NOW).await.expect("a source");
                let event = Event::refused(EventType::CallRefused, "/a/method");
                store.record(&Trail::Installation, &by, event, NOW).await.expect("an event");
            }
        })
    });
    for work in work {
        work.await.expect("work");
    }
    for tenant in tenants {
        let events =
            store.list_events(&Trail::Tenant(tenant.clone()), &AuditFilter::default(), None, 100).await;
        let events = events.expect("events");
        assert_eq!(events.len(), 21, "{tenant}");
        let own = format!("tenants/{tenant}");
        assert!(events.iter().all(|event| event.subject.starts_with(&own)), "{events:?}");
    }
    let installation =
        store.list_events(&Trail::Installation, &AuditFilter::default(), None, 100).await.expect("events");
    assert_eq!(installation.len(), 40);
    sound(&store).await;
}

async fn a_filter_finds_what_it_says_page_by_page(engine: Engine) {
    let site = Site::set_up(engine.store().await).await;
    let trail = site.trail();
    for (at, (source, kind)) in [
        ("hq-2", EventType::SourceCreated),
        ("hq", EventType::SourceUpdated),
        ("hq/syncJobs/1", EventType::SyncStarted),
        ("hq%", EventType::SourceUpdated),
    ]
    .into_iter()
    .enumerate()
    {
        let event = Event::done(kind, format!("tenants/acme/identitySources/{source}"));
        let now = Timestamp(NOW.0 + 100 + at as i64);
        site.store.record(&trail, &admin(), event, now).await.expect("an event");
    }
    let refused = Event::refused(EventType::CallRefused, "/a/method");
    let bob = control_plane::model::Actor { name: "admins/bob".to_owned(), ..admin() };
    site.store.record(&trail, &bob, refused, NOW).await.expect("an event");
    let all = site.events().await;
    let find = async |filter: AuditFilter| -> Vec<i64> {
        let mut found = Vec::new();
        loop {
            let before = found.last().copied();
            let page = site.store.list_events(&trail, &filter, before, 2).await.expect("a page");
            if page.is_empty() {
                break;
            }
            found.extend(page.iter().map(|event| event.sequence));
        }
        let stream = site.store.events_from(&trail, &filter, 1, 100).await.expect("events");
        assert!(found.iter().rev().copied().eq(stream.iter().map(|event| event.sequence)), "{filter:?}");
        found
    };
    let expect = |keep: &dyn Fn(&AuditEvent) -> bool| -> Vec<i64> {
        all.iter().rev().filter(|event| keep(event)).map(|event| event.sequence).collect()
    };
    assert_eq!(find(AuditFilter::default()).await, expect(&|_| true));
    let updated = EventType::SourceUpdated.number();
    let kinds = AuditFilter { kinds: vec![updated, 300], ..AuditFilter::default() };
    assert_eq!(find(kinds.clone()).await, expect(&|event| [updated, 300].contains(&event.kind)));
    // At the borders of path segments, and without patterns.
    let subject = "tenants/acme/identitySources/hq".to_owned();
    let below = format!("{subject}/");
    let of_hq = |event: &AuditEvent| event.subject == subject || event.subject.starts_with(&below);
    let by_subject = AuditFilter { subject: Some(subject.clone()), ..AuditFilter::default() };
    assert_eq!(find(by_subject.clone()).await, expect(&of_hq));
    let outcome = AuditFilter { outcome: Some(AuditOutcome::Refused), ..AuditFilter::default() };
    assert_eq!(find(outcome).await, expect(&|event| event.outcome == 2));
    let actor = AuditFilter { actor: Some("admins/bob".to_owned()), ..AuditFilter::default() };
    assert_eq!(find(actor).await, expect(&|event| event.actor.name == "admins/bob"));
    let (from, until) = (Timestamp(NOW.0 + 101), Timestamp(NOW.0 + 103));
    let times = AuditFilter { from: Some(from), until: Some(until), ..AuditFilter::default() };
    assert_eq!(find(times).await.len(), 2, "the end is not in it");
    let both = AuditFilter { kinds: vec![updated], from: Some(from), ..by_subject };
    assert_eq!(find(both).await, expect(&|event| of_hq(event) && event.kind == updated));
}

async fn a_trail_names_fields_and_numbers_and_no_values(engine: Engine) {
    let site = Site::set_up(engine.store().await).await;
    let source = SourceId::from("hq");
    let mut draft = settings();
    draft.extra_filter = "(cn=a-secret-value)".to_owned();
    draft.mapping.phone = "a-secret-attribute".to_owned();
    let version = site.store.source(&site.tenant, &source).await.expect("a source").version;
    let change = SourceChange { display_name: "a-secret-name".to_owned(), draft };
    site.store.update_source(&site.tenant, &source, version, change, &admin(), NOW).await.expect("updated");
    let events = site.events().await;
    let last = events.last().expect("an event");
    assert_eq!(last.details, r#"{"changed":"display_name,draft.extra_filter,draft.mapping.phone"}"#);
    assert_eq!(last.actor, admin(), "who, and from where");
    assert!(!format!("{events:?}").contains("a-secret"));
}
