//! Carries out orders to fetch one user, several at once: within the policy, on connections that
//! are kept for the session. More than are sensible at one time are refused at once, so that a
//! sign-in gets an answer rather than a wait.

use std::sync::Arc;
use std::time::Duration;

use rollcall_proto::admin::v1::FailureReason;
use rollcall_proto::router::v1::session_request::Message;
use rollcall_proto::router::v1::{FetchOrder, FetchResult, ReadFailure, fetch_order, fetch_result};
use tokio::sync::Semaphore;

use super::authorize::{Authorized, Unauthorized, authorize};
use super::context::OrderContext;
use super::password_attempts::PasswordAttempts;
use super::reply::{directory_failure, failure, map_fetched, to_proto_presence};
use crate::config::Config;
use crate::directory::{self, FetchSource, Fetched, Pool, PoolLimits, UserSelector};
use crate::record::{Mapped, Mapping, Name, NameQuery};

/// Fetches and verifications of passwords under way.
const MAX_FETCHES: usize = 64;
/// Of those, how many may have a connection of their own to ask about a password.
const MAX_BINDS: usize = 16;
/// For an order that has none.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
/// A sign-in never waits longer.
const MAX_DEADLINE: Duration = Duration::from_secs(30);

/// Fetches of one session.
pub(super) struct UserFetches {
    pub(super) context: OrderContext,
    pub(super) pool: Arc<Pool>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) bind_permits: Arc<Semaphore>,
    pub(super) attempts: Arc<PasswordAttempts>,
}

/// What was found, and where.
type Found = (String, fetch_result::Found);

impl UserFetches {
    pub(super) fn new(context: OrderContext, attempts: Arc<PasswordAttempts>) -> Self {
        let pool = Arc::new(Pool::new(PoolLimits::default()));
        let permits = Arc::new(Semaphore::new(MAX_FETCHES));
        let bind_permits = Arc::new(Semaphore::new(MAX_BINDS));
        Self { context, pool, permits, bind_permits, attempts }
    }

    /// Begins one. The answer goes to the session.
    pub(super) fn fetch(&self, order: FetchOrder) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let message =
                format!("The identity router has {MAX_FETCHES} people to fetch already. Try again.");
            let result = result(order.request_id, Err(failure(FailureReason::RouterLost, message)));
            // Where not even this can be sent, the sign-in runs out of time.
            return self.context.try_send(Message::FetchResult(result));
        };
        let (context, pool) = (self.context.clone(), Arc::clone(&self.pool));
        tokio::spawn(async move {
            tokio::select! {
                () = context.session_end.cancelled() => {}
                found = fetch(&context, &pool, &order) => {
                    let result = result(order.request_id, found);
                    context.send(Message::FetchResult(result)).await;
                }
            }
            drop(permit);
        });
    }
}

async fn fetch(context: &OrderContext, pool: &Pool, order: &FetchOrder) -> Result<Found, ReadFailure> {
    let settings = order.settings.clone().unwrap_or_default();
    let authorized = authorize(&context.config, &settings, order.revision, None);
    let authorized = authorized.map_err(|Unauthorized { failure, keys }| {
        context.record_refusal("FetchOrder", &keys);
        failure
    })?;
    Ok(match fetch_entry(&context.config, pool, &authorized, order).await? {
        Some((server, fetched)) => (server, to_proto_found(&authorized.mapping, fetched)),
        None => (String::new(), absent(directory::Presence::NotFound)),
    })
}

