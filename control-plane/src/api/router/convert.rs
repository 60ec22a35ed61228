//! Converts router messages from and to the types of the domain. A router is not trusted: sizes and
//! texts are checked here, and a record that no table could hold becomes one that is not
//! synchronized.

use bytes::Bytes;
use rollcall_proto::limits;
use rollcall_proto::router::v1 as proto;
use secrecy::ExposeSecret as _;
use tonic::Status;
use uuid::Uuid;

use super::entry_parts::{
    MAX_WARNINGS, check_text, policy_json, truncate, version_from_proto, warning_from_proto,
};
use crate::api::common::convert::duration_to_proto;
use crate::api::common::source_settings::{id_format_to_proto, source_settings_to_proto};
use crate::jobs::{Completed, FetchOrder, MAX_UNFINISHED_BATCHES, Order, PairedRecord, VerifyOrder};
use crate::model::names::job_of;
use crate::model::{
    Asked, Failure, FailureReason, FetchBy, Found, Freshness, IdPair, ImmutableId, KnownBy, LookUp, NameKind,
    NotSynchronizedReason, Offered, PasswordOutcome, Presence, ReadFacts, Record, Rejected, RootFacts,
    TenantId, TenantNo, UserValues, Witness,
};
use crate::reconcile::names;

/// Records a batch. Two of these messages fit into one MiB with room for long names.
const BATCH_RECORDS: i32 = 1_000;
/// Most attributes of a mapping, and more.
const MAX_ATTRIBUTES: usize = 256;
/// Most providers of a replicated OpenLDAP: three digits in a change number.
const MAX_PROVIDERS: usize = 1_000;

