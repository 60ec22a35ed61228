//! A whole installation: directory, database, control plane and one identity router, connected by mutual TLS.
//! Starts the programs as an administrator would; what their files and command lines look like is in [`files`], what an
//! administrator asks them is in [`admin`].

pub mod admin;
pub mod connect;
pub mod files;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rollcall_proto::admin::v1::identity_router;
use tempfile::TempDir;

use crate::{
    cable::Cable,
    ldap::{Slapd, slapd},
    people::People,
    ports::free_port,
    postgres::Postgres,
    process::Running,
    programs::{self, Profile},
};

pub use admin::Admin;
pub use connect::Identity;
pub use files::{Policy, Role};

pub const TENANT: &str = "acme";
/// The identity source that [`World`]'s helpers create and synchronize.
pub const SOURCE: &str = "tenants/acme/identitySources/hq";
pub const ROUTER: &str = "hq-1";

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// Where the control plane keeps its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Database {
    #[default]
    Sqlite,
    Postgres,
}

type Edit<T> = Box<dyn FnOnce(T) -> T>;

/// What a world is to be like.
pub struct Builder {
    directory: slapd::Builder,
    spares: Vec<slapd::Builder>,
    database: Database,
    database_folder: Option<PathBuf>,
    license: i32,
    router_deadline: Option<Duration>,
    policy: Edit<Policy>,
    cables: bool,
    router: bool,
    profile: Option<Profile>,
}

impl Builder {
    /// How many people the directory has. Default none.
    #[must_use]
    pub fn people(mut self, count: u64) -> Self {
        self.directory = self.directory.people(count);
        self
    }

    #[must_use]
    pub fn these_people(mut self, people: People) -> Self {
        self.directory = self.directory.these_people(people);
        self
    }

    /// Changes the directory in any other way.
    #[must_use]
    pub fn directory(mut self, edit: impl FnOnce(slapd::Builder) -> slapd::Builder) -> Self {
        self.directory = edit(self.directory);
        self
    }

    /// A further directory server, next in fail-over order.
    #[must_use]
    pub fn spare(mut self, directory: slapd::Builder) -> Self {
        self.spares.push(directory);
        self
    }

    #[must_use]
    pub fn database(mut self, database: Database) -> Self {
        self.database = database;
        self
    }

    /// Where a SQLite database lies. Default: in the world's own folder.
    #[must_use]
    pub fn database_in(mut self, folder: &Path) -> Self {
        self.database_folder = Some(folder.to_owned());
        self
    }

    /// User limit of the tenant's license. Default 1,000,000.
    #[must_use]
    pub fn license(mut self, limit: i32) -> Self {
        self.license = limit;
        self
    }

    /// How long a job waits for a router to come back. Default: the control plane's own.
    #[must_use]
    pub fn router_deadline(mut self, deadline: Duration) -> Self {
        self.router_deadline = Some(deadline);
        self
    }

    /// Changes what the router's own policy allows.
    #[must_use]
    pub fn policy(mut self, edit: impl FnOnce(Policy) -> Policy + 'static) -> Self {
        self.policy = Box::new(edit);
        self
    }

    /// Lays a cable between router and control plane ([`World::link`]) and one between router and directory
    /// ([`World::directory_link`]).
    #[must_use]
    pub fn cables(mut self) -> Self {
        self.cables = true;
        self
    }

    /// Starts no router; [`World::start_router`] does, later.
    #[must_use]
    pub fn without_router(mut self) -> Self {
        self.router = false;
        self
    }

    /// Which build of the programs. Default [`Profile::current`].
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// Starts everything, sets the license and waits until the router is connected. Blocks its thread meanwhile.
    pub async fn start(self) -> Result<World> {
        let profile = match self.profile {
            Some(profile) => profile,
            None => Profile::current()?,
        };
        let control_plane_program = programs::program_in(profile, "control-plane")?;
        let router_program = programs::program_in(profile, "router-agent")?;

        let mut directories = vec![self.directory.start()?];
        for spare in self.spares {
            directories.push(spare.start()?);
        }
        let dir = tempfile::Builder::new().prefix("rollcall-world-").tempdir()?;
        let (postgres, database_url) = match self.database {
            Database::Sqlite => {
                let folder = self.database_folder.as_deref().unwrap_or(dir.path());
                (None, files::sqlite_url(&folder.join("rollcall.db")))
            }
            Database::Postgres => {
                let postgres = Postgres::start()?;
                let url = postgres.database()?;
                (Some(postgres), url)
            }
        };

        let port = free_port()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let (link, directory_link) = if self.cables {
            (Some(Cable::to(address).await?), Some(Cable::to(directories[0].ldaps_address()).await?))
        } else {
            (None, None)
        };

        let files = files::Files { dir: dir.path().to_owned(), control_plane: control_plane_program.clone() };
        let admin = files.make_authority()?;
        let operator = files.issue_operator("ops")?;
        files.write_control_plane(port, &database_url, self.router_deadline)?;
        let link_port = link.as_ref().map_or(port, Cable::port);
        let extra_ports: Vec<u16> = directory_link.iter().map(Cable::port).collect();
        files.write_router(link_port, &directories, (self.policy)(Policy::of(&directories, &extra_ports)))?;

        let mut world = World {
            admin: Admin::connect(port, &admin, &files.authority())?,
            operator: Admin::connect(port, &operator, &files.authority())?,
            control_plane: None,
            router: None,
            control_plane_program,
            router_program,
            address,
            link,
            directory_link,
            directories,
            postgres,
            database_url,
            files,
            dir,
        };
        world.start_control_plane()?;
        world.set_license(self.license).await?;
        if self.router {
            world.start_router()?;
            world.router_connected().await?;
        }
        Ok(world)
    }
}

