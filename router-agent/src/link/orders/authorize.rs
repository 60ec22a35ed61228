//! The policy check of one order. What passes it comes with all that the order needs.

use std::path::PathBuf;
use std::sync::Arc;

use rollcall_proto::admin::v1::{FailureReason, IdentitySourceSettings};
use rollcall_proto::router::v1::{FormerImmutableId, ReadFailure};
use rustls::ClientConfig;

use super::reply::{directory_failure, failure};
use crate::clock;
use crate::config::Config;
use crate::directory::{self, Credential, ReadRequest};
use crate::policy::Denial;
use crate::record::Mapping;

/// What the policy has allowed, before any server is trusted.
pub(super) struct Authorized {
    pub(super) mapping: Mapping,
    pub(super) request: ReadRequest,
    pub(super) credential: Credential,
    pub(super) ca_file: Option<PathBuf>,
}

/// What a read needs, once the policy has allowed it.
pub(super) struct PreparedRead {
    pub(super) mapping: Mapping,
    pub(super) request: ReadRequest,
    pub(super) credential: Credential,
    pub(super) tls: Arc<ClientConfig>,
}

/// Why an order is not carried out.
pub(super) struct Unauthorized {
    pub(super) failure: ReadFailure,
    /// Keys of the policy that forbid it, separated by commas; or what else does.
    pub(super) keys: String,
}

impl From<ReadFailure> for Unauthorized {
    fn from(failure: ReadFailure) -> Self {
        Self { keys: failure.reason().as_str_name().to_ascii_lowercase(), failure }
    }
}

impl From<Vec<Denial>> for Unauthorized {
    /// What the policy does not allow, and which of its keys forbid it.
    fn from(denials: Vec<Denial>) -> Self {
        let reasons: Vec<_> = denials.iter().map(ToString::to_string).collect();
        let message =
            format!("The identity router's policy does not allow this source: {}.", reasons.join("; "));
        let mut keys: Vec<_> = denials.iter().map(|denial| denial.key).collect();
        keys.dedup();
        Self { failure: failure(FailureReason::RouterPolicy, message), keys: keys.join(",") }
    }
}

/// Checks an order against the policy and brings together what it needs, the authorities to trust
/// too.
pub(super) fn prepare_read(
    config: &Config,
    settings: &IdentitySourceSettings,
    revision: i32,
    former: Option<&FormerImmutableId>,
) -> Result<PreparedRead, Unauthorized> {
    let Authorized { mapping, request, credential, ca_file } = authorize(config, settings, revision, former)?;
    let tls = directory::tls_config(ca_file.as_deref()).map_err(|error| directory_failure(&error))?;
    Ok(PreparedRead { mapping, request, credential, tls })
}

/// The same but for the authorities to trust, which are read for each connection.
pub(super) fn authorize(
    config: &Config,
    settings: &IdentitySourceSettings,
    revision: i32,
    former: Option<&FormerImmutableId>,
) -> Result<Authorized, Unauthorized> {
    config.policy.check_with(settings, former.map(|former| &*former.attribute))?;
    let mapping = mapping(settings, revision, former)?;
    let request = ReadRequest::new(settings, &mapping).map_err(|error| directory_failure(&error))?;
    let credential = credential(config, &settings.credential)?;
    let ca_file = ca_file(config, settings)?;
    Ok(Authorized { mapping, request, credential, ca_file })
}

fn mapping(
    settings: &IdentitySourceSettings,
    revision: i32,
    former: Option<&FormerImmutableId>,
) -> Result<Mapping, ReadFailure> {
    let mapping =
        Mapping::new(&settings.mapping.clone().unwrap_or_default(), revision, clock::now().unix_timestamp());
    let mapping = match former {
        Some(former) => mapping.and_then(|mapping| mapping.with_former(former)),
        None => mapping,
    };
    mapping.map_err(|error| failure(FailureReason::SourceInvalid, error.to_string()))
}

fn credential(config: &Config, name: &str) -> Result<Credential, ReadFailure> {
    let missing = |why: String| {
        let message =
            format!("The identity router has no usable credential {name}: {why}. Mend its configuration.");
        failure(FailureReason::CredentialMissing, message)
    };
    let source =
        config.credentials.get(name).ok_or_else(|| missing("its configuration names none".to_owned()))?;
    source.read().map_err(missing)
}

/// The one authority of all servers of a source; the system's if there is none.
fn ca_file(config: &Config, settings: &IdentitySourceSettings) -> Result<Option<PathBuf>, ReadFailure> {
    let mut ca_files = settings
        .directory_servers
        .iter()
        .map(|server| config.policy.directory(server).and_then(|d| d.ca_file.clone()));
    let ca_file = ca_files.next().flatten();
    if ca_files.any(|other| other != ca_file) {
        let message =
            "The directory servers of one source must have the same ca_file in the identity router's policy.";
        return Err(failure(FailureReason::RouterPolicy, message));
    }
    Ok(ca_file)
}
