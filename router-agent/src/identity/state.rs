//! The state folder: the router's only disk. Files in it are the router's alone, are never symbolic
//! links, and are replaced whole: after a crash there is the old one or the new one. Knows nothing
//! of what is in them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Key and certificate.
pub(crate) const IDENTITY_FILE: &str = "identity.pem";
/// Whom the router takes for its control plane.
pub(super) const AUTHORITIES_FILE: &str = "control-plane-ca.pem";
/// The newest event of the audit trail that was seen.
pub(crate) const AUDIT_HEAD_FILE: &str = "audit-head.json";
/// Locked by the router that runs with this folder.
const RUNNING_LOCK_FILE: &str = "running.lock";

/// No file in the folder is larger.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// How long to wait for another process that shows or replaces the identity.
pub(crate) const IDENTITY_LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a lock is tried again.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is none.
    #[error("{} is not there; enroll this router first: run router-agent enroll", .0.display())]
    Missing(PathBuf),
    /// Something else has its name.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// Others can get at a folder or file.
    #[error("{} can be read by others; run chmod {wanted:o} on it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// The mode that it should have.
        wanted: u32,
    },
    /// Another user's.
    #[error("{} belongs to another user; run this as the user that the router runs as", .0.display())]
    Owner(PathBuf),
    /// A symbolic link, or not a file at all.
    #[error("{} is not a plain file; the router neither follows links out of its state folder nor into it", .0.display())]
    NotAFile(PathBuf),
    /// A file has been tampered with, or a disk lost a part of it.
    #[error("{} is damaged; enroll this router anew, with a new registration code and --replace", .0.display())]
    Damaged(PathBuf),
    /// The machine refuses.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A router runs with it.
    #[error("a router runs with the state folder {} already; each needs a folder and an identity of its own", .0.display())]
    Running(PathBuf),
    /// Something else is at work in the folder, for too long.
    #[error("the state folder {} is being changed by another process; try again", .0.display())]
    Busy(PathBuf),
}

/// A state folder that is fit for secrets.
#[derive(Clone, Debug)]
pub struct StateFolder {
    folder: PathBuf,
}

/// Keeps others from the folder while it lives; it ends with its process, too.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "closing the file ends the lock")] File);

