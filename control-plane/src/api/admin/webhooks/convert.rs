//! Converts webhooks to messages, and checks changes of a webhook. Reports everything that is wrong
//! at once.

use rollcall_proto::admin::v1 as proto;
use rollcall_proto::admin::v1::webhook::Deliveries;
use tonic::Status;

use crate::api::common::convert::{count_to_proto, timestamp_to_proto};
use crate::api::common::{resource_names, status};
use crate::model::{DeliveryFailure, FailedAttempt, Timestamp, Webhook, WebhookEvent, WebhookState};
use crate::store::WebhookChange;
use crate::webhooks::address::{Networks, Target};

/// Most characters of a name for people.
const MAX_DISPLAY_NAME_CHARACTERS: usize = 100;
const MASK_FIELDS: [&str; 4] = ["display_name", "url", "events", "enabled"];

/// What an administrator sees; the secret is not in it.
pub(super) fn webhook_to_proto(webhook: Webhook, now: Timestamp) -> proto::Webhook {
    let Webhook {
        receiver,
        display_name,
        events,
        state,
        pending,
        given_up,
        succeeded_at,
        failed,
        next_attempt_at,
        created_at,
        updated_at,
    } = webhook;
    let previous = receiver.secrets.previous.map(|(_, until)| until).filter(|until| now < *until);
    proto::Webhook {
        name: resource_names::webhook_name(&receiver.tenant, &receiver.id),
        display_name,
        url: receiver.url,
        events: events.into_iter().map(|event| event.number().into()).collect(),
        enabled: Some(state == WebhookState::Active),
        state: state.number().into(),
        secret: String::new(),
        create_time: Some(timestamp_to_proto(created_at)),
        update_time: Some(timestamp_to_proto(updated_at)),
        previous_secret_expire_time: previous.map(timestamp_to_proto),
        deliveries: Some(Deliveries {
            pending_messages: Some(count_to_proto(pending)),
            given_up_messages: Some(count_to_proto(given_up)),
            last_success_time: succeeded_at.map(timestamp_to_proto),
            last_failure: failed.map(failed_attempt_to_proto),
            next_attempt_time: next_attempt_at.map(timestamp_to_proto),
        }),
        etag: receiver.version.to_string(),
    }
}

/// An attempt that failed, with what to do next.
pub(super) fn failed_attempt_to_proto(failed: FailedAttempt) -> proto::FailedAttempt {
    let FailedAttempt { at, failure, status } = failed;
    let message = match (failure, status) {
        (DeliveryFailure::AddressRefused, _) => "The host has no address that messages may go to. Use a public one, or ask the operator of the control plane to allow the network.".to_owned(),
        (DeliveryFailure::NotResolved, _) => "The name of the host has no address. Correct the url, or the name's entry in the DNS.".to_owned(),
        (DeliveryFailure::NotConnected, _) => "Nobody takes the connection. Check that the receiver runs, its port, and firewalls in between.".to_owned(),
        (DeliveryFailure::TlsFailed, _) => "TLS failed. Check that the receiver's certificate is valid for the host, and comes with its chain.".to_owned(),
        (DeliveryFailure::TimedOut, _) => "No whole answer within 10 seconds. Let the receiver answer first and work then.".to_owned(),
        (DeliveryFailure::HttpStatus, Some(410)) => "The receiver answered 410 Gone, which switches the webhook off.".to_owned(),
        (DeliveryFailure::HttpStatus, Some(code @ 300..400)) => format!("The receiver answered {code}, and redirects are not followed. Set the url to where it leads."),
        (DeliveryFailure::HttpStatus, Some(code)) => format!("The receiver answered {code}, not 2xx. Look at its log."),
        (DeliveryFailure::HttpStatus, None) => "The receiver did not answer with 2xx. Look at its log.".to_owned(),
        (DeliveryFailure::AnswerTooLarge, _) => "The answer is larger than 64 KiB. Check that the url is that of a receiver, and let it answer without a body.".to_owned(),
        (DeliveryFailure::NotHttp, _) => "The answer is not HTTP, or was cut. Check the port, and the receiver's log.".to_owned(),
        (DeliveryFailure::SecretLost, _) => "The control plane cannot read the secret. Call RotateWebhookSecret, and give the receiver the new one.".to_owned(),
    };
    proto::FailedAttempt {
        attempt_time: Some(timestamp_to_proto(at)),
        failure: failure.number().into(),
        http_status: status.map(i32::from).unwrap_or_default(),
        message,
    }
}

