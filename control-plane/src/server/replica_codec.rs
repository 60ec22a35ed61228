//! How replicas write questions to each other's routers: by the conversions of the router API.

use rollcall_proto::router::v1::session_request::Message;

use crate::api::router::convert;
use crate::jobs::Answer;
use crate::model::TenantNo;
use crate::replicas::RouterCodec;

/// The conversions of the router API.
pub(super) const ROUTER_CODEC: RouterCodec =
    RouterCodec { encode: convert::order_to_proto, decode: answer_from };

/// The answer in a router's message; none if it is no answer, or one that cannot be used.
fn answer_from(tenant: Option<TenantNo>, message: Message) -> Option<Answer> {
    match message {
        Message::TestResult(result) => Some(Answer::Test(result.servers)),
        Message::FetchResult(result) => {
            convert::fetched_from_proto(tenant?, result).ok().map(|(_, found)| Answer::Fetch(found))
        }
        Message::VerifyResult(result) => {
            convert::verification_from_proto(tenant?, result).ok().map(|(_, asked)| Answer::Verify(asked))
        }
        Message::LookupResult(result) => Some(Answer::LookUp(convert::lookup_from_proto(result).1)),
        Message::Hello(_) | Message::Heartbeat(_) | Message::SyncRefused(_) => None,
    }
}