impl StateFolder {
    /// The folder as it is.
    ///
    /// # Errors
    /// If there is none, or others can get at it.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let found = fs::metadata(folder).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StateError::Missing(folder.to_owned()),
            _ => StateError::File { path: folder.to_owned(), doing: "look at", source },
        })?;
        if !found.is_dir() {
            return Err(StateError::NotAFolder(folder.to_owned()));
        }
        check_private(folder, &found, 0o700)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder, made if there is none. One that is empty is closed to others.
    ///
    /// # Errors
    /// As for [`Self::open`], and if it cannot be made or written.
    pub fn create(folder: &Path) -> Result<Self, StateError> {
        let file = |doing| move |source| StateError::File { path: folder.to_owned(), doing, source };
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
                // Only an empty one: somebody may have named a folder that is not meant for this at
                // all.
                if empty {
                    fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).map_err(file("close"))?;
                }
            }
            Err(error) => return Err(file("make")(error)),
        }
        let state = Self::open(folder)?;
        // Whoever only looks may be root; whoever writes must be the one who reads it later.
        if fs::metadata(folder).map_err(file("look at"))?.uid() != own_uid(folder)? {
            return Err(StateError::Owner(folder.to_owned()));
        }
        Ok(state)
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file of it is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether there is such a file, of whatever kind.
    pub(crate) fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// Reads a file; none if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path(name);
        let file = |doing| {
            let path = path.clone();
            move |source| StateError::File { path, doing, source }
        };
        let named = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(file("look at"))?,
        };
        if !named.is_file() {
            return Err(StateError::NotAFile(path));
        }
        let opened = File::open(&path).map_err(file("read"))?;
        let found = opened.metadata().map_err(file("look at"))?;
        // What was opened need not be what was looked at before; one that was replaced meanwhile is
        // as good.
        if !found.is_file() {
            return Err(StateError::NotAFile(path));
        }
        check_private(&path, &found, 0o600)?;
        let mut bytes = Vec::new();
        opened.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(file("read"))?;
        Ok(Some(bytes))
    }

    /// Replaces a file, or makes it: whole or not at all, and once this has returned, for good.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let (path, beside) = (self.path(name), self.path(&format!("{name}.new")));
        let file = |doing| {
            let path = path.clone();
            move |source| StateError::File { path, doing, source }
        };
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(StateError::NotAFile(path));
        }
        // Left by a process that was killed. Removing a link removes the link.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file("write")(error)),
            _ => {}
        }
        let mut new = create_new(&beside).map_err(file("write"))?;
        let written = new.write_all(bytes).and_then(|()| new.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&beside, &path)) {
            let _ = fs::remove_file(&beside);
            return Err(file("write")(error));
        }
        self.sync().map_err(file("write"))
    }

    /// Removes a file, if there is one.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::File { path, doing: "remove", source })
            }
            _ => Ok(()),
        }
    }

    /// Takes the folder for one router to run with.
    pub(crate) fn claim(&self) -> Result<FolderLock, StateError> {
        let path = self.path(RUNNING_LOCK_FILE);
        let source = |source| StateError::File { path: path.clone(), doing: "lock", source };
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(StateError::NotAFile(path));
        }
        let mut options = OpenOptions::new();
        let file =
            options.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(source)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock(file)),
            Err(TryLockError::WouldBlock) => Err(StateError::Running(self.folder.clone())),
            Err(TryLockError::Error(error)) => Err(source(error)),
        }
    }

    /// Keeps the identity from being replaced while it is shown to the control plane: an older one
    /// that arrives after its successor looks as if a second machine had it.
    pub(crate) async fn lock_for_showing(&self, timeout: Duration) -> Result<FolderLock, StateError> {
        self.lock(File::try_lock_shared, timeout).await
    }

    /// Keeps everyone else from showing or replacing the identity.
    pub(crate) async fn lock_for_change(&self, timeout: Duration) -> Result<FolderLock, StateError> {
        self.lock(File::try_lock, timeout).await
    }

    async fn lock(
        &self,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
        timeout: Duration,
    ) -> Result<FolderLock, StateError> {
        let source = |source| StateError::File { path: self.folder.clone(), doing: "lock", source };
        let folder = File::open(&self.folder).map_err(source)?;
        let locked = async {
            loop {
                match lock(&folder) {
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_RETRY_INTERVAL).await,
                    Err(TryLockError::Error(error)) => return Err(source(error)),
                    Ok(()) => return Ok(()),
                }
            }
        };
        tokio::time::timeout(timeout, locked).await.map_err(|_| StateError::Busy(self.folder.clone()))??;
        Ok(FolderLock(folder))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

