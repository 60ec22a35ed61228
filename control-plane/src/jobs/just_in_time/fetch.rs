//! Asks an identity router: for one person, or where someone is who is not in scope any more. Another router is asked where one cannot,
//! or is lost meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Inner;
use super::super::elsewhere::{About, Reached, Search};
use super::super::run::of_the_router;
use super::super::sessions::FetchOrder;
use super::came_to;
use crate::model::{
    Failure, FailureReason, FetchBy, Found, ImmutableId, Presence, Single, SourceId, SourceSettings,
    TenantId, TenantNo,
};
use crate::reconcile::single;

/// More than an answer takes from a router to here.
const WAY: Duration = Duration::from_millis(500);

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

impl Asker<'_> {
    /// The same, with its part of the time that is left for so many that are asked one after the other: one that hangs leaves time for the
    /// others.
    pub(super) fn with_share_of(self, asked: usize) -> Self {
        let now = Instant::now();
        let share =
            self.deadline.saturating_duration_since(now) / u32::try_from(asked).unwrap_or(u32::MAX).max(1);
        Self { deadline: now + share, ..self }
    }

    /// What a router may take: a little less than is left, so that its own word of what it could not do is there in time.
    pub(super) fn for_a_router(self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left - (left / 10).min(WAY)
    }
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
    let about = About { tenant: asker.tenant, number: Some(asker.number), source: &source.id };
    let mut search = Search::new(asker.inner, about, &source.settings.routers);
    let mut failed = Failure { message: String::new(), reason: FailureReason::RouterLost };
    loop {
        let Some(router) = search.next().await else {
            return Err(came_to_nothing(source, none_left(asker, source, &search, failed).await));
        };
        match put(asker, &router, source, question).await {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(failure)) if !of_the_router(failure.reason) => {
                return Err(came_to_nothing(source, failure));
            }
            Some(Err(failure)) => {
                search.asked(router.router());
                failed = failure;
            }
            // Fetching twice does no harm: another way may lead to the same router.
            None => {}
        }
    }
}

/// Why no router is left to ask: what the last one said, or that there is one, but that this replica has no way to it.
pub(super) async fn none_left(
    asker: Asker<'_>,
    source: &Source,
    search: &Search<'_>,
    failed: Failure,
) -> Failure {
    if search.found_nobody()
        && matches!(asker.inner.some_router(asker.tenant, &source.id, &source.settings).await, Ok(Some(true)))
    {
        let message = "An identity router that may read the source is connected to another replica of the control plane, and this one has no way \
                       to it. Set [replicas] in the configuration of each, or send sign-ins where the router is.";
        return Failure { message: message.to_owned(), ..failed };
    }
    failed
}

/// None if the router is lost.
async fn put(
    asker: Asker<'_>,
    router: &Reached<'_>,
    source: &Source,
    question: &Question,
) -> Option<Result<Answer, Failure>> {
    match question {
        Question::Fetch(by) => {
            let order = FetchOrder {
                settings: source.settings.clone(),
                revision: source.revision,
                by: by.clone(),
                deadline: asker.for_a_router(),
            };
            Some(router.fetch(asker.number, order).await.answer()?.map(Answer::Found))
        }
        Question::LookUp(id) => {
            let presence = router.look_up(&source.settings, id).await.answer()?;
            Some(presence.map(Answer::Presence))
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
