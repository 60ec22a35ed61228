//! What the control plane answered instead of what was asked, in its own words, and whether trying
//! again soon makes sense.

use rustls::AlertDescription;
use tonic::Status;
use tonic_types::StatusExt;

use super::transport;
use crate::identity::Facts;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) reason: RefusalReason,
    /// The key of the identity that was refused.
    pub(crate) fingerprint: String,
    message: String,
}

/// What a refusal means for the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// An administrator has revoked it.
    Revoked,
    /// Two machines have its identity.
    Suspended,
    /// Its tenant is suspended.
    TenantSuspended,
    /// It has enrolled anew since, here or elsewhere.
    Replaced,
    /// Nobody knows its certificate.
    Unknown,
    /// Its code, or its recovery, was refused.
    Unenrolled,
    /// Its certificate has expired by the control plane's clock.
    Expired,
    /// It asks too often.
    TooOften,
    /// The connection broke; nobody answered.
    Lost,
    /// Anything else.
    Other,
}

impl Refusal {
    /// Reads an answer.
    pub(crate) fn from_status(status: &Status) -> Self {
        let name = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let reason = match (name.as_str(), transport::tls_alert(status)) {
            ("ROUTER_REVOKED", _) => RefusalReason::Revoked,
            ("ROUTER_SUSPENDED", _) => RefusalReason::Suspended,
            ("TENANT_SUSPENDED", _) => RefusalReason::TenantSuspended,
            ("ROUTER_REPLACED", _) => RefusalReason::Replaced,
            ("ROUTER_UNKNOWN", _) => RefusalReason::Unknown,
            ("ENROLLMENT_REFUSED", _) => RefusalReason::Unenrolled,
            ("RATE_LIMITED", _) => RefusalReason::TooOften,
            (_, Some(AlertDescription::CertificateExpired)) => RefusalReason::Expired,
            _ if std::error::Error::source(status).is_some() => RefusalReason::Lost,
            _ => RefusalReason::Other,
        };
        let message = match reason {
            RefusalReason::Expired => {
                "the control plane says that this router's certificate has expired".to_owned()
            }
            _ => status.message().to_owned(),
        };
        Self { reason, fingerprint: String::new(), message }
    }

    /// Says which identity was refused.
    pub(crate) fn for_identity(self, identity: &Facts) -> Self {
        Self { fingerprint: identity.fingerprint.clone(), ..self }
    }

    /// Whether only a person can change it.
    pub(crate) fn needs_administrator(&self) -> bool {
        !matches!(
            self.reason,
            RefusalReason::Expired | RefusalReason::TooOften | RefusalReason::Lost | RefusalReason::Other
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_keeps_its_words_and_its_reason_says_who_can_change_it() {
        for (name, reason, administrator) in [
            ("ROUTER_REVOKED", RefusalReason::Revoked, true),
            ("ROUTER_SUSPENDED", RefusalReason::Suspended, true),
            ("TENANT_SUSPENDED", RefusalReason::TenantSuspended, true),
            ("ROUTER_REPLACED", RefusalReason::Replaced, true),
            ("ROUTER_UNKNOWN", RefusalReason::Unknown, true),
            ("ENROLLMENT_REFUSED", RefusalReason::Unenrolled, true),
            ("RATE_LIMITED", RefusalReason::TooOften, false),
            ("DATABASE_UNAVAILABLE", RefusalReason::Other, false),
        ] {
            let details = ErrorDetails::with_error_info(name, "rollcall", HashMap::new());
            let status = Status::with_error_details(Code::PermissionDenied, "why", details);
            let refusal = Refusal::from_status(&status);
            assert_eq!((refusal.reason, refusal.needs_administrator()), (reason, administrator), "{name}");
            assert_eq!(refusal.to_string(), "why");
        }
        assert_eq!(Refusal::from_status(&Status::permission_denied("why")).reason, RefusalReason::Other);
    }
}
