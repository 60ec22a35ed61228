//! Decides which router is admitted, and which gets a certificate.
//!
//! A router's certificates are numbered. Three numbers are its status: the newest certificate that
//! was issued, the newest one that was shown since (`confirmed`), and the first one since its last
//! enrollment. An answer can get lost, so a router may still show the confirmed certificate while
//! newer ones were issued; it then asks again, and gets a new number.
//!
//! Any other certificate is a copy: two machines have one router's identity, and neither is
//! admitted. Copies cannot be told apart before one of them renews, which each does at its next
//! renewal at the latest.

use std::time::Duration;

use crate::model::{KeyFingerprint, RECOVERIES, Refusal, RouterState, Timestamp};

/// Where a router stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterStatus {
    /// Whether it may connect.
    pub state: RouterState,
    /// Number of the newest certificate.
    pub newest: i64,
    /// Number of the newest one that was shown to us.
    pub confirmed: i64,
    /// Number of the first one since the last enrollment.
    pub enrolled: i64,
    /// Recoveries since the last regular certificate.
    pub recoveries: i64,
}

/// A certificate that was shown, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its number; none if its key was never certified for this router, or long ago.
    pub generation: Option<i64>,
    /// Number of the newest one that was given on the same connection.
    pub renewed: Option<i64>,
}

/// What to do with a certificate that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionDecision {
    /// Let in; the number is the one that is confirmed by it.
    Admit(i64),
    /// Refused, and nothing changes.
    Deny(Refusal),
    /// Refused, and the router is suspended.
    Cloned,
}

/// What a registration code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeUse {
    /// It is used now.
    First,
    /// It was used before for the same key: the answer got lost.
    Again,
}

/// A registration code, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeStatus {
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// For which key it was used.
    pub used_key: Option<KeyFingerprint>,
    /// Whether it was voided.
    pub voided: bool,
}

/// What a new certificate is issued as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issue {
    /// Under the next number.
    Next(i64),
    /// Under the newest number, once more: it is for the same key, and nobody has shown it.
    Again(i64),
}

/// Whether a router's state lets it in.
///
/// # Errors
/// If it does not.
pub fn state(state: RouterState) -> Result<(), Refusal> {
    match state {
        RouterState::Active => Ok(()),
        RouterState::Suspended => Err(Refusal::RouterSuspended),
        RouterState::Revoked => Err(Refusal::RouterRevoked),
    }
}

/// What a code is good for.
///
/// # Errors
/// If it is good for nothing, or for another key.
pub fn code(code: CodeStatus, key: KeyFingerprint, now: Timestamp) -> Result<CodeUse, Refusal> {
    match code.used_key {
        _ if code.voided => Err(Refusal::CodeVoided),
        _ if now > code.expires_at => Err(Refusal::CodeExpired),
        None => Ok(CodeUse::First),
        Some(used) if used == key => Ok(CodeUse::Again),
        Some(_) => Err(Refusal::CodeUsed),
    }
}

/// What to do with a certificate that is shown at the start of a session.
#[must_use]
pub fn check_certificate(status: &RouterStatus, certificate: Certificate) -> AdmissionDecision {
    if let Err(refusal) = state(status.state) {
        return AdmissionDecision::Deny(refusal);
    }
    let Some(generation) = certificate.generation else {
        return AdmissionDecision::Deny(Refusal::KeyUnknown);
    };
    if generation < status.enrolled {
        return AdmissionDecision::Deny(Refusal::KeyReplaced);
    }
    let current = |number: i64| number == status.newest || number == status.confirmed;
    if current(generation) {
        return AdmissionDecision::Admit(generation.max(status.confirmed));
    }
    // The connection is older than the certificate that was given on it. Whether that arrived is
    // not known.
    if certificate.renewed.is_some_and(current) {
        return AdmissionDecision::Admit(status.confirmed);
    }
    AdmissionDecision::Cloned
}

/// What to do with a router that asks for its next certificate. `holds` is the number of the
/// certificate that it says it has; `requested` is the number under which the requested key is
/// known, if it is.
///
/// # Errors
/// If it gets none.
pub fn renewal(
    status: &RouterStatus,
    certificate: Certificate,
    holds: Option<i64>,
    requested: Option<i64>,
) -> Result<(Issue, i64), AdmissionDecision> {
    let AdmissionDecision::Admit(confirmed) = check_certificate(status, certificate).admitted()? else {
        return Err(AdmissionDecision::Deny(Refusal::KeyUnknown));
    };
    // It says that what it was given on this connection has arrived; it may show it from then on.
    let confirmed = match holds {
        Some(held) if certificate.renewed == Some(held) => confirmed.max(held),
        _ => confirmed,
    };
    Ok((issue(status, confirmed, requested).map_err(AdmissionDecision::Deny)?, confirmed))
}

/// What to do with a router that shows an expired certificate.
///
/// # Errors
/// If it gets no other.
pub fn recovery(
    status: &RouterStatus,
    generation: Option<i64>,
    requested: Option<i64>,
    expired_at: Timestamp,
    within: Duration,
    now: Timestamp,
) -> Result<(Issue, i64), AdmissionDecision> {
    let deny = |refusal| Err(AdmissionDecision::Deny(refusal));
    let certificate = Certificate { generation, renewed: None };
    let AdmissionDecision::Admit(confirmed) = check_certificate(status, certificate).admitted()? else {
        return deny(Refusal::KeyUnknown);
    };
    if now < expired_at.minus(ABOUT_TO_EXPIRE) {
        return deny(Refusal::NotExpired);
    }
    if now > expired_at.plus(within) {
        return deny(Refusal::TooLate);
    }
    match issue(status, confirmed, requested) {
        Ok(Issue::Next(_)) if status.recoveries >= RECOVERIES => deny(Refusal::RecoveriesSpent),
        issue => Ok((issue.map_err(AdmissionDecision::Deny)?, confirmed)),
    }
}

/// How long before its end a certificate counts as expired: on the router's clock it may be.
pub const ABOUT_TO_EXPIRE: Duration = Duration::from_secs(300);

fn issue(status: &RouterStatus, confirmed: i64, requested: Option<i64>) -> Result<Issue, Refusal> {
    match requested {
        None => Ok(Issue::Next(status.newest + 1)),
        Some(generation) if generation == status.newest && generation > confirmed => {
            Ok(Issue::Again(generation))
        }
        Some(_) => Err(Refusal::KeyNotNew),
    }
}

impl AdmissionDecision {
    /// The decision as an error, unless it admits.
    fn admitted(self) -> Result<Self, Self> {
        if let Self::Admit(_) = self { Ok(self) } else { Err(self) }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
