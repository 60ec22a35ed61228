//! Carries out what the control plane orders, as far as the policy allows: reads, at most one a job, look-ups, and connection tests.
//! What is refused is answered with the reason, and leaves a trail in the router's own log.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rollcall_proto::admin::v1::{DirectoryServerTest, FailureReason, IdentitySourceSettings};
use rollcall_proto::limits::DIRECTORY_SERVERS;
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{
    FetchOrder, FormerImmutableId, LookupOrder, LookupResult, ReadFailure, SessionRequest, SyncOrder,
    SyncRefused, TestOrder, TestResult, VerifyOrder, lookup_result, session_request,
};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use super::attempts::Attempts;
use super::fetch::{self, Fetches};
use super::limits::{Beyond, Limits, fits, is_name};
use super::trail::Trail;
use super::{upload, verify};
use crate::clock;
use crate::config::Config;
use crate::directory::{self, Credential, LookupAnswer, LookupRequest, Presence, ReadRequest, Timeouts};
use crate::policy::Denial;
use crate::record::Mapping;

/// What a read needs, once the policy has allowed it.
pub(super) struct Read {
    pub(super) mapping: Mapping,
    pub(super) plan: ReadRequest,
    pub(super) credential: Credential,
    pub(super) tls: Arc<ClientConfig>,
}

/// Jobs that are remembered for the epoch of their last read.
const MOST_JOBS: usize = 1_000;

/// Orders of one session.
pub(super) struct Orders {
    config: Arc<Config>,
    client: RouterServiceClient<Channel>,
    sender: mpsc::Sender<SessionRequest>,
    running: HashMap<String, Running>,
    limits: Limits,
    trail: Arc<Mutex<Trail>>,
    fetches: Fetches,
    all: CancellationToken,
    _end: DropGuard,
}

/// A read, or one that has ended.
struct Running {
    epoch: i64,
    task: JoinHandle<()>,
    _end: DropGuard,
}

impl Orders {
    pub(super) fn new(
        config: Arc<Config>,
        client: RouterServiceClient<Channel>,
        sender: mpsc::Sender<SessionRequest>,
        all: CancellationToken,
        attempts: Arc<Attempts>,
    ) -> Self {
        let end = all.clone().drop_guard();
        let trail: Arc<Mutex<Trail>> = Arc::default();
        let (own, lines) = (Arc::clone(&config), Arc::clone(&trail));
        let fetches = Fetches::new(own, sender.clone(), all.clone(), lines, attempts);
        Self {
            config,
            client,
            sender,
            running: HashMap::new(),
            limits: Limits::default(),
            trail,
            fetches,
            all,
            _end: end,
        }
    }

    /// Begins a read. A later one of the same job ends an earlier one.
    pub(super) fn sync(&mut self, order: SyncOrder) {
        if self.running.get(&order.sync_job).is_some_and(|running| running.epoch >= order.epoch) {
            return;
        }
        if self.running.len() >= MOST_JOBS {
            self.running.retain(|_, running| !running.task.is_finished());
        }
        let place = match self.limits.read(&order) {
            Ok(place) => place,
            Err(beyond) => {
                let SyncOrder { sync_job, epoch, .. } = order;
                let refused = SyncRefused { sync_job, epoch, failure: Some(failure_of(beyond)) };
                return self.refuse("SyncOrder", session_request::Message::SyncRefused(refused));
            }
        };
        let cancel = self.all.child_token();
        let (job, epoch, end) = (order.sync_job.clone(), order.epoch, cancel.clone().drop_guard());
        let (config, client, sender) = (Arc::clone(&self.config), self.client.clone(), self.sender.clone());
        let trail = Arc::clone(&self.trail);
        let task = tokio::spawn(async move {
            let _place = place;
            let settings = order.settings.clone().unwrap_or_default();
            match prepare(&config, &settings, order.revision, order.former.as_ref()) {
                Err(Unprepared { failure, keys }) => {
                    tracing::debug!(job = job_id(&order.sync_job), reason = ?failure.reason(), "read refused");
                    refused(&trail, "SyncOrder", &keys);
                    let refused =
                        SyncRefused { sync_job: order.sync_job, epoch: order.epoch, failure: Some(failure) };
                    say(&sender, session_request::Message::SyncRefused(refused)).await;
                }
                Ok(read) => {
                    let id = job_id(&order.sync_job).to_owned();
                    tracing::info!(job = id, epoch = order.epoch, "reading");
                    tokio::select! {
                        () = cancel.cancelled() => tracing::info!(job = id, "read canceled"),
                        result = upload::run(client, order, read) => match result {
                            Ok(summary) => tracing::info!(job = id, summary, "read ended"),
                            Err(error) => tracing::warn!(job = id, error = format!("{error:#}"), "upload lost"),
                        },
                    }
                }
            }
        });
        self.running.insert(job, Running { epoch, task, _end: end });
    }

