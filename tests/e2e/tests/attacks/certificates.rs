//! Who is answered at the real port: TLS 1.3, HTTP/2, and a certificate of our authority that is
//! valid now, for clients, with one name of ours in it.

use std::path::Path;

use anyhow::Result;
use harness::world::{Identity, World};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType};
use time::{Duration, OffsetDateTime};
use tokio::io::AsyncWriteExt;

use super::{PATIENCE, TLS13, tls};
use crate::frames::{self, client_tls};

const ALICE: &str = "rollcall://rollcall/tenant/acme/admin/alice/super-admin";

/// A certificate of the world's authority, changed in one way.
fn issue(dir: &Path, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Result<Identity> {
    let key = KeyPair::from_pem(&std::fs::read_to_string(dir.join("ca/ca.key"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&std::fs::read_to_string(dir.join("ca/ca.pem"))?, key)?;
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(ALICE.try_into()?)];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::minutes(5), now + Duration::days(1));
    change(&mut params);
    let key = KeyPair::generate()?;
    let identity = Identity::at(&dir.join(name).to_string_lossy());
    std::fs::write(&identity.certificate, params.signed_by(&key, &issuer)?.pem())?;
    std::fs::write(&identity.key, key.serialize_pem())?;
    Ok(identity)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tls_1_3_with_http_2_and_a_valid_certificate_with_one_name_is_answered() -> Result<()> {
    let world = World::builder().without_router().start().await?;
    let other = World::builder().without_router().start().await?;
    let dir = world.dir();
    let now = OffsetDateTime::now_utc();
    let uri = |text: &str| SanType::URI(text.try_into().expect("a URI"));
    let good = issue(dir, "good", |_| {})?;
    let h2: &[&[u8]] = &[b"h2"];
    let tls12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    let mut cases = vec![
        ("a good one", Some(good.clone()), TLS13, h2),
        ("TLS 1.2", Some(good.clone()), tls12, h2),
        ("HTTP/1", Some(good.clone()), TLS13, &[b"http/1.1"]),
        ("no protocol", Some(good.clone()), TLS13, &[]),
        ("no certificate", None, TLS13, h2),
        ("of another authority", Some(issue(other.dir(), "foreign", |_| {})?), TLS13, h2),
    ];
    let mut add = |what, identity: Result<Identity>| -> Result<()> {
        cases.push((what, Some(identity?), TLS13, h2));
        Ok(())
    };
    add("expired", issue(dir, "expired", |p| p.not_after = now - Duration::minutes(1)))?;
    add("from tomorrow on", issue(dir, "tomorrow", |p| p.not_before = now + Duration::days(1)))?;
    add(
        "for servers",
        issue(dir, "server-auth", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
    )?;
    add("the server's own", Ok(Identity::at(&dir.join("server").to_string_lossy())))?;
    add("without a name", issue(dir, "no-name", |p| p.subject_alt_names.clear()))?;
    add(
        "with a host name only",
        issue(dir, "host", |p| {
            p.subject_alt_names = vec![SanType::DnsName("alice.test".try_into().expect("a name"))];
        }),
    )?;
    add(
        "with two names",
        issue(dir, "two", |p| {
            p.subject_alt_names.push(uri("rollcall://rollcall/operator/ops"));
        }),
    )?;
    add("with the same name twice", issue(dir, "twice", |p| p.subject_alt_names.push(uri(ALICE))))?;
    for (at, name) in [
        "spiffe://rollcall/tenant/acme/admin/alice/super-admin",
        "rollcall://rollcall/tenant/acme/admin/alice/root",
        "rollcall://rollcall/tenant/acme/admin/alice/super-admin/",
        "rollcall://rollcall/tenant/../operator/ops",
        "ROLLCALL://rollcall/operator/ops",
        "rollcall://rollcall/operator/%6Fps",
        "rollcall://rollcall/operator/ops?x",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        add(
            "with a name of nobody's",
            issue(dir, &format!("name-{at}"), |p| {
                p.subject_alt_names = vec![uri(name)];
            }),
        )?;
    }

    for (what, identity, versions, protocols) in cases {
        let config = client_tls(&world.files.authority(), identity.as_ref(), versions, protocols)?;
        // In TLS 1.3 a client takes the handshake for done before the server has seen its
        // certificate: an answer is what counts.
        let answered = async {
            let mut stream = tls(world.address(), &config).await?;
            let settings = [frames::PREFACE, &frames::frame(frames::SETTINGS, 0, 0, &[])].concat();
            stream.write_all(&settings).await?;
            anyhow::Ok(frames::next(&mut stream).await?.is_some())
        };
        let answered = tokio::time::timeout(PATIENCE, answered).await?.unwrap_or(false);
        assert_eq!(answered, what == "a good one", "{what}");
    }
    Ok(())
}
