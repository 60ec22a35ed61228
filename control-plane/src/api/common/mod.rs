//! What every gRPC service uses to parse messages and to answer.
//!
//! - `convert`: times, durations and counts as protobuf has them
//! - `page`: page sizes and sealed page tokens of List calls
//! - `paged_stream`: streams what the store reads in pages
//! - `resource_names`: parses resource names such as `tenants/acme`
//! - `source_settings`: settings of an identity source as a message
//! - `status`: errors of the store and of jobs as gRPC errors

pub(in crate::api) mod convert;
pub mod page;
pub(in crate::api) mod paged_stream;
pub(in crate::api) mod resource_names;
pub(in crate::api) mod source_settings;
pub(in crate::api) mod status;
