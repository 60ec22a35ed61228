//! Syncs of single users, outside of any job: at each sign-in, and on demand. The store applies
//! what is found by the rules of a sync.
//!
//! - `sync`: one user, within the deadline of the call
//! - `sign_in`: the same at a sign-in, where a user may be let in as last known
//! - `verify`: has the directory verify a password first
//! - `coalesce`: one search for calls for the same user at the same time
//! - `find`: from the name to what became of its user
//! - `fetch`: asks an identity router
//! - `context`: what a search is for, and until when
//! - `sources`: the published sources that are asked
//! - `settings_cache`: published settings of sources
//! - `sign_in_log`: records users that were let in
//! - `password_attempts`: counts wrong passwords
//! - `outcome`: outcomes that let no user in

mod coalesce;
mod context;
mod fetch;
mod find;
mod outcome;
mod password_attempts;
mod settings_cache;
mod sign_in;
mod sign_in_log;
mod sources;
mod sync;
mod verify;

pub(super) use coalesce::SharedSearches;
pub(super) use password_attempts::PasswordAttempts;
pub(super) use settings_cache::SettingsCache;
pub(super) use sign_in::sync_at_sign_in;
pub(super) use sign_in_log::{SignInLog, run as run_sign_in_log, write_pending as write_sign_ins};
pub(super) use sync::sync_user;
pub(super) use verify::verify;