/// Fetches an entry, and says which server has it; none if no record can have the name, so that no
/// server was asked.
pub(super) async fn fetch_entry(
    config: &Config,
    pool: &Pool,
    Authorized { mapping, request, credential, ca_file }: &Authorized,
    order: &FetchOrder,
) -> Result<Option<(String, Fetched)>, ReadFailure> {
    let (query, id);
    let selector = match order.whom.as_ref() {
        Some(fetch_order::Whom::ImmutableId(wanted)) => {
            id = wanted.clone();
            UserSelector::ById(&id)
        }
        named => match name_query(mapping, named)? {
            Some(one) => {
                query = one;
                UserSelector::ByName(&query)
            }
            None => return Ok(None),
        },
    };
    let ca_file = ca_file.as_deref();
    let (look_up_moved, prove_mark) = (config.policy.look_up_moved, order.prove_mark);
    let source = FetchSource { request, mapping, credential, ca_file, look_up_moved, prove_mark };
    let fetched = directory::fetch(pool, source, selector, deadline_of(order)).await;
    fetched.map(Some).map_err(|error| directory_failure(&error))
}

/// The name that is asked for; none if nobody can have it.
fn name_query<'m>(
    mapping: &'m Mapping,
    whom: Option<&fetch_order::Whom>,
) -> Result<Option<NameQuery<'m>>, ReadFailure> {
    use fetch_order::Whom as Proto;
    let name = match whom {
        Some(Proto::UserName(name)) => Name::User(name),
        Some(Proto::Mail(name)) => Name::Mail(name),
        Some(Proto::Login(name)) => Name::Login(name),
        Some(Proto::ImmutableId(_)) | None => {
            return Err(failure(FailureReason::Internal, "The order does not say whom to fetch."));
        }
    };
    NameQuery::new(mapping, name).map_err(|error| failure(FailureReason::SourceInvalid, error.to_string()))
}

pub(super) fn deadline_of(order: &FetchOrder) -> Duration {
    let ordered = order.deadline.and_then(|deadline| Duration::try_from(deadline).ok());
    ordered.unwrap_or(DEFAULT_DEADLINE).min(MAX_DEADLINE)
}

fn absent(whereabouts: directory::Presence) -> fetch_result::Found {
    fetch_result::Found::Absent(to_proto_presence(whereabouts).into())
}

/// In the words of the contract; an entry becomes what a read of the whole source would make of it.
fn to_proto_found(mapping: &Mapping, fetched: Fetched) -> fetch_result::Found {
    match fetched {
        Fetched::Entry(entry) => match map_fetched(mapping, &entry) {
            Mapped::Record(record) => fetch_result::Found::Record(record),
            Mapped::Rejected(rejected) => fetch_result::Found::Rejected(rejected),
        },
        Fetched::Absent(presence) => absent(presence),
        Fetched::Ambiguous(entries) => {
            fetch_result::Found::Ambiguous(i32::try_from(entries).unwrap_or(i32::MAX))
        }
    }
}

/// The answer that nothing is known.
pub(super) fn failed(request_id: String, failure: ReadFailure) -> FetchResult {
    FetchResult { request_id, found: Some(fetch_result::Found::Failure(failure)), server: String::new() }
}

