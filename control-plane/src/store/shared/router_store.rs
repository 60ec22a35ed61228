//! [`RouterStore`] over the statements of `routers`, `codes` and `enrollment`.

use std::time::Duration;

use async_trait::async_trait;

use super::{Engine, codes, enrollment, routers};
use crate::model::{
    Actor, Admitted, Certified, ChangedRouter, IdentityRouter, KeyFingerprint, NewCertificate, NewCode,
    RegistrationCode, RouterId, Shown, TenantId, Timestamp,
};
use crate::store::{Admission, Result, RouterStore};

#[async_trait]
impl RouterStore for Engine {
    async fn router_seen(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        version: &str,
        now: Timestamp,
    ) -> Result<()> {
        let tenant = tenant.clone();
        let router = router.clone();
        let version = version.to_owned();
        self.write(move |c| {
            let (tenant, router, version) = (tenant.clone(), router.clone(), version.clone());
            Box::pin(async move { routers::router_seen(c, &tenant, &router, &version, now).await })
        })
        .await
    }

    async fn router_gone(&self, tenant: &TenantId, router: &RouterId, now: Timestamp) -> Result<()> {
        let tenant = tenant.clone();
        let router = router.clone();
        self.write(move |c| {
            let (tenant, router) = (tenant.clone(), router.clone());
            Box::pin(async move { routers::router_gone(c, &tenant, &router, now).await })
        })
        .await
    }

    async fn router(&self, tenant: &TenantId, router: &RouterId) -> Result<IdentityRouter> {
        let tenant = tenant.clone();
        let router = router.clone();
        self.read(move |c| Box::pin(async move { routers::router(c, &tenant, &router).await })).await
    }

    async fn list_routers(
        &self,
        tenant: &TenantId,
        after: Option<&RouterId>,
        limit: i64,
    ) -> Result<Vec<IdentityRouter>> {
        let tenant = tenant.clone();
        let after = after.cloned();
        self.read(move |c| {
            Box::pin(async move { routers::list_routers(c, &tenant, after.as_ref(), limit).await })
        })
        .await
    }

    async fn create_registration_code(
        &self,
        tenant: &TenantId,
        code: NewCode,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<RegistrationCode> {
        let tenant = tenant.clone();
        let by = by.clone();
        self.write(move |c| {
            let (tenant, code, by) = (tenant.clone(), code.clone(), by.clone());
            Box::pin(async move { codes::create(c, &tenant, &code, most, &by, now).await })
        })
        .await
    }

    async fn list_registration_codes(
        &self,
        tenant: &TenantId,
        before: Option<&str>,
        limit: i64,
    ) -> Result<Vec<RegistrationCode>> {
        let tenant = tenant.clone();
        let before = before.map(str::to_owned);
        self.read(move |c| Box::pin(async move { codes::list(c, &tenant, before.as_deref(), limit).await }))
            .await
    }

    async fn void_registration_code(
        &self,
        tenant: &TenantId,
        id: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<RegistrationCode> {
        let tenant = tenant.clone();
        let id = id.to_owned();
        let by = by.clone();
        self.write(move |c| {
            let (tenant, id, by) = (tenant.clone(), id.clone(), by.clone());
            Box::pin(async move { codes::void(c, &tenant, &id, &by, now).await })
        })
        .await
    }

    async fn void_all_registration_codes(&self, by: &Actor, now: Timestamp) -> Result<usize> {
        let by = by.clone();
        self.write(move |c| {
            let by = by.clone();
            Box::pin(async move { codes::void_all(c, &by, now).await })
        })
        .await
    }

    async fn enroll(
        &self,
        secret_hash: [u8; 32],
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Admission<Certified>> {
        let by = by.clone();
        self.write(move |c| {
            let by = by.clone();
            Box::pin(async move { enrollment::enroll(c, secret_hash, certificate, &by, now).await })
        })
        .await
    }

    async fn renew_router(
        &self,
        (tenant, router): (&TenantId, &RouterId),
        shown: Shown,
        holds: Option<i64>,
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Admission<i64>> {
        let tenant = tenant.clone();
        let router = router.clone();
        let by = by.clone();
        self.write(move |c| {
            let (tenant, router, by) = (tenant.clone(), router.clone(), by.clone());
            Box::pin(async move {
                enrollment::renew(c, (&tenant, &router), shown, holds, certificate, &by, now).await
            })
        })
        .await
    }

    async fn recover_router(
        &self,
        (tenant, router): (&TenantId, &RouterId),
        expired: (KeyFingerprint, Timestamp),
        within: Duration,
        certificate: NewCertificate,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Admission<i64>> {
        let tenant = tenant.clone();
        let router = router.clone();
        let by = by.clone();
        self.write(move |c| {
            let (tenant, router, by) = (tenant.clone(), router.clone(), by.clone());
            Box::pin(async move {
                enrollment::recover(c, (&tenant, &router), expired, within, certificate, &by, now).await
            })
        })
        .await
    }

    async fn admit_router(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        shown: Shown,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Admission<Admitted>> {
        let tenant = tenant.clone();
        let router = router.clone();
        let by = by.clone();
        self.write(move |c| {
            let (tenant, router, by) = (tenant.clone(), router.clone(), by.clone());
            Box::pin(async move { enrollment::admit(c, &tenant, &router, shown, &by, now).await })
        })
        .await
    }

    async fn router_standing(&self, tenant: &TenantId, router: &RouterId) -> Result<Admission<()>> {
        let tenant = tenant.clone();
        let router = router.clone();
        self.read(move |c| Box::pin(async move { enrollment::standing(c, &tenant, &router).await })).await
    }

    async fn revoke_router(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        reason: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<IdentityRouter> {
        let tenant = tenant.clone();
        let router = router.clone();
        let reason = reason.to_owned();
        let by = by.clone();
        self.write(move |c| {
            let (tenant, router, reason, by) = (tenant.clone(), router.clone(), reason.clone(), by.clone());
            Box::pin(async move { enrollment::revoke(c, &tenant, &router, &reason, &by, now).await })
        })
        .await
    }

    async fn changed_routers(&self, since: Timestamp) -> Result<Vec<ChangedRouter>> {
        self.read(move |c| Box::pin(async move { routers::changed(c, since).await })).await
    }

    async fn tenants_with_routers(&self) -> Result<Vec<TenantId>> {
        self.read(move |c| Box::pin(async move { routers::tenants(c).await })).await
    }
}
