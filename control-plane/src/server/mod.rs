//! Serves: TLS by our own acceptor, then every service behind the gate.
//!
//! - `run`: puts everything together, serves, and takes it apart again
//! - `services`: the two gRPC servers, with their services and limits
//! - `database`: opens the database, and waits for it where that helps
//! - `keys`: keys of the installation, and what is made with them
//! - `tls`: certificates, and their reload
//! - `listener`: the accept loop
//! - `connection`: a connection of a known caller
//! - `enrollment_connection`: a connection of a router that enrolls
//! - `connection_limits`: how many handshakes and connections there may be
//! - `replica_codec`: how replicas write questions to each other's routers
//! - `open_files`: fewer connections where the system allows few open files

mod connection;
mod connection_limits;
mod database;
mod enrollment_connection;
mod keys;
mod listener;
mod open_files;
mod replica_codec;
mod run;
mod services;
mod tls;

pub use connection::Connection;
pub use enrollment_connection::EnrollmentConnection;
pub use listener::{AcceptedConnections, listen};
pub use run::run;
pub use tls::Certificates;
