//! One of our programs in a world, with a configuration of its own: started, held, ended and
//! started again. Knows nothing about what it is connected to.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::process::Running;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// A control-plane replica or an identity router.
#[derive(Debug)]
pub struct Member {
    name: String,
    program: PathBuf,
    /// `serve` or `run`.
    verb: &'static str,
    config: PathBuf,
    log: PathBuf,
    listens: Option<SocketAddr>,
    process: Option<Running>,
}

impl Member {
    pub(super) fn control_plane(
        name: String,
        program: PathBuf,
        config: PathBuf,
        log: PathBuf,
        listens: SocketAddr,
    ) -> Self {
        Self { name, program, verb: "serve", config, log, listens: Some(listens), process: None }
    }

    pub(super) fn router(name: String, program: PathBuf, config: PathBuf, log: PathBuf) -> Self {
        Self { name, program, verb: "run", config, log, listens: None, process: None }
    }

    /// What messages call it; of a router, the name in its certificate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program that it runs.
    pub fn program(&self) -> &PathBuf {
        &self.program
    }

    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listens
    }

    /// Its configuration file. It is read at each start.
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// Starts it, and waits until it listens if it is one that does.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        match self.listens {
            Some(address) => self.process()?.wait_for_port(address, START),
            None => Ok(()),
        }
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} is running already", self.name);
        let mut command = Command::new(&self.program);
        command.args([self.verb, "--config"]).arg(&self.config);
        self.process = Some(Running::start(&self.name, &mut command, &self.log)?);
        Ok(())
    }

    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Its process, while it runs.
    pub fn process(&mut self) -> Result<&mut Running> {
        self.process.as_mut().with_context(|| format!("{} is stopped", self.name))
    }

    /// Ends it in an orderly way.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.take()?.terminate(STOP)
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) -> Result<()> {
        self.take()?.kill()
    }

    /// Holds it: its sockets stay open and nobody answers.
    pub fn freeze(&mut self) -> Result<()> {
        self.process()?.freeze()
    }

    pub fn thaw(&mut self) -> Result<()> {
        self.process()?.thaw()
    }

    /// What it printed so far, over all its starts.
    pub fn logs(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn take(&mut self) -> Result<Running> {
        self.process.take().with_context(|| format!("{} is stopped", self.name))
    }
}