    /// Ends a read.
    pub(super) fn cancel(&mut self, job: &str, epoch: i64) {
        if self.running.get(job).is_some_and(|running| running.epoch <= epoch) {
            self.running.remove(job);
        }
    }

    /// Looks people up.
    pub(super) fn look_up(&self, order: LookupOrder) {
        let place = match self.limits.question(&order.request_id, order.settings.as_ref()) {
            Ok(place) => place,
            Err(beyond) => {
                let result = answer(order.request_id, Err(failure_of(beyond)));
                return self.refuse("LookupOrder", session_request::Message::LookupResult(result));
            }
        };
        let (config, sender, cancel) =
            (Arc::clone(&self.config), self.sender.clone(), self.all.child_token());
        let trail = Arc::clone(&self.trail);
        tokio::spawn(async move {
            let asked = async {
                let _turn = place.turn().await;
                look_up(&config, &order, &trail).await
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                looked_up = asked => {
                    let result = answer(order.request_id, looked_up);
                    say(&sender, session_request::Message::LookupResult(result)).await;
                }
            }
        });
    }

    /// Fetches one person.
    pub(super) fn fetch(&self, order: FetchOrder) {
        if let Err(beyond) = fits(&order.request_id, order.settings.as_ref()) {
            let result = fetch::failed(order.request_id, failure_of(beyond));
            return self.refuse("FetchOrder", session_request::Message::FetchResult(result));
        }
        self.fetches.begin(order);
    }

    /// Has a password verified.
    pub(super) fn verify(&self, order: VerifyOrder) {
        let person = order.person.as_ref();
        let fits = fits(&order.request_id, person.and_then(|person| person.settings.as_ref()));
        // Directories take an empty one for a bind of nobody, and accept it (RFC 4513, 5.1.2): not even the person is searched.
        if let Err(beyond) = fits.and_then(|()| match verify::is_password(&order.password) {
            true => Ok(()),
            false => Err(Beyond::Size),
        }) {
            let result = verify::failed(order.request_id.clone(), failure_of(beyond));
            return self.refuse("VerifyOrder", session_request::Message::VerifyResult(result));
        }
        self.fetches.verify(order);
    }

    /// Tests the connection to every server.
    pub(super) fn test(&self, order: TestOrder) {
        let place = match self.limits.question(&order.request_id, order.settings.as_ref()) {
            Ok(place) => place,
            Err(beyond) => {
                let test = DirectoryServerTest { error: beyond.to_string(), ..Default::default() };
                let result = TestResult { request_id: order.request_id, servers: vec![test] };
                return self.refuse("TestOrder", session_request::Message::TestResult(result));
            }
        };
        let (config, sender, cancel) =
            (Arc::clone(&self.config), self.sender.clone(), self.all.child_token());
        let trail = Arc::clone(&self.trail);
        tokio::spawn(async move {
            let settings = order.settings.unwrap_or_default();
            let asked = async {
                let _turn = place.turn().await;
                test(&config, &settings, &trail).await
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                servers = asked => {
                    let result = TestResult { request_id: order.request_id, servers };
                    say(&sender, session_request::Message::TestResult(result)).await;
                }
            }
        });
    }

    /// Refuses what is beyond the limits. Whoever does not read the answers to so many orders does not get them.
    fn refuse(&self, order: &'static str, message: session_request::Message) {
        refused(&self.trail, order, LIMITS);
        let name = match &message {
            session_request::Message::SyncRefused(refused) => &refused.sync_job,
            session_request::Message::LookupResult(result) => &result.request_id,
            session_request::Message::TestResult(result) => &result.request_id,
            session_request::Message::FetchResult(result) => &result.request_id,
            session_request::Message::VerifyResult(result) => &result.request_id,
            _ => return,
        };
        if is_name(name) {
            let _ = self.sender.try_send(SessionRequest { message: Some(message) });
        }
    }
}

