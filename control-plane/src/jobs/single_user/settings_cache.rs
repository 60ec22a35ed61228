//! Caches published settings of sources, which never change for a revision, so that a sign-in of a
//! known user need not read and parse them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::sources::{Source, published};
use crate::model::{SourceNo, SourceSettings, TenantId, UserSnapshot};
use crate::store::{Result, Store, StoreError};

/// More sources than sign in at one replica; a full cache is emptied.
const MAX_CACHED_SOURCES: usize = 1_000;

/// The newest revision of each source that was asked for.
#[derive(Default)]
pub(in crate::jobs) struct SettingsCache(Mutex<HashMap<SourceNo, (i32, Arc<SourceSettings>)>>);

impl SettingsCache {
    /// The source of a user as it was published when the user was sighted.
    pub(super) async fn get(&self, store: &Store, tenant: &TenantId, known: &UserSnapshot) -> Result<Source> {
        let (number, revision) = known.source;
        let cached = self.lock().get(&number).filter(|(of, _)| *of == revision).cloned();
        if let Some((_, settings)) = cached {
            let id = known.user.source.clone();
            return Ok(Source { id, settings: (*settings).clone(), revision });
        }
        let source = store.source(tenant, &known.user.source).await?;
        let source = published(source).ok_or(StoreError::SourceNotPublished)?;
        let mut all = self.lock();
        if all.len() >= MAX_CACHED_SOURCES {
            all.clear();
        }
        // Otherwise it was published, or made anew, meanwhile.
        if source.revision == revision {
            all.insert(number, (revision, Arc::new(source.settings.clone())));
        }
        drop(all);
        Ok(source)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SourceNo, (i32, Arc<SourceSettings>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
