//! The two gRPC servers behind the listener: one for known callers with every service behind the
//! gate, and one for routers that enroll, which has nothing else.

use std::io;
use std::time::Duration;

use anyhow::Result;
use rollcall_proto::admin::v1::audit_service_server::AuditServiceServer;
use rollcall_proto::admin::v1::identity_router_service_server::IdentityRouterServiceServer;
use rollcall_proto::admin::v1::identity_source_service_server::IdentitySourceServiceServer;
use rollcall_proto::admin::v1::just_in_time_service_server::JustInTimeServiceServer;
use rollcall_proto::admin::v1::license_service_server::LicenseServiceServer;
use rollcall_proto::admin::v1::sync_job_service_server::SyncJobServiceServer;
use rollcall_proto::admin::v1::sync_schedule_service_server::SyncScheduleServiceServer;
use rollcall_proto::admin::v1::tenant_service_server::TenantServiceServer;
use rollcall_proto::admin::v1::user_service_server::UserServiceServer;
use rollcall_proto::admin::v1::webhook_service_server::WebhookServiceServer;
use rollcall_proto::router::v1::enrollment_service_server::EnrollmentServiceServer;
use rollcall_proto::router::v1::router_service_server::RouterServiceServer;
use rollcall_proto::{DESCRIPTORS, MAX_MESSAGE};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::server::HealthReporter;

use super::{Connection, EnrollmentConnection};
use crate::api::admin::audit::Audit;
use crate::api::admin::context::AdminContext;
use crate::api::admin::identity_routers::IdentityRouters;
use crate::api::admin::identity_sources::IdentitySources;
use crate::api::admin::just_in_time::JustInTime;
use crate::api::admin::license::Licenses;
use crate::api::admin::schedules::SyncSchedules;
use crate::api::admin::sync_jobs::SyncJobs;
use crate::api::admin::tenants::Tenants;
use crate::api::admin::users::Users;
use crate::api::admin::webhooks::WebhookApi;
use crate::api::middleware::authorize::Authorizer;
use crate::api::middleware::deadline::DeadlineLayer;
use crate::api::middleware::denials::DenialLog;
use crate::api::middleware::gate::GateLayer;
use crate::api::middleware::limits::Limits;
use crate::api::middleware::rate_limit::{RateLimitLayer, RateLimiter};
use crate::api::router::RouterLink;
use crate::api::router::enrollment::Enrollment;

/// Largest message of routers that enroll.
const MAX_ENROLLMENT_MESSAGE_BYTES: usize = 16 << 10;
/// Largest list of header fields of routers that enroll.
const MAX_ENROLLMENT_HEADER_BYTES: u32 = 8 << 10;
/// Largest message that administrators send: settings of a source are the largest.
const MAX_ADMIN_MESSAGE_BYTES: usize = 1 << 20;
/// Largest list of header fields. A token is the largest field.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Streams that a client has reset and the server has not got to yet (CVE-2023-44487): beyond these
/// the connection ends.
const MAX_PENDING_RESETS: usize = 20;
/// Streams that the server had to reset for a fault of the client (CVE-2025-8671): beyond these the
/// connection ends.
const MAX_SERVER_RESETS: usize = 100;

/// What the services of known callers are made of.
pub(super) struct Services {
    pub(super) api: AdminContext,
    pub(super) link: RouterLink,
    pub(super) denials: DenialLog,
    pub(super) authorizer: Authorizer,
}

/// A service of administrators, with the largest message that they may send it.
macro_rules! admin {
    ($server:ident, $service:expr) => {
        $server::new($service).max_decoding_message_size(MAX_ADMIN_MESSAGE_BYTES)
    };
}

/// Serves known callers until `shutdown`. The task ends once all connections have ended.
///
/// # Errors
/// If a descriptor of the services is wrong.
pub(super) fn serve_known(
    services: Services,
    limits: Limits,
    connections: Receiver<io::Result<Connection>>,
    shutdown: CancellationToken,
) -> Result<(HealthReporter, JoinHandle<Result<(), tonic::transport::Error>>)> {
    let Services { api, link, denials, authorizer } = services;
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let router_service = RouterServiceServer::new(link)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let server = Server::builder()
        // Also ends whoever stays in the middle of a frame or of a list of header fields.
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(64)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_SERVER_RESETS))
        // One stalled upload must not hold up the others on its connection.
        .initial_stream_window_size(2 << 20)
        .initial_connection_window_size(8 << 20)
        .layer(GateLayer::new(authorizer))
        .layer(RateLimitLayer(RateLimiter::new(limits)))
        .layer(DeadlineLayer::new(DESCRIPTORS)?)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(router_service)
        .add_service(admin!(IdentitySourceServiceServer, IdentitySources::new(api.clone())))
        .add_service(admin!(SyncJobServiceServer, SyncJobs::new(api.clone())))
        .add_service(admin!(SyncScheduleServiceServer, SyncSchedules::new(api.clone())))
        .add_service(admin!(UserServiceServer, Users::new(api.clone())))
        .add_service(admin!(JustInTimeServiceServer, JustInTime::new(api.clone(), denials)))
        .add_service(admin!(LicenseServiceServer, Licenses::new(api.clone())))
        .add_service(admin!(TenantServiceServer, Tenants::new(api.clone())))
        .add_service(admin!(WebhookServiceServer, WebhookApi::new(api.clone())))
        .add_service(admin!(AuditServiceServer, Audit::new(api.clone())))
        .add_service(admin!(IdentityRouterServiceServer, IdentityRouters::new(api)));
    let serving =
        server.serve_with_incoming_shutdown(ReceiverStream::new(connections), shutdown.cancelled_owned());
    Ok((health, tokio::spawn(serving)))
}

/// Serves routers that enroll, until `shutdown`. A server of its own: a caller without a
/// certificate reaches nothing but this.
pub(super) fn serve_enrolling(
    enrollment: Enrollment,
    connections: Receiver<io::Result<EnrollmentConnection>>,
    shutdown: CancellationToken,
) {
    let service =
        EnrollmentServiceServer::new(enrollment).max_decoding_message_size(MAX_ENROLLMENT_MESSAGE_BYTES);
    let server = Server::builder()
        .http2_max_header_list_size(MAX_ENROLLMENT_HEADER_BYTES)
        .max_concurrent_streams(1)
        .add_service(service);
    tokio::spawn(
        server.serve_with_incoming_shutdown(ReceiverStream::new(connections), shutdown.cancelled_owned()),
    );
}