/// Of what no policy allows, in the place of its key.
const LIMITS: &str = "limits";

pub(super) fn refused(trail: &Mutex<Trail>, order: &'static str, keys: &str) {
    trail.lock().unwrap_or_else(PoisonError::into_inner).refused(Instant::now(), order, keys);
}

fn failure_of(beyond: Beyond) -> ReadFailure {
    failure(FailureReason::RouterPolicy, beyond.to_string())
}

/// Why an order is not carried out.
pub(super) struct Unprepared {
    pub(super) failure: ReadFailure,
    /// Keys of the policy that forbid it, separated by commas; or what else does.
    pub(super) keys: String,
}

impl From<ReadFailure> for Unprepared {
    fn from(failure: ReadFailure) -> Self {
        Self { keys: failure.reason().as_str_name().to_ascii_lowercase(), failure }
    }
}

/// The id of a job in its resource name: all that a log needs.
fn job_id(name: &str) -> &str {
    let id = name.rsplit('/').next().unwrap_or(name);
    id.get(..64).unwrap_or(id)
}

pub(super) async fn say(sender: &mpsc::Sender<SessionRequest>, message: session_request::Message) {
    // If the session is lost, so is what was ordered in it.
    let _ = sender.send(SessionRequest { message: Some(message) }).await;
}

pub(super) fn failure(reason: FailureReason, message: impl Into<String>) -> ReadFailure {
    ReadFailure { reason: reason.into(), message: message.into() }
}

/// What the policy has allowed, before anyone is trusted.
pub(super) struct Allowed {
    pub(super) mapping: Mapping,
    pub(super) plan: ReadRequest,
    pub(super) credential: Credential,
    pub(super) ca_file: Option<PathBuf>,
}

/// Checks an order against the policy and brings together what it needs.
fn prepare(
    config: &Config,
    settings: &IdentitySourceSettings,
    revision: i32,
    former: Option<&FormerImmutableId>,
) -> Result<Read, Unprepared> {
    let Allowed { mapping, plan, credential, ca_file } = allow(config, settings, revision, former)?;
    let tls = directory::tls_config(ca_file.as_deref()).map_err(|error| of_directory(&error))?;
    Ok(Read { mapping, plan, credential, tls })
}

/// The same but for the authorities to trust, which are read for each connection.
pub(super) fn allow(
    config: &Config,
    settings: &IdentitySourceSettings,
    revision: i32,
    former: Option<&FormerImmutableId>,
) -> Result<Allowed, Unprepared> {
    config.policy.check_with(settings, former.map(|former| &*former.attribute)).map_err(forbidden)?;
    let mapping =
        Mapping::new(&settings.mapping.clone().unwrap_or_default(), revision, clock::now().unix_timestamp());
    let mapping = match former {
        Some(former) => mapping.and_then(|mapping| mapping.with_former(former)),
        None => mapping,
    };
    let mapping = mapping.map_err(|error| failure(FailureReason::SourceInvalid, error.to_string()))?;
    let plan = ReadRequest::new(settings, &mapping).map_err(|error| of_directory(&error))?;
    let name = &settings.credential;
    let missing = |why: String| {
        let message =
            format!("The identity router has no usable credential {name}: {why}. Mend its configuration.");
        failure(FailureReason::CredentialMissing, message)
    };
    let source =
        config.credentials.get(name).ok_or_else(|| missing("its configuration names none".to_owned()))?;
    let credential = source.read().map_err(missing)?;
    let mut ca_files = settings
        .directory_servers
        .iter()
        .map(|server| config.policy.directory(server).and_then(|d| d.ca_file.clone()));
    let ca_file = ca_files.next().flatten();
    if ca_files.any(|other| other != ca_file) {
        let message =
            "The directory servers of one source must have the same ca_file in the identity router's policy.";
        return Err(failure(FailureReason::RouterPolicy, message).into());
    }
    Ok(Allowed { mapping, plan, credential, ca_file })
}

/// What the policy does not allow, and which of its keys forbid it.
pub(super) fn forbidden(refusals: Vec<Denial>) -> Unprepared {
    let said: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    let message = format!("The identity router's policy does not allow this source: {}.", said.join("; "));
    let mut keys: Vec<_> = refusals.iter().map(|refusal| refusal.key).collect();
    keys.dedup();
    Unprepared { failure: failure(FailureReason::RouterPolicy, message), keys: keys.join(",") }
}

