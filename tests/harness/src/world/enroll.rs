//! Gives routers their identity as an administrator does: a registration code from the control
//! plane, and `router-agent enroll`, which reads it from its standard input.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rollcall_proto::admin::v1::{
    CreateRegistrationCodeRequest, GetIdentityRouterRequest, IdentityRouter, RegistrationCode,
    RevokeIdentityRouterRequest,
};

use super::{Admin, Identity, Role, TENANT, World, files::State, router_name};
use crate::programs;

impl Admin {
    /// A code for one router of a tenant, which may read all sources.
    pub async fn registration_code(&self, tenant: &str, router: &str) -> Result<RegistrationCode> {
        self.registration_code_for(tenant, router, &[], None).await
    }

    /// A code for one router of a tenant, which may read these sources only; it can be used for
    /// `ttl`.
    pub async fn registration_code_for(
        &self,
        tenant: &str,
        router: &str,
        sources: &[&str],
        ttl: Option<Duration>,
    ) -> Result<RegistrationCode> {
        let request = CreateRegistrationCodeRequest {
            parent: format!("tenants/{tenant}"),
            identity_router_id: router.to_owned(),
            identity_sources: sources.iter().map(ToString::to_string).collect(),
            ttl: ttl.map(TryFrom::try_from).transpose()?,
        };
        Ok(self.routers.clone().create_registration_code(request).await?.into_inner())
    }

    /// One identity router of a tenant.
    pub async fn router(&self, tenant: &str, router: &str) -> Result<IdentityRouter> {
        let name = format!("tenants/{tenant}/identityRouters/{router}");
        let request = GetIdentityRouterRequest { name };
        Ok(self.routers.clone().get_identity_router(request).await?.into_inner())
    }

    /// Revokes a router for ever.
    pub async fn revoke_router(&self, tenant: &str, router: &str) -> Result<()> {
        let request = RevokeIdentityRouterRequest {
            name: format!("tenants/{tenant}/identityRouters/{router}"),
            reason: "a test".to_owned(),
        };
        self.routers.clone().revoke_identity_router(request).await?;
        Ok(())
    }
}

/// `router-agent enroll` with the code on its standard input.
#[derive(Clone, Debug)]
pub struct Enrollment<'a> {
    pub program: PathBuf,
    /// The control plane's, on `localhost`.
    pub port: u16,
    pub state: &'a Path,
    pub replace: bool,
}

impl<'a> Enrollment<'a> {
    /// Of the program as it is built for tests.
    pub fn at(port: u16, state: &'a Path) -> Result<Self> {
        Ok(Self { program: programs::program("router-agent")?, port, state, replace: false })
    }

    /// Starts it.
    pub fn spawn(&self, code: &str) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(["enroll", "--control-plane", &format!("https://localhost:{}", self.port), "--state"]);
        command.arg(self.state).args(["--code-file", "-"]);
        if self.replace {
            command.arg("--replace");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run router-agent enroll")?;
        // One that refuses before it has read the code closes the pipe: its message counts, not
        // ours.
        let _ = child.stdin.take().context("no standard input")?.write_all(code.as_bytes());
        Ok(child)
    }

    /// Runs it to its end, however it ends.
    pub fn run(&self, code: &str) -> Result<Output> {
        Ok(self.spawn(code)?.wait_with_output()?)
    }

    /// Runs it; fails with its message.
    pub fn succeed(&self, code: &str) -> Result<()> {
        let output = self.run(code)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "router-agent enroll failed: {}", said.trim());
        Ok(())
    }
}

impl World {
    /// `router-agent enroll` for a router of this world, counted from 0, past the cable if there is
    /// one.
    pub fn enrollment<'a>(&self, at: usize, state: &'a Path) -> Result<Enrollment<'a>> {
        let unknown = || format!("this world has no router {at}");
        let replica = *self.router_replicas.get(at).with_context(unknown)?;
        let address = self.control_planes.get(replica).and_then(|replica| replica.address());
        let port = address.with_context(unknown)?.port();
        Ok(Enrollment { program: self.routers[at].program().clone(), port, state, replace: false })
    }

    /// Enrolls a router, counted from 0, in the state folder that its configuration names.
    pub async fn enroll_nth(&self, at: usize) -> Result<()> {
        let code = self.admin.registration_code(TENANT, &router_name(at)).await?.code;
        self.enrollment(at, &self.files.state(at).0)?.succeed(&code)
    }

    /// The same for a router that has an identity already.
    pub async fn enroll_nth_anew(&self, at: usize) -> Result<()> {
        let code = self.admin.registration_code(TENANT, &router_name(at)).await?.code;
        let state = self.files.state(at);
        Enrollment { replace: true, ..self.enrollment(at, &state.0)? }.succeed(&code)
    }

    /// Enrolls a router of any tenant, which must exist, in a state folder of its own; for tests
    /// that play the router themselves.
    pub async fn enroll(&self, tenant: &str, router: &str) -> Result<Identity> {
        let state = self.dir().join(format!("state-of-{tenant}-{router}"));
        let admin = match tenant {
            TENANT => self.admin.clone(),
            other => {
                let name = format!("enroller-of-{router}");
                self.admin_as(&self.files.issue_admin_of(other, &name, Role::SuperAdmin)?)?
            }
        };
        let code = admin.registration_code(tenant, router).await?.code;
        Enrollment::at(self.address().port(), &state)?.succeed(&code)?;
        Ok(State(state).identity())
    }
}
