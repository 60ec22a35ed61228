//! The page loop: reads every root to its end on one connection, and checks every page. A read that
//! went well is a [`ReadComplete`], which nothing else can make; anything less is an error. One
//! page is read ahead while the receiver works on the one before.

use std::collections::HashSet;
use std::sync::Arc;

use ldap3::controls::{MakeCritical, PagedResults};
use ldap3::{LdapResult, Scope as LdapScope};
use rustls::ClientConfig;
use tokio::sync::mpsc::Sender;

use super::connect::{Connection, connect_first};
use super::references::{ReferenceRule, Referral};
use super::result_code::{NO_SUCH_OBJECT, REFERRAL, search_hint};
use super::root_dse::is_entry_of;
use super::search::{Interrupted, Search};
use super::{Credential, DirectoryError, Freshness, ReadRequest, Server, Timeouts, VersionSource, decode};
use crate::ldap_syntax::normalize;
use crate::record::Entry;

const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
/// Empty pages in a row that a server may send before it counts as stuck.
const MAX_EMPTY_PAGES: u32 = 3;
/// Most pages of one root: 5,000 entries each make a billion people.
const MAX_PAGES_PER_ROOT: u64 = 200_000;

/// Proof that every root was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadComplete {
    server: String,
    freshness: Freshness,
    roots: Vec<RootRead>,
}

/// How one root was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootRead {
    /// The base DN.
    pub root: String,
    /// Identifies the base entry itself.
    pub fingerprint: [u8; 16],
    /// The attribute that it is of; empty if it is of the name.
    pub fingerprint_attribute: String,
    /// Pages, each answered with success.
    pub pages: u64,
    /// Entries.
    pub entries: u64,
    /// References to elsewhere that are no part of the scope.
    pub ignored_references: u64,
    /// The directory has no such entry, and nothing was read. Never all roots of a read.
    pub missing: bool,
}

impl ReadComplete {
    /// The server that was read.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// How recent the server's data was before the first page.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// One a root, in the order of the request.
    #[must_use]
    pub fn roots(&self) -> &[RootRead] {
        &self.roots
    }
}

/// Reads everything in the request from the first server that can be bound to, page by page into
/// `sink`. A sink that is full holds the directory back; one that is closed ends the read.
///
/// # Errors
/// If anything at all went wrong: then the read is not complete.
pub async fn read(
    request: &ReadRequest,
    credential: &Credential,
    tls: Arc<ClientConfig>,
    timeouts: &Timeouts,
    sink: Sender<Vec<Entry>>,
) -> Result<ReadComplete, DirectoryError> {
    open_read(request, credential, tls, timeouts).await?.run(request, timeouts, sink).await
}

/// A read whose server is chosen, before its first page.
pub struct OpenRead {
    server: Server,
    connection: Connection,
    versions: VersionSource,
}

