//! What the tests of trouble share: one tenant, one job that is being read, and people with names
//! of their own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control_plane::model::{
    Fence, ImmutableId, JobNo, NameKind, ReadStart, Record, RouterId, SourceId, SyncJob, TenantId, TenantNo,
    UserFilter, UserValues,
};
use control_plane::reconcile::names;
use control_plane::store::{Applied, NewJob, Outcome, SourceChange, Store, StoreError, Work};
use uuid::Uuid;

use crate::database::{NOW, admin, settings};

pub(crate) const OWNER: &str = "this test";
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// A store with one tenant.
pub(crate) struct Site {
    pub(crate) store: Arc<Store>,
    pub(crate) tenant: TenantId,
}

impl Site {
    /// A tenant with a large license and the published source `hq`.
    pub(crate) async fn set_up(store: Arc<Store>) -> Self {
        let site = Self { store, tenant: TenantId::from("acme") };
        site.store.set_license_limit(&site.tenant, 1_000_000, true, &admin(), NOW).await.expect("a tenant");
        site.source("hq").await;
        site
    }

    pub(crate) async fn source(&self, id: &str) {
        let source = SourceId::from(id);
        let change = SourceChange { display_name: id.to_owned(), draft: settings() };
        self.store.create_source(&self.tenant, &source, change, 30, &admin(), NOW).await.expect("a source");
        self.store
            .publish_source(&self.tenant, &source, None, &admin(), NOW)
            .await
            .expect("a published source");
    }

    /// A job of a source, claimed.
    pub(crate) async fn job(&self, source: &str) -> JobNo {
        let job = NewJob {
            id: Uuid::now_v7(),
            tenant: self.tenant.clone(),
            source: SourceId::from(source),
            started_by: admin(),
            request_id: None,
            full_lists_kept: 5,
            work: Work::Sync,
            now: NOW,
        };
        let job = self.store.create_job(job).await.expect("a job").number;
        assert!(self.store.claim_job(job, OWNER, LEASE, NOW).await.expect("a claim"));
        job
    }

    pub(crate) async fn begin(&self, job: JobNo) -> Result<ReadStart, StoreError> {
        self.store.begin_read(job, OWNER, &RouterId::from("r1"), NOW).await
    }

    pub(crate) async fn renew(&self, job: JobNo) -> Result<bool, StoreError> {
        self.store.renew_lease(job, OWNER, LEASE, NOW).await
    }

    pub(crate) async fn apply(&self, fence: Fence, records: Vec<Record>) -> Result<Applied, StoreError> {
        self.store.apply(fence, Arc::new(records), Vec::new(), 0, NOW).await
    }

    pub(crate) async fn finish(&self, fence: Fence) -> SyncJob {
        let done = Outcome::Succeeded { withheld: None, facts: None };
        self.store.finish_job(fence, done, NOW).await.expect("an end")
    }

    pub(crate) async fn users(&self) -> usize {
        self.store.list_users(&self.tenant, &UserFilter::default(), None, 100_000).await.expect("users").len()
    }
}

/// Person number `n`, whose title is the only thing about them that changes.
pub(crate) fn person(tenant: TenantNo, n: u32, title: u32) -> Record {
    let (user_name, mail) = (format!("u{n}"), format!("u{n}@lab.test"));
    let mut digest = [0; 16];
    digest[..4].copy_from_slice(&n.to_be_bytes());
    digest[4..8].copy_from_slice(&title.to_be_bytes());
    Record {
        id: ImmutableId(Bytes::from([&[7; 12][..], &n.to_be_bytes()].concat())),
        digest,
        user_name_key: names::key(tenant, NameKind::UserName, &user_name),
        mail_key: Some(names::key(tenant, NameKind::Mail, &mail)),
        values: UserValues {
            user_name,
            mail,
            display_name: format!("title {title}"),
            ..UserValues::default()
        },
        disabled: false,
        mark_proved: true,
        warnings: Vec::new(),
        version: None,
    }
}

pub(crate) fn people(tenant: TenantNo, numbers: std::ops::Range<u32>) -> Vec<Record> {
    numbers.map(|n| person(tenant, n, 0)).collect()
}

/// Numbers that look random and are the same in each run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 += 1;
        let hash = blake3::hash(&self.0.to_le_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(bytes) % limit
    }
}
