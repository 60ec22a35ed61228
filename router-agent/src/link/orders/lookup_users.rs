//! Carries out an order to look users up by immutable id, before they are disabled.

use rollcall_proto::router::v1::{LookupOrder, LookupResult, ReadFailure};

use super::authorize::{PreparedRead, Unauthorized, prepare_read};
use super::context::OrderContext;
use super::reply::{directory_failure, to_proto_freshness, to_proto_presence};
use crate::directory::{self, Evidence, LastName, LookupAnswer, LookupRequest, Timeouts, Witness};
use crate::ldap_syntax::parent;

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
    let policy = &context.config.policy;
    let is_allowed = |name: &str| {
        policy.allows_name(&settings, name)
            && parent(name).is_some_and(|container| policy.allows_name(&settings, container))
    };
    let last_name = |name: &String| match name.as_str() {
        "" => LastName::Unknown,
        known if is_allowed(known) => LastName::Known(known.to_owned()),
        _ => LastName::Denied,
    };
    let names: Vec<_> = order.distinguished_names.iter().map(last_name).collect();
    let witnesses = order.witnesses.iter().filter(|one| policy.allows_name(&settings, &one.container));
    let witnesses = witnesses
        .map(|one| Witness { container: one.container.clone(), id: one.immutable_id.clone() })
        .collect::<Vec<_>>();
    let wanted = LookupRequest {
        ids: &order.immutable_ids,
        mapping: &mapping,
        include_moved: policy.look_up_moved,
        evidence: Evidence { names: &names, witnesses: &witnesses },
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
        Ok(LookupAnswer { server, freshness, presences }) => {
            let presences = presences.into_iter().map(|one| to_proto_presence(one).into()).collect();
            let freshness = Some(to_proto_freshness(freshness));
            LookupResult { request_id, presences, failure: None, server, freshness }
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

        let presences = vec![
            Presence::NotFound,
            Presence::InScope,
            Presence::Deleted,
            Presence::OutOfScope,
            Presence::NotVisible,
            Presence::NotMatching,
        ];
        let freshness = crate::directory::Freshness { last_usn: Some(7), ..Default::default() };
        let answer = LookupAnswer { server: "dc1:636".to_owned(), freshness, presences };
        let found = result("r2".to_owned(), Ok(answer));
        use lookup_result::Presence::{Deleted, InScope, NotFound, NotMatching, NotVisible, OutOfScope};
        let expected = [NotFound, InScope, Deleted, OutOfScope, NotVisible, NotMatching];
        assert_eq!(found.presences().collect::<Vec<_>>(), expected);
        assert_eq!(found.freshness.as_ref().map(|freshness| freshness.last_usn), Some(7));
        assert_eq!((found.request_id.as_str(), found.server.as_str()), ("r2", "dc1:636"));
        assert_eq!(found.failure, None);
    }
}
