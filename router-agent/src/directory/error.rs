//! Why a directory could not be read, for programs and for people. Has host names, DNs of roots and
//! result codes; never values of entries and never a secret.

use rollcall_proto::admin::v1::FailureReason;

use super::Server;
use super::references::Referral;
use super::result_code::{BUSY, BindRefusal, UNAVAILABLE, bind_hint, bind_refusal};

/// Why a directory could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// No server could be used; one sentence each.
    #[error(
        "no directory server could be reached: {0}. Check that the servers run and that the identity router's network lets it reach them"
    )]
    Unreachable(String),
    /// TLS failed.
    #[error(
        "{server}: {why}. Check the server's certificate, and ca_file in the identity router's
    # policy"
    )]
    Tls {
        /// `host:port`.
        server: String,
        /// What happened.
        why: String,
    },
    /// The credential was refused.
    #[error(
        "{server} did not accept the bind account (result code {code}{hint}). Check bind_dn and the password in the identity router's configuration"
    )]
    BindRejected {
        /// `host:port`.
        server: String,
        /// RFC 4511 result code.
        code: u32,
        /// What the code is known to mean.
        hint: &'static str,
    },
    /// The server does not take this kind of bind, whoever binds.
    #[error(
        "{server} does not take a bind in this way (result code {code}{hint}). Correct the protection of this server in the source's settings; the password was not looked at"
    )]
    BindNotProtected {
        /// `host:port`.
        server: String,
        /// RFC 4511 result code.
        code: u32,
        /// What the code is known to mean.
        hint: &'static str,
    },
    /// The server's own state lets it take no bind now.
    #[error(
        "{server} could not take the bind (result code {code}{hint}), which says nothing of the bind account. Check the server's log, and what it depends on"
    )]
    BindUnanswered {
        /// `host:port`.
        server: String,
        /// RFC 4511 result code.
        code: u32,
        /// What the code is known to mean.
        hint: &'static str,
    },
    /// The credential was accepted, and counts for nothing.
    #[error(
        "{server} accepted the bind account and treats the bind as anonymous all the same. Check bind_dn and the password in the identity router's configuration, and that the server allows simple binds"
    )]
    BindAnonymous {
        /// `host:port`.
        server: String,
    },
    /// An empty password is no password (RFC 4513, 5.1.2).
    #[error(
        "the bind account has no name or no password, which directories take for an anonymous bind; nothing was sent. Fill both in the identity router's configuration"
    )]
    EmptyCredential,
    /// A root is not there.
    #[error(
        "{server}: the root {root} does not exist, or the bind account may not read it. Check the source's roots and the account's rights"
    )]
    RootNotFound {
        /// `host:port`.
        server: String,
        /// The base DN.
        root: String,
    },
    /// The base entry became another one while it was read.
    #[error("the root {root} became another entry while it was read; synchronize again")]
    RootChanged {
        /// The base DN.
        root: String,
    },
    /// A page was not answered with success.
    #[error(
        "{server}: page {page} of {root} ended with result code {code}{hint}; nobody is
    # disabled"
    )]
    ReadIncomplete {
        /// `host:port`.
        server: String,
        /// The base DN.
        root: String,
        /// The page, from 1.
        page: u64,
        /// RFC 4511 result code.
        code: u32,
        /// What to do about it.
        hint: &'static str,
    },
    /// The connection broke.
    #[error("{server}: the connection broke at page {page} of {root} ({why}); nobody is disabled")]
    Broken {
        /// `host:port`.
        server: String,
        /// The base DN.
        root: String,
        /// The page, from 1.
        page: u64,
        /// What happened.
        why: String,
    },
    /// People could not be looked up.
    #[error("{server}: nobody could be looked up below {base} ({why}); nobody is disabled")]
    LookupFailed {
        /// `host:port`.
        server: String,
        /// Where they were searched.
        base: String,
        /// What happened.
        why: String,
        /// Whether the server broke off, and may be back soon.
        interrupted: bool,
    },
    /// One person could not be read.
    #[error("{server}: the person could not be read ({why})")]
    FetchFailed {
        /// `host:port`.
        server: String,
        /// What happened.
        why: String,
    },
    /// Servers were there, and none of them was done in time.
    #[error(
        "no directory server answered in time{0}. Check the servers' load and the network between them and the identity router"
    )]
    Overdue(String),
    /// A part of the scope is elsewhere.
    #[error(
        "{server} refers to {target} for {name} in {root}, which was not followed, so the read would not be complete. Choose an organizational unit without it as root, or read {name} as a source of its own"
    )]
    Referral {
        /// `host:port`.
        server: String,
        /// The base DN.
        root: String,
        /// Host of the reference.
        target: String,
        /// The name in the reference.
        name: String,
    },
    /// The server broke the protocol.
    #[error("{server} broke the LDAP protocol: {why}")]
    Protocol {
        /// `host:port`.
        server: String,
        /// How.
        why: String,
    },
    /// The settings cannot be used.
    #[error("{0}")]
    SourceInvalid(String),
    /// A CA file cannot be used.
    #[error("{0}")]
    Trust(String),
    /// Nobody wants the entries any more.
    #[error("the read was canceled")]
    Canceled,
}

