//! A whole installation: directory, database, control plane and identity router, connected by
//! mutual TLS; if asked, several replicas of the control plane on one PostgreSQL, and several
//! routers. Starts the programs as an administrator would; what their files look like is in
//! [`files`], what it is made of in [`Builder`], one program's life in [`member`], what an
//! administrator asks them in [`admin`].

pub mod admin;
mod builder;
pub mod connect;
pub mod enroll;
pub mod files;
pub mod issuer;
pub mod member;

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rollcall_proto::admin::v1::{IdentityRouter, identity_router};
use tempfile::TempDir;

use crate::{
    cable::Cable,
    ldap::{Access, Ds389, Samba, Slapd},
    postgres::Postgres,
    process::Running,
};

pub use admin::Admin;
pub use builder::Builder;
pub use connect::Identity;
pub use enroll::Enrollment;
pub use files::{Policy, Role, State};
pub use issuer::{CONSOLE, Issuer};
pub use member::Member;

pub const TENANT: &str = "acme";
/// The identity source that [`World`]'s helpers create and synchronize.
pub const SOURCE: &str = "tenants/acme/identitySources/hq";
/// The first router; the others are `hq-2` and so on.
pub const ROUTER: &str = "hq-1";

const START: Duration = Duration::from_secs(30);

/// Where the control plane keeps its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Database {
    #[default]
    Sqlite,
    Postgres,
}

/// Name of a router, counted from 0, in its certificate.
pub fn router_name(at: usize) -> String {
    format!("hq-{}", at + 1)
}

/// A running installation. Dropping it ends every process and removes every file.
pub struct World {
    /// A Super Admin of the tenant, at the first replica.
    pub admin: Admin,
    /// The operator, who sets licenses.
    pub operator: Admin,
    /// The same Super Admin at each replica of the control plane.
    pub admins: Vec<Admin>,
    control_planes: Vec<Member>,
    routers: Vec<Member>,
    /// Which replica each router is connected to.
    router_replicas: Vec<usize>,
    /// Where replicas listen for one another.
    links: Vec<SocketAddr>,
    link: Option<Cable>,
    directory_link: Option<Cable>,
    /// The directory servers, in fail-over order.
    pub directories: Vec<Slapd>,
    active_directory: Option<Samba>,
    directory_server: Option<Ds389>,
    access: Vec<Access>,
    pub postgres: Option<Postgres>,
    database_url: String,
    /// The files of both programs.
    pub files: files::Files,
    dir: TempDir,
}

impl World {
    /// The first directory server.
    pub fn directory(&self) -> &Slapd {
        &self.directories[0]
    }

    pub fn directory_mut(&mut self) -> &mut Slapd {
        &mut self.directories[0]
    }

    /// The domain controller, if the builder made one.
    pub fn active_directory(&self) -> Result<&Samba> {
        self.active_directory.as_ref().context("this world has no Active Directory")
    }

    pub fn active_directory_mut(&mut self) -> Result<&mut Samba> {
        self.active_directory.as_mut().context("this world has no Active Directory")
    }

    /// The 389 Directory Server, if the builder made one.
    pub fn directory_server(&self) -> Result<&Ds389> {
        self.directory_server.as_ref().context("this world has no 389 Directory Server")
    }

    pub fn directory_server_mut(&mut self) -> Result<&mut Ds389> {
        self.directory_server.as_mut().context("this world has no 389 Directory Server")
    }

    /// The cable between the first router and its control plane, if the builder laid one.
    pub fn link(&self) -> Result<&Cable> {
        self.link.as_ref().context("this world has no cables: build it with .cables()")
    }

    /// The cable between routers and first directory server, if the builder laid one.
    pub fn directory_link(&self) -> Result<&Cable> {
        self.directory_link.as_ref().context("this world has no cables: build it with .cables()")
    }

