//! Carries out what the control plane orders, as far as the policy allows it.
//!
//! - `dispatch`: begins an order, or refuses it
//! - `limits`: how large an order may be, and how many are carried out at a time
//! - `authorize`: the policy check of one order, and what the order needs
//! - `context`: what all orders of a session share
//! - `reply`: answers in the words of the contract
//! - `refusal_log`: the router's own log of what it refused
//! - `upload`, `batches`: a read of a whole source
//! - `lookup_users`, `test_connection`: look-ups by immutable id; a try of each server
//! - `fetch_user`, `verify_password`: one user, for a sign-in
//! - `password_attempts`: how often passwords are tried in vain

mod authorize;
mod batches;
mod context;
mod dispatch;
mod fetch_user;
mod limits;
mod lookup_users;
mod password_attempts;
mod refusal_log;
mod reply;
mod test_connection;
mod upload;
mod verify_password;

pub(super) use dispatch::Orders;
pub(super) use password_attempts::PasswordAttempts;
