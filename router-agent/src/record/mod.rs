//! From a directory entry to a user record: mapped, brought into canonical form, digested. Pure.
//!
//! - `entry`: a directory entry as it was read
//! - `mapping`: which attribute becomes which field
//! - `map_entry`: an entry to a record, or the reason why it is none
//! - `optional`: values that an entry may lack, and the warnings where one cannot be used
//! - `mark`: what an entry shows of the mark of disabled accounts
//! - `text`, `immutable_id`, `disabled`, `expiry`: how single values are read
//! - `digest`: tells whether a record has changed
//! - `name_query`: the search for a user by name, and whether an entry has the name
//! - `attribute_counts`: how many entries have each mapped attribute

mod attribute_counts;
mod digest;
mod disabled;
mod entry;
mod expiry;
mod immutable_id;
mod map_entry;
mod mapping;
mod mark;
mod name_query;
mod optional;
mod text;

pub use attribute_counts::AttributeCounts;
pub use entry::Entry;
pub use map_entry::{Mapped, map_entry, unseen_marks};
pub use mapping::{Mapping, MappingError};
pub use mark::{UnseenMarks, is_always_present};
pub use name_query::{Name, NameQuery};
