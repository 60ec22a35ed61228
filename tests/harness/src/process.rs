//! A server process that ends with the value that holds it, and whose output is kept in a file.
//! Knows nothing about what the process does.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

const POLL: Duration = Duration::from_millis(20);
/// Until a process that was told to stop has done so.
const FREEZING: Duration = Duration::from_secs(30);

/// A signal, by the name that `kill` knows it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Term,
    Int,
    Quit,
    Kill,
    Hup,
    Stop,
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Quit => "QUIT",
            Signal::Kill => "KILL",
            Signal::Hup => "HUP",
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
        }
    }
}

/// A running process. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    drop_signal: Signal,
}

impl Running {
    /// Starts a process; what it prints is appended to the file `log`. `name` is for messages.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let err = out.try_clone()?;
        let child =
            command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().with_context(|| {
                format!("cannot start {name} ({})", command.get_program().to_string_lossy())
            })?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), drop_signal: Signal::Kill })
    }

    /// What dropping sends first, for servers that leave things behind when they are killed.
    #[must_use]
    pub fn dropped_with(mut self, signal: Signal) -> Self {
        self.drop_signal = signal;
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the process printed so far, over all its starts with the same log file.
    pub fn logs(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn log_file(&self) -> &Path {
        &self.log
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Highest resident memory so far in KiB, as Linux counts it (VmHWM).
    pub fn peak_memory_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM: it has ended")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// Processor time so far in seconds, its own and the system's for it, to a hundredth (proc(5):
    /// fields 14 and 15 of stat, in ticks of a hundredth on Linux).
    pub fn processor_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The second field is the name in parentheses and may have anything in it.
        let (_, rest) = stat.rsplit_once(')').context("no stat: it has ended")?;
        let ticks: Result<Vec<u32>, _> = rest.split_whitespace().skip(11).take(2).map(str::parse).collect();
        Ok(f64::from(ticks?.iter().sum::<u32>()) / 100.0)
    }

    /// Waits until the process has printed `text`; fails when it ends before.
    pub fn wait_for_log(&mut self, text: &str, patience: Duration) -> Result<()> {
        let log = self.log.clone();
        self.wait_until(&format!("to print {text:?}"), patience, || {
            fs::read(&log).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        })
    }

    /// Waits until something listens on the address; fails when the process ends before.
    pub fn wait_for_port(&mut self, address: SocketAddr, patience: Duration) -> Result<()> {
        self.wait_until(&format!("to listen on {address}"), patience, || TcpStream::connect(address).is_ok())
    }

    /// Waits until `ready` says so; fails when the process ends before. `what` completes "did not
    /// come ...".
    pub fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} when it was {what}; it printed:\n{}", self.name, self.tail());
            }
            if ready() {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("{} did not come {what} within {patience:?}; it printed:\n{}", self.name, self.tail());
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until the process has ended by itself.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("{} has not ended within {patience:?}; it printed:\n{}", self.name, self.tail());
            }
            thread::sleep(POLL);
        }
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::Term)?;
        self.wait(patience)
    }

    /// Kills the process (SIGKILL) and waits for it.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Holds the process (SIGSTOP): its sockets stay open and nobody answers. When it returns, no
    /// thread of it runs any more.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal(Signal::Stop)?;
        let began = Instant::now();
        while !is_stopped(self.pid())? {
            if began.elapsed() > FREEZING {
                bail!("{} was told to stop and runs on", self.name);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub fn thaw(&mut self) -> Result<()> {
        self.signal(Signal::Cont)
    }

    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has already ended with {status}; it printed:\n{}", self.name, self.tail());
        }
        // The shell's own `kill`: there is always a shell, and not always a program of that name.
        let command = format!("kill -{} {}", signal.name(), self.child.id());
        if !Command::new("sh").args(["-c", &command]).status()?.success() {
            bail!("cannot send SIG{} to {}", signal.name(), self.name);
        }
        Ok(())
    }

    fn tail(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let length = file.metadata().map_or(0, |meta| meta.len());
            let mut bytes = Vec::new();
            if file.seek(SeekFrom::Start(length.saturating_sub(4000))).is_ok()
                && file.read_to_end(&mut bytes).is_ok()
            {
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.drop_signal != Signal::Kill && self.is_running() {
            let _ = self.thaw(); // a held process does not see the signal
            if self.signal(self.drop_signal).is_ok() && self.wait(Duration::from_secs(5)).is_ok() {
                return;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether every thread of a process is stopped: a signal is sent in no time, and takes some to
/// arrive.
fn is_stopped(pid: u32) -> Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        // The state stands behind the name, which is in parentheses and may have some itself.
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if state != Some('T') {
            return Ok(false);
        }
    }
    Ok(true)
}