/// An order.
pub(crate) fn order_to_proto(tenant: &TenantId, order: Order) -> proto::session_response::Message {
    match order {
        Order::Sync(order) => proto::session_response::Message::SyncOrder(proto::SyncOrder {
            sync_job: job_of(tenant, &order.source, order.job),
            epoch: order.epoch,
            settings: Some(source_settings_to_proto(tenant, &order.settings)),
            revision: order.revision,
            records_only: order.records_only,
            batch_records: BATCH_RECORDS,
            window: i32::try_from(MAX_UNFINISHED_BATCHES).unwrap_or(1),
            former: order.former.map(|KnownBy { attribute, format }| proto::FormerImmutableId {
                attribute,
                format: id_format_to_proto(format).into(),
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
            settings: Some(source_settings_to_proto(tenant, &settings)),
        }),
        Order::LookUp { request, settings, users } => {
            let LookUp { ids, distinguished_names, witnesses } = users;
            let witness =
                |Witness { container, id }| proto::lookup_order::Witness { container, immutable_id: id.0 };
            proto::session_response::Message::LookupOrder(proto::LookupOrder {
                request_id: request,
                settings: Some(source_settings_to_proto(tenant, &settings)),
                immutable_ids: ids.into_iter().map(|id| id.0).collect(),
                distinguished_names,
                witnesses: witnesses.into_iter().map(witness).collect(),
            })
        }
        Order::Fetch { request, order } => {
            proto::session_response::Message::FetchOrder(fetch_to_proto(tenant, request, *order))
        }
        Order::Verify { request, order } => {
            let VerifyOrder { person, login, password } = *order;
            proto::session_response::Message::VerifyOrder(proto::VerifyOrder {
                request_id: request,
                person: Some(fetch_to_proto(tenant, String::new(), person)),
                login,
                password: password.expose_secret().to_owned(),
            })
        }
        Order::Forwarded(message) => *message,
    }
}

fn fetch_to_proto(tenant: &TenantId, request: String, order: FetchOrder) -> proto::FetchOrder {
    let FetchOrder { settings, revision, by, deadline, prove_mark } = order;
    proto::FetchOrder {
        request_id: request,
        settings: Some(source_settings_to_proto(tenant, &settings)),
        revision,
        whom: Some(match by {
            FetchBy::Mail(mail) => proto::fetch_order::Whom::Mail(mail),
            FetchBy::UserName(name) => proto::fetch_order::Whom::UserName(name),
            FetchBy::Login(login) => proto::fetch_order::Whom::Login(login),
            FetchBy::Id(id) => proto::fetch_order::Whom::ImmutableId(id.0),
        }),
        deadline: duration_to_proto(deadline),
        prove_mark,
    }
}

/// What the directory says of a password, or why nobody was asked. Only an explicit word accepts
/// one, and only with the person.
pub(crate) fn verification_from_proto(
    tenant: TenantNo,
    result: proto::VerifyResult,
) -> Result<(String, Result<Asked, Failure>), Status> {
    use proto::verify_result::{Found as Said, Verdict};
    let verdict = result.verdict();
    let proto::VerifyResult { request_id, verdict: _, found } = result;
    let internal = || Failure::of(FailureReason::Internal);
    let asked = match (verdict, found) {
        (Verdict::Accepted, Some(Said::Record(message))) => {
            Ok(Asked::Accepted(match record_from_proto(tenant, message)? {
                Ok(record) => Found::Record(Box::new(record)),
                Err(rejected) => Found::Rejected(rejected),
            }))
        }
        (Verdict::Accepted, Some(Said::Rejected(entry))) => {
            let entry = rejected_from_proto(vec![entry])?.pop();
            entry.map(|entry| Asked::Accepted(Found::Rejected(entry))).ok_or_else(internal)
        }
        (Verdict::Unanswered, Some(Said::Failure(failed))) => {
            Ok(Asked::Unanswered(failure_from_proto(failed)))
        }
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
        (Verdict::Unspecified, Some(Said::Failure(failed))) => Err(failure_from_proto(failed)),
        (Verdict::Unspecified, _) => Err(internal()),
    };
    Ok((request_id, asked))
}

/// What was fetched, or why nothing was.
pub(crate) fn fetched_from_proto(
    tenant: TenantNo,
    result: proto::FetchResult,
) -> Result<(String, Result<Found, Failure>), Status> {
    use proto::fetch_result::Found as Said;
    let proto::FetchResult { request_id, found, server: _ } = result;
    let found = match found {
        Some(Said::Record(message)) => Ok(match record_from_proto(tenant, message)? {
            Ok(record) => Found::Record(Box::new(record)),
            Err(rejected) => Found::Rejected(rejected),
        }),
        Some(Said::Rejected(entry)) => {
            let mut entries = rejected_from_proto(vec![entry])?;
            entries.pop().map(Found::Rejected).ok_or_else(|| Failure::of(FailureReason::Internal))
        }
        Some(Said::Absent(presence)) => Ok(Found::Absent(presence_from_proto(presence))),
        Some(Said::Ambiguous(entries)) => Ok(Found::Ambiguous(entries)),
        Some(Said::Failure(failed)) => Err(failure_from_proto(failed)),
        None => Err(Failure::of(FailureReason::Internal)),
    };
    Ok((request_id, found))
}

fn presence_from_proto(said: i32) -> Presence {
    use proto::lookup_result::Presence as Said;
    match Said::try_from(said) {
        Ok(Said::InScope) => Presence::InScope,
        Ok(Said::OutOfScope) => Presence::OutOfScope,
        Ok(Said::Deleted) => Presence::Deleted,
        Ok(Said::NotMatching) => Presence::NotMatching,
        Ok(Said::NotVisible) => Presence::NotVisible,
        Ok(Said::NotFound) => Presence::NotFound,
        // What is not understood explains nothing, and is no sign that the entry is gone.
        Ok(Said::Unspecified) | Err(_) => Presence::NotVisible,
    }
}

/// What was looked up, or why not.
pub(crate) fn lookup_from_proto(result: proto::LookupResult) -> (String, Result<Vec<Presence>, Failure>) {
    let proto::LookupResult { request_id, presences, failure: failed, server: _, freshness: _ } = result;
    if let Some(failed) = failed {
        let is_away = failed.interrupted;
        let failure = failure_from_proto(failed);
        let reason = if is_away { FailureReason::DirectoryUnreachable } else { failure.reason };
        return (request_id, Err(Failure { reason, ..failure }));
    }
    (request_id, Ok(presences.into_iter().map(presence_from_proto).collect()))
}

/// The id in a job's name, which must be one of the tenant's.
pub(super) fn parse_job_id(tenant: &TenantId, name: &str) -> Result<Uuid, Status> {
    name.strip_prefix(&format!("tenants/{tenant}/identitySources/"))
        .and_then(|rest| rest.split_once("/syncJobs/"))
        .and_then(|(_, id)| Uuid::parse_str(id).ok())
        .ok_or_else(|| Status::not_found("there is no such sync job"))
}

/// Why a read or a question failed.
pub(super) fn failure_from_proto(failure: proto::ReadFailure) -> Failure {
    let proto::ReadFailure { reason, message, interrupted: _ } = failure;
    let reason =
        i16::try_from(reason).ok().and_then(FailureReason::from_number).unwrap_or(FailureReason::Internal);
    let message: String = message.chars().filter(|c| !c.is_control()).take(2_000).collect();
    if message.is_empty() { Failure::of(reason) } else { Failure { reason, message } }
}

/// What a router says of a whole read.
pub(super) fn completed_from_proto(complete: proto::Complete) -> Result<Completed, Status> {
    let proto::Complete { batches, records, rejected, server, roots, attributes, freshness } = complete;
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(Status::invalid_argument("counts of more attributes than a mapping can have"));
    }
    let roots = roots
        .into_iter()
        .map(|root| {
            let proto::RootRead {
                root,
                base_fingerprint,
                pages: _,
                entries,
                ignored_references: _,
                missing,
                fingerprint_attribute,
            } = root;
            let fingerprint_attribute = truncate(fingerprint_attribute, 256);
            let fingerprint = digest_bytes(&base_fingerprint)?;
            Ok(RootFacts { root, fingerprint, fingerprint_attribute, entries, missing })
        })
        .collect::<Result<_, Status>>()?;
    let attributes = attributes
        .into_iter()
        .map(|proto::AttributeCount { attribute, entries }| (truncate(attribute, 256), entries))
        .collect();
    let facts = ReadFacts {
        server: truncate(server, 300),
        freshness: freshness_from_proto(freshness.unwrap_or_default())?,
        roots,
        attributes,
    };
    Ok(Completed { batches, records, rejected, facts })
}

fn freshness_from_proto(freshness: proto::Freshness) -> Result<Freshness, Status> {
    let proto::Freshness { context_csns, invocation_id, highest_committed_usn, last_usn } = freshness;
    if context_csns.len() > MAX_PROVIDERS || !matches!(invocation_id.len(), 0 | 16) {
        return Err(Status::invalid_argument("a freshness that no directory server has"));
    }
    Ok(Freshness {
        context_csns: context_csns.into_iter().map(|csn| truncate(csn, 100)).collect(),
        invocation_id: invocation_id.to_vec(),
        highest_usn: highest_committed_usn,
        last_usn,
    })
}

/// An offer of a batch: its number, ids and digests, and entries that became no records.
pub(super) fn offer_from_proto(offer: proto::Offer) -> Result<(u64, Vec<Offered>, Vec<Rejected>), Status> {
    let proto::Offer { sequence, immutable_ids, digests, rejected } = offer;
    if immutable_ids.len() * 16 != digests.len() {
        return Err(Status::invalid_argument("an offer needs one digest an id"));
    }
    let offered = immutable_ids
        .into_iter()
        .zip(digests.chunks_exact(16))
        .map(|(id, digest)| Ok(Offered { id: immutable_id_from_proto(id)?, digest: digest_bytes(digest)? }))
        .collect::<Result<_, Status>>()?;
    Ok((sequence, offered, rejected_from_proto(rejected)?))
}

/// The records of a batch, and those that cannot be kept.
pub(super) fn records_from_proto(
    tenant: TenantNo,
    records: proto::Records,
) -> Result<(Vec<Record>, Vec<Rejected>), Status> {
    let proto::Records { sequence: _, records, rejected } = records;
    let mut rejected = rejected_from_proto(rejected)?;
    let mut usable = Vec::with_capacity(records.len());
    for message in records {
        match record_from_proto(tenant, message)? {
            Ok(record) => usable.push(record),
            Err(refused) => rejected.push(refused),
        }
    }
    Ok((usable, rejected))
}

/// The same of a read that has both ids of each entry. Records are named by the former id, by which
/// their users are known.
pub(super) fn paired_from_proto(
    tenant: TenantNo,
    records: proto::Records,
) -> Result<Vec<PairedRecord>, Status> {
    let proto::Records { sequence: _, records, rejected } = records;
    let mut paired = Vec::with_capacity(records.len() + rejected.len());
    for mut message in records {
        let ids = pair_from_proto(&message.former_id, &message.immutable_id, digest_bytes(&message.digest)?)?;
        let Some(former) = &ids.former else {
            // A router that does not know of it.
            let refused = Rejected::of(None, NotSynchronizedReason::MissingUniqueId);
            let message = "The identity router did not read the published immutable id. Update it, then make the dry run again.";
            paired
                .push(PairedRecord { ids, found: Err(Rejected { message: message.to_owned(), ..refused }) });
            continue;
        };
        message.immutable_id = former.0.clone();
        paired.push(PairedRecord { ids, found: record_from_proto(tenant, message)? });
    }
    for mut message in rejected {
        let ids = pair_from_proto(&message.former_id, &message.immutable_id, [0; 16])?;
        message.immutable_id = std::mem::take(&mut message.former_id);
        if let Some(rejected) = rejected_from_proto(vec![message])?.pop() {
            let found = Err(explain_missing_id(rejected, &ids));
            paired.push(PairedRecord { ids, found });
        }
    }
    Ok(paired)
}

fn pair_from_proto(former: &Bytes, new: &Bytes, digest: [u8; 16]) -> Result<IdPair, Status> {
    let id = |id: &Bytes| (!id.is_empty()).then(|| immutable_id_from_proto(id.clone())).transpose();
    Ok(IdPair { former: id(former)?, new: id(new)?, digest })
}

/// What an entry without one of both ids leads to once the draft is published.
fn explain_missing_id(rejected: Rejected, ids: &IdPair) -> Rejected {
    let what = match (&ids.former, &ids.new) {
        (Some(_), None) => {
            "Once the draft is published nobody knows any more whose entry it is, and its user is taken for gone. Give the entry a value, then make the dry run again."
        }
        (None, Some(_)) => {
            "Nobody knows whose entry it is: once the draft is published it is that of somebody new."
        }
        _ => return rejected,
    };
    Rejected { message: truncate(format!("{what} {}", rejected.message), 1_000), ..rejected }
}

fn record_from_proto(
    tenant: TenantNo,
    message: proto::UserRecord,
) -> Result<Result<Record, Rejected>, Status> {
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
        mark_proved,
        warnings,
        version,
    } = message;
    let id = immutable_id_from_proto(id)?;
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
    let wrong = texts.into_iter().find_map(|(name, text, most)| check_text(name, text, most));
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
            disabled,
            distinguished_name: String::new(),
            digest: None,
            version: version.and_then(version_from_proto),
        }));
    }
    let user_name_key = names::key(tenant, NameKind::UserName, &user_name);
    let mail_key = (!mail.is_empty()).then(|| names::key(tenant, NameKind::Mail, &mail));
    Ok(Ok(Record {
        id,
        digest: digest_bytes(&digest)?,
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
        mark_proved,
        warnings: warnings.into_iter().take(MAX_WARNINGS).map(warning_from_proto).collect(),
        version: version.and_then(version_from_proto),
        user_name_key,
        mail_key,
    }))
}

