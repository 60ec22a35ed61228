//! The hostile directory itself: answers each request as a script says.

use std::sync::Arc;
use std::time::Duration;

use router_agent::directory::{Credential, ReadRequest, Scope, Security, Server};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a client asks, as far as a script has to know it.
pub(crate) enum Request {
    Bind,
    WhoAmI,
    /// Base, and scope: 0 for the base, 1 for one level, 2 for all.
    Search(String, u8),
}

/// Serves one client after another; an empty answer ends a connection. Returns the port.
pub(crate) async fn serve(script: impl Fn(u8, Request) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    serve_dripping(script, |_| false).await
}

/// Sends byte by byte: never silent for long, never done in time.
pub(crate) async fn drip(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// The same, with answers that drip to what is asked so.
pub(crate) async fn serve_dripping(
    script: impl Fn(u8, Request) -> Vec<u8> + Send + Sync + 'static,
    drips: impl Fn(&Request) -> bool + Send + Sync + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(request) = next(&mut stream).await {
                let Some(asked) = asked(&request) else { break };
                let dripping = drips(&asked);
                let answer = script(request[id_at(&request)], asked);
                let sent = match dripping {
                    true => drip(&mut stream, &answer).await,
                    false => stream.write_all(&answer).await,
                };
                if answer.is_empty() || sent.is_err() {
                    break;
                }
            }
        }
    });
    port
}

/// What an honest server that knows little answers to what a script is not about.
pub(crate) fn honest(id: u8, asked: &Request) -> Vec<u8> {
    match asked {
        Request::Bind => message(id, &result(0x61, 0), &[]),
        Request::WhoAmI => message(id, &result(0x78, 2), &[]),
        Request::Search(..) => message(id, &result(0x65, 0), &[]),
    }
}

fn asked(request: &[u8]) -> Option<Request> {
    let at = id_at(request) + 1;
    match request[at] {
        0x60 => Some(Request::Bind),
        0x77 => Some(Request::WhoAmI),
        0x63 => {
            let base = content(request, at);
            let name = content(request, base.start);
            let scope = request[name.end + 2];
            Some(Request::Search(String::from_utf8(request[name].to_vec()).ok()?, scope))
        }
        _ => None,
    }
}

/// Where the content of the element at this place is.
fn content(request: &[u8], at: usize) -> std::ops::Range<usize> {
    let first = usize::from(request[at + 1]);
    if first < 0x80 {
        return at + 2..at + 2 + first;
    }
    let start = at + 2 + (first & 0x7F);
    let length = request[at + 2..start].iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    start..start + length
}

/// A BER element.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    [&[tag, 0x84][..], &length, content].concat()
}

/// An LDAP message with an optional control.
pub(crate) fn message(id: u8, operation: &[u8], controls: &[u8]) -> Vec<u8> {
    let controls = if controls.is_empty() { Vec::new() } else { element(0xA0, controls) };
    element(0x30, &[&[2, 1, id], operation, &controls].concat())
}

pub(crate) fn result(tag: u8, code: u8) -> Vec<u8> {
    element(tag, &[10, 1, code, 4, 0, 4, 0])
}

pub(crate) fn paged(cookie: &[u8]) -> Vec<u8> {
    let value = element(0x30, &[&[2, 1, 0][..], &element(4, cookie)].concat());
    element(0x30, &[element(4, b"1.2.840.113556.1.4.319"), element(4, &value)].concat())
}

pub(crate) fn entry(id: u8, number: u32) -> Vec<u8> {
    entry_at(id, number, &format!("uid=u{number},dc=x"))
}

/// The person with this number, at another place.
pub(crate) fn entry_at(id: u8, number: u32, dn: &str) -> Vec<u8> {
    let value = format!("00000000-0000-0000-0000-{number:012}");
    shown(id, dn, &[("entryUUID", value.as_bytes())])
}

/// An entry with these attributes.
pub(crate) fn shown(id: u8, dn: &str, attributes: &[(&str, &[u8])]) -> Vec<u8> {
    let attribute = |(name, value): &(&str, &[u8])| {
        element(0x30, &[element(4, name.as_bytes()), element(0x31, &element(4, value))].concat())
    };
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    let content = [element(4, dn.as_bytes()), element(0x30, &attributes)].concat();
    message(id, &element(0x64, &content), &[])
}

/// How an entry of so many MiB begins: its headers and its name.
pub(crate) fn beginning(id: u8, mebibytes: u32, dn: &str) -> Vec<u8> {
    let length = mebibytes << 20;
    let [message, entry] = [length, length - 9].map(u32::to_be_bytes);
    [&[0x30, 0x84][..], &message, &[2, 1, id, 0x64, 0x84], &entry, &element(4, dn.as_bytes())].concat()
}

pub(crate) fn entries(id: u8, numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(|number| entry(id, number)).collect()
}

pub(crate) fn read_request(port: u16) -> ReadRequest {
    ReadRequest {
        servers: vec![Server { host: "127.0.0.1".to_owned(), port, security: Security::Plain }],
        roots: vec!["dc=x".to_owned()],
        scope: Scope::Subtree,
        filter: "(objectClass=person)".to_owned(),
        page_size: 10,
        attributes: vec!["entryUUID".to_owned()],
        immutable_id_attribute: "entryUUID".to_owned(),
    }
}

pub(crate) fn tls() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    Arc::new(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

pub(crate) fn credential() -> Credential {
    Credential { bind_dn: "cn=a".to_owned(), password: "b".into() }
}

/// One request, as far as this server has to understand it.
pub(crate) async fn next(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let (mut length, mut request) = (usize::from(head[1]), head.to_vec());
    if head[1] >= 0x80 {
        let mut digits = vec![0; usize::from(head[1] & 0x7F)];
        stream.read_exact(&mut digits).await.ok()?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        request.extend(digits);
    }
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await.ok()?;
    request.extend(content);
    Some(request)
}

fn id_at(request: &[u8]) -> usize {
    let header = if request[1] < 0x80 { 2 } else { 2 + usize::from(request[1] & 0x7F) };
    header + 2
}

pub(crate) fn done(id: u8, code: u8, cookie: &[u8]) -> Vec<u8> {
    message(id, &result(0x65, code), &paged(cookie))
}
