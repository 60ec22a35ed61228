//! From a directory entry to a user record: mapped, brought into canonical form, digested. Pure; nothing here does I/O.

mod digest;
mod disabled;
mod entry;
mod expiry;
mod immutable_id;
mod mapping;
mod names;
mod occurrences;
mod text;

pub use entry::Entry;
pub use mapping::{Mapped, Mapping, MappingError, map_entry};
pub use names::{Asked, Name};
pub use occurrences::Occurrences;
