//! Carries out an order to try each server of a source.

use rollcall_proto::admin::v1::{DirectoryServerTest, FailureReason, IdentitySourceSettings};
use rollcall_proto::limits::DIRECTORY_SERVERS;

use super::authorize::{PreparedRead, Unauthorized, prepare_read};
use super::context::OrderContext;
use super::limits::{LIMITS_KEY, LimitExceeded};
use crate::directory::{self, Timeouts};

pub(super) async fn test_servers(
    context: &OrderContext,
    settings: &IdentitySourceSettings,
) -> Vec<DirectoryServerTest> {
    if settings.directory_servers.len() > DIRECTORY_SERVERS {
        context.record_refusal("TestOrder", LIMITS_KEY);
        return vec![not_tested(LimitExceeded::TooLarge)];
    }
    let mut tests = Vec::with_capacity(settings.directory_servers.len());
    for server in &settings.directory_servers {
        let alone = IdentitySourceSettings { directory_servers: vec![server.clone()], ..settings.clone() };
        let test = match prepare_read(&context.config, &alone, 0, None) {
            Err(Unauthorized { failure, keys }) => {
                context.record_refusal("TestOrder", &keys);
                DirectoryServerTest {
                    server: format!("{}:{}", server.host, server.port),
                    allowed_by_policy: failure.reason() != FailureReason::RouterPolicy,
                    error: failure.message,
                    ..Default::default()
                }
            }
            Ok(PreparedRead { request, credential, tls, mapping }) => {
                directory::probe(
                    (&request, &mapping),
                    &request.servers[0],
                    &credential,
                    tls,
                    &Timeouts::default(),
                )
                .await
            }
        };
        tests.push(test);
    }
    tests
}

/// In the place of the tests of an order that is beyond the limits.
pub(super) fn not_tested(exceeded: LimitExceeded) -> DirectoryServerTest {
    DirectoryServerTest { error: exceeded.to_string(), ..Default::default() }
}
