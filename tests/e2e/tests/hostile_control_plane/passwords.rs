//! A control plane that was taken over, and passwords: where the policy does not allow it, it
//! learns nothing of any; where it does, it learns no more than whoever stands before the sign-in,
//! and guesses no more often.

use anyhow::{Context, Result};
use harness::world::Policy;
use rollcall_proto::admin::v1::{FailureReason, IdentitySourceSettings};
use rollcall_proto::router::v1::verify_result::{Found, Verdict};
use rollcall_proto::router::v1::{
    Drain, FetchOrder, VerifyOrder, VerifyResult, fetch_order::Whom, session_request, session_response,
};

use super::impostor::Link;
use super::{House, PLANTED};

/// What the router answers.
async fn verify(
    link: &mut Link,
    number: usize,
    settings: &IdentitySourceSettings,
    whom: Whom,
    (login, password): (&str, &str),
) -> Result<VerifyResult> {
    let request_id = format!("verify-{number}");
    let order = VerifyOrder {
        request_id: request_id.clone(),
        person: Some(FetchOrder {
            settings: Some(settings.clone()),
            revision: 1,
            whom: Some(whom),
            deadline: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
            ..FetchOrder::default()
        }),
        login: login.to_owned(),
        password: password.to_owned(),
    };
    link.say(session_response::Message::VerifyOrder(order)).await?;
    match link.answer(&request_id).await? {
        session_request::Message::VerifyResult(result) => Ok(result),
        other => anyhow::bail!("answered {other:?}"),
    }
}

fn by_login(login: &str) -> Whom {
    Whom::Login(login.to_owned())
}

fn failed(result: &VerifyResult) -> Option<FailureReason> {
    match &result.found {
        Some(Found::Failure(failure)) => Some(failure.reason()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_policy_does_not_allow_it_no_password_is_asked_about_whatever_is_ordered() -> Result<()> {
    let mut house = House::open().await?;
    let mut impostor = house.impostor()?;
    let mut link = impostor.link().await?;
    let honest = IdentitySourceSettings { verify_passwords: true, ..house.world.settings() };
    let directory = |house: &House| -> Result<_> {
        let directory = house.world.directory();
        Ok((directory.binds()?, directory.searches()?))
    };
    let before = directory(&house)?;
    let mut answers = Vec::new();
    let right = format!("{PLANTED}-1");
    for settings in [&honest, &house.world.settings()] {
        for (login, password) in [
            ("victim", right.as_str()),
            ("victim", "wrong"),
            ("nobody", "wrong"),
            ("hidden", "wrong"),
            ("victim", ""),
            ("victim@lab.test", &"x".repeat(100_000)),
        ] {
            house.tried += 1;
            let mut result =
                verify(&mut link, house.tried, settings, by_login(login), (login, password)).await?;
            assert_eq!(result.verdict(), Verdict::Unspecified, "{login}");
            assert!(failed(&result).is_some(), "{result:?}");
            result.request_id.clear();
            answers.push(result);
        }
    }
    // The first three, and so what any of them could say, are the same word for word.
    assert!(answers[0] == answers[1] && answers[1] == answers[2], "{answers:?}");
    assert_eq!(failed(&answers[0]), Some(FailureReason::RouterPolicy));
    // Each of these questions is a bind and a search itself.
    assert_eq!(directory(&house)?, (before.0 + 2, before.1 + 2), "the directory was asked");
    house.world.router()?.wait_for_log("VerifyOrder", super::PATIENCE)?;
    let sent = impostor.sent.lock().expect("no panic").clone();
    drop((link, impostor));
    house.stands(&sent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_policy_allows_it_nobody_guesses_more_often_than_a_directory_bears() -> Result<()> {
    let mut house = House::with(|policy| Policy { verify_passwords: true, ..policy }).await?;
    let mut impostor = house.impostor()?;
    let mut link = impostor.link().await?;
    let honest = IdentitySourceSettings { verify_passwords: true, ..house.world.settings() };
    let right = format!("{PLANTED}-1");
    house.tried += 1;
    let result = verify(&mut link, house.tried, &honest, by_login("victim"), ("victim", &right)).await?;
    assert_eq!(result.verdict(), Verdict::Accepted, "this is what it gets: {result:?}");
    let Some(Found::Record(record)) = &result.found else { panic!("{result:?}") };

    // Only as the one entry in scope that has the name that was typed, whatever it is found by.
    let bind_account = house.world.directory().agent_password();
    let id = || Whom::ImmutableId(record.immutable_id.clone());
    for (whom, login, password) in [
        (id(), "nobody", right.as_str()),
        (id(), "*", &right),
        (id(), "", &right),
        (by_login("victim"), "anna", &right),
        (by_login("*"), "victim", &right),
        (by_login("hidden"), "hidden", "x"),
        (by_login("agent"), "agent", bind_account),
        (by_login("cn=agent,dc=example,dc=com"), "cn=agent,dc=example,dc=com", bind_account),
        (by_login("victim"), "victim", ""),
    ] {
        house.tried += 1;
        let result = verify(&mut link, house.tried, &honest, whom, (login, password)).await?;
        assert_eq!(result.verdict(), Verdict::Unspecified, "{login}: {result:?}");
        assert!(!matches!(result.found, Some(Found::Record(_) | Found::Rejected(_))), "{login}");
    }

    // Over as many sessions as it likes.
    let before = house.world.directory().binds()?;
    let mut verdicts = Vec::new();
    for round in 0..12 {
        if round % 4 == 3 {
            let reconnect_after = Some(prost_types::Duration::default());
            link.say(session_response::Message::Drain(Drain { reconnect_after })).await?;
            link = impostor.link().await.context("the next session")?;
        }
        house.tried += 1;
        let guess = (if round % 2 == 0 { "victim" } else { "victim@lab.test" }, "guess");
        let result = verify(&mut link, house.tried, &honest, by_login(guess.0), guess).await?;
        assert_eq!(result.found, None, "nothing of the entry");
        verdicts.push(result.verdict());
    }
    let wrong = verdicts.iter().filter(|verdict| **verdict == Verdict::Wrong).count();
    assert_eq!(wrong, 8, "{verdicts:?}");
    assert!(verdicts[8..].iter().all(|verdict| *verdict == Verdict::TooManyAttempts), "{verdicts:?}");
    house.tried += 1;
    let result = verify(&mut link, house.tried, &honest, by_login("victim"), ("victim", &right)).await?;
    assert_eq!(result.verdict(), Verdict::TooManyAttempts, "not even the right one");
    // One a guess, one a session, and the questions here.
    let binds = house.world.directory().binds()? - before;
    assert!(binds <= 8 + 4 + 1, "{binds} binds");
    let sent = impostor.sent.lock().expect("no panic").clone();
    drop((link, impostor));
    house.stands(&sent).await
}
