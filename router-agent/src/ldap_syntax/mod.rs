//! Text that LDAP defines: distinguished names, filters, names of attributes. Pure.

mod attribute;
mod dn;
mod filter;

pub use attribute::is_attribute;
pub use dn::{is_named, is_same_name, is_within, naming_values, normalize, parent};
pub use filter::{FilterError, attributes_in};
