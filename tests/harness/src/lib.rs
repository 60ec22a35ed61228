//! Real servers for the end-to-end tests, the demo and the benchmark: a private OpenLDAP, 389
//! Directory Server and Active Directory, a private PostgreSQL, our own two programs, a network
//! cable that can be cut, and realistic people to fill a directory with.
//!
//! Everything runs on 127.0.0.1 out of temporary folders and is ended and removed when its value is
//! dropped, also when a test panics. It depends on none of our programs' code: it starts them as an
//! administrator would.
#![expect(missing_docs, reason = "only the project's own tests use it, and most names need no words")]

pub mod cable;
pub mod dice;
pub mod disk;
pub mod drill;
pub mod imports;
pub mod install;
pub mod ldap;
pub mod load;
pub mod people;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod receiver;
pub mod world;

pub use cable::{Cable, Direction};
pub use dice::Dice;
pub use disk::SmallDisk;
pub use ldap::{Certificate, Ds389, Samba, Slapd};
pub use people::{People, Person};
pub use postgres::Postgres;
pub use process::Running;
pub use receiver::Receiver;
pub use world::World;
