//! Asks an identity router: for one person, or where someone is who is not in scope any more. Another router is asked where one cannot,
//! or is lost meanwhile.

use tokio::time::Instant;

use super::super::run::of_the_router;
use super::super::sessions::{Choice, FetchOrder};
use super::super::{Inner, Session};
use super::came_to;
use crate::model::{
    Failure, FailureReason, FetchBy, Found, ImmutableId, Presence, RouterId, Single, SourceId,
    SourceSettings, TenantId, TenantNo,
};
use crate::reconcile::single;

/// A source as it is asked.
pub(super) struct Source {
    pub(super) id: SourceId,
    pub(super) settings: SourceSettings,
    pub(super) revision: i32,
}

/// Who asks, and until when.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) inner: &'a Inner,
    pub(super) tenant: &'a TenantId,
    pub(super) number: TenantNo,
    pub(super) deadline: Instant,
}

/// What a router is asked.
enum Question {
    /// For one person.
    Fetch(FetchBy),
    /// Where someone is.
    LookUp(ImmutableId),
}

enum Answer {
    Found(Found),
    Presence(Presence),
}

/// Fetches one person.
pub(super) async fn fetch(asker: Asker<'_>, source: &Source, by: FetchBy) -> Result<Found, Single> {
    match ask(asker, source, &Question::Fetch(by)).await? {
        Answer::Found(found) => Ok(found),
        Answer::Presence(_) => Err(came_to_nothing(source, Failure::of(FailureReason::Internal))),
    }
}

/// Looks someone up once more, on a new connection and in the whole naming context.
pub(super) async fn look_up(asker: Asker<'_>, source: &Source, id: &ImmutableId) -> Result<Presence, Single> {
    match ask(asker, source, &Question::LookUp(id.clone())).await? {
        Answer::Presence(presence) => Ok(presence),
        Answer::Found(_) => Err(came_to_nothing(source, Failure::of(FailureReason::Internal))),
    }
}

/// Asks one router after the other, until one can.
async fn ask(asker: Asker<'_>, source: &Source, question: &Question) -> Result<Answer, Single> {
    let mut tried: Vec<RouterId> = Vec::new();
    let mut failed = Failure { message: String::new(), reason: FailureReason::RouterLost };
    loop {
        let choice =
            Choice { source: &source.id, allowed: &source.settings.routers, last: None, except: &tried };
        let Some(session) = asker.inner.sessions.pick(asker.tenant, choice) else {
            return Err(came_to_nothing(source, none_left(asker, source, &tried, failed).await));
        };
        match put(asker, &session, source, question).await {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(failure)) if !of_the_router(failure.reason) => {
                return Err(came_to_nothing(source, failure));
            }
            Some(Err(failure)) => failed = failure,
            None => {}
        }
        tried.push(session.router().clone());
    }
}

/// Why no router is left to ask: what the last one said, or that there is one, but not at this replica.
pub(super) async fn none_left(
    asker: Asker<'_>,
    source: &Source,
    tried: &[RouterId],
    failed: Failure,
) -> Failure {
    let elsewhere = asker.inner.some_router(asker.tenant, &source.id, &source.settings);
    if tried.is_empty() && matches!(elsewhere.await, Ok(Some(true))) {
        let message = "An identity router that may read the source is connected, but to another replica of the control plane. Connect one to each \
                       replica, or send sign-ins where it is.";
        return Failure { message: message.to_owned(), ..failed };
    }
    failed
}

/// None if the router is lost.
async fn put(
    asker: Asker<'_>,
    session: &Session,
    source: &Source,
    question: &Question,
) -> Option<Result<Answer, Failure>> {
    match question {
        Question::Fetch(by) => {
            let order = FetchOrder {
                settings: source.settings.clone(),
                revision: source.revision,
                by: by.clone(),
                deadline: asker.deadline.saturating_duration_since(Instant::now()),
            };
            Some(session.fetch(asker.number, order).await?.map(Answer::Found))
        }
        Question::LookUp(id) => {
            let presences = session.look_up(&source.settings, vec![id.clone()]).await?;
            Some(
                presences.map(|found| Answer::Presence(found.first().copied().unwrap_or(Presence::NotFound))),
            )
        }
    }
}

fn came_to_nothing(source: &Source, failure: Failure) -> Single {
    let nothing = came_to(single::failed(failure.reason));
    let message = match failure.message.as_str() {
        "" => nothing.message.clone(),
        message => message.to_owned(),
    };
    Single { message, source: Some(source.id.clone()), ..nothing }
}