    /// Where the first replica listens.
    pub fn address(&self) -> SocketAddr {
        // Each replica is made with an address.
        self.control_planes[0].address().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// A replica of the control plane, from 0.
    pub fn replica(&mut self, at: usize) -> Result<&mut Member> {
        self.control_planes.get_mut(at).with_context(|| format!("this world has no replica {at}"))
    }

    /// Where a replica, from 0, listens for others; the builder must have said [`Builder::linked`].
    pub fn replica_link(&self, at: usize) -> Result<SocketAddr> {
        self.links.get(at).copied().context("this world's replicas are not linked")
    }

    /// An identity router, from 0.
    pub fn nth_router(&mut self, at: usize) -> Result<&mut Member> {
        self.routers.get_mut(at).with_context(|| format!("this world has no router {at}"))
    }

    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the control plane and waits until it listens.
    pub fn start_control_plane(&mut self) -> Result<()> {
        self.replica(0)?.start()
    }

    /// Starts the control plane and does not wait.
    pub fn launch_control_plane(&mut self) -> Result<()> {
        self.replica(0)?.launch()
    }

    /// Copies the database while it is in use, and lets the control plane use the copy from its
    /// next start on.
    pub fn restore_a_backup(&mut self) -> Result<()> {
        let config = self.replica(0)?.config().clone();
        self.database_url = match &self.postgres {
            Some(postgres) => postgres.copy(&self.database_url)?,
            None => {
                let copy = self.dir.path().join("restored.db");
                let mut command = Command::new(&self.files.control_plane);
                command.args(["backup", "--config"]).arg(config).arg("--out").arg(&copy);
                ensure!(command.status()?.success(), "the backup failed");
                files::sqlite_url(&copy)
            }
        };
        let name = files::numbered("control-plane", 0);
        let sync = files::SyncSettings::default();
        self.files.write_control_plane(&name, self.address().port(), &self.database_url, sync).map(drop)
    }

    /// Starts the router; [`Self::router_connected`] waits for it.
    pub fn start_router(&mut self) -> Result<()> {
        self.nth_router(0)?.start()
    }

    /// The control plane's process, while it runs.
    pub fn control_plane(&mut self) -> Result<&mut Running> {
        self.replica(0)?.process()
    }

    /// The router's process, while it runs.
    pub fn router(&mut self) -> Result<&mut Running> {
        self.nth_router(0)?.process()
    }

    /// Ends the control plane in an orderly way.
    pub fn stop_control_plane(&mut self) -> Result<ExitStatus> {
        self.replica(0)?.stop()
    }

    /// Ends the router in an orderly way.
    pub fn stop_router(&mut self) -> Result<ExitStatus> {
        self.nth_router(0)?.stop()
    }

    /// Ends the control plane as a crash does.
    pub fn kill_control_plane(&mut self) -> Result<()> {
        self.replica(0)?.kill()
    }

    /// Ends the router as a crash does.
    pub fn kill_router(&mut self) -> Result<()> {
        self.nth_router(0)?.kill()
    }

    /// Ends PostgreSQL as a crash does, and starts it again after a pause.
    pub async fn crash_database(&mut self, pause: Duration) -> Result<()> {
        let postgres = self.postgres.as_mut().context("this world has no PostgreSQL")?;
        postgres.kill()?;
        tokio::time::sleep(pause).await;
        postgres.start_again()
    }

    /// Waits until the control plane says that the router is connected.
    pub async fn router_connected(&mut self) -> Result<()> {
        self.nth_router_connected(0).await
    }

    /// Waits until the control plane says that a router is connected.
    pub async fn nth_router_connected(&mut self, at: usize) -> Result<()> {
        let (name, end) =
            (format!("tenants/{TENANT}/identityRouters/{}", router_name(at)), Instant::now() + START);
        loop {
            let connected = |router: &IdentityRouter| {
                router.name == name && router.state() == identity_router::State::Connected
            };
            if self.admin.routers(TENANT).await?.iter().any(connected) {
                return Ok(());
            }
            let router = self.nth_router(at)?.process()?;
            if !router.is_running() || Instant::now() > end {
                bail!("the router did not connect; it printed:\n{}", router.logs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What our programs printed so far, over all their starts. For messages of failed tests.
    pub fn logs(&self) -> String {
        let members = self.control_planes.iter().chain(&self.routers);
        let logs = members.map(|member| format!("--- {}\n{}", member.name(), member.logs()));
        logs.collect::<Vec<_>>().join("\n")
    }
}
