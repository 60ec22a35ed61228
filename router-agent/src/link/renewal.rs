//! Keeps the router's certificate valid. From half of its life on, on the session's own connection, with a new key each time; the new one is
//! on the disk before anyone is shown it. A certificate that has expired all the same is recovered with its key, through the door.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{IssuedCertificate, RenewCertificateRequest};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tonic::transport::Channel;

use super::door::{Door, DoorError};
use super::refusal::{Kind, Refusal};
use super::{connect, session, wire};
use crate::clock;
use crate::config::Config;
use crate::identity::{self, Authorities, Facts, Identity, Life, State, issued, pending, settled, vouches};

/// A router renews at half of a life, a tenth of it earlier or later, so that not all of them come at once.
const FROM: f64 = 0.4;
const SPREAD: f64 = 0.2;
/// From when on people should hear of it.
const LATE: f64 = 0.75;
/// Waits between tries, as parts of a life.
const FIRST_PAUSE: f64 = 1.0 / 200.0;
const LONGEST_PAUSE: f64 = 1.0 / 20.0;

const ANSWER: Duration = Duration::from_secs(20);
/// How long to wait for another process that shows or replaces the identity.
pub(crate) const LOCK: Duration = Duration::from_secs(30);
/// Tries to show the new certificate; without success the next connection shows it.
const CONFIRMATIONS: u32 = 5;
/// A clock that is set forward is noticed within this.
const NAP: Duration = Duration::from_secs(30);

/// After how much of a life of this length a router renews; `random` is any number.
pub(crate) fn due(length: Duration, random: u32) -> Duration {
    length.mul_f64(FROM + SPREAD * f64::from(random) / f64::from(u32::MAX))
}

/// The wait after so many tries in a row that failed.
fn pause(length: Duration, failures: u32, random: u32) -> Duration {
    let (first, longest) = (length.mul_f64(FIRST_PAUSE), length.mul_f64(LONGEST_PAUSE));
    let ceiling = first.saturating_mul(1 << failures.min(16)).min(longest);
    ceiling.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

/// How urgent it has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Calm,
    Late,
    Over,
}

fn urgency(life: &Life, now: OffsetDateTime) -> Urgency {
    match life.spent(now) {
        spent if spent >= 1.0 => Urgency::Over,
        spent if spent >= LATE => Urgency::Late,
        _ => Urgency::Calm,
    }
}

/// Tells people once that a certificate should have been renewed by now, and once that it has expired.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    said: Option<(String, Urgency)>,
}

impl Alarm {
    /// Looks at the clock.
    pub(super) fn look(&mut self, facts: &Facts, now: OffsetDateTime) {
        let urgency = urgency(&facts.life, now);
        if !self.is_news(facts, urgency) {
            return;
        }
        let until = wire::text(facts.life.not_after);
        match urgency {
            Urgency::Calm => {}
            Urgency::Late => {
                tracing::warn!(
                    until,
                    "the router's certificate is past three quarters of its life and not renewed"
                );
            }
            Urgency::Over => tracing::error!(until, "the router's certificate has expired"),
        }
    }

    fn is_news(&mut self, facts: &Facts, urgency: Urgency) -> bool {
        let known = self.said.as_ref().filter(|(of, _)| *of == facts.fingerprint).map(|(_, said)| *said);
        let news = urgency > known.unwrap_or(Urgency::Calm);
        if news {
            self.said = Some((facts.fingerprint.clone(), urgency));
        }
        news
    }
}

