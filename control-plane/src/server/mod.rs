//! Listens: TLS by our own acceptor, then every service behind the gate. `tls` is certificates and their reload, `listener` the
//! accept loop, `connection` what it yields, `newcomers` those who enroll, `places` who has a place at it, `log_limit` what it says in the log,
//! `run` puts everything together and takes it apart again.

mod connection;
mod database;
mod listener;
mod newcomers;
mod places;
mod run;
mod tls;

pub use connection::Connection;
pub use listener::{Arrivals, listen};
pub use newcomers::EnrollingConnection;
pub use run::run;
pub use tls::Certificates;
