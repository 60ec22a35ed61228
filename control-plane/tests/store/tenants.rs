//! Tenants: made once, suspended with all of their jobs at once, on both engines.

use std::sync::Arc;

use control_plane::model::{Actor, EventType, JobState, SourceId, TenantId, Timestamp, Trail};
use control_plane::store::{NewJob, SourceChange, Store, StoreError, Work};
use uuid::Uuid;

use crate::database::{Engine, NOW, block_on, on_both, settings};

on_both! {
    no_job_slips_through_while_its_tenant_is_suspended
    a_tenant_is_made_once_and_another_one_is_not_touched_by_its_suspension
    a_secret_is_the_same_for_whoever_comes_later
}

fn ops() -> Actor {
    Actor { name: "operators/ops".to_owned(), ..Actor::system() }
}

async fn source(store: &Store, tenant: &TenantId, id: &str) -> SourceId {
    let source = SourceId::from(id);
    let change = SourceChange { display_name: id.to_owned(), draft: settings() };
    store.create_source(tenant, &source, change, 30, &ops(), NOW).await.expect("a source");
    store.publish_source(tenant, &source, None, &ops(), NOW).await.expect("a published source");
    source
}

fn job(tenant: &TenantId, source: &SourceId) -> NewJob {
    NewJob {
        id: Uuid::now_v7(),
        tenant: tenant.clone(),
        source: source.clone(),
        started_by: ops(),
        request_id: None,
        full_lists_kept: 5,
        work: Work::Sync,
        now: NOW,
    }
}

async fn no_job_slips_through_while_its_tenant_is_suspended(engine: Engine) {
    let (store, tenant) = (engine.store().await, TenantId::from("acme"));
    store.create_tenant(&tenant, 10, &ops(), NOW).await.expect("a tenant");
    let mut sources = Vec::new();
    for number in 0..8 {
        sources.push(source(&store, &tenant, &format!("source-{number}")).await);
    }
    for round in 0..5 {
        let mut starts = Vec::new();
        for source in &sources {
            let (store, job): (Arc<Store>, _) = (store.clone(), job(&tenant, source));
            starts.push(tokio::spawn(async move { store.create_job(job).await }));
        }
        let (_, stopped) = store.suspend_tenant(&tenant, "", &ops(), NOW).await.expect("a suspension");
        let mut queued = 0;
        for start in starts {
            match start.await.expect("a task") {
                Ok(_) => queued += 1,
                Err(StoreError::TenantSuspended) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(stopped.len(), queued, "round {round}: each job that was queued was stopped");
        assert!(store.unowned_jobs(NOW, 100).await.expect("jobs").is_empty(), "round {round}");
        let refused = store.create_job(job(&tenant, &sources[0])).await;
        assert!(matches!(refused, Err(StoreError::TenantSuspended)));
        store.resume_tenant(&tenant, &ops(), NOW).await.expect("a tenant that is served");
    }
    let job = store.create_job(job(&tenant, &sources[0])).await.expect("a job, since it is served again");
    assert_eq!(job.state, JobState::Queued);
}

async fn a_tenant_is_made_once_and_another_one_is_not_touched_by_its_suspension(engine: Engine) {
    let (store, acme, globex) = (engine.store().await, TenantId::from("acme"), TenantId::from("globex"));
    for tenant in [&acme, &globex] {
        store.create_tenant(tenant, 10, &ops(), NOW).await.expect("a tenant");
        let again = store.create_tenant(tenant, 99, &ops(), NOW).await;
        assert!(matches!(again, Err(StoreError::AlreadyExists(_))));
        assert_eq!(store.license(tenant).await.expect("a license").limit, 10);
    }
    let source = source(&store, &globex, "hq").await;
    let job = store.create_job(job(&globex, &source)).await.expect("a job");
    let later = Timestamp(NOW.0 + 1);
    let (suspended, stopped) = store.suspend_tenant(&acme, "unpaid", &ops(), later).await.expect("a tenant");
    assert_eq!((suspended.suspended_at, stopped.len()), (Some(later), 0));
    let (again, _) =
        store.suspend_tenant(&acme, "again", &ops(), Timestamp(NOW.0 + 2)).await.expect("a tenant");
    assert_eq!(again.suspended_at, Some(later), "suspended since the first time");
    assert_eq!(store.suspended_tenants().await.expect("tenants"), std::slice::from_ref(&acme));
    assert_eq!(store.tenant(&globex).await.expect("a tenant").suspended_at, None);
    assert_eq!(store.job_by_number(job.number).await.expect("a job").state, JobState::Queued);
    let all = store.list_tenants(None, 10).await.expect("tenants");
    assert_eq!(all.iter().map(|tenant| tenant.id.as_str()).collect::<Vec<_>>(), ["acme", "globex"]);
    let rest = store.list_tenants(Some(&acme), 10).await.expect("tenants");
    assert_eq!(rest.len(), 1);
    assert!(matches!(store.tenant(&TenantId::from("nobody")).await, Err(StoreError::NotFound(_))));
    let resumed = store.resume_tenant(&acme, &ops(), later).await.expect("a tenant");
    assert_eq!(resumed.suspended_at, None);

    let trail = Trail::Tenant(acme);
    let events = store.list_events(&trail, &Default::default(), None, 10).await.expect("events");
    let mut kinds: Vec<i16> = events.iter().map(|event| event.kind).collect();
    kinds.sort_unstable();
    let expected = [EventType::TenantCreated, EventType::TenantSuspended, EventType::TenantResumed];
    assert_eq!(kinds, expected.map(EventType::number), "each once");
}

async fn a_secret_is_the_same_for_whoever_comes_later(engine: Engine) {
    let store = engine.store().await;
    assert_eq!(store.secret("one", [1; 32]).await.expect("a secret"), [1; 32]);
    assert_eq!(store.secret("one", [2; 32]).await.expect("a secret"), [1; 32]);
    assert_eq!(store.secret("two", [2; 32]).await.expect("a secret"), [2; 32]);
}
