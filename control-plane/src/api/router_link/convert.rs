//! Router messages to and from the words of the domain. A router is not trusted: sizes and texts are checked here, and what no
//! table could hold becomes a record that is not synchronized, not an error.

use std::collections::BTreeMap;

use bytes::Bytes;
use rollcall_proto::limits;
use rollcall_proto::router::v1 as proto;
use secrecy::ExposeSecret as _;
use tonic::Status;
use uuid::Uuid;

use crate::api::convert;
use crate::jobs::{Completed, FetchOrder, MAX_UNFINISHED_BATCHES, Order, PairedRecord, VerifyOrder};
use crate::model::names::job_of;
use crate::model::{
    Asked, Failure, FailureReason, FetchBy, Found, Freshness, IdPair, ImmutableId, KnownBy, NameKind,
    NotSynchronizedReason, Offered, PasswordOutcome, Presence, ReadFacts, Record, Rejected, RootFacts,
    TenantId, TenantNo, UserValues,
};
use crate::reconcile::names;

pub(super) use crate::api::convert::duration;

/// Records a batch. Two of these messages fit into one MiB with room for long names.
const BATCH_RECORDS: i32 = 1_000;
/// Most attributes of a mapping, and more.
const MAX_ATTRIBUTES: usize = 256;
/// Most providers of a replicated OpenLDAP: three digits in a change number.
const MAX_PROVIDERS: usize = 1_000;

pub(crate) fn order(tenant: &TenantId, order: Order) -> proto::session_response::Message {
    match order {
        Order::Sync(order) => proto::session_response::Message::SyncOrder(proto::SyncOrder {
            sync_job: job_of(tenant, &order.source, order.job),
            epoch: order.epoch,
            settings: Some(convert::settings_to_proto(tenant, &order.settings)),
            revision: order.revision,
            records_only: order.records_only,
            batch_records: BATCH_RECORDS,
            window: i32::try_from(MAX_UNFINISHED_BATCHES).unwrap_or(1),
            former: order.former.map(|KnownBy { attribute, format }| proto::FormerImmutableId {
                attribute,
                format: convert::id_format(format).into(),
            }),
        }),
        Order::Cancel { source, job, epoch } => {
            proto::session_response::Message::SyncCancel(proto::SyncCancel {
                sync_job: job_of(tenant, &source, job),
                epoch,
            })
        }
        Order::Test { request, settings } => proto::session_response::Message::TestOrder(proto::TestOrder {
            request_id: request,
            settings: Some(convert::settings_to_proto(tenant, &settings)),
        }),
        Order::LookUp { request, settings, ids } => {
            proto::session_response::Message::LookupOrder(proto::LookupOrder {
                request_id: request,
                settings: Some(convert::settings_to_proto(tenant, &settings)),
                immutable_ids: ids.into_iter().map(|id| id.0).collect(),
            })
        }
        Order::Fetch { request, order } => {
            proto::session_response::Message::FetchOrder(fetch(tenant, request, *order))
        }
        Order::Verify { request, order } => {
            let VerifyOrder { person, login, password } = *order;
            proto::session_response::Message::VerifyOrder(proto::VerifyOrder {
                request_id: request,
                person: Some(fetch(tenant, String::new(), person)),
                login,
                password: password.expose_secret().to_owned(),
            })
        }
        Order::Forwarded(message) => *message,
    }
}

fn fetch(tenant: &TenantId, request: String, order: FetchOrder) -> proto::FetchOrder {
    let FetchOrder { settings, revision, by, deadline } = order;
    proto::FetchOrder {
        request_id: request,
        settings: Some(convert::settings_to_proto(tenant, &settings)),
        revision,
        whom: Some(match by {
            FetchBy::Mail(mail) => proto::fetch_order::Whom::Mail(mail),
            FetchBy::UserName(name) => proto::fetch_order::Whom::UserName(name),
            FetchBy::Login(login) => proto::fetch_order::Whom::Login(login),
            FetchBy::Id(id) => proto::fetch_order::Whom::ImmutableId(id.0),
        }),
        deadline: duration(deadline),
    }
}

