//! What a world is to be like, and its start.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Admin, Database, Issuer, Member, Policy, World, files, router_name};
use crate::{
    cable::Cable,
    ldap::{Access, Ds389, Samba, Slapd, ds389, samba, slapd},
    people::People,
    ports::free_port,
    postgres::Postgres,
    programs::{self, Profile},
    receiver::Receiver,
};

type Edit<T> = Box<dyn FnOnce(T) -> T>;

/// What a world is to be like.
pub struct Builder {
    directory: slapd::Builder,
    spares: Vec<slapd::Builder>,
    active_directory: Option<samba::Builder>,
    directory_server: Option<ds389::Builder>,
    database: Database,
    database_folder: Option<PathBuf>,
    license: i32,
    sync: files::SyncSettings,
    authority: files::AuthoritySettings,
    usual_limits: bool,
    policy: Edit<Policy>,
    cables: bool,
    enroll: bool,
    router: bool,
    replicas: usize,
    linked: bool,
    routers: Vec<usize>,
    jwks: Option<String>,
    receivers: Option<String>,
    profile: Option<Profile>,
    programs_in: Option<PathBuf>,
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

    /// A domain controller in the place of all OpenLDAP servers. Its ports are fixed, so no cable
    /// fits it.
    #[must_use]
    pub fn active_directory(mut self, directory: samba::Builder) -> Self {
        self.active_directory = Some(directory);
        self
    }

    /// A 389 Directory Server in the place of all OpenLDAP servers.
    #[must_use]
    pub fn directory_server(mut self, directory: ds389::Builder) -> Self {
        self.directory_server = Some(directory);
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
        self.sync.router_deadline = Some(deadline);
        self
    }

