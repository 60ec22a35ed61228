//! Result codes of LDAP (RFC 4511, 4.1.9), and what they mean for an administrator.

pub(super) const SIZE_LIMIT_EXCEEDED: u32 = 4;
pub(super) const REFERRAL: u32 = 10;
pub(super) const NO_SUCH_OBJECT: u32 = 32;
pub(super) const INVALID_CREDENTIALS: u32 = 49;
pub(super) const BUSY: u32 = 51;
pub(super) const UNAVAILABLE: u32 = 52;

/// What a result code of a search means for an administrator.
pub(super) fn search_hint(code: u32) -> &'static str {
    match code {
        3 => ", a time limit: raise the server's time limit for the bind account",
        4 => ", a size limit: raise the server's size limit for the bind account",
        11 => {
            ", an administrative limit: raise the server's look-through or paging limit for the bind account"
        }
        12 => ", paging refused: the server must support the Simple Paged Results control (RFC 2696)",
        50 => ", insufficient rights: let the bind account read the scope",
        51 => ", busy: try again later",
        52 => ", unavailable: try again later",
        53 => ", unwilling to perform",
        _ => "",
    }
}

/// What a result code of a bind means for an administrator.
pub(super) fn bind_hint(code: u32) -> &'static str {
    match code {
        1 => ", operations error",
        2 => ", protocol error",
        3 => ", a time limit",
        7 => ", simple binds are not supported",
        8 | 13 => ", stronger protection needed: use LDAPS or STARTTLS",
        32 => ", no such entry",
        34 => ", the name is not a distinguished name",
        48 => ", this kind of bind is switched off",
        49 => ", wrong name or password, or the account is locked or expired",
        50 => ", insufficient rights",
        51 => ", busy",
        52 => ", unavailable",
        53 => ", unwilling to perform",
        80 => ", another error",
        _ => "",
    }
}

/// What a refused bind is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BindRefusal {
    /// The name or the password, or nobody knows: another try may lock the account.
    Credential,
    /// How the connection is protected.
    Configuration,
    /// The server, which has not looked at the credential.
    ServerState,
}

/// What a bind that was answered with this code is about. What is not known to be about something
/// else counts as the credential's: 53 and 19, among others, may be about the account.
pub(super) fn bind_refusal(code: u32) -> BindRefusal {
    match code {
        8 | 13 => BindRefusal::Configuration,
        1 | 2 | 3 | BUSY | UNAVAILABLE | 80 => BindRefusal::ServerState,
        _ => BindRefusal::Credential,
    }
}
