//! The gRPC services. A caller passes `middleware`, then its service parses the message, calls the
//! domain and converts the answer.
//!
//! - `admin`: the services that administrators, operators and the sign-in service call
//! - `router`: the services that identity routers call
//! - `middleware`: who calls, whether they may, how much and for how long; stands in front of every
//!   service
//! - `common`: resource names, pages, errors and conversions that the services share
//!
//! `admin` and `router` import `middleware` and `common`, `middleware` imports `common`; nothing
//! imports the other way.

pub mod admin;
pub mod common;
pub mod middleware;
pub mod router;
