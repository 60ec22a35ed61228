//! A private PostgreSQL on a free port, in a temporary folder, with fsync on as in production.
//! Does not touch clusters that the distribution's package made.

use std::{
    fs,
    net::SocketAddr,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{
    install,
    ports::free_port,
    process::{Running, Signal},
    programs::target,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running PostgreSQL. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Running>,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    databases: AtomicU32,
    dir: TempDir,
}

impl Postgres {
    pub fn start() -> Result<Self> {
        install::ensure(&[install::POSTGRESQL])?;
        let programs =
            install::postgres_programs().context("PostgreSQL has no programs in /usr/lib/postgresql")?;
        let dir = tempfile::Builder::new().prefix("rollcall-postgres-").tempdir()?;
        // PostgreSQL refuses to run as root. The package has made a user for it.
        let user = if install::is_root() { Some(user_and_group("postgres")?) } else { None };
        if let Some((user, group)) = user {
            chown(dir.path(), Some(user), Some(group))?;
        }
        let mut postgres = Self { server: None, programs, user, port: 0, databases: AtomicU32::new(0), dir };
        postgres.make_cluster()?;

        let mut last = None;
        for _ in 0..3 {
            postgres.port = free_port()?; // someone else may take it before the server does
            match postgres.start_again() {
                Ok(()) => return Ok(postgres),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("PostgreSQL was never started")?)
    }

    /// Copies the cluster that the first test of this build folder made: to make one takes a
    /// second, to copy it a tenth of that.
    fn make_cluster(&self) -> Result<()> {
        let data = self.dir.path().join("data");
        let version = self.programs.parent().and_then(Path::file_name).unwrap_or_default();
        let kept = target().join("postgres").join(version);
        let owner = match self.user {
            Some((user, _)) => user,
            None => fs::metadata(self.dir.path())?.uid(),
        };
        // Another user may have made it, or the build folder is a copy that somebody else owns:
        // PostgreSQL would not start.
        if fs::metadata(&kept).is_ok_and(|kept| kept.uid() == owner) {
            return copy_folder(&kept, &data);
        }
        let output = self
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()?;
        ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        // Tests that begin at the same time each make one; it is there whole or not at all.
        fs::create_dir_all(target().join("postgres"))?;
        let own = kept.with_extension(std::process::id().to_string());
        copy_folder(&data, &own)?;
        if fs::rename(&own, &kept).is_err() {
            fs::remove_dir_all(&own)?;
        }
        Ok(())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Makes a fresh, empty database and returns its URL.
    pub fn database(&self) -> Result<String> {
        let name = format!("db{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        self.psql("postgres", &format!("create database {name}"))?;
        Ok(self.url(&name))
    }

    /// URL of a database by its name.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs a statement (or a backslash command) with psql. Answers rows as lines, columns
    /// separated by `|`. `database` is a name or one of our URLs.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let url = if database.contains("://") { database.to_owned() } else { self.url(database) };
        let output = self
            .command("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", sql])
            .output()?;
        if !output.status.success() {
            bail!("psql failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Backs a database up with pg_dump and restores it in a fresh one, whose URL is returned.
    pub fn copy(&self, database: &str) -> Result<String> {
        let dump = self.command("pg_dump").arg(database).output()?;
        ensure!(dump.status.success(), "pg_dump failed: {}", String::from_utf8_lossy(&dump.stderr).trim());
        let file = self.dir.path().join("dump.sql");
        fs::write(&file, dump.stdout)?;
        let fresh = self.database()?;
        let restored = self
            .command("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &fresh, "-f"])
            .arg(&file)
            .output()?;
        ensure!(
            restored.status.success(),
            "psql failed: {}",
            String::from_utf8_lossy(&restored.stderr).trim()
        );
        Ok(fresh)
    }

    /// Ends the server in an orderly way (open connections are closed) and starts it again on the
    /// same port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Ends the server in an orderly way.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::Int)?; // SIGTERM would wait until every client has gone
            server.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Ends the server as a crash does: nothing is flushed, the next start recovers from the log.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            // The "immediate" shutdown: SIGKILL would recover the same way, but leave shared memory
            // behind.
            server.signal(Signal::Quit)?;
            server.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Starts a server that was stopped or killed, on the same port.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "PostgreSQL is running already");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.dir.path().join("data"));
        command
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-N", "200", "-k"])
            .arg(self.dir.path());
        let log = self.dir.path().join("postgres.log");
        let mut server = Running::start("PostgreSQL", &mut command, &log)?.dropped_with(Signal::Quit);
        server.wait_until("to answer", PATIENCE, || self.psql("postgres", "select 1").is_ok())?;
        self.server = Some(server);
        Ok(())
    }

    /// The server's process, while it runs.
    pub fn process(&mut self) -> Option<&mut Running> {
        self.server.as_mut()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir(self.dir.path())
            .env("LC_ALL", "C")
            .env_remove("PGOPTIONS")
            .env_remove("PGSERVICE");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

/// With owners and permissions, which PostgreSQL insists on.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").args([from, to]).output()?;
    ensure!(copied.status.success(), "cp failed: {}", String::from_utf8_lossy(&copied.stderr).trim());
    Ok(())
}

fn user_and_group(name: &str) -> Result<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let fields =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
    match fields.as_deref() {
        Some([_, _, user, group, ..]) => Ok((user.parse()?, group.parse()?)),
        _ => bail!("no user {name} in /etc/passwd, and PostgreSQL does not run as root"),
    }
}
