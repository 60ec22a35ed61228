//! Tries one directory server, step by step, and says how far it came. Reads one page and changes
//! nothing.

use std::sync::Arc;

use prost_types::Timestamp;
use rollcall_proto::admin::v1::{AttributeOccurrence, DirectoryServerTest};
use rustls::ClientConfig;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::mark_proof::{ProofContext, describe};
use super::{Credential, DirectoryError, ReadRequest, Server, Timeouts, connect, dial, read};
use crate::record::Mapping;

/// Tries a server that the policy allows.
pub async fn probe(
    (request, mapping): (&ReadRequest, &Mapping),
    server: &Server,
    credential: &Credential,
    tls: Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> DirectoryServerTest {
    let mut test =
        DirectoryServerTest { server: server.to_string(), allowed_by_policy: true, ..Default::default() };
    if let Err(error) = run_steps(&mut test, (request, mapping), server, credential, &tls, timeouts).await {
        test.error = error.to_string();
    }
    test
}

async fn run_steps(
    test: &mut DirectoryServerTest,
    (request, mapping): (&ReadRequest, &Mapping),
    server: &Server,
    credential: &Credential,
    tls: &Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<(), DirectoryError> {
    let addresses = dial::resolve(server, timeouts).await?;
    test.resolved = true;
    let guarded = dial::connect(server, &addresses, tls, timeouts).await?;
    test.connected = true;
    test.certificate_expire_time = guarded.certificate.as_deref().and_then(expire_time);
    let connection = connect::bind(server, credential, guarded, timeouts).await?;
    test.bound = true;
    let sample = read::read_sample(request, server, &connection, timeouts).await?;
    test.roots_found = true;
    test.sample_count = i32::try_from(sample.len()).unwrap_or(i32::MAX);
    test.attributes = request
        .attributes
        .iter()
        .map(|attribute| {
            let with = sample.iter().filter(|entry| entry.values(attribute).next().is_some()).count();
            AttributeOccurrence {
                attribute: attribute.clone(),
                entry_count: i32::try_from(with).unwrap_or(i32::MAX),
            }
        })
        .collect();
    let bind_dn = &credential.bind_dn;
    let context = ProofContext { request, mapping, bind_dn, port: server.port, timeout: timeouts.operation };
    test.mark_proof = describe(&connection, context).await;
    Ok(())
}

fn expire_time(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Timestamp { seconds: certificate.validity().not_after.timestamp(), nanos: 0 })
}