    /// How long a silent replica keeps its jobs. Default: the control plane's own.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.sync.lease = Some(lease);
        self
    }

    /// How long a job waits for a directory that broke off a read. Default: 1 s.
    #[must_use]
    pub fn directory_deadline(mut self, deadline: Duration) -> Self {
        self.sync.directory_deadline = Some(deadline);
        self
    }

    /// How long a job may take. Default: the control plane's own.
    #[must_use]
    pub fn job_deadline(mut self, deadline: Duration) -> Self {
        self.sync.job_deadline = Some(deadline);
        self
    }

    /// How long plans can be applied. Default: the control plane's own.
    #[must_use]
    pub fn plan_expiry(mut self, expiry: Duration) -> Self {
        self.sync.plan_expiry = Some(expiry);
        self
    }

    /// How long a held job waits for a decision. Default: the control plane's own.
    #[must_use]
    pub fn hold_expiry(mut self, expiry: Duration) -> Self {
        self.sync.hold_expiry = Some(expiry);
        self
    }

    /// Lets callers make as many calls as the control plane does by itself. Tests look far more
    /// often than people do, so they may.
    #[must_use]
    pub fn usual_limits(mut self) -> Self {
        self.usual_limits = true;
        self
    }

    /// How long a router's certificate is good. Default: the control plane's own.
    #[must_use]
    pub fn router_certificate_life(mut self, life: Duration) -> Self {
        self.authority.router_certificate_life = Some(life);
        self
    }

    /// How long after its end a router may still recover with a certificate. Default: the control
    /// plane's own.
    #[must_use]
    pub fn recovery(mut self, recovery: Duration) -> Self {
        self.authority.recovery = Some(recovery);
        self
    }

    /// How many replicas of the control plane share the database, which must be PostgreSQL.
    /// Default 1.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// Lets replicas ask routers that are connected to another one; each listens for that at
    /// [`World::replica_link`].
    #[must_use]
    pub fn linked(mut self) -> Self {
        self.linked = true;
        self
    }

    /// How many identity routers the tenant has, all connected to the first replica. Default 1.
    #[must_use]
    pub fn routers(mut self, count: usize) -> Self {
        self.routers = vec![0; count];
        self
    }

    /// One router for each of these replicas, counted from 0, and connected to that one only.
    #[must_use]
    pub fn routers_at(mut self, replicas: &[usize]) -> Self {
        self.routers = replicas.to_vec();
        self
    }

    /// Changes what the router's own policy allows.
    #[must_use]
    pub fn policy(mut self, edit: impl FnOnce(Policy) -> Policy + 'static) -> Self {
        self.policy = Box::new(edit);
        self
    }

    /// Lays a cable between the first router and its control plane ([`World::link`]) and one
    /// between router and directory ([`World::directory_link`]), which all routers use.
    #[must_use]
    pub fn cables(mut self) -> Self {
        self.cables = true;
        self
    }

    /// Lets a console present this issuer's tokens: [`files::Files::issue_console`] makes its
    /// certificate, [`super::issuer::CONSOLE`] is its name, and `jwks.json` in the world's folder
    /// has the keys.
    #[must_use]
    pub fn issuer(mut self, issuer: &Issuer) -> Self {
        self.jwks = Some(issuer.jwks());
        self
    }

    /// Lets webhooks reach this machine, with certificates of this receiver's authority.
    #[must_use]
    pub fn receiver(self, receiver: &Receiver) -> Self {
        self.receivers(&receiver.authority())
    }

    /// The same with certificates of the authorities in a file, which is copied.
    #[must_use]
    pub fn receivers(mut self, authorities: &Path) -> Self {
        self.receivers = std::fs::read_to_string(authorities).ok();
        self
    }

    /// Starts no router, though all have enrolled; [`World::start_router`] and
    /// [`World::nth_router`] do, later.
    #[must_use]
    pub fn without_router(mut self) -> Self {
        self.router = false;
        self
    }

    /// Starts no router, and none has enrolled; [`World::enroll_nth`] does that, later.
    #[must_use]
    pub fn unenrolled(mut self) -> Self {
        self.enroll = false;
        self.without_router()
    }

    /// Which build of the programs. Default [`Profile::current`].
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// Runs the programs that are in this folder, as of another version.
    #[must_use]
    pub fn programs_in(mut self, folder: PathBuf) -> Self {
        self.programs_in = Some(folder);
        self
    }

    /// Starts everything, sets the license, enrolls the routers and waits until every router is
    /// connected. Blocks its thread meanwhile.
    pub async fn start(self) -> Result<World> {
        let profile = match self.profile {
            Some(profile) => profile,
            None => Profile::current()?,
        };
        let program = |name| match &self.programs_in {
            Some(folder) => Ok(folder.join(name)),
            None => programs::program_in(profile, name),
        };
        let (control_plane_program, router_program) = (program("control-plane")?, program("router-agent")?);

        let active_directory = self.active_directory.map(samba::Builder::start).transpose()?;
        let directory_server = self.directory_server.map(ds389::Builder::start).transpose()?;
        let mut directories = Vec::new();
        if active_directory.is_none() && directory_server.is_none() {
            for directory in std::iter::once(self.directory).chain(self.spares) {
                directories.push(directory.start()?);
            }
        }
        ensure!(active_directory.is_none() || !self.cables, "no cable fits an Active Directory");
        let others = active_directory.iter().map(Samba::access);
        let others = others.chain(directory_server.iter().map(Ds389::access));
        let access: Vec<Access> = others.chain(directories.iter().map(Slapd::access)).collect();
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

        ensure!(
            self.replicas == 1 || self.database == Database::Postgres,
            "only PostgreSQL can be shared by replicas"
        );
        let addresses = (0..self.replicas)
            .map(|_| Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?))))
            .collect::<Result<Vec<_>>>()?;
        let first = *self
            .routers
            .first()
            .context("a world has at least one router; .without_router() starts none")?;
        let first_directory = SocketAddr::from(([127, 0, 0, 1], access[0].ldaps_port));
        let (link, directory_link) = if self.cables {
            (Some(Cable::to(addresses[first]).await?), Some(Cable::to(first_directory).await?))
        } else {
            (None, None)
        };

        let files = files::Files {
            authority: self.authority,
            usual_limits: self.usual_limits,
            dir: dir.path().to_owned(),
            control_plane: control_plane_program.clone(),
        };
        let admin = files.make_authority()?;
        let operator = files.issue_operator("ops")?;
        let mut control_planes = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            let name = files::numbered("control-plane", at);
            let config = files.write_control_plane(&name, address.port(), &database_url, self.sync)?;
            if let Some(jwks) = &self.jwks {
                files.add_issuer(&config, jwks)?;
            }
            if let Some(authorities) = &self.receivers {
                files.add_receivers(&config, authorities)?;
            }
            let log = dir.path().join(format!("{name}.log"));
            control_planes.push(Member::control_plane(
                name,
                control_plane_program.clone(),
                config,
                log,
                *address,
            ));
        }
        let mut links = Vec::new();
        if self.linked {
            for replica in &control_planes {
                let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
                files.add_link(replica.config(), address)?;
                links.push(address);
            }
        }
        let extra_ports: Vec<u16> = directory_link.iter().map(Cable::port).collect();
        files.write_directory_access(&access)?;
        let policy = (self.policy)(Policy::of(&access, &extra_ports));
        let mut routers = Vec::new();
        for (at, replica) in self.routers.iter().enumerate() {
            let port = match &link {
                Some(cable) if at == 0 => cable.port(),
                _ => addresses[*replica].port(),
            };
            let config = files.write_router(at, port, &access[0], &policy)?;
            let log = dir.path().join(format!("{}.log", files::numbered("router-agent", at)));
            routers.push(Member::router(router_name(at), router_program.clone(), config, log));
        }

        let connect = |identity| {
            let authority = files.authority();
            let admins = addresses.iter().map(|to| Admin::connect(to.port(), identity, &authority));
            admins.collect::<Result<Vec<_>>>()
        };
        let admins = connect(&admin)?;
        let mut world = World {
            router_replicas: self.routers,
            links,
            admin: admins[0].clone(),
            operator: connect(&operator)?.swap_remove(0),
            admins,
            control_planes,
            routers,
            link,
            directory_link,
            directories,
            active_directory,
            directory_server,
            access,
            postgres,
            database_url,
            files,
            dir,
        };
        for replica in &mut world.control_planes {
            replica.start()?;
        }
        world.set_license(self.license).await?;
        if self.enroll {
            for at in 0..world.routers.len() {
                world.enroll_nth(at).await?;
            }
        }
        if self.router {
            for router in &mut world.routers {
                router.start()?;
            }
            for at in 0..world.routers.len() {
                world.nth_router_connected(at).await?;
            }
        }
        Ok(world)
    }
}

impl World {
    pub fn builder() -> Builder {
        Builder {
            directory: Slapd::builder(),
            spares: Vec::new(),
            active_directory: None,
            directory_server: None,
            database: Database::default(),
            database_folder: None,
            license: 1_000_000,
            sync: files::SyncSettings::default(),
            authority: files::AuthoritySettings::default(),
            usual_limits: false,
            policy: Box::new(|policy| policy),
            cables: false,
            enroll: true,
            router: true,
            replicas: 1,
            linked: false,
            routers: vec![0],
            jwks: None,
            receivers: None,
            profile: None,
            programs_in: None,
        }
    }
}
