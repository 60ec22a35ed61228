//! Carries out an order to look users up by immutable id, before they are disabled.

use rollcall_proto::router::v1::{LookupOrder, LookupResult, ReadFailure};

use super::authorize::{PreparedRead, Unauthorized, prepare_read};
use super::context::OrderContext;
use super::reply::{directory_failure, to_proto_presence};
use crate::directory::{self, LookupAnswer, LookupRequest, Timeouts};

pub(super) async fn look_up(context: &OrderContext, order: LookupOrder) -> LookupResult {
    let answer = try_look_up(context, &order).await;
    result(order.request_id, answer)
}

async fn try_look_up(context: &OrderContext, order: &LookupOrder) -> Result<LookupAnswer, ReadFailure> {
    let settings = order.settings.clone().unwrap_or_default();
    let prepared = prepare_read(&context.config, &settings, 0, None);
    let prepared = prepared.map_err(|Unauthorized { failure, keys }| {
        context.record_refusal("LookupOrder", &keys);
        failure
    });
    let PreparedRead { mapping, request, credential, tls } = prepared?;
    let wanted = LookupRequest {
        ids: &order.immutable_ids,
        mapping: &mapping,
        include_moved: context.config.policy.look_up_moved,
    };
    tracing::info!(users = wanted.ids.len(), "looking users up");
    directory::lookup(&request, wanted, &credential, tls, &Timeouts::default()).await.map_err(|error| {
        tracing::warn!(reason = ?error.failure_reason(), "users not looked up");
        directory_failure(&error)
    })
}

pub(super) fn result(request_id: String, answer: Result<LookupAnswer, ReadFailure>) -> LookupResult {
    match answer {
        Err(failure) => LookupResult { request_id, failure: Some(failure), ..LookupResult::default() },
        Ok(LookupAnswer { server, presences }) => {
            let presences = presences.into_iter().map(|one| to_proto_presence(one).into()).collect();
            LookupResult { request_id, presences, failure: None, server, freshness: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_proto::admin::v1::FailureReason;
    use rollcall_proto::router::v1::lookup_result;

    use super::super::reply::failure;
    use super::*;
    use crate::directory::Presence;

    #[test]
    fn a_look_up_that_failed_says_nothing_of_anyone_and_one_that_did_not_says_where_each_is() {
        let failed = result("r1".to_owned(), Err(failure(FailureReason::ReadIncomplete, "cut")));
        assert!(failed.presences.is_empty() && failed.server.is_empty(), "{failed:?}");
        assert_eq!(failed.failure.map(|failure| failure.reason()), Some(FailureReason::ReadIncomplete));

        let presences = vec![Presence::NotFound, Presence::InScope, Presence::Deleted, Presence::OutOfScope];
        let found = result("r2".to_owned(), Ok(LookupAnswer { server: "dc1:636".to_owned(), presences }));
        use lookup_result::Presence::{Deleted, InScope, NotFound, OutOfScope};
        assert_eq!(found.presences().collect::<Vec<_>>(), [NotFound, InScope, Deleted, OutOfScope]);
        assert_eq!((found.request_id.as_str(), found.server.as_str()), ("r2", "dc1:636"));
        assert_eq!(found.failure, None);
    }
}