/// Binds to the first server that can be bound to.
///
/// # Errors
/// If there is none, or it does not answer.
pub async fn open_read(
    request: &ReadRequest,
    credential: &Credential,
    tls: Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<OpenRead, DirectoryError> {
    let (server, connection) = connect_first(&request.servers, credential, &tls, timeouts).await?;
    let versions = connection.version_source(timeouts.operation).await.cloned();
    let versions = versions.map_err(|why| interruption(&server, "the root DSE", 0, why))?;
    Ok(OpenRead { server, connection, versions })
}

impl OpenRead {
    /// The server that is read.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Where the server's entries have their version.
    #[must_use]
    pub fn versions(&self) -> &VersionSource {
        &self.versions
    }

    /// Reads everything in the request.
    ///
    /// # Errors
    /// If anything at all went wrong: then the read is not complete.
    pub async fn run(
        self,
        request: &ReadRequest,
        timeouts: &Timeouts,
        sink: Sender<Vec<Entry>>,
    ) -> Result<ReadComplete, DirectoryError> {
        let Self { server, connection, versions } = self;
        let mut reader = Reader::new(request, timeouts, server, &connection, sink);
        reader.attributes.extend(versions.attributes());
        let freshness = connection.freshness(&request.roots, timeouts.operation).await;
        let freshness = freshness.map_err(|why| reader.interruption("the root DSE", 0, why))?;
        let mut roots = Vec::with_capacity(request.roots.len());
        for root in &request.roots {
            roots.push(reader.read_root(root).await?);
        }
        reader.check_missing(&roots).await?;
        Ok(ReadComplete { server: reader.server.to_string(), freshness, roots })
    }
}

/// The first page of each root, at most a page in all; checks on the way that every root is there.
pub(super) async fn read_sample(
    request: &ReadRequest,
    server: &Server,
    connection: &Connection,
    timeouts: &Timeouts,
) -> Result<Vec<Entry>, DirectoryError> {
    let (sink, _) = tokio::sync::mpsc::channel(1);
    let mut reader = Reader::new(request, timeouts, server.clone(), connection, sink);
    let mut sample = Vec::new();
    for root in &request.roots {
        reader.fingerprint(root).await?.ok_or_else(|| reader.not_found(root))?;
        if sample.len() < request.page_size as usize {
            sample.extend(reader.read_page(root, 1, Vec::new()).await?.entries);
        }
    }
    sample.truncate(request.page_size as usize);
    Ok(sample)
}

struct Reader<'a> {
    request: &'a ReadRequest,
    timeouts: &'a Timeouts,
    server: Server,
    connection: &'a Connection,
    sink: Sender<Vec<Entry>>,
    attributes: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn new(
        request: &'a ReadRequest,
        timeouts: &'a Timeouts,
        server: Server,
        connection: &'a Connection,
        sink: Sender<Vec<Entry>>,
    ) -> Self {
        let attributes = request.attributes.iter().map(String::as_str).collect();
        Self { request, timeouts, server, connection, sink, attributes }
    }

    async fn read_root(&mut self, root: &str) -> Result<RootRead, DirectoryError> {
        let mut read = RootRead { root: root.to_owned(), ..RootRead::default() };
        let Some(identity) = self.fingerprint(root).await? else {
            return Ok(RootRead { missing: true, ..read });
        };
        (read.fingerprint, read.fingerprint_attribute) = identity.clone();
        let mut cookie = Vec::new();
        let mut seen = HashSet::new();
        let mut empty = 0;
        loop {
            let page = self.read_page(root, read.pages + 1, cookie).await?;
            read.pages += 1;
            read.entries += page.entries.len() as u64;
            read.ignored_references += page.ignored_references;
            empty = if page.entries.is_empty() { empty + 1 } else { 0 };
            if !page.entries.is_empty() {
                // Such a page would lead round in a circle. Empty ones are counted.
                if !seen.insert(page.digest()) {
                    return Err(self.protocol("the same page again"));
                }
                self.sink.send(page.entries).await.map_err(|_| DirectoryError::Canceled)?;
            }
            if page.cookie.is_empty() {
                break;
            }
            if empty >= MAX_EMPTY_PAGES || read.pages >= MAX_PAGES_PER_ROOT {
                return Err(self.protocol("pages without end"));
            }
            cookie = page.cookie;
        }
        match self.fingerprint(root).await? {
            None => Err(self.not_found(root)),
            Some(now) if now != identity => Err(DirectoryError::RootChanged { root: root.to_owned() }),
            Some(_) => Ok(read),
        }
    }

    /// One of several roots may be missing, as where a department is gone; all of them never. One
    /// that is there by now may have been renamed from another root while that was read.
    async fn check_missing(&mut self, roots: &[RootRead]) -> Result<(), DirectoryError> {
        if let (true, Some(first)) = (roots.iter().all(|root| root.missing), roots.first()) {
            return Err(self.not_found(&first.root));
        }
        for RootRead { root, .. } in roots.iter().filter(|root| root.missing) {
            if self.fingerprint(root).await?.is_some() {
                return Err(DirectoryError::RootChanged { root: root.clone() });
            }
        }
        Ok(())
    }

    /// Reads the base entry, if there is one, and says which one it is: by its immutable id, or
    /// where it has none by what other servers call theirs, or by its name. Also says by which
    /// attribute: one that is hidden later does not make it another entry.
    async fn fingerprint(&mut self, root: &str) -> Result<Option<([u8; 16], String)>, DirectoryError> {
        let own = self.request.immutable_id_attribute.as_str();
        let attributes = [own, "entryUUID", "objectGUID", "nsUniqueId"];
        let search = Search {
            base: root,
            scope: LdapScope::Base,
            filter: "(objectClass=*)",
            attributes: &attributes,
            control: None,
            size_limit: 0,
            max_entries: 1,
            allow_large: false,
            references: ReferenceRule::AllBut(&[]),
            timeout: self.timeouts.operation,
        };
        let answer = self.connection.search(search).await.map_err(|why| self.interruption(root, 0, why))?;
        if let Some(referral) = &answer.referral {
            return Err(DirectoryError::referral(&self.server, root, referral));
        }
        // Some servers say that there is no such entry, some answer with success and nothing.
        if answer.result.rc == NO_SUCH_OBJECT {
            return Ok(None);
        }
        self.check_result(root, 0, &answer.result)?;
        let Some(base) = answer.entries.first() else { return Ok(None) };
        if !is_entry_of(base, root) {
            return Err(self.protocol(&format!("it answered with another entry than {root}")));
        }
        let of = |attribute: &&str| Some((base.values(attribute).next()?.to_vec(), (*attribute).to_owned()));
        let by_name = || (normalize(root).unwrap_or_default().join(",").into_bytes(), String::new());
        let (id, attribute) = attributes.iter().find_map(of).unwrap_or_else(by_name);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&blake3::hash(&id).as_bytes()[..16]);
        Ok(Some((fingerprint, attribute)))
    }

    fn not_found(&self, root: &str) -> DirectoryError {
        DirectoryError::RootNotFound { server: self.server.to_string(), root: root.to_owned() }
    }

    async fn read_page(&mut self, root: &str, number: u64, cookie: Vec<u8>) -> Result<Page, DirectoryError> {
        let size = i32::try_from(self.request.page_size).unwrap_or(i32::MAX);
        let root_dse = self.connection.root_dse(self.timeouts.operation).await;
        let root_dse = root_dse.map_err(|why| self.interruption(root, number, why))?;
        let search = Search {
            base: root,
            scope: self.request.search_scope(),
            filter: &self.request.filter,
            attributes: &self.attributes,
            control: Some(PagedResults { size, cookie }.critical().into()),
            size_limit: 0,
            max_entries: self.request.page_size,
            allow_large: true,
            references: root_dse.references(),
            timeout: self.timeouts.page,
        };
        let answer =
            self.connection.search(search).await.map_err(|why| self.interruption(root, number, why))?;
        self.check_result(root, number, &answer.result)?;
        if let Some(referral) = &answer.referral {
            return Err(DirectoryError::referral(&self.server, root, referral));
        }
        let coverage = self.request.coverage(root);
        if !answer.entries.iter().all(|entry| coverage.has(entry)) {
            return Err(self.protocol(&format!("it found an entry outside of {root} there")));
        }
        Ok(Page {
            cookie: self.next_cookie(root, number, &answer.result)?,
            entries: answer.entries,
            ignored_references: answer.ignored_references,
        })
    }

    fn check_result(&self, root: &str, page: u64, result: &LdapResult) -> Result<(), DirectoryError> {
        let server = self.server.to_string();
        match result.rc {
            0 => Ok(()),
            NO_SUCH_OBJECT => Err(self.not_found(root)),
            REFERRAL => {
                let referral = result.refs.first().map_or_else(Referral::unknown, |url| Referral::parse(url));
                Err(DirectoryError::referral(&self.server, root, &referral))
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

    /// The cookie of the next page. Without the control nobody knows whether this was the last: a
    /// server that is about to stop may leave it out, so the read is incomplete and may be
    /// repeated.
    fn next_cookie(&self, root: &str, page: u64, end: &LdapResult) -> Result<Vec<u8>, DirectoryError> {
        let control = end.ctrls.iter().find(|control| control.1.ctype == PAGED_RESULTS);
        let value = control.and_then(|control| control.1.val.as_ref());
        let value = value.ok_or_else(|| DirectoryError::Broken {
            server: self.server.to_string(),
            root: root.to_owned(),
            page,
            why: "the page came without the paged results control of RFC 2696, as where the server stops or does not know the control".to_owned(),
        })?;
        decode::cookie(value).map_err(|why| self.protocol(why))
    }

    fn protocol(&self, why: &str) -> DirectoryError {
        DirectoryError::Protocol { server: self.server.to_string(), why: why.to_owned() }
    }

    fn interruption(&self, root: &str, page: u64, interrupted: Interrupted) -> DirectoryError {
        interruption(&self.server, root, page, interrupted)
    }
}

fn interruption(server: &Server, root: &str, page: u64, interrupted: Interrupted) -> DirectoryError {
    let server = server.to_string();
    match interrupted {
        Interrupted::Protocol(why) => DirectoryError::Protocol { server, why },
        Interrupted::Broken(why) => DirectoryError::Broken { server, root: root.to_owned(), page, why },
    }
}

struct Page {
    entries: Vec<Entry>,
    cookie: Vec<u8>,
    ignored_references: u64,
}

impl Page {
    /// Tells pages apart: by the cookie and the names of the entries. The cookie alone does not: it
    /// may be the position after the page, or, as Samba's is, a number of the search that stays the
    /// same to its end.
    fn digest(&self) -> [u8; 32] {
        let mut digest = blake3::Hasher::new();
        for part in std::iter::once(&self.cookie[..]).chain(self.entries.iter().map(Entry::dn)) {
            digest.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        *digest.finalize().as_bytes()
    }
}
