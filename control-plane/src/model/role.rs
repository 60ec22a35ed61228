//! What a caller is.

/// What a caller is, by its certificate or, for a person at a console, by the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything in its tenant.
    SuperAdmin,
    /// Looks, and synchronizes single users.
    HelpDesk,
    /// Looks.
    Auditor,
    /// Licenses, over all tenants.
    Operator,
    /// A service that presents persons' tokens, without one.
    Console,
    /// Synchronizes users of all tenants at sign-in, has their passwords verified, and nothing
    /// else.
    Authenticator,
    /// An identity router.
    Router,
}

impl Role {
    /// As the API's reference calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SuperAdmin => "SUPER_ADMIN",
            Self::HelpDesk => "HELP_DESK",
            Self::Auditor => "AUDITOR",
            Self::Operator => "OPERATOR",
            Self::Console => "CONSOLE",
            Self::Authenticator => "AUTHENTICATOR",
            Self::Router => "ROUTER",
        }
    }
}
