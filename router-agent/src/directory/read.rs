//! The page loop: reads every root to its end on one connection, and checks every page. A read that went well is a [`ReadComplete`],
//! which nothing else can make; anything less is an error. One page is read ahead while the receiver works on the one before.

use std::collections::HashSet;
use std::sync::Arc;

use ldap3::controls::{MakeCritical, PagedResults, RawControl};
use ldap3::{LdapResult, Scope as LdapScope};
use rustls::ClientConfig;
use tokio::sync::mpsc::Sender;

use super::connect::{self, Connection};
use super::error::search_hint;
use super::references::{Reference, classify};
use super::{Credential, DirectoryError, Plan, Scope, Server, Timeouts, dn, entry};
use crate::record::Entry;

const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
/// Empty pages in a row that a server may send before it counts as stuck.
const EMPTY_PAGES: u32 = 3;
/// Most pages of one root: 5,000 entries each make a billion people.
const MOST_PAGES: u64 = 200_000;
const NO_SUCH_OBJECT: u32 = 32;
const REFERRAL: u32 = 10;

/// Proof that every root was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadComplete {
    server: String,
    roots: Vec<RootRead>,
}

/// How one root was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRead {
    /// The base DN.
    pub root: String,
    /// Identifies the base entry itself.
    pub fingerprint: [u8; 16],
    /// Pages, each answered with success.
    pub pages: u64,
    /// Entries.
    pub entries: u64,
    /// References to elsewhere that are no part of the scope.
    pub ignored_references: u64,
}

impl ReadComplete {
    /// The server that was read.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// One a root, in the order of the plan.
    #[must_use]
    pub fn roots(&self) -> &[RootRead] {
        &self.roots
    }
}

/// Reads everything in the plan from the first server that can be bound to, page by page into `sink`. A sink that is full holds the
/// directory back; one that is closed ends the read.
///
/// # Errors
/// If anything at all went wrong: then the read is not complete.
pub async fn read(
    plan: &Plan,
    credential: &Credential,
    tls: Arc<ClientConfig>,
    timeouts: &Timeouts,
    sink: Sender<Vec<Entry>>,
) -> Result<ReadComplete, DirectoryError> {
    let (server, connection) = connect::first(&plan.servers, credential, &tls, timeouts).await?;
    let mut reader = Reader { plan, timeouts, server, connection, sink };
    let mut roots = Vec::with_capacity(plan.roots.len());
    for root in &plan.roots {
        roots.push(reader.root(root).await?);
    }
    Ok(ReadComplete { server: reader.server.to_string(), roots })
}

/// The first page of each root, at most a page in all; checks on the way that every root is there.
pub(super) async fn sample(
    plan: &Plan,
    server: &Server,
    connection: Connection,
    timeouts: &Timeouts,
) -> Result<Vec<Entry>, DirectoryError> {
    let (sink, _) = tokio::sync::mpsc::channel(1);
    let mut reader = Reader { plan, timeouts, server: server.clone(), connection, sink };
    let mut sample = Vec::new();
    for root in &plan.roots {
        reader.fingerprint(root).await?;
        if sample.len() < plan.page_size as usize {
            sample.extend(reader.page(root, 1, Vec::new()).await?.entries);
        }
    }
    sample.truncate(plan.page_size as usize);
    Ok(sample)
}

struct Reader<'a> {
    plan: &'a Plan,
    timeouts: &'a Timeouts,
    server: Server,
    connection: Connection,
    sink: Sender<Vec<Entry>>,
}

