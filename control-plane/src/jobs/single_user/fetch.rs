//! Asks an identity router for one person, or where a user is that is not in scope any more. If the
//! router cannot or is lost, another one is asked.

use super::context::SearchContext;
use super::outcome::outcome_only;
use super::sources::Source;
use crate::jobs::FetchOrder;
use crate::jobs::remote_routers::{QuestionScope, ReachableRouter, RouterSearch};
use crate::jobs::run::another_router_may;
use crate::model::{Failure, FailureReason, FetchBy, Found, ImmutableId, Presence, Single};
use crate::reconcile::single_user;

/// What a router is asked.
enum Question {
    /// For one person, and whether its record would enable a user.
    Fetch(FetchBy, bool),
    /// Where someone is.
    LookUp(ImmutableId),
}

enum SearchAnswer {
    Found(Box<Found>),
    Presence(Presence),
}

/// Fetches one person. With `prove_mark` the record would enable a user.
pub(super) async fn fetch(
    context: SearchContext<'_>,
    source: &Source,
    by: FetchBy,
    prove_mark: bool,
) -> Result<Found, Single> {
    match ask(context, source, &Question::Fetch(by, prove_mark)).await? {
        SearchAnswer::Found(found) => Ok(*found),
        SearchAnswer::Presence(_) => Err(failed_search(source, Failure::of(FailureReason::Internal))),
    }
}

/// Looks someone up once more, on a new connection and in the whole naming context.
pub(super) async fn look_up(
    context: SearchContext<'_>,
    source: &Source,
    id: &ImmutableId,
) -> Result<Presence, Single> {
    match ask(context, source, &Question::LookUp(id.clone())).await? {
        SearchAnswer::Presence(presence) => Ok(presence),
        SearchAnswer::Found(_) => Err(failed_search(source, Failure::of(FailureReason::Internal))),
    }
}

/// Asks one router after the other, until one can.
async fn ask(
    context: SearchContext<'_>,
    source: &Source,
    question: &Question,
) -> Result<SearchAnswer, Single> {
    let scope = QuestionScope { tenant: context.tenant, number: Some(context.number), source: &source.id };
    let mut search = RouterSearch::new(context.inner, scope, &source.settings.routers);
    let mut failed = Failure { message: String::new(), reason: FailureReason::RouterLost };
    loop {
        let Some(router) = search.next().await else {
            return Err(failed_search(source, none_left(context, source, &search, failed).await));
        };
        match ask_router(context, &router, source, question).await {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(failure)) if !another_router_may(failure.reason) => {
                return Err(failed_search(source, failure));
            }
            Some(Err(failure)) => {
                search.skip(router.router());
                failed = failure;
            }
            // Fetching twice does no harm: another way may lead to the same router.
            None => {}
        }
    }
}

/// Why no router is left to ask: the error of the last one, or that one is connected to a replica
/// that this one cannot reach.
pub(super) async fn none_left(
    context: SearchContext<'_>,
    source: &Source,
    search: &RouterSearch<'_>,
    failed: Failure,
) -> Failure {
    if search.found_none()
        && matches!(
            context.inner.has_connected_router(context.tenant, &source.id, &source.settings).await,
            Ok(Some(true))
        )
    {
        let message = "An identity router that may read the source is connected to another replica of the control plane, and this one has no way \
                       to it. Set [replicas] in the configuration of each, or send sign-ins where the router is.";
        return Failure { message: message.to_owned(), ..failed };
    }
    failed
}

/// None if the router is lost.
async fn ask_router(
    context: SearchContext<'_>,
    router: &ReachableRouter<'_>,
    source: &Source,
    question: &Question,
) -> Option<Result<SearchAnswer, Failure>> {
    match question {
        Question::Fetch(by, prove_mark) => {
            let order = FetchOrder {
                settings: source.settings.clone(),
                revision: source.revision,
                by: by.clone(),
                deadline: context.router_deadline(),
                prove_mark: *prove_mark,
            };
            Some(
                router
                    .fetch(context.number, order)
                    .await
                    .answer()?
                    .map(|found| SearchAnswer::Found(Box::new(found))),
            )
        }
        Question::LookUp(id) => {
            let presence = match router.look_up(&source.settings, id).await.answer()? {
                // Where no root is there, no entry is seen: neither here nor gone.
                Err(failure) if failure.reason == FailureReason::RootNotFound => Ok(Presence::NotVisible),
                answer => answer,
            };
            Some(presence.map(SearchAnswer::Presence))
        }
    }
}

fn failed_search(source: &Source, failure: Failure) -> Single {
    let nothing = outcome_only(single_user::failed(failure.reason));
    let message = match failure.message.as_str() {
        "" => nothing.message.clone(),
        message => message.to_owned(),
    };
    Single { message, source: Some(source.id.clone()), ..nothing }
}
