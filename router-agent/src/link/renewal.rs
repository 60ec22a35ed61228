//! Keeps the router's certificate valid. From about half of its life on it is renewed, on the
//! session's own connection and with a new key each time; the new one is on the disk before it is
//! shown. A certificate that has expired all the same is recovered with its key, by the enrollment
//! client.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{IssuedCertificate, RenewCertificateRequest};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tonic::transport::Channel;

use super::connect::not_enrolled_message;
use super::enrollment_client::{EnrollmentClient, EnrollmentError};
use super::expiry_alarm::ExpiryAlarm;
use super::hello::hello;
use super::refusal::{Refusal, RefusalReason};
use super::renewal_schedule::{renewal_due, retry_pause};
use super::transport;
use crate::clock;
use crate::config::Config;
use crate::identity::{
    self, Authorities, Facts, IDENTITY_LOCK_TIMEOUT, Identity, StateFolder, Validity, forget_pending_key,
    issued, pending_key, vouches,
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries to show the new certificate; without success the next connection shows it.
const MAX_CONFIRMATION_TRIES: u32 = 5;
/// A clock that is set forward is noticed within this.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// Renews whenever it is time, for as long as the session lasts.
pub(super) async fn renew_when_due(
    config: &Config,
    client: RouterServiceClient<Channel>,
    facts: Facts,
) -> Infallible {
    let (mut facts, mut alarm, mut failures) = (facts, ExpiryAlarm::default(), 0);
    // By this machine's clock, which may be wrong: a certificate from the future begins now.
    let mut begin = facts.validity.issued_at().min(clock::now());
    loop {
        sleep_until(begin + renewal_due(facts.validity.length(), rand::random())).await;
        match renew(config, client.clone(), &facts).await {
            Ok(renewed) => {
                (facts, begin, failures) = (renewed, clock::now(), 0);
                let until = transport::format_time(facts.validity.not_after);
                tracing::info!(until, generation = facts.generation, "the router's certificate is renewed");
            }
            Err(error) => {
                failures += 1;
                alarm.check(&facts, clock::now());
                let wait = retry_pause(facts.validity.length(), failures, rand::random());
                tracing::warn!(error = format!("{error:#}"), retry_in = ?wait, "the router's certificate is not renewed");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Waits for a moment of this machine's clock, which may be set meanwhile.
async fn sleep_until(moment: OffsetDateTime) {
    while let Ok(left) = Duration::try_from(moment - clock::now())
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(MAX_SLEEP)).await;
    }
}

async fn renew(config: &Config, mut client: RouterServiceClient<Channel>, current: &Facts) -> Result<Facts> {
    let state = StateFolder::open(&config.state)?;
    let key = pending_key(&state, &successor_purpose(current))?;
    let certificate_request = key.request()?.into();
    let generation = current.generation.unwrap_or_default();
    let answer = client.renew_certificate(RenewCertificateRequest { certificate_request, generation });
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer)
        .await
        .context("the control plane did not answer in time")?;
    let answer = match answer {
        Ok(answer) => answer.into_inner().certificate.unwrap_or_default(),
        Err(status) => return Err(settle_refusal(&state, Refusal::from_status(&status))),
    };
    let identity = issued(key, &answer, Some(&current.name))?;
    replace_identity(&state, current, &identity).await?;
    // Until it has been shown, the control plane takes the old one, too; from then on it has a
    // single one to know this router by.
    let before = trust_also(&state, &answer);
    for failures in 1..=MAX_CONFIRMATION_TRIES {
        match Box::pin(hello(config, true)).await {
            Ok(accepted) => {
                trust_only(config, &state, before, &answer, &accepted.server_chain);
                break;
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the new certificate is not confirmed yet");
                tokio::time::sleep(retry_pause(identity.facts.validity.length(), failures, rand::random()))
                    .await;
            }
        }
    }
    Ok(identity.facts)
}

/// Gets a new certificate for one that has expired. The key of that one is the proof, and the
/// authorities in the state folder say whom to give it to.
pub(super) async fn recover(config: &Config) -> Result<Facts> {
    let state = StateFolder::open(&config.state)?;
    let expired = identity::load(&state)?.with_context(|| not_enrolled_message(config))?;
    let authorities = Authorities::load(&state)?;
    let mut client = EnrollmentClient::connect(&config.host, config.port, authorities.verifier()?).await?;
    let key = pending_key(&state, &successor_purpose(&expired.facts))?;
    let answer = client.recover(&expired, &key).await.map_err(|error| match error {
        EnrollmentError::Refused(refusal) => settle_refusal(&state, refusal.for_identity(&expired.facts)),
        other => other.into(),
    })?;
    let identity = issued(key, &answer, Some(&expired.facts.name))?;
    replace_identity(&state, &expired.facts, &identity).await?;
    let before = trust_also(&state, &answer);
    trust_only(config, &state, before, &answer, &client.server_chain);
    Ok(identity.facts)
}

/// What the pending key of a renewal or a recovery is for.
fn successor_purpose(of: &Facts) -> String {
    format!("successor of {}", of.fingerprint)
}

/// Where the answer is a plain no, the next request is another one.
fn settle_refusal(state: &StateFolder, refusal: Refusal) -> anyhow::Error {
    if refusal.needs_administrator()
        && let Err(error) = forget_pending_key(state)
    {
        return error;
    }
    refusal.into()
}

async fn replace_identity(state: &StateFolder, expected: &Facts, by: &Identity) -> Result<()> {
    let _change = state.lock_for_change(IDENTITY_LOCK_TIMEOUT).await?;
    let present = identity::load(state)?.map(|present| present.facts.fingerprint);
    if present.as_ref() != Some(&expected.fingerprint) {
        bail!("the router was enrolled anew meanwhile");
    }
    identity::store(state, by)?;
    forget_pending_key(state)
}

/// Whether the end of a connection has to do with the certificate's own: the control plane said so,
/// or the connection broke and this machine's clock says so.
pub(super) fn is_expiry(error: &anyhow::Error, validity: &Validity, now: OffsetDateTime) -> bool {
    match error.downcast_ref::<Refusal>().map(|refusal| refusal.reason) {
        Some(RefusalReason::Expired) => true,
        Some(RefusalReason::Lost) => now >= validity.not_after,
        _ => false,
    }
}

/// Trusts the authorities that were handed out beside those of before, for as long as it is not
/// known whether they are enough. Says which were there before.
fn trust_also(state: &StateFolder, answer: &IssuedCertificate) -> Option<Authorities> {
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

/// Trusts only the authorities that were handed out, if they vouch for the control plane as it is
/// now.
fn trust_only(
    config: &Config,
    state: &StateFolder,
    before: Option<Authorities>,
    answer: &IssuedCertificate,
    server_chain: &[CertificateDer<'_>],
) {
    let Some(before) = before else { return };
    let change = || -> Result<bool> {
        let handed = Authorities::handed_out(&answer.control_plane_authorities)?;
        if handed == before {
            return Ok(true);
        }
        let fits = vouches(&handed, server_chain, &transport::server_name(&config.host)?, clock::now());
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

    fn validity(seconds: i64) -> Validity {
        let not_before = OffsetDateTime::UNIX_EPOCH;
        Validity { not_before, not_after: not_before + Span::minutes(5) + Span::seconds(seconds) }
    }

    #[test]
    fn a_lost_connection_is_taken_for_an_expiry_only_when_the_clock_says_so() {
        let validity = validity(100);
        let (before, after) = (validity.not_after - Span::SECOND, validity.not_after);
        let lost = || {
            anyhow::Error::from(Refusal::from_status(&tonic::Status::from_error(Box::new(
                std::io::Error::other("cut"),
            ))))
        };
        assert!(!is_expiry(&lost(), &validity, before) && is_expiry(&lost(), &validity, after));
        let refused = anyhow::Error::from(Refusal::from_status(&tonic::Status::permission_denied("no")));
        assert!(!is_expiry(&refused, &validity, after), "an answer is an answer");
        assert!(!is_expiry(&anyhow::anyhow!("no network"), &validity, after));
    }
}
