//! What the router does with a real directory: an OpenLDAP of its own for each test.

mod certificate;
mod fetch;
mod lookup;
mod mark;
mod pool;
mod read;
mod verify;

use std::time::Duration;

use harness::ldap::Slapd;
use rollcall_proto::admin::v1::{
    AttributeMapping, DirectoryServer, IdentitySourceSettings, directory_server::Security,
};
use router_agent::directory::{
    self, Credential, DirectoryError, Fetched, Pool, ReadRequest, Timeouts, UserSelector,
};
use router_agent::record::{Mapping, Name, NameQuery};
use uuid::Uuid;

/// Where the router reads, and with what.
struct Source {
    read_request: ReadRequest,
    mapping: Mapping,
    credential: Credential,
    tls: std::sync::Arc<rustls::ClientConfig>,
    ca_file: std::path::PathBuf,
    timeouts: Timeouts,
}

/// People below these roots, but for those without the filter's mark.
fn source(slapd: &Slapd, roots: &[&str]) -> Source {
    source_of(slapd, &settings(slapd, roots))
}

fn settings(slapd: &Slapd, roots: &[&str]) -> IdentitySourceSettings {
    let mapping = AttributeMapping {
        immutable_id: "entryUUID".to_owned(),
        user_name: "uid".to_owned(),
        mail: "mail".to_owned(),
        ..AttributeMapping::default()
    };
    IdentitySourceSettings {
        directory_servers: vec![DirectoryServer {
            host: slapd.host().to_owned(),
            port: i32::from(slapd.ldaps_port()),
            security: Security::Ldaps.into(),
        }],
        roots: roots.iter().map(ToString::to_string).collect(),
        object_class: "inetOrgPerson".to_owned(),
        extra_filter: "(employeeType=staff)".to_owned(),
        page_size: 10,
        mapping: Some(mapping),
        ..IdentitySourceSettings::default()
    }
}

/// The source with these settings.
fn source_of(slapd: &Slapd, settings: &IdentitySourceSettings) -> Source {
    let mapping = settings.mapping.clone().expect("a mapping");
    let mapping = Mapping::new(&mapping, 1, 0).expect("a mapping");
    Source {
        read_request: ReadRequest::new(settings, &mapping).expect("a request"),
        mapping,
        credential: Credential { bind_dn: slapd.agent_dn(), password: slapd.agent_password().into() },
        tls: directory::tls_config(Some(&slapd.ca_pem_path())).expect("an authority"),
        ca_file: slapd.ca_pem_path(),
        timeouts: Timeouts::default(),
    }
}

/// One person with an id made of a number.
fn person(name: &str, parent: &str, number: u128) -> String {
    format!(
        "dn: uid={name},{parent}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\nmail: {name}@example.com\n\
         employeeType: staff\nentryUUID: {}\n\n",
        Uuid::from_u128(number)
    )
}

fn unit(name: &str, parent: &str) -> String {
    format!("dn: ou={name},{parent}\nobjectClass: organizationalUnit\nou: {name}\n\n")
}

/// Fetches one person who has a name.
async fn fetch_named(
    pool: &Pool,
    source: &Source,
    name: Name<'_>,
    within: Duration,
) -> Result<(String, Fetched), DirectoryError> {
    let asked = NameQuery::new(&source.mapping, name).expect("mapped").expect("a name that can be");
    directory::fetch(pool, source.to_fetch(true), UserSelector::ByName(&asked), within).await
}

impl Source {
    fn to_fetch(&self, look_up_moved: bool) -> directory::FetchSource<'_> {
        directory::FetchSource {
            request: &self.read_request,
            mapping: &self.mapping,
            credential: &self.credential,
            ca_file: Some(&self.ca_file),
            look_up_moved,
            prove_mark: false,
        }
    }
}