/// What the directory says of a password, or why nobody was asked. Only an explicit word accepts one, and only with the person.
pub(crate) fn asked(
    tenant: TenantNo,
    result: proto::VerifyResult,
) -> Result<(String, Result<Asked, Failure>), Status> {
    use proto::verify_result::{Found as Said, Verdict};
    let verdict = result.verdict();
    let proto::VerifyResult { request_id, verdict: _, found } = result;
    let internal = || Failure::of(FailureReason::Internal);
    let asked = match (verdict, found) {
        (Verdict::Accepted, Some(Said::Record(message))) => {
            Ok(Asked::Accepted(match record(tenant, message)? {
                Ok(record) => Found::Record(Box::new(record)),
                Err(rejected) => Found::Rejected(rejected),
            }))
        }
        (Verdict::Accepted, Some(Said::Rejected(entry))) => {
            let entry = rejections(vec![entry])?.pop();
            entry.map(|entry| Asked::Accepted(Found::Rejected(entry))).ok_or_else(internal)
        }
        (Verdict::Unanswered, Some(Said::Failure(failed))) => Ok(Asked::Unanswered(failure(failed))),
        (Verdict::Accepted | Verdict::Unanswered, _) => Ok(Asked::Unanswered(internal())),
        (Verdict::Wrong, _) => Ok(Asked::Refused(PasswordOutcome::WrongPasswordOrUnknown)),
        (Verdict::AccountDisabled, _) => Ok(Asked::Refused(PasswordOutcome::AccountDisabled)),
        (Verdict::AccountExpired, _) => Ok(Asked::Refused(PasswordOutcome::AccountExpired)),
        (Verdict::AccountLocked, _) => Ok(Asked::Refused(PasswordOutcome::AccountLocked)),
        (Verdict::PasswordExpired, _) => Ok(Asked::Refused(PasswordOutcome::PasswordExpired)),
        (Verdict::MustChange, _) => Ok(Asked::Refused(PasswordOutcome::MustChange)),
        (Verdict::TooManyAttempts, _) => Ok(Asked::Refused(PasswordOutcome::TooManyAttempts)),
        (Verdict::Unspecified, Some(Said::Absent(_))) => Ok(Asked::Absent),
        (Verdict::Unspecified, Some(Said::Ambiguous(_))) => Ok(Asked::Ambiguous),
        (Verdict::Unspecified, Some(Said::Failure(failed))) => Err(failure(failed)),
        (Verdict::Unspecified, _) => Err(internal()),
    };
    Ok((request_id, asked))
}

/// What was fetched, or why nothing was.
pub(crate) fn found(
    tenant: TenantNo,
    result: proto::FetchResult,
) -> Result<(String, Result<Found, Failure>), Status> {
    use proto::fetch_result::Found as Said;
    let proto::FetchResult { request_id, found, server: _ } = result;
    let found = match found {
        Some(Said::Record(message)) => Ok(match record(tenant, message)? {
            Ok(record) => Found::Record(Box::new(record)),
            Err(rejected) => Found::Rejected(rejected),
        }),
        Some(Said::Rejected(entry)) => {
            let mut entries = rejections(vec![entry])?;
            entries.pop().map(Found::Rejected).ok_or_else(|| Failure::of(FailureReason::Internal))
        }
        Some(Said::Absent(presence)) => Ok(Found::Absent(self::presence(presence))),
        Some(Said::Ambiguous(entries)) => Ok(Found::Ambiguous(entries)),
        Some(Said::Failure(failed)) => Err(failure(failed)),
        None => Err(Failure::of(FailureReason::Internal)),
    };
    Ok((request_id, found))
}

fn presence(said: i32) -> Presence {
    use proto::lookup_result::Presence as Said;
    match Said::try_from(said) {
        Ok(Said::InScope) => Presence::InScope,
        Ok(Said::OutOfScope) => Presence::OutOfScope,
        Ok(Said::Deleted) => Presence::Deleted,
        // What nobody understands explains nothing.
        Ok(Said::NotFound | Said::Unspecified) | Err(_) => Presence::NotFound,
    }
}

/// What was looked up, or why not.
pub(crate) fn presences(result: proto::LookupResult) -> (String, Result<Vec<Presence>, Failure>) {
    let proto::LookupResult { request_id, presences, failure: failed, server: _ } = result;
    if let Some(failed) = failed {
        return (request_id, Err(failure(failed)));
    }
    (request_id, Ok(presences.into_iter().map(presence).collect()))
}

/// The id in a job's name, which must be one of the tenant's.
pub(super) fn job_id(tenant: &TenantId, name: &str) -> Result<Uuid, Status> {
    name.strip_prefix(&format!("tenants/{tenant}/identitySources/"))
        .and_then(|rest| rest.split_once("/syncJobs/"))
        .and_then(|(_, id)| Uuid::parse_str(id).ok())
        .ok_or_else(|| Status::not_found("there is no such sync job"))
}

pub(super) fn failure(failure: proto::ReadFailure) -> Failure {
    let proto::ReadFailure { reason, message } = failure;
    let reason =
        i16::try_from(reason).ok().and_then(FailureReason::from_number).unwrap_or(FailureReason::Internal);
    let message: String = message.chars().filter(|c| !c.is_control()).take(2_000).collect();
    if message.is_empty() { Failure::of(reason) } else { Failure { reason, message } }
}