impl Reader<'_> {
    async fn root(&mut self, root: &str) -> Result<RootRead, DirectoryError> {
        let fingerprint = self.fingerprint(root).await?;
        let mut read =
            RootRead { root: root.to_owned(), fingerprint, pages: 0, entries: 0, ignored_references: 0 };
        let mut cookie = Vec::new();
        let mut cookies = HashSet::new();
        let mut empty = 0;
        loop {
            let page = self.page(root, read.pages + 1, cookie).await?;
            read.pages += 1;
            read.entries += page.entries.len() as u64;
            read.ignored_references += page.ignored_references;
            empty = if page.entries.is_empty() { empty + 1 } else { 0 };
            if !page.entries.is_empty() {
                self.sink.send(page.entries).await.map_err(|_| DirectoryError::Canceled)?;
            }
            if page.cookie.is_empty() {
                break;
            }
            if empty >= EMPTY_PAGES || read.pages >= MOST_PAGES {
                return Err(self.protocol("pages without end"));
            }
            // A cookie that comes again would lead round in a circle. Kept as digests: cookies may be long.
            if !cookies.insert(*blake3::hash(&page.cookie).as_bytes()) {
                return Err(self.protocol("the same cookie again"));
            }
            cookie = page.cookie;
        }
        if self.fingerprint(root).await? != fingerprint {
            return Err(DirectoryError::RootChanged { root: root.to_owned() });
        }
        Ok(read)
    }

    /// Reads the base entry and says which one it is: by its immutable id, or where it has none by what other servers call theirs, or by
    /// its name.
    async fn fingerprint(&mut self, root: &str) -> Result<[u8; 16], DirectoryError> {
        let own = self.plan.immutable_id_attribute.as_str();
        let attributes = [own, "entryUUID", "objectGUID", "nsUniqueId"];
        self.connection.watch.expect(1);
        let found = self
            .connection
            .ldap
            .with_timeout(self.timeouts.operation)
            .search(root, LdapScope::Base, "(objectClass=*)", attributes)
            .await;
        let found = found.map_err(|error| self.broken(root, 0, &error))?;
        self.code(root, 0, &found.1)?;
        let base = found.0.into_iter().find(|result| !result.is_ref() && !result.is_intermediate());
        let Some(base) = base else {
            return Err(DirectoryError::RootNotFound {
                server: self.server.to_string(),
                root: root.to_owned(),
            });
        };
        let base = entry::entry(base.0).map_err(|why| self.protocol(why))?;
        let id = attributes.iter().find_map(|attribute| base.values(attribute).first().cloned());
        let id = id.unwrap_or_else(|| dn::normalize(root).unwrap_or_default().join(",").into_bytes());
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&blake3::hash(&id).as_bytes()[..16]);
        Ok(fingerprint)
    }

    async fn page(&mut self, root: &str, number: u64, cookie: Vec<u8>) -> Result<Page, DirectoryError> {
        let size = i32::try_from(self.plan.page_size).unwrap_or(i32::MAX);
        let control: RawControl = PagedResults { size, cookie }.critical().into();
        let scope = match self.plan.scope {
            Scope::Subtree => LdapScope::Subtree,
            Scope::OneLevel => LdapScope::OneLevel,
        };
        self.connection.watch.expect(self.plan.page_size);
        let page = tokio::time::timeout(self.timeouts.page, async {
            let search = self
                .connection
                .ldap
                .with_timeout(self.timeouts.page)
                .with_controls(control)
                .streaming_search(root, scope, &self.plan.filter, &self.plan.attributes[..])
                .await;
            let mut stream = search.map_err(|error| self.broken(root, number, &error))?;
            let mut results = Vec::with_capacity(self.plan.page_size as usize);
            loop {
                match stream.next().await {
                    Ok(Some(result)) => results.push(result),
                    Ok(None) => break,
                    Err(error) => return Err(self.broken(root, number, &error)),
                }
            }
            Ok((results, stream.finish().await))
        });
        let (results, end) =
            page.await.map_err(|_| self.broken_because(root, number, "no whole page in time"))??;
        self.code(root, number, &end)?;
        let mut page = Page { cookie: self.cookie(&end)?, ..Page::default() };
        page.entries.reserve(results.len());
        for result in results {
            if result.is_intermediate() {
                continue;
            }
            if result.is_ref() {
                let urls = entry::references(result.0).map_err(|why| self.protocol(why))?;
                page.ignored_references += 1;
                // The URLs of one reference are alternatives for the same thing.
                if let Some(Reference::Elsewhere(target)) =
                    urls.iter().map(|url| classify(url, root)).find(|r| *r != Reference::Harmless)
                {
                    return Err(DirectoryError::Referral {
                        server: self.server.to_string(),
                        root: root.to_owned(),
                        target,
                    });
                }
                continue;
            }
            page.entries.push(entry::entry(result.0).map_err(|why| self.protocol(why))?);
        }
        Ok(page)
    }

    fn code(&self, root: &str, page: u64, result: &LdapResult) -> Result<(), DirectoryError> {
        let server = self.server.to_string();
        match result.rc {
            0 => Ok(()),
            NO_SUCH_OBJECT => Err(DirectoryError::RootNotFound { server, root: root.to_owned() }),
            REFERRAL => {
                let target = match result.refs.first().map(|url| classify(url, "")) {
                    Some(Reference::Elsewhere(target)) => target,
                    _ => "another server".to_owned(),
                };
                Err(DirectoryError::Referral { server, root: root.to_owned(), target })
            }
            code => Err(DirectoryError::ReadIncomplete {
                server,
                root: root.to_owned(),
                page,
                code,
                hint: search_hint(code),
            }),
        }
    }

    /// The cookie of the next page. Without the control nobody knows whether this was the last.
    fn cookie(&self, end: &LdapResult) -> Result<Vec<u8>, DirectoryError> {
        let control = end.ctrls.iter().find(|control| control.1.ctype == PAGED_RESULTS);
        let value = control.and_then(|control| control.1.val.as_ref());
        let value = value.ok_or_else(|| {
            self.protocol("a page without the paged results control, so nobody knows whether it was the last (RFC 2696)")
        })?;
        entry::cookie(value).map_err(|why| self.protocol(why))
    }

    fn protocol(&self, why: &str) -> DirectoryError {
        DirectoryError::Protocol { server: self.server.to_string(), why: why.to_owned() }
    }

    fn broken(&self, root: &str, page: u64, error: &ldap3::LdapError) -> DirectoryError {
        match self.connection.watch.violation() {
            Some(why) => self.protocol(&why),
            None => self.broken_because(root, page, &self.connection.why(error)),
        }
    }

    fn broken_because(&self, root: &str, page: u64, why: &str) -> DirectoryError {
        DirectoryError::Broken {
            server: self.server.to_string(),
            root: root.to_owned(),
            page,
            why: why.to_owned(),
        }
    }
}

#[derive(Default)]
struct Page {
    entries: Vec<Entry>,
    cookie: Vec<u8>,
    ignored_references: u64,
}