impl DirectoryError {
    /// The reason in the words of the API.
    #[must_use]
    pub fn failure_reason(&self) -> FailureReason {
        match self {
            Self::Unreachable(_) | Self::Overdue(_) | Self::BindUnanswered { .. } => {
                FailureReason::DirectoryUnreachable
            }
            Self::Tls { .. } | Self::Trust(_) => FailureReason::DirectoryTls,
            Self::BindRejected { .. } | Self::BindNotProtected { .. } | Self::BindAnonymous { .. } => {
                FailureReason::BindRejected
            }
            Self::EmptyCredential => FailureReason::CredentialMissing,
            Self::RootNotFound { .. } => FailureReason::RootNotFound,
            Self::RootChanged { .. } => FailureReason::RootChanged,
            Self::ReadIncomplete { .. }
            | Self::Broken { .. }
            | Self::LookupFailed { .. }
            | Self::FetchFailed { .. }
            | Self::Canceled => FailureReason::ReadIncomplete,
            Self::Referral { .. } => FailureReason::DirectoryReferral,
            Self::Protocol { .. } => FailureReason::DirectoryProtocol,
            Self::SourceInvalid(_) => FailureReason::SourceInvalid,
        }
    }

    /// Why a server did not accept a bind, by the code of its answer.
    pub(super) fn bind_refused(server: &Server, code: u32) -> Self {
        let (server, hint) = (server.to_string(), bind_hint(code));
        match bind_refusal(code) {
            BindRefusal::Credential => Self::BindRejected { server, code, hint },
            BindRefusal::Configuration => Self::BindNotProtected { server, code, hint },
            BindRefusal::ServerState => Self::BindUnanswered { server, code, hint },
        }
    }

    /// A part of the scope is elsewhere.
    pub(super) fn referral(server: &Server, root: &str, referral: &Referral) -> Self {
        let name = referral.what();
        Self::Referral {
            server: server.to_string(),
            root: root.to_owned(),
            target: referral.host.clone(),
            name,
        }
    }

    /// Whether a server broke off in the middle of a read, or of look-ups, and may be back soon, as
    /// one that restarts.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
            Self::ReadIncomplete { code, .. } => matches!(*code, BUSY | UNAVAILABLE),
            Self::LookupFailed { interrupted, .. } => *interrupted,
            _ => false,
        }
    }

    /// Whether another server of the source may do better.
    #[must_use]
    pub(super) fn try_next_server(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Tls { .. } | Self::Protocol { .. } | Self::BindUnanswered { .. }
        )
    }

    /// Whether trying the same credential again may lock its account.
    #[must_use]
    pub(super) fn is_about_credential(&self) -> bool {
        matches!(self, Self::BindRejected { .. } | Self::BindAnonymous { .. } | Self::EmptyCredential)
    }
}
