//! What the control plane answered instead of what was asked, in its own words, and whether trying again soon makes sense.

use rustls::AlertDescription;
use tonic::Status;
use tonic_types::StatusExt;

use super::wire;
use crate::identity::Facts;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    /// The key of the identity that was refused.
    pub(crate) shown: String,
    message: String,
}

/// What a refusal means for the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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
    pub(crate) fn of(status: &Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let kind = match (reason.as_str(), wire::alert(status)) {
            ("ROUTER_REVOKED", _) => Kind::Revoked,
            ("ROUTER_SUSPENDED", _) => Kind::Suspended,
            ("TENANT_SUSPENDED", _) => Kind::TenantSuspended,
            ("ROUTER_REPLACED", _) => Kind::Replaced,
            ("ROUTER_UNKNOWN", _) => Kind::Unknown,
            ("ENROLLMENT_REFUSED", _) => Kind::Unenrolled,
            ("RATE_LIMITED", _) => Kind::TooOften,
            (_, Some(AlertDescription::CertificateExpired)) => Kind::Expired,
            _ if std::error::Error::source(status).is_some() => Kind::Lost,
            _ => Kind::Other,
        };
        let message = match kind {
            Kind::Expired => "the control plane says that this router's certificate has expired".to_owned(),
            _ => status.message().to_owned(),
        };
        Self { kind, shown: String::new(), message }
    }

    /// Notes whose it is.
    pub(crate) fn showing(self, identity: &Facts) -> Self {
        Self { shown: identity.fingerprint.clone(), ..self }
    }

    /// Whether only a person can change it.
    pub(crate) fn needs_a_person(&self) -> bool {
        !matches!(self.kind, Kind::Expired | Kind::TooOften | Kind::Lost | Kind::Other)
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
        for (reason, kind, person) in [
            ("ROUTER_REVOKED", Kind::Revoked, true),
            ("ROUTER_SUSPENDED", Kind::Suspended, true),
            ("TENANT_SUSPENDED", Kind::TenantSuspended, true),
            ("ROUTER_REPLACED", Kind::Replaced, true),
            ("ROUTER_UNKNOWN", Kind::Unknown, true),
            ("ENROLLMENT_REFUSED", Kind::Unenrolled, true),
            ("RATE_LIMITED", Kind::TooOften, false),
            ("DATABASE_UNAVAILABLE", Kind::Other, false),
        ] {
            let details = ErrorDetails::with_error_info(reason, "rollcall", HashMap::new());
            let status = Status::with_error_details(Code::PermissionDenied, "why", details);
            let refusal = Refusal::of(&status);
            assert_eq!((refusal.kind, refusal.needs_a_person()), (kind, person), "{reason}");
            assert_eq!(refusal.to_string(), "why");
        }
        assert_eq!(Refusal::of(&Status::permission_denied("why")).kind, Kind::Other);
    }
}
