//! `router-agent check`: tries every step from here to the control plane and to the directories,
//! and says for each whether it worked and what to do if not.

use std::time::Duration;

use rollcall_proto::admin::v1::{
    AttributeMapping, DirectoryServer, DirectoryServerTest, IdentitySourceSettings,
    directory_server::Security,
};
use time::OffsetDateTime;

use crate::clock;
use crate::config::Config;
use crate::directory::{self, ReadRequest, Timeouts};
use crate::identity::{self, Facts, StateFolder};
use crate::link::connect::{connect, not_enrolled_message};
use crate::link::hello::hello;
use crate::link::renewal_schedule::renewal_due;
use crate::link::transport::format_time;
use crate::policy::Directory;
use crate::record::Mapping;

/// Tries everything; `say` gets a line for each step. True if all worked.
pub async fn check(config: &Config, say: impl FnMut(String)) -> bool {
    let mut report = Report { say, all_worked: true };
    report.step("identity", own_identity(config, clock::now()));
    check_control_plane(config, &mut report).await;
    for directory in &config.policy.directories {
        check_directory(config, directory, &mut report).await;
    }
    report.all_worked
}

/// The lines that an administrator reads.
struct Report<S> {
    say: S,
    all_worked: bool,
}

impl<S: FnMut(String)> Report<S> {
    /// Reports a step: what was found, or why it failed.
    fn step(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(found) => {
                (self.say)(format!("ok      {what}{}{found}", if found.is_empty() { "" } else { ": " }));
            }
            Err(why) => {
                self.all_worked = false;
                (self.say)(format!("FAILED  {what}: {why}"));
            }
        }
    }
}

async fn check_control_plane(config: &Config, report: &mut Report<impl FnMut(String)>) {
    let control_plane = format!("control plane {}:{}", config.host, config.port);
    let resolved = tokio::net::lookup_host((config.host.as_str(), config.port)).await;
    report.step(
        &format!("{control_plane}: name"),
        match resolved {
            Ok(mut addresses) => {
                addresses.next().map(|address| address.to_string()).ok_or_else(|| "no address".to_owned())
            }
            Err(error) => Err(format!("{error}; check control_plane and the network's name server")),
        },
    );
    report.step(
        &format!("{control_plane}: connection and TLS"),
        match connect(config).await {
            Ok(_) => Ok(String::new()),
            Err(error) => Err(format!("{error:#}")),
        },
    );
    let accepts = format!("{control_plane}: accepts this router");
    match hello(config, true).await {
        Err(error) => report.step(&accepts, Err(format!("{error:#}"))),
        Ok(accepted) => {
            report.step(&accepts, Ok(String::new()));
            let lost = "it does not have an event that this router saw: it was restored from a backup, or rewritten; ask its operator";
            let trail = if accepted.audit_forked { Err(lost.to_owned()) } else { Ok(String::new()) };
            report.step(&format!("{control_plane}: audit trail"), trail);
        }
    }
}

/// Tries each port of a directory with each of its credentials.
async fn check_directory(config: &Config, directory: &Directory, report: &mut Report<impl FnMut(String)>) {
    let ports = if directory.ports.is_empty() { &[636, 389][..] } else { &directory.ports };
    for (port, credential) in
        ports.iter().flat_map(|port| directory.credentials.iter().map(move |name| (port, name)))
    {
        let what = format!("directory {}:{port}", directory.host);
        match probe(config, directory, *port, credential).await {
            Err(why) => report.step(&format!("{what}: credential {credential}"), Err(why)),
            Ok((security, test)) => {
                for (done, did) in [
                    (test.resolved, "name".to_owned()),
                    (test.connected, format!("connection and TLS ({security})")),
                    (test.bound, format!("bind with credential {credential}")),
                    (test.roots_found, "roots of the policy".to_owned()),
                ] {
                    let result = if done { Ok(String::new()) } else { Err(test.error.clone()) };
                    report.step(&format!("{what}: {did}"), result);
                    // What comes after a step that failed was not tried.
                    if !done {
                        break;
                    }
                }
            }
        }
    }
}

