//! `router-agent check`: tries every step from here to the control plane and to the directories, and says for each whether it worked and
//! what to do if not.

use std::time::Duration;

use rollcall_proto::admin::v1::{
    AttributeMapping, DirectoryServer, DirectoryServerTest, IdentitySourceSettings,
    directory_server::Security,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock;
use crate::config::Config;
use crate::directory::{self, Timeouts};
use crate::link::{connect, session};
use crate::policy::Directory;
use crate::record::Mapping;

/// Tries everything; `say` gets a line for each step. True if all worked.
pub async fn check(config: &Config, mut say: impl FnMut(String)) -> bool {
    let mut fine = true;
    let mut step = |what: &str, result: Result<String, String>| match result {
        Ok(found) => say(format!("ok      {what}{}{found}", if found.is_empty() { "" } else { ": " })),
        Err(why) => {
            fine = false;
            say(format!("FAILED  {what}: {why}"));
        }
    };
    step("router certificate", certificate(config));
    let control_plane = format!("control plane {}:{}", config.host, config.port);
    let resolved = tokio::net::lookup_host((config.host.as_str(), config.port)).await;
    step(
        &format!("{control_plane}: name"),
        match resolved {
            Ok(mut addresses) => {
                addresses.next().map(|address| address.to_string()).ok_or_else(|| "no address".to_owned())
            }
            Err(error) => Err(format!("{error}; check control_plane and the network's name server")),
        },
    );
    step(
        &format!("{control_plane}: connection and TLS"),
        match connect::connect(config).await {
            Ok(_) => Ok(String::new()),
            Err(error) => Err(format!("{error:#}; check the network, the firewall and tls.control_plane_ca")),
        },
    );
    step(
        &format!("{control_plane}: accepts this router"),
        match session::hello(config, true).await {
            Ok(_) => Ok(String::new()),
            Err(error) => {
                Err(format!("{error:#}; check tls.certificate with whoever runs the control plane"))
            }
        },
    );
    for directory in &config.policy.directories {
        let ports = if directory.ports.is_empty() { &[636, 389][..] } else { &directory.ports };
        for (port, credential) in
            ports.iter().flat_map(|port| directory.credentials.iter().map(move |name| (port, name)))
        {
            let what = format!("directory {}:{port}", directory.host);
            match probe(config, directory, *port, credential).await {
                Err(why) => step(&format!("{what}: credential {credential}"), Err(why)),
                Ok((security, test)) => {
                    for (done, did) in [
                        (test.resolved, "name".to_owned()),
                        (test.connected, format!("connection and TLS ({security})")),
                        (test.bound, format!("bind with credential {credential}")),
                        (test.roots_found, "roots of the policy".to_owned()),
                    ] {
                        let result = if done { Ok(String::new()) } else { Err(test.error.clone()) };
                        step(&format!("{what}: {did}"), result);
                        // What comes after a step that failed was not tried.
                        if !done {
                            break;
                        }
                    }
                }
            }
        }
    }
    fine
}

fn certificate(config: &Config) -> Result<String, String> {
    let certificate =
        CertificateDer::from_pem_file(&config.tls.certificate).map_err(|error| error.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
    let until = certificate.validity().not_after;
    match certificate.validity().time_to_expiration() {
        Some(left) if left.whole_seconds() > 0 => Ok(format!("valid until {until}")),
        _ => Err(format!("not valid now, its end is {until}; have a new one issued")),
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
    let patience = Timeouts { connect: Duration::from_secs(3), ..Timeouts::default() };
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
        let mut plan = directory::plan(&settings, &mapping).map_err(|error| error.to_string())?;
        plan.filter = "(objectClass=*)".to_owned();
        let test = directory::probe(&plan, &plan.servers[0], &credential, tls.clone(), &patience).await;
        if test.connected || !test.resolved {
            return Ok((name, test));
        }
        tests.push((name, test));
    }
    // Neither: the one that the port stands for says best what is wrong.
    Ok(tests.swap_remove(usize::from(port == 389)))
}