/// Renews whenever it is time, for as long as the session lasts.
pub(super) async fn keep(config: &Config, client: RouterServiceClient<Channel>, shown: Facts) -> Infallible {
    let (mut facts, mut alarm, mut failures) = (shown, Alarm::default(), 0);
    // By this machine's clock, which may be wrong: a certificate from the future begins now.
    let mut begin = facts.life.begin().min(clock::now());
    loop {
        until(begin + due(facts.life.length(), rand::random())).await;
        match renew(config, client.clone(), &facts).await {
            Ok(renewed) => {
                (facts, begin, failures) = (renewed, clock::now(), 0);
                let until = wire::text(facts.life.not_after);
                tracing::info!(until, generation = facts.generation, "the router's certificate is renewed");
            }
            Err(error) => {
                failures += 1;
                alarm.look(&facts, clock::now());
                let wait = pause(facts.life.length(), failures, rand::random());
                tracing::warn!(error = format!("{error:#}"), retry_in = ?wait, "the router's certificate is not renewed");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Waits for a moment of this machine's clock, which may be set meanwhile.
async fn until(moment: OffsetDateTime) {
    while let Ok(left) = Duration::try_from(moment - clock::now())
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(NAP)).await;
    }
}

async fn renew(config: &Config, mut client: RouterServiceClient<Channel>, shown: &Facts) -> Result<Facts> {
    let state = State::open(&config.state)?;
    let key = pending(&state, &successor(shown))?;
    let certificate_request = key.request()?.into();
    let generation = shown.generation.unwrap_or_default();
    let answer = client.renew_certificate(RenewCertificateRequest { certificate_request, generation });
    let answer =
        tokio::time::timeout(ANSWER, answer).await.context("the control plane did not answer in time")?;
    let answer = match answer {
        Ok(answer) => answer.into_inner().certificate.unwrap_or_default(),
        Err(status) => return Err(refused(&state, Refusal::of(&status))),
    };
    let identity = issued(key, &answer, Some(&shown.name))?;
    replace(&state, shown, &identity).await?;
    // Until it has been shown, the control plane takes the old one, too; from then on it has a single one to know this router by.
    let before = widen(&state, &answer);
    for failures in 1..=CONFIRMATIONS {
        match Box::pin(session::hello(config, true)).await {
            Ok(welcomed) => {
                narrow(config, &state, before, &answer, &welcomed.shown);
                break;
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the new certificate is not confirmed yet");
                tokio::time::sleep(pause(identity.facts.life.length(), failures, rand::random())).await;
            }
        }
    }
    Ok(identity.facts)
}

/// Gets a new certificate for one that has expired. The key of that one is the proof, and the authorities in the state folder say whom
/// to give it to.
pub(super) async fn recover(config: &Config) -> Result<Facts> {
    let state = State::open(&config.state)?;
    let expired = identity::load(&state)?.with_context(|| connect::not_enrolled(config))?;
    let authorities = Authorities::load(&state)?;
    let mut door = Door::open(&config.host, config.port, authorities.verifier()?).await?;
    let key = pending(&state, &successor(&expired.facts))?;
    let answer = door.recover(&expired, &key).await.map_err(|error| match error {
        DoorError::Refused(refusal) => refused(&state, refusal.showing(&expired.facts)),
        other => other.into(),
    })?;
    let identity = issued(key, &answer, Some(&expired.facts.name))?;
    replace(&state, &expired.facts, &identity).await?;
    let before = widen(&state, &answer);
    narrow(config, &state, before, &answer, &door.shown);
    Ok(identity.facts)
}

/// What the pending key of a renewal or a recovery is for.
fn successor(of: &Facts) -> String {
    format!("successor of {}", of.fingerprint)
}

/// Where the answer is a plain no, the next request is another one.
fn refused(state: &State, refusal: Refusal) -> anyhow::Error {
    if refusal.needs_a_person()
        && let Err(error) = settled(state)
    {
        return error;
    }
    refusal.into()
}

async fn replace(state: &State, expected: &Facts, by: &Identity) -> Result<()> {
    let _change = state.change(LOCK).await?;
    let present = identity::load(state)?.map(|present| present.facts.fingerprint);
    if present.as_ref() != Some(&expected.fingerprint) {
        bail!("the router was enrolled anew meanwhile");
    }
    identity::store(state, by)?;
    settled(state)
}

/// Whether the end of a connection has to do with the certificate's own: the control plane said so, or the connection broke and this
/// machine's clock says so.
pub(super) fn is_expiry(error: &anyhow::Error, life: &Life, now: OffsetDateTime) -> bool {
    match error.downcast_ref::<Refusal>().map(|refusal| refusal.kind) {
        Some(Kind::Expired) => true,
        Some(Kind::Lost) => now >= life.not_after,
        _ => false,
    }
}

/// Trusts the authorities that were handed out beside those of before, for as long as it is not known whether they are enough. Says which
/// were there before.
fn widen(state: &State, answer: &IssuedCertificate) -> Option<Authorities> {
    let change = || -> Result<Authorities> {
        let before = Authorities::load(state)?;
        let handed = Authorities::handed_out(&answer.control_plane_authorities)?;
        let both = handed.with(&before);
        if both != before {
            both.store(state)?;
        }
        Ok(before)
    };
    match change() {
        Ok(before) => Some(before),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "the control plane's authorities are not replaced; those of before stay"
            );
            None
        }
    }
}