fn own_identity(config: &Config, now: OffsetDateTime) -> Result<String, String> {
    let identity = StateFolder::open(&config.state).and_then(|state| identity::load(&state));
    let identity = identity.map_err(|error| error.to_string())?;
    let facts = identity.ok_or_else(|| not_enrolled_message(config))?.facts;
    describe(&facts, now)
}

/// What an administrator compares with the list of identity routers.
fn describe(facts: &Facts, now: OffsetDateTime) -> Result<String, String> {
    let Facts { name, validity, fingerprint, generation } = facts;
    let until = format_time(validity.not_after);
    if now >= validity.not_after {
        return Err(format!(
            "the certificate of {name} expired at {until}; router-agent run recovers it, or says why it cannot"
        ));
    }
    let number = generation.map(|number| format!(", certificate {number}")).unwrap_or_default();
    let spent = Duration::try_from(now - validity.issued_at()).unwrap_or_default();
    let renewal = match renewal_due(validity.length(), u32::MAX / 2).checked_sub(spent) {
        Some(left) => format!("in about {}", format_span(left)),
        None => "is due".to_owned(),
    };
    Ok(format!("{name}{number}, valid until {until}, renewal {renewal}, key {fingerprint}"))
}

/// Hours and minutes, or seconds where it is less.
fn format_span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 60 => format!("{seconds} s"),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// LDAPS first; a port that does not speak it is tried with StartTLS.
async fn probe(
    config: &Config,
    directory: &Directory,
    port: u16,
    credential: &str,
) -> Result<(&'static str, DirectoryServerTest), String> {
    let source = config
        .credentials
        .get(credential)
        .ok_or("the configuration has no such credential; add it or take it out of the policy")?;
    let credential = source.read()?;
    let tls = directory::tls_config(directory.ca_file.as_deref()).map_err(|error| error.to_string())?;
    let mapping = AttributeMapping {
        immutable_id: "entryUUID".to_owned(),
        user_name: "objectClass".to_owned(),
        mail_optional: true,
        ..Default::default()
    };
    let mapping =
        Mapping::new(&mapping, 0, clock::now().unix_timestamp()).map_err(|error| error.to_string())?;
    let timeouts = Timeouts { connect: Duration::from_secs(3), ..Timeouts::default() };
    let mut tests = Vec::new();
    for (security, name) in [(Security::Ldaps, "LDAPS"), (Security::Starttls, "StartTLS")] {
        let settings = IdentitySourceSettings {
            directory_servers: vec![DirectoryServer {
                host: directory.host.clone(),
                port: i32::from(port),
                security: security.into(),
            }],
            roots: directory.roots.clone(),
            object_class: "*".to_owned(),
            page_size: 1,
            ..Default::default()
        };
        let mut request = ReadRequest::new(&settings, &mapping).map_err(|error| error.to_string())?;
        request.filter = "(objectClass=*)".to_owned();
        let test =
            directory::probe((&request, &mapping), &request.servers[0], &credential, tls.clone(), &timeouts)
                .await;
        if test.connected || !test.resolved {
            return Ok((name, test));
        }
        tests.push((name, test));
    }
    // Neither: the one that the port stands for says best what is wrong.
    Ok(tests.swap_remove(usize::from(port == 389)))
}

#[cfg(test)]
mod tests {
    use time::Duration as Span;

    use super::*;
    use crate::identity::Validity;

    #[test]
    fn an_identity_is_described_with_all_that_an_administrator_compares() {
        let begin = OffsetDateTime::UNIX_EPOCH + Span::minutes(5);
        let validity = Validity { not_before: OffsetDateTime::UNIX_EPOCH, not_after: begin + Span::DAY };
        let facts = Facts {
            name: "tenants/acme/identityRouters/hq-1".to_owned(),
            validity,
            fingerprint: "ab12".to_owned(),
            generation: Some(7),
        };
        let said = describe(&facts, begin + Span::hours(2)).expect("a valid one");
        for part in
            ["/hq-1, certificate 7", "valid until 1970-01-02T00:05:00Z", "in about 9 h 59 min", "key ab12"]
        {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(describe(&facts, begin + Span::hours(20)).expect("a valid one").contains("renewal is due"));
        assert!(describe(&facts, validity.not_after).expect_err("an expired one").contains("recovers"));
    }
}