/// What the control plane is told when a directory could not be read.
pub(super) fn of_directory(error: &directory::DirectoryError) -> ReadFailure {
    failure(error.failure_reason(), error.to_string())
}

async fn look_up(
    config: &Config,
    order: &LookupOrder,
    trail: &Mutex<Trail>,
) -> Result<LookupAnswer, ReadFailure> {
    let settings = order.settings.clone().unwrap_or_default();
    let prepared = prepare(config, &settings, 0, None).map_err(|Unprepared { failure, keys }| {
        refused(trail, "LookupOrder", &keys);
        failure
    });
    let Read { mapping, plan, credential, tls } = prepared?;
    let wanted = LookupRequest {
        ids: &order.immutable_ids,
        mapping: &mapping,
        include_moved: config.policy.look_up_moved,
    };
    tracing::info!(users = wanted.ids.len(), "looking users up");
    directory::lookup(&plan, wanted, &credential, tls, &Timeouts::default()).await.map_err(|error| {
        tracing::warn!(reason = ?error.failure_reason(), "users not looked up");
        of_directory(&error)
    })
}

fn answer(request_id: String, looked_up: Result<LookupAnswer, ReadFailure>) -> LookupResult {
    match looked_up {
        Err(failure) => LookupResult { request_id, failure: Some(failure), ..LookupResult::default() },
        Ok(LookupAnswer { server, presences }) => {
            let presences = presences.into_iter().map(|one| presence(one).into()).collect();
            LookupResult { request_id, presences, failure: None, server }
        }
    }
}

pub(super) fn presence(presence: Presence) -> lookup_result::Presence {
    use lookup_result::Presence as Proto;
    match presence {
        Presence::InScope => Proto::InScope,
        Presence::OutOfScope => Proto::OutOfScope,
        Presence::Deleted => Proto::Deleted,
        Presence::NotFound => Proto::NotFound,
    }
}

async fn test(
    config: &Config,
    settings: &IdentitySourceSettings,
    trail: &Mutex<Trail>,
) -> Vec<DirectoryServerTest> {
    if settings.directory_servers.len() > DIRECTORY_SERVERS {
        refused(trail, "TestOrder", LIMITS);
        return vec![DirectoryServerTest { error: Beyond::Size.to_string(), ..Default::default() }];
    }
    let mut tests = Vec::with_capacity(settings.directory_servers.len());
    for server in &settings.directory_servers {
        let alone = IdentitySourceSettings { directory_servers: vec![server.clone()], ..settings.clone() };
        let test = match prepare(config, &alone, 0, None) {
            Err(Unprepared { failure, keys }) => {
                refused(trail, "TestOrder", &keys);
                DirectoryServerTest {
                    server: format!("{}:{}", server.host, server.port),
                    allowed_by_policy: failure.reason() != FailureReason::RouterPolicy,
                    error: failure.message,
                    ..Default::default()
                }
            }
            Ok(Read { plan, credential, tls, mapping: _ }) => {
                directory::probe(&plan, &plan.servers[0], &credential, tls, &Timeouts::default()).await
            }
        };
        tests.push(test);
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_that_failed_says_nothing_of_anyone_and_one_that_did_not_says_where_each_is() {
        let failed = answer("r1".to_owned(), Err(failure(FailureReason::ReadIncomplete, "cut")));
        assert!(failed.presences.is_empty() && failed.server.is_empty(), "{failed:?}");
        assert_eq!(failed.failure.map(|failure| failure.reason()), Some(FailureReason::ReadIncomplete));

        let presences = vec![Presence::NotFound, Presence::InScope, Presence::Deleted, Presence::OutOfScope];
        let found = answer("r2".to_owned(), Ok(LookupAnswer { server: "dc1:636".to_owned(), presences }));
        use lookup_result::Presence::{Deleted, InScope, NotFound, OutOfScope};
        assert_eq!(found.presences().collect::<Vec<_>>(), [NotFound, InScope, Deleted, OutOfScope]);
        assert_eq!((found.request_id.as_str(), found.server.as_str()), ("r2", "dc1:636"));
        assert_eq!(found.failure, None);
    }
}