/// Trusts only the authorities that were handed out, if they vouch for the control plane as it is now.
fn narrow(
    config: &Config,
    state: &State,
    before: Option<Authorities>,
    answer: &IssuedCertificate,
    shown: &[CertificateDer<'_>],
) {
    let Some(before) = before else { return };
    let change = || -> Result<bool> {
        let handed = Authorities::handed_out(&answer.control_plane_authorities)?;
        if handed == before {
            return Ok(true);
        }
        let fits = vouches(&handed, shown, &wire::server_name(&config.host)?, clock::now());
        if fits {
            handed.store(state)?;
        }
        Ok(fits)
    };
    match change() {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "the authorities that the control plane hands out do not vouch for its own certificate; those of before are trusted, too"
        ),
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "the control plane's authorities are not replaced");
        }
    }
}

#[cfg(test)]
mod tests {
    use time::Duration as Span;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn life(seconds: i64) -> Life {
        let not_before = OffsetDateTime::UNIX_EPOCH;
        Life { not_before, not_after: not_before + Span::minutes(5) + Span::seconds(seconds) }
    }

    fn facts(fingerprint: &str) -> Facts {
        Facts {
            name: "tenants/acme/identityRouters/hq-1".to_owned(),
            life: life(100),
            fingerprint: fingerprint.to_owned(),
            generation: None,
        }
    }

    #[test]
    fn a_certificate_is_renewed_around_half_of_its_life_and_not_by_all_at_once() {
        assert_eq!((due(DAY, 0), due(DAY, u32::MAX)), (DAY.mul_f64(0.4), DAY.mul_f64(0.6)));
        assert!((due(DAY, u32::MAX / 2).as_secs_f64() - 43_200.0).abs() < 1.0);
    }

    #[test]
    fn tries_that_fail_are_repeated_often_enough_to_be_done_by_two_thirds() {
        let spent: Duration = (1..=4).map(|failures| pause(DAY, failures, u32::MAX)).sum();
        assert!(due(DAY, u32::MAX) + spent <= DAY.mul_f64(2.0 / 3.0 + 0.1), "{spent:?}");
        for failures in 0..40 {
            let wait = pause(DAY, failures, 0);
            assert!(wait > Duration::ZERO && wait <= DAY.mul_f64(LONGEST_PAUSE), "{failures}: {wait:?}");
        }
    }

    #[test]
    fn people_hear_once_that_it_is_late_and_once_that_it_is_over() {
        let begin = life(100).begin();
        let at = |seconds| begin + Span::seconds(seconds);
        let of = |seconds| urgency(&life(100), at(seconds));
        assert_eq!((of(0), of(74), of(75)), (Urgency::Calm, Urgency::Calm, Urgency::Late));
        assert_eq!((of(99), of(100), of(10_000)), (Urgency::Late, Urgency::Over, Urgency::Over));

        let mut alarm = Alarm::default();
        let mut news = |urgency| alarm.is_news(&facts("a"), urgency);
        assert!(!news(Urgency::Calm) && news(Urgency::Late) && !news(Urgency::Late));
        assert!(news(Urgency::Over) && !news(Urgency::Over) && !news(Urgency::Late));
        assert!(!alarm.is_news(&facts("b"), Urgency::Calm), "a new one is fine");
        assert!(alarm.is_news(&facts("b"), Urgency::Late), "until it is late, too");
    }

    #[test]
    fn a_lost_connection_is_taken_for_an_expiry_only_when_the_clock_says_so() {
        let life = life(100);
        let (before, after) = (life.not_after - Span::SECOND, life.not_after);
        let lost = || {
            anyhow::Error::from(Refusal::of(&tonic::Status::from_error(Box::new(std::io::Error::other(
                "cut",
            )))))
        };
        assert!(!is_expiry(&lost(), &life, before) && is_expiry(&lost(), &life, after));
        let refused = anyhow::Error::from(Refusal::of(&tonic::Status::permission_denied("no")));
        assert!(!is_expiry(&refused, &life, after), "an answer is an answer");
        assert!(!is_expiry(&anyhow::anyhow!("no network"), &life, after));
    }
}