/// What is to be changed; `mask` names it, or else it is what is set.
pub(super) fn change_from_proto(
    message: proto::Webhook,
    mask: Option<Vec<String>>,
    networks: &Networks,
) -> Result<WebhookChange, Status> {
    let mut violations = Vec::new();
    let mut wrong = |field: &str, why: &str| violations.push((format!("webhook.{field}"), why.to_owned()));
    let set = |field: &str| match (&mask, field) {
        (Some(mask), _) => mask.iter().any(|path| path == field),
        (None, "display_name") => !message.display_name.is_empty(),
        (None, "url") => !message.url.is_empty(),
        (None, "events") => !message.events.is_empty(),
        (None, _) => message.enabled.is_some(),
    };
    let display_name = set("display_name").then(|| message.display_name.clone());
    if display_name.as_ref().is_some_and(|name| {
        name.chars().count() > MAX_DISPLAY_NAME_CHARACTERS || name.chars().any(char::is_control)
    }) {
        wrong("display_name", "must have at most 100 characters, none of them a control character");
    }
    let url = set("url").then(|| message.url.clone());
    if let Some(url) = &url {
        match Target::parse(url) {
            Err(why) => wrong("url", why),
            Ok(target) if target.literal().is_some_and(|address| !networks.may_reach(address)) => {
                wrong(
                    "url",
                    "must not lead into a private network; its operator can allow one in the control plane's configuration",
                );
            }
            Ok(_) => {}
        }
    }
    let events = set("events").then(|| {
        let mut events = Vec::new();
        for number in &message.events {
            match i16::try_from(*number).ok().and_then(WebhookEvent::from_number) {
                Some(event) => events.push(event),
                None => wrong("events", "has one that is not known here"),
            }
        }
        events.sort_unstable();
        events.dedup();
        events
    });
    let enabled = set("enabled").then(|| message.enabled.unwrap_or_default());
    if let Some(path) = mask.iter().flatten().find(|path| !MASK_FIELDS.contains(&path.as_str())) {
        let why = format!("has {path}; display_name, url, events and enabled can be set");
        violations.push(("update_mask".to_owned(), why));
    }
    match violations.is_empty() {
        true => Ok(WebhookChange { version: None, display_name, url, events, enabled }),
        false => Err(status::invalid(violations)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::spelled;

    #[test]
    fn the_words_of_webhooks_are_those_of_the_api() {
        for event in WebhookEvent::ALL {
            let word = proto::webhook::Event::try_from(i32::from(event.number())).expect("an event");
            assert_eq!(word.as_str_name(), spelled(event));
        }
        for state in WebhookState::ALL {
            let word = proto::webhook::State::try_from(i32::from(state.number())).expect("a state");
            assert_eq!(word.as_str_name(), spelled(state));
        }
        for failure in DeliveryFailure::ALL {
            let word = proto::webhook::Failure::try_from(i32::from(failure.number())).expect("a failure");
            assert_eq!(word.as_str_name(), spelled(failure));
            let failed = FailedAttempt { at: Timestamp(0), failure: *failure, status: None };
            assert!(failed_attempt_to_proto(failed).message.ends_with('.'));
        }
    }

    #[test]
    fn without_a_mask_what_is_set_is_changed_and_with_one_what_it_names() {
        let message = proto::Webhook {
            url: "https://hooks.example.com/".to_owned(),
            events: vec![2, 1, 2],
            ..Default::default()
        };
        let change = change_from_proto(message.clone(), None, &Networks::default()).expect("a change");
        assert_eq!(change.url.as_deref(), Some("https://hooks.example.com/"));
        assert_eq!(change.events, Some(vec![WebhookEvent::SyncJobSucceeded, WebhookEvent::SyncJobFailed]));
        assert_eq!((change.enabled, change.display_name), (None, None));
        let mask = Some(vec!["display_name".to_owned(), "enabled".to_owned()]);
        let change = change_from_proto(message, mask, &Networks::default()).expect("a change");
        assert_eq!((change.url, change.events), (None, None));
        assert_eq!((change.enabled, change.display_name), (Some(false), Some(String::new())));
    }

    #[test]
    fn each_mistake_is_named() {
        let message = proto::Webhook {
            url: "https://127.0.0.1/".to_owned(),
            display_name: "x".repeat(101),
            events: vec![77],
            ..Default::default()
        };
        let mask = ["display_name", "url", "events", "secret"].map(str::to_owned).to_vec();
        let refused = change_from_proto(message, Some(mask), &Networks::default()).expect_err("refused");
        for part in ["webhook.display_name", "webhook.url", "webhook.events", "update_mask has secret"] {
            assert!(refused.message().contains(part), "{}", refused.message());
        }
    }
}
