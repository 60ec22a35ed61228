//! A scripted directory that lies: whatever it does, the read fails with a reason, the process
//! lives, and nothing is complete that was not. Only a read that was whole is a `ReadComplete`.

mod bind;
mod codes;
mod fetch;
mod lookup;
mod old_tls;
mod read;
mod server;
mod verify;