/// A running installation. Dropping it ends every process and removes every file.
pub struct World {
    /// A Super Admin of the tenant.
    pub admin: Admin,
    /// The operator, who sets licenses.
    pub operator: Admin,
    control_plane: Option<Running>,
    router: Option<Running>,
    control_plane_program: PathBuf,
    router_program: PathBuf,
    address: SocketAddr,
    link: Option<Cable>,
    directory_link: Option<Cable>,
    /// The directory servers, in fail-over order.
    pub directories: Vec<Slapd>,
    pub postgres: Option<Postgres>,
    database_url: String,
    /// The files of both programs.
    pub files: files::Files,
    dir: TempDir,
}

impl World {
    pub fn builder() -> Builder {
        Builder {
            directory: Slapd::builder(),
            spares: Vec::new(),
            database: Database::default(),
            database_folder: None,
            license: 1_000_000,
            router_deadline: None,
            policy: Box::new(|policy| policy),
            cables: false,
            router: true,
            profile: None,
        }
    }

    /// The first directory server.
    pub fn directory(&self) -> &Slapd {
        &self.directories[0]
    }

    pub fn directory_mut(&mut self) -> &mut Slapd {
        &mut self.directories[0]
    }

    /// The cable between router and control plane, if the builder laid one.
    pub fn link(&self) -> Result<&Cable> {
        self.link.as_ref().context("this world has no cables: build it with .cables()")
    }

    /// The cable between router and first directory server, if the builder laid one.
    pub fn directory_link(&self) -> Result<&Cable> {
        self.directory_link.as_ref().context("this world has no cables: build it with .cables()")
    }

    /// Where the control plane listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the control plane and waits until it listens.
    pub fn start_control_plane(&mut self) -> Result<()> {
        self.launch_control_plane()?;
        let address = self.address;
        self.control_plane()?.wait_for_port(address, START)
    }

    /// Starts the control plane and does not wait.
    pub fn launch_control_plane(&mut self) -> Result<()> {
        ensure!(self.control_plane.is_none(), "the control plane is running already");
        let mut command = Command::new(&self.control_plane_program);
        command.args(["serve", "--config"]).arg(self.files.control_plane_config());
        let log = self.dir.path().join("control-plane.log");
        self.control_plane = Some(Running::start("control-plane", &mut command, &log)?);
        Ok(())
    }

    /// Copies the database while it is in use, and lets the control plane use the copy from its next start on.
    pub fn restore_a_backup(&mut self) -> Result<()> {
        self.database_url = match &self.postgres {
            Some(postgres) => postgres.copy(&self.database_url)?,
            None => {
                let copy = self.dir.path().join("restored.db");
                let mut command = Command::new(&self.control_plane_program);
                command
                    .args(["backup", "--config"])
                    .arg(self.files.control_plane_config())
                    .arg("--out")
                    .arg(&copy);
                ensure!(command.status()?.success(), "the backup failed");
                files::sqlite_url(&copy)
            }
        };
        self.files.write_control_plane(self.address.port(), &self.database_url, None)
    }

    /// Starts the router; [`Self::router_connected`] waits for it.
    pub fn start_router(&mut self) -> Result<()> {
        ensure!(self.router.is_none(), "the router is running already");
        let mut command = Command::new(&self.router_program);
        command.args(["run", "--config"]).arg(self.files.router_config());
        self.router =
            Some(Running::start("router-agent", &mut command, &self.dir.path().join("router-agent.log"))?);
        Ok(())
    }

    /// The control plane's process, while it runs.
    pub fn control_plane(&mut self) -> Result<&mut Running> {
        self.control_plane.as_mut().context("the control plane is stopped")
    }

    /// The router's process, while it runs.
    pub fn router(&mut self) -> Result<&mut Running> {
        self.router.as_mut().context("the router is stopped")
    }

    /// Ends the control plane in an orderly way.
    pub fn stop_control_plane(&mut self) -> Result<ExitStatus> {
        self.control_plane.take().context("the control plane is stopped")?.terminate(STOP)
    }

    /// Ends the router in an orderly way.
    pub fn stop_router(&mut self) -> Result<ExitStatus> {
        self.router.take().context("the router is stopped")?.terminate(STOP)
    }

    /// Ends the control plane as a crash does.
    pub fn kill_control_plane(&mut self) -> Result<()> {
        self.control_plane.take().context("the control plane is stopped")?.kill()
    }

    /// Ends the router as a crash does.
    pub fn kill_router(&mut self) -> Result<()> {
        self.router.take().context("the router is stopped")?.kill()
    }

    /// Waits until the control plane says that the router is connected.
    pub async fn router_connected(&mut self) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            let connected = identity_router::State::Connected;
            if self.admin.routers(TENANT).await?.iter().any(|router| router.state() == connected) {
                return Ok(());
            }
            let router = self.router()?;
            if !router.is_running() || Instant::now() > end {
                bail!("the router did not connect; it printed:\n{}", router.logs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What both programs printed so far, over all their starts. For messages of failed tests.
    pub fn logs(&self) -> String {
        let read = |name: &str| {
            let text = std::fs::read(self.dir.path().join(name)).unwrap_or_default();
            format!("--- {name}\n{}", String::from_utf8_lossy(&text))
        };
        format!("{}\n{}", read("control-plane.log"), read("router-agent.log"))
    }
}
