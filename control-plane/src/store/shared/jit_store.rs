//! [`JitStore`] over the statements of `jit` and `jit_settings`.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Engine, jit, jit_settings};
use crate::model::{
    Absence, Actor, JitSettings, Record, Sighting, TenantId, TenantNo, Timestamp, User, UserNo, Whom,
};
use crate::store::{JitStore, Observation, Result, SignIn, SingleWrite};

#[async_trait]
impl JitStore for Engine {
    async fn jit_settings(&self, tenant: &TenantId) -> Result<(TenantNo, JitSettings)> {
        let tenant = tenant.clone();
        let settings = self.read(move |c| Box::pin(async move { jit_settings::get(c, &tenant).await })).await;
        settings.map(|(number, settings, _)| (number, settings))
    }

    async fn begin_sign_in(&self, tenant: &TenantId, whom: &Whom) -> Result<SignIn> {
        let (tenant, whom, numbers) = (tenant.clone(), whom.clone(), Arc::clone(&self.tenants));
        self.read(move |c| Box::pin(async move { jit::begin_sign_in(c, &numbers, &tenant, &whom).await }))
            .await
    }

    async fn set_jit_settings(
        &self,
        tenant: &TenantId,
        settings: JitSettings,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, by) = (tenant.clone(), by.clone());
            Box::pin(async move { jit_settings::set(c, &tenant, &settings, &by, now).await })
        })
        .await
    }

    async fn sight_user(&self, tenant: TenantNo, whom: &Whom) -> Result<Option<Sighting>> {
        let whom = whom.clone();
        self.read(move |c| Box::pin(async move { jit::sight(c, tenant, &whom).await })).await
    }

    async fn apply_single(&self, observation: Observation, record: Record) -> Result<SingleWrite> {
        // Mostly nothing has changed. Then nothing is locked, nor written.
        let (seen, same) = (observation.clone(), record.clone());
        let nothing =
            self.read(move |c| Box::pin(async move { jit::nothing_new(c, &seen, &same).await })).await?;
        if let Some(done) = nothing {
            return Ok(done);
        }
        self.write(move |c| {
            let (observation, record) = (observation.clone(), record.clone());
            Box::pin(async move { jit::apply(c, &observation, &record).await })
        })
        .await
    }

    async fn disable_single(
        &self,
        observation: Observation,
        user: UserNo,
        absence: Absence,
    ) -> Result<SingleWrite> {
        self.write(move |c| {
            let observation = observation.clone();
            Box::pin(async move { jit::disable(c, &observation, user, absence).await })
        })
        .await
    }

    async fn last_observed(&self, tenant: TenantNo, whom: &Whom) -> Result<Option<(User, Timestamp)>> {
        let whom = whom.clone();
        self.read(move |c| Box::pin(async move { jit::last_observed(c, tenant, &whom).await })).await
    }
}