fn rejected_from_proto(entries: Vec<proto::RejectedEntry>) -> Result<Vec<Rejected>, Status> {
    entries
        .into_iter()
        .map(|entry| {
            let proto::RejectedEntry {
                immutable_id: id,
                reason,
                message,
                user_name,
                mail,
                former_id: _,
                disabled,
                distinguished_name,
                version,
            } = entry;
            let reason = i16::try_from(reason).ok().and_then(NotSynchronizedReason::from_number);
            let reason = reason.unwrap_or(NotSynchronizedReason::EntryUnreadable);
            let message = truncate(message, 1_000);
            Ok(Rejected {
                id: if id.is_empty() { None } else { Some(immutable_id_from_proto(id)?) },
                reason,
                message: if message.is_empty() { reason.text().to_owned() } else { message },
                user_name: truncate(user_name, 256),
                mail: truncate(mail, 256),
                disabled,
                distinguished_name: truncate(distinguished_name, 4_096),
                digest: None,
                version: version.and_then(version_from_proto),
            })
        })
        .collect()
}

fn immutable_id_from_proto(id: Bytes) -> Result<ImmutableId, Status> {
    if id.is_empty() || id.len() > ImmutableId::MAX {
        return Err(Status::invalid_argument("an immutable id must have 1 to 258 bytes"));
    }
    Ok(ImmutableId(id))
}

fn digest_bytes(bytes: &[u8]) -> Result<[u8; 16], Status> {
    bytes.try_into().map_err(|_| Status::invalid_argument("digests and fingerprints must have 16 bytes"))
}