pub(super) fn completed(complete: proto::Complete) -> Result<Completed, Status> {
    let proto::Complete { batches, records, rejected, server, roots, attributes, freshness } = complete;
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(Status::invalid_argument("counts of more attributes than a mapping can have"));
    }
    let roots =
        roots
            .into_iter()
            .map(|root| {
                let proto::RootRead {
                    root,
                    base_fingerprint,
                    pages: _,
                    entries,
                    ignored_references: _,
                    missing,
                } = root;
                Ok(RootFacts { root, fingerprint: sixteen(&base_fingerprint)?, entries, missing })
            })
            .collect::<Result<_, Status>>()?;
    let attributes = attributes
        .into_iter()
        .map(|proto::AttributeCount { attribute, entries }| (short(attribute, 256), entries))
        .collect();
    let facts = ReadFacts {
        server: short(server, 300),
        freshness: self::freshness(freshness.unwrap_or_default())?,
        roots,
        attributes,
        newcomer: None,
    };
    Ok(Completed { batches, records, rejected, facts })
}

fn freshness(freshness: proto::Freshness) -> Result<Freshness, Status> {
    let proto::Freshness { context_csns, invocation_id, highest_committed_usn } = freshness;
    if context_csns.len() > MAX_PROVIDERS || !matches!(invocation_id.len(), 0 | 16) {
        return Err(Status::invalid_argument("a freshness that no directory server has"));
    }
    Ok(Freshness {
        context_csns: context_csns.into_iter().map(|csn| short(csn, 100)).collect(),
        invocation_id: invocation_id.to_vec(),
        highest_usn: highest_committed_usn,
    })
}

pub(super) fn offer(offer: proto::Offer) -> Result<(u64, Vec<Offered>, Vec<Rejected>), Status> {
    let proto::Offer { sequence, immutable_ids, digests, rejected } = offer;
    if immutable_ids.len() * 16 != digests.len() {
        return Err(Status::invalid_argument("an offer needs one digest an id"));
    }
    let offered = immutable_ids
        .into_iter()
        .zip(digests.chunks_exact(16))
        .map(|(id, digest)| Ok(Offered { id: immutable_id(id)?, digest: sixteen(digest)? }))
        .collect::<Result<_, Status>>()?;
    Ok((sequence, offered, rejections(rejected)?))
}

pub(super) fn records(
    tenant: TenantNo,
    records: proto::Records,
) -> Result<(Vec<Record>, Vec<Rejected>), Status> {
    let proto::Records { sequence: _, records, rejected } = records;
    let mut rejected = rejections(rejected)?;
    let mut usable = Vec::with_capacity(records.len());
    for message in records {
        match record(tenant, message)? {
            Ok(record) => usable.push(record),
            Err(refused) => rejected.push(refused),
        }
    }
    Ok((usable, rejected))
}

/// The same of a read that has both ids of each entry. Records are named by the former id, by which their users are known.
pub(super) fn paired(tenant: TenantNo, records: proto::Records) -> Result<Vec<PairedRecord>, Status> {
    let proto::Records { sequence: _, records, rejected } = records;
    let mut paired = Vec::with_capacity(records.len() + rejected.len());
    for mut message in records {
        let ids = pair(&message.former_id, &message.immutable_id, sixteen(&message.digest)?)?;
        let Some(former) = &ids.former else {
            // A router that does not know of it.
            let refused = Rejected::of(None, NotSynchronizedReason::MissingUniqueId);
            let message = "The identity router did not read the published immutable id. Update it, then make the dry run again.";
            paired
                .push(PairedRecord { ids, found: Err(Rejected { message: message.to_owned(), ..refused }) });
            continue;
        };
        message.immutable_id = former.0.clone();
        paired.push(PairedRecord { ids, found: record(tenant, message)? });
    }
    for mut message in rejected {
        let ids = pair(&message.former_id, &message.immutable_id, [0; 16])?;
        message.immutable_id = std::mem::take(&mut message.former_id);
        let found = rejections(vec![message])?.pop().map(|rejected| Err(explained(rejected, &ids)));
        paired.extend(found.map(|found| PairedRecord { ids, found }));
    }
    Ok(paired)
}

fn pair(former: &Bytes, new: &Bytes, digest: [u8; 16]) -> Result<IdPair, Status> {
    let id = |id: &Bytes| (!id.is_empty()).then(|| immutable_id(id.clone())).transpose();
    Ok(IdPair { former: id(former)?, new: id(new)?, digest })
}

