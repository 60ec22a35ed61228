//! Listens: TLS by our own acceptor, then every service behind the gate. `tls` is certificates and their reload, `listener` the
//! accept loop, `newcomers` those who enroll, `run` puts everything together and takes it apart again.

mod database;
mod listener;
mod newcomers;
mod run;
mod tls;

pub use listener::{Connection, Connections, listen};
pub use newcomers::EnrollingConnection;
pub use run::run;
pub use tls::Certificates;
