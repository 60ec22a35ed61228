//! Listens: TLS by our own acceptor, then every service behind the gate. `tls` is certificates and their reload, `listener` the
//! accept loop, `places` who has a place at it, `hush` what it says in the log, `run` puts everything together and takes it apart again.

mod database;
mod hush;
mod listener;
mod places;
mod run;
mod tls;

pub use listener::{Connection, listen};
pub use run::run;
pub use tls::Certificates;
