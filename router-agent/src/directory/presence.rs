//! Where a look-up found a user.

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Within a root and matching the filter.
    InScope,
    /// In the naming context, but outside of the roots.
    OutOfScope,
    /// Below a root, and not matching the filter.
    NotMatching,
    /// Deleted, as the directory shows.
    Deleted,
    /// Not found, and the directory shows nothing that speaks for a hidden entry.
    NotFound,
    /// Not found, and the directory does not show that it is gone.
    NotVisible,
}
