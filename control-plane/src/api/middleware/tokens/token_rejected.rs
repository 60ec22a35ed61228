//! Why a token is rejected: a sentence for the caller, and a reason for programs and the audit
//! trail.

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Why a token is not accepted. The sentences name no part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejected {
    /// Not of the form.
    #[error("it is not a signed JWT of at most {MAX_TOKEN_BYTES} bytes")]
    Malformed,
    /// An algorithm that is not accepted, or that is not the key's.
    #[error("its algorithm is not accepted, or is not that of its key")]
    Algorithm,
    /// A header that would have the token itself say which key to trust, or another kind of token.
    #[error(
        "its header asks for something that is not supported: no jku, x5u, jwk or crit, and typ JWT or at+jwt"
    )]
    Header,
    /// An issuer that is not configured.
    #[error("its issuer is not one that is configured")]
    UnknownIssuer,
    /// No such key.
    #[error("its key (kid) is not among the issuer's keys; has it been rotated out?")]
    UnknownKey,
    /// There are no keys, or none that are fresh enough.
    #[error("the issuer's keys could not be read lately; the log of the control plane says why")]
    NoKeys,
    /// Not signed by that key.
    #[error("its signature is wrong")]
    Signature,
    /// For someone else.
    #[error("its audience is another one")]
    Audience,
    /// A claim is missing.
    #[error("it has no claim {0}")]
    Missing(String),
    /// A claim of the wrong type.
    #[error("its claim {0} has a value of a wrong type or form")]
    Type(String),
    /// Over.
    #[error("it has expired; get a new one")]
    Expired,
    /// To come.
    #[error("it is not valid yet; are the clocks right?")]
    NotYet,
    /// Valid for too long.
    #[error("it is valid for more than an hour")]
    TooLong,
    /// The console may not present it.
    #[error("this console may not present tokens of its issuer")]
    Console,
    /// The issuer may not speak for the tenant.
    #[error("its issuer may not speak for its tenant")]
    Tenant,
    /// No role that is known.
    #[error("it has no role that is known: SUPER_ADMIN, HELP_DESK or AUDITOR")]
    Role,
}

impl TokenRejected {
    /// For programs and the audit trail.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::Algorithm => "WRONG_ALGORITHM",
            Self::Header => "UNSUPPORTED_HEADER",
            Self::UnknownIssuer => "UNKNOWN_ISSUER",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::NoKeys => "NO_KEYS",
            Self::Signature => "WRONG_SIGNATURE",
            Self::Audience => "WRONG_AUDIENCE",
            Self::Missing(_) => "MISSING_CLAIM",
            Self::Type(_) => "WRONG_TYPE",
            Self::Expired => "EXPIRED",
            Self::NotYet => "NOT_YET_VALID",
            Self::TooLong => "LIFE_TOO_LONG",
            Self::Console => "WRONG_CONSOLE",
            Self::Tenant => "WRONG_TENANT",
            Self::Role => "UNKNOWN_ROLE",
        }
    }
}