fn result(request_id: String, found: Result<Found, ReadFailure>) -> FetchResult {
    match found {
        Ok((server, found)) => FetchResult { request_id, found: Some(found), server },
        Err(failure) => {
            tracing::warn!(reason = ?failure.reason(), "a person was not fetched");
            failed(request_id, failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use harness::{Certificate, Slapd};
    use rollcall_proto::admin::v1::{
        AttributeMapping, DirectoryServer, IdentitySourceSettings, directory_server::Security,
    };
    use rollcall_proto::router::v1::{SessionRequest, lookup_result, session_request};
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::Log;
    use crate::policy::Policy;

    const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

    /// A router that may read this port, and what it says.
    fn fetches(
        folder: &Path,
        port: u16,
        slapd: Option<&Slapd>,
    ) -> (UserFetches, mpsc::Receiver<SessionRequest>) {
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).expect("a file");
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(folder.join(name), private).expect("made private");
        };
        harness::ldap::certificate::write(folder, &Certificate::Valid).expect("an authority");
        if let Some(slapd) = slapd {
            std::fs::copy(slapd.ca_pem_path(), folder.join("ca.pem")).expect("copied");
        }
        let bind_dn = slapd.map_or("cn=a".to_owned(), Slapd::agent_dn);
        write("password", slapd.map_or("b", |slapd| slapd.agent_password()));
        write(
            "policy.toml",
            &format!(
                "[[directory]]\nhost = \"localhost\"\nports = [{port}]\nca_file = \"ca.pem\"\ncredentials = [\"d\"]\n\
                 roots = [\"dc=example,dc=com\"]\nattributes = [\"entryUUID\", \"uid\", \"mail\"]\n"
            ),
        );
        let password = folder.join("password");
        let credentials = format!("[d]\nbind_dn = {bind_dn:?}\npassword_file = {password:?}\n");
        let config = Config {
            host: "localhost".to_owned(),
            port: 1,
            state: folder.join("state"),
            credentials: toml::from_str(&credentials).expect("a credential"),
            policy: Policy::read(&folder.join("policy.toml")).expect("a policy"),
            log: Log::default(),
        };
        let (sender, said) = mpsc::channel(200);
        let context = OrderContext::new(Arc::new(config), sender, CancellationToken::new());
        (UserFetches::new(context, Arc::default()), said)
    }

    fn order(port: u16, whom: fetch_order::Whom) -> FetchOrder {
        let settings = IdentitySourceSettings {
            directory_servers: vec![DirectoryServer {
                host: "localhost".to_owned(),
                port: i32::from(port),
                security: Security::Ldaps.into(),
            }],
            credential: "d".to_owned(),
            roots: vec!["ou=people,dc=example,dc=com".to_owned()],
            object_class: "inetOrgPerson".to_owned(),
            mapping: Some(AttributeMapping {
                immutable_id: "entryUUID".to_owned(),
                user_name: "uid".to_owned(),
                mail: "mail".to_owned(),
                ..AttributeMapping::default()
            }),
            ..IdentitySourceSettings::default()
        };
        FetchOrder {
            request_id: "r".to_owned(),
            settings: Some(settings),
            revision: 3,
            whom: Some(whom),
            deadline: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
            prove_mark: false,
        }
    }

    async fn next(said: &mut mpsc::Receiver<SessionRequest>) -> Option<FetchResult> {
        let message = tokio::time::timeout(ANSWER_TIMEOUT, said.recv()).await.expect("a word")?;
        match message.message {
            Some(session_request::Message::FetchResult(result)) => Some(result),
            other => panic!("{other:?}"),
        }
    }

    fn reason(result: &FetchResult) -> Option<FailureReason> {
        match &result.found {
            Some(fetch_result::Found::Failure(failure)) => Some(failure.reason()),
            _ => None,
        }
    }

    #[tokio::test]
    async fn each_way_to_ask_is_answered_in_the_words_of_the_contract() {
        use fetch_order::Whom::{ImmutableId, Login, Mail, UserName};
        let person = |name: &str, mail: &str| {
            format!(
                "dn: uid={name},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\n\
                 sn: {name}\n{mail}\n\n"
            )
        };
        let ldif = person("anna", "mail: anna@example.com")
            + &person("ben", "mail: both@example.com")
            + &person("carl", "mail: both@example.com")
            + &person("dora", "title: none");
        let slapd = Slapd::builder().ldif(&ldif).start().expect("a directory");
        let folder = tempfile::tempdir().expect("a folder");
        let port = slapd.ldaps_port();
        let (fetches, mut said) = fetches(folder.path(), port, Some(&slapd));
        let mut ask = async |whom| {
            fetches.fetch(order(port, whom));
            let result = next(&mut said).await.expect("an answer");
            assert_eq!(result.request_id, "r");
            (result.found.expect("something"), result.server)
        };
        let (found, server) = ask(UserName("ANNA".to_owned())).await;
        let fetch_result::Found::Record(anna) = found else { panic!("{found:?}") };
        assert_eq!((anna.user_name.as_str(), anna.mail.as_str()), ("anna", "anna@example.com"));
        assert_eq!(server, format!("localhost:{port}"));
        for whom in [
            Mail("anna@example.com".to_owned()),
            Login("anna".to_owned()),
            ImmutableId(anna.immutable_id.clone()),
        ] {
            assert_eq!(ask(whom).await.0, fetch_result::Found::Record(anna.clone()));
        }
        let not_found = fetch_result::Found::Absent(lookup_result::Presence::NotFound.into());
        let nobody = ImmutableId(vec![7; 16].into());
        for whom in [UserName("a*".to_owned()), Login("a".repeat(10_000)), Login(String::new()), nobody] {
            assert_eq!(ask(whom).await.0, not_found);
        }
        assert_eq!(ask(Mail("both@example.com".to_owned())).await.0, fetch_result::Found::Ambiguous(2));
        let (found, _) = ask(UserName("dora".to_owned())).await;
        let fetch_result::Found::Rejected(dora) = found else { panic!("{found:?}") };
        assert_eq!((dora.user_name.as_str(), dora.immutable_id.len()), ("dora", 16));
        let (found, server) = ask(ImmutableId(vec![7; 3].into())).await;
        let fetch_result::Found::Failure(failure) = found else { panic!("{found:?}") };
        assert_eq!((failure.reason(), server.as_str()), (FailureReason::SourceInvalid, ""));
    }

    #[tokio::test]
    async fn what_the_policy_does_not_allow_is_refused_before_anyone_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let folder = tempfile::tempdir().expect("a folder");
        let (fetches, mut said) = fetches(folder.path(), port, None);
        let changes: [fn(&mut IdentitySourceSettings); 4] = [
            |settings| settings.roots.push("dc=com".to_owned()),
            |settings| settings.extra_filter = "(homePhone=0*)".to_owned(),
            |settings| settings.mapping.iter_mut().for_each(|mapping| mapping.mail = "homePhone".to_owned()),
            |settings| settings.credential = "other".to_owned(),
        ];
        for change in changes {
            let mut order = order(port, fetch_order::Whom::Login("anna".to_owned()));
            order.settings.iter_mut().for_each(change);
            fetches.fetch(order);
            let result = next(&mut said).await.expect("an answer");
            assert_eq!(reason(&result), Some(FailureReason::RouterPolicy), "{result:?}");
        }
        listener.set_nonblocking(true).expect("set");
        assert!(listener.accept().is_err(), "the directory was asked");
    }

    #[tokio::test]
    async fn more_at_once_than_are_sensible_are_refused_and_what_is_under_way_ends_with_the_session() {
        // Takes connections and says nothing.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let folder = tempfile::tempdir().expect("a folder");
        let (fetches, mut said) = fetches(folder.path(), port, None);
        for _ in 0..MAX_FETCHES + 5 {
            fetches.fetch(order(port, fetch_order::Whom::Login("anna".to_owned())));
        }
        for _ in 0..5 {
            let result = next(&mut said).await.expect("an answer");
            assert_eq!(reason(&result), Some(FailureReason::RouterLost), "{result:?}");
        }
        let permits = Arc::clone(&fetches.permits);
        fetches.context.session_end.cancel();
        drop(fetches);
        assert!(next(&mut said).await.is_none(), "something was said after the session's end");
        assert_eq!(permits.available_permits(), MAX_FETCHES);
    }

    #[test]
    fn a_deadline_is_the_orders_within_reason() {
        let within = |seconds| {
            let deadline = Some(prost_types::Duration { seconds, nanos: 0 });
            deadline_of(&FetchOrder { deadline, ..FetchOrder::default() })
        };
        assert_eq!(
            [within(2), within(3_600), within(-1)],
            [Duration::from_secs(2), MAX_DEADLINE, DEFAULT_DEADLINE]
        );
        assert_eq!(deadline_of(&FetchOrder::default()), DEFAULT_DEADLINE);
    }
}