/// What an entry without one of both ids leads to once the draft is published.
fn explained(rejected: Rejected, ids: &IdPair) -> Rejected {
    let what = match (&ids.former, &ids.new) {
        (Some(_), None) => {
            "Once the draft is published nobody knows any more whose entry it is, and its user is taken for gone. Give the entry a value, then make the dry run again."
        }
        (None, Some(_)) => {
            "Nobody knows whose entry it is: once the draft is published it is that of somebody new."
        }
        _ => return rejected,
    };
    Rejected { message: short(format!("{what} {}", rejected.message), 1_000), ..rejected }
}

fn record(tenant: TenantNo, message: proto::UserRecord) -> Result<Result<Record, Rejected>, Status> {
    let proto::UserRecord {
        immutable_id: id,
        digest,
        user_name,
        mail,
        first_name,
        last_name,
        display_name,
        phone,
        distinguished_name,
        policy_attributes,
        disabled,
        // Only a dry run of another immutable id has one: see `paired`.
        former_id: _,
    } = message;
    let id = immutable_id(id)?;
    let policy_attributes = policy_json(policy_attributes);
    let texts = [
        ("The user name", &user_name, limits::USER_NAME),
        ("The mail address", &mail, limits::MAIL),
        ("The first name", &first_name, limits::NAME),
        ("The last name", &last_name, limits::NAME),
        ("The display name", &display_name, limits::NAME),
        ("The telephone number", &phone, limits::NAME),
        ("The distinguished name", &distinguished_name, limits::DISTINGUISHED_NAME),
    ];
    let wrong = texts.into_iter().find_map(|(name, text, most)| unusable(name, text, most));
    let wrong = wrong.or_else(|| user_name.is_empty().then(|| "The user name is empty".to_owned()));
    let wrong = wrong.or_else(|| {
        (policy_attributes.len() > limits::POLICY_BYTES).then(|| {
            format!("The policy attributes together are longer than {} KiB", limits::POLICY_BYTES >> 10)
        })
    });
    if let Some(wrong) = wrong {
        return Ok(Err(Rejected {
            id: Some(id),
            reason: NotSynchronizedReason::InvalidAttribute,
            message: format!("{wrong}. Correct it in the directory."),
            user_name: String::new(),
            mail: String::new(),
        }));
    }
    let user_name_key = names::key(tenant, NameKind::UserName, &user_name);
    let mail_key = (!mail.is_empty()).then(|| names::key(tenant, NameKind::Mail, &mail));
    Ok(Ok(Record {
        id,
        digest: sixteen(&digest)?,
        values: UserValues {
            user_name,
            mail,
            first_name,
            last_name,
            display_name,
            phone,
            distinguished_name,
            policy_attributes,
        },
        disabled,
        user_name_key,
        mail_key,
    }))
}

/// What is wrong with a text, if it cannot be kept.
fn unusable(name: &str, text: &str, most: usize) -> Option<String> {
    if limits::is_longer(text, most) {
        return Some(format!("{name} is longer than {most} characters"));
    }
    text.contains(char::is_control).then(|| format!("{name} has a control character"))
}

/// A JSON object of arrays, sorted; empty if there are none. JSON escapes what a table could not hold.
fn policy_json(attributes: Vec<proto::PolicyAttribute>) -> String {
    if attributes.is_empty() {
        return String::new();
    }
    let attributes: BTreeMap<String, Vec<String>> =
        attributes.into_iter().map(|proto::PolicyAttribute { name, values }| (name, values)).collect();
    serde_json::to_string(&attributes).unwrap_or_default()
}

fn rejections(entries: Vec<proto::RejectedEntry>) -> Result<Vec<Rejected>, Status> {
    entries
        .into_iter()
        .map(|entry| {
            let proto::RejectedEntry { immutable_id: id, reason, message, user_name, mail, former_id: _ } =
                entry;
            let reason = i16::try_from(reason).ok().and_then(NotSynchronizedReason::from_number);
            let reason = reason.unwrap_or(NotSynchronizedReason::EntryUnreadable);
            let message = short(message, 1_000);
            Ok(Rejected {
                id: if id.is_empty() { None } else { Some(immutable_id(id)?) },
                reason,
                message: if message.is_empty() { reason.text().to_owned() } else { message },
                user_name: short(user_name, 256),
                mail: short(mail, 256),
            })
        })
        .collect()
}

fn short(text: String, most: usize) -> String {
    if text.len() <= most && !text.contains(char::is_control) {
        return text;
    }
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

fn immutable_id(id: Bytes) -> Result<ImmutableId, Status> {
    if id.is_empty() || id.len() > ImmutableId::MAX {
        return Err(Status::invalid_argument("an immutable id must have 1 to 258 bytes"));
    }
    Ok(ImmutableId(id))
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16], Status> {
    bytes.try_into().map_err(|_| Status::invalid_argument("digests and fingerprints must have 16 bytes"))
}
