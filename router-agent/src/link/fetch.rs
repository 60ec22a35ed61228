//! Carries out orders to fetch one person, several at once: within the policy, on connections that are kept for the session. More than are
//! sensible at one time are refused at once, so that whoever signs in is told rather than kept waiting.

use std::sync::Arc;
use std::time::Duration;

use rollcall_proto::admin::v1::FailureReason;
use rollcall_proto::router::v1::{
    FetchOrder, FetchResult, ReadFailure, SessionRequest, fetch_order, fetch_result, session_request,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::orders::{Allowed, allow, failure, of_directory, presence, say};
use crate::config::Config;
use crate::directory::{self, Fetched, Limits, Source, Warm, Whom};
use crate::record::{Asked, Mapped, Mapping, Name, map_entry};

/// Most fetches under way.
const AT_ONCE: usize = 64;
/// For an order that does not say it.
const DEADLINE: Duration = Duration::from_secs(5);
/// Nobody waits longer for a sign-in.
const LONGEST: Duration = Duration::from_secs(30);

/// Fetches of one session.
pub(super) struct Fetches {
    config: Arc<Config>,
    sender: mpsc::Sender<SessionRequest>,
    all: CancellationToken,
    warm: Arc<Warm>,
    turns: Arc<Semaphore>,
}

/// What was found, and where.
type Found = (String, fetch_result::Found);

impl Fetches {
    pub(super) fn new(
        config: Arc<Config>,
        sender: mpsc::Sender<SessionRequest>,
        all: CancellationToken,
    ) -> Self {
        let warm = Arc::new(Warm::new(Limits::default()));
        Self { config, sender, all, warm, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Begins one. The answer goes to the session.
    pub(super) fn begin(&self, order: FetchOrder) {
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            let message = format!("The identity router has {AT_ONCE} people to fetch already. Try again.");
            let result = answer(order.request_id, Err(failure(FailureReason::RouterLost, message)));
            // Where not even this can be said, whoever waits runs out of time.
            let message = session_request::Message::FetchResult(result);
            let _ = self.sender.try_send(SessionRequest { message: Some(message) });
            return;
        };
        let (config, warm) = (Arc::clone(&self.config), Arc::clone(&self.warm));
        let (sender, cancel) = (self.sender.clone(), self.all.child_token());
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                found = fetch(&config, &warm, &order) => {
                    let result = answer(order.request_id, found);
                    say(&sender, session_request::Message::FetchResult(result)).await;
                }
            }
            drop(turn);
        });
    }
}

async fn fetch(config: &Config, warm: &Warm, order: &FetchOrder) -> Result<Found, ReadFailure> {
    let settings = order.settings.clone().unwrap_or_default();
    let Allowed { mapping, plan, credential, ca_file } = allow(config, &settings, order.revision)?;
    let (asked, id);
    let whom = match order.whom.as_ref() {
        Some(fetch_order::Whom::ImmutableId(wanted)) => {
            id = wanted.clone();
            Whom::Id(&id)
        }
        named => match who(&mapping, named)? {
            Some(one) => {
                asked = one;
                Whom::Named(&asked)
            }
            // No record can have such a name.
            None => return Ok((String::new(), absent(directory::Presence::NotFound))),
        },
    };
    let source = Source {
        plan: &plan,
        mapping: &mapping,
        credential: &credential,
        ca_file: ca_file.as_deref(),
        look_up_moved: config.policy.look_up_moved,
    };
    let (server, fetched) =
        directory::fetch(warm, source, whom, deadline(order)).await.map_err(|error| of_directory(&error))?;
    Ok((server, found(&mapping, fetched)))
}

/// The name that is asked for; none if nobody can have it.
fn who<'m>(mapping: &'m Mapping, whom: Option<&fetch_order::Whom>) -> Result<Option<Asked<'m>>, ReadFailure> {
    use fetch_order::Whom as Proto;
    let name = match whom {
        Some(Proto::UserName(name)) => Name::User(name),
        Some(Proto::Mail(name)) => Name::Mail(name),
        Some(Proto::Login(name)) => Name::Login(name),
        Some(Proto::ImmutableId(_)) | None => {
            return Err(failure(FailureReason::Internal, "The order does not say whom to fetch."));
        }
    };
    Asked::of(mapping, name).map_err(|error| failure(FailureReason::SourceInvalid, error.to_string()))
}

fn deadline(order: &FetchOrder) -> Duration {
    let said = order.deadline.and_then(|deadline| Duration::try_from(deadline).ok());
    said.unwrap_or(DEADLINE).min(LONGEST)
}

fn absent(whereabouts: directory::Presence) -> fetch_result::Found {
    fetch_result::Found::Absent(presence(whereabouts).into())
}

/// In the words of the contract; an entry becomes what a read of the whole source would make of it.
fn found(mapping: &Mapping, fetched: Fetched) -> fetch_result::Found {
    match fetched {
        Fetched::Entry(entry) => match map_entry(mapping, &entry) {
            Mapped::Record(record) => fetch_result::Found::Record(record),
            Mapped::Rejected(rejected) => fetch_result::Found::Rejected(rejected),
        },
        Fetched::Absent(presence) => absent(presence),
        Fetched::Ambiguous(entries) => {
            fetch_result::Found::Ambiguous(i32::try_from(entries).unwrap_or(i32::MAX))
        }
    }
}

fn answer(request_id: String, found: Result<Found, ReadFailure>) -> FetchResult {
    match found {
        Ok((server, found)) => FetchResult { request_id, found: Some(found), server },
        Err(failure) => {
            tracing::warn!(reason = ?failure.reason(), "a person was not fetched");
            let found = Some(fetch_result::Found::Failure(failure));
            FetchResult { request_id, found, server: String::new() }
        }
    }
}