/// A file that nobody else could have made, and that is closed to others from its first moment on,
/// whatever the umask.
fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn check_private(path: &Path, found: &fs::Metadata, wanted: u32) -> Result<(), StateError> {
    let own = own_uid(path)?;
    if found.uid() != own && own != 0 {
        return Err(StateError::Owner(path.to_owned()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(StateError::Open { path: path.to_owned(), wanted });
    }
    Ok(())
}

/// The user that this process runs as: the owner of its own entry in /proc.
fn own_uid(path: &Path) -> Result<u32, StateError> {
    let found = fs::metadata("/proc/self");
    found.map(|found| found.uid()).map_err(|source| StateError::File {
        path: path.to_owned(),
        doing: "tell from /proc/self who owns",
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn state() -> (tempfile::TempDir, StateFolder) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::create(&folder.path().join("state")).expect("a state folder");
        (folder, state)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").mode() & 0o7777
    }

    #[test]
    fn folder_and_files_are_the_routers_alone() {
        let (_folder, state) = state();
        state.write(IDENTITY_FILE, b"one").expect("a written file");
        state.write(IDENTITY_FILE, b"two").expect("a written file");
        assert_eq!((mode(state.folder()), mode(&state.path(IDENTITY_FILE))), (0o700, 0o600));
        assert_eq!(state.read(IDENTITY_FILE).expect("a file"), Some(b"two".to_vec()));
        assert_eq!(fs::read_dir(state.folder()).expect("a folder").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_others_can_read_is_refused_and_the_sentence_says_what_to_do() {
        let (_folder, state) = state();
        state.write(IDENTITY_FILE, b"key").expect("a written file");
        fs::set_permissions(state.path(IDENTITY_FILE), PermissionsExt::from_mode(0o640)).expect("a mode");
        let refused = state.read(IDENTITY_FILE).expect_err("a refusal").to_string();
        assert!(refused.contains(IDENTITY_FILE) && refused.contains("chmod 600"), "{refused}");
        fs::set_permissions(state.folder(), PermissionsExt::from_mode(0o750)).expect("a mode");
        let refused = StateFolder::open(state.folder()).expect_err("a refusal").to_string();
        assert!(refused.contains("chmod 700"), "{refused}");
    }

    #[test]
    fn a_folder_that_is_in_use_for_something_else_is_not_closed_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let (used, empty) = (folder.path().join("used"), folder.path().join("empty"));
        for path in [&used, &empty] {
            fs::create_dir(path).expect("a folder");
            fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a mode");
        }
        fs::write(used.join("web-page"), "for everyone").expect("a file");
        assert!(matches!(StateFolder::create(&used), Err(StateError::Open { .. })));
        assert_eq!(mode(&used), 0o755);
        StateFolder::create(&empty).expect("a state folder");
        assert_eq!(mode(&empty), 0o700);
        let deep = StateFolder::create(&folder.path().join("none/state")).expect_err("a refusal").to_string();
        assert!(deep.contains("cannot make"), "{deep}");
    }

    #[test]
    fn links_are_followed_neither_to_read_nor_to_write() {
        let (folder, state) = state();
        let outside = folder.path().join("outside");
        fs::write(&outside, "precious").expect("a file");
        fs::set_permissions(&outside, PermissionsExt::from_mode(0o600)).expect("a mode");
        symlink(&outside, state.path(IDENTITY_FILE)).expect("a link");
        assert!(matches!(state.read(IDENTITY_FILE), Err(StateError::NotAFile(_))));
        assert!(matches!(state.write(IDENTITY_FILE, b"key"), Err(StateError::NotAFile(_))));
        symlink(&outside, state.path("audit-head.json.new")).expect("a link");
        state.write(AUDIT_HEAD_FILE, b"{}").expect("the link was in the way, and is gone");
        symlink(&outside, state.path(RUNNING_LOCK_FILE)).expect("a link");
        assert!(matches!(state.claim(), Err(StateError::NotAFile(_))));
        assert_eq!(fs::read(&outside).expect("a file"), b"precious");
    }

    #[test]
    fn one_router_runs_with_a_folder_at_a_time() {
        let (_folder, state) = state();
        let first = state.claim().expect("the first");
        assert!(matches!(state.claim(), Err(StateError::Running(_))));
        drop(first);
        state.claim().expect("the next");
    }

    #[tokio::test]
    async fn an_identity_is_not_replaced_while_it_is_shown() {
        let (_folder, state) = state();
        let moment = Duration::from_millis(50);
        let (one, two) = (
            state.lock_for_showing(moment).await.expect("one"),
            state.lock_for_showing(moment).await.expect("two"),
        );
        assert!(matches!(state.lock_for_change(moment).await, Err(StateError::Busy(_))));
        drop((one, two));
        let change = state.lock_for_change(moment).await.expect("a change");
        assert!(matches!(state.lock_for_showing(moment).await, Err(StateError::Busy(_))));
        drop(change);
        state.lock_for_showing(moment).await.expect("shown");
    }
}
