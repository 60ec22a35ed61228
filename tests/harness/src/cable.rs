//! A network cable: a TCP relay on 127.0.0.1 that can be cut, mended, stalled, slowed and half
//! closed, and that counts bytes. Knows nothing of what it carries. It runs on a thread of its own,
//! so that a test that blocks does not stall it.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc as async_mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use crate::ports::free_port;

/// Which way bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connects to the server.
    Up,
    /// From the server to whoever connected.
    Down,
}

/// A relay to one server. Dropping it closes every connection.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    line: Arc<Line>,
    commands: async_mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Command {
    Cut(mpsc::Sender<io::Result<()>>),
    Mend(mpsc::Sender<io::Result<()>>),
}

/// What all connections share.
#[derive(Debug)]
struct Line {
    flows: [Flow; 2],
    connections: AtomicU64,
    stalled: watch::Sender<bool>,
    /// Bytes a second in each direction of a connection; 0 is as fast as it goes.
    pace: AtomicU64,
    /// Microseconds that each byte takes in each direction.
    delay: AtomicU64,
    /// What the server must be sent before its answer is lost.
    lost_answer: Mutex<Option<&'static [u8]>>,
    /// A `cut_after` that came due asks the relay itself to cut.
    due: async_mpsc::UnboundedSender<()>,
}

#[derive(Debug, Default)]
struct Flow {
    bytes: AtomicU64,
    /// Bytes that may still pass before the cable is cut.
    budget: Mutex<Option<u64>>,
    /// How often this direction was closed; each time ends the connections of before.
    closed: watch::Sender<u64>,
}

impl Cable {
    /// Lays a cable to a server, which need not be up yet.
    pub async fn to(server: SocketAddr) -> Result<Self> {
        let (due, due_receiver) = async_mpsc::unbounded_channel();
        let (commands, receiver) = async_mpsc::unbounded_channel();
        let line = Arc::new(Line {
            flows: [Flow::default(), Flow::default()],
            connections: AtomicU64::new(0),
            stalled: watch::Sender::new(false),
            pace: AtomicU64::new(0),
            delay: AtomicU64::new(0),
            lost_answer: Mutex::new(None),
            due,
        });
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let relay = Relay { address, server, line: line.clone() };
        let thread = thread::Builder::new().name("cable".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                match TcpListener::bind(address).await {
                    Ok(listener) => {
                        let _ = ready.send(Ok(()));
                        relay.run(listener, receiver, due_receiver).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        })?;
        is_ready
            .await
            .context("the cable's thread ended")?
            .with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { address, line, commands, thread: Some(thread) })
    }

    /// Where to connect instead of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Resets every connection and refuses new ones. When it returns, nothing passes any more.
    pub fn cut(&self) -> Result<()> {
        self.ask(Command::Cut)
    }

    /// Takes connections again, on the same port. Also ends a pending [`Self::cut_after`] and
    /// [`Self::lose_answer`].
    pub fn mend(&self) -> Result<()> {
        *lock(&self.line.lost_answer) = None;
        for flow in &self.line.flows {
            *lock(&flow.budget) = None;
        }
        self.ask(Command::Mend)
    }

    /// Holds what comes in: connections stay open, and nothing passes.
    pub fn stall(&self) {
        self.line.stalled.send_replace(true);
    }

    pub fn resume(&self) {
        self.line.stalled.send_replace(false);
    }

    /// Lets at most so many bytes a second pass in each direction of a connection; none lifts it.
    pub fn slow(&self, bytes_a_second: Option<u64>) {
        self.line.pace.store(bytes_a_second.unwrap_or(0), Ordering::Relaxed);
    }

    /// Makes the line longer: each byte takes so long in each direction of connections that begin
    /// from now on, however many are under way.
    pub fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.line.delay.store(micros, Ordering::Relaxed);
    }

    /// Ends one direction of every connection in an orderly way, and leaves the other one open.
    /// What still comes in is swallowed.
    pub fn half_close(&self, direction: Direction) {
        self.line.flow(direction).closed.send_modify(|times| *times += 1);
    }

    /// Cuts the cable as soon as this many more bytes have passed in one direction.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        *lock(&self.line.flow(direction).budget) = Some(bytes);
    }

    /// Cuts the cable once these bytes, sent at one go, have reached the server and it answers;
    /// nothing of the answer passes.
    pub fn lose_answer(&self, to: &'static [u8]) {
        *lock(&self.line.lost_answer) = Some(to);
    }

    /// Bytes that passed to the server so far.
    pub fn bytes_up(&self) -> u64 {
        self.line.flow(Direction::Up).bytes.load(Ordering::Relaxed)
    }

    /// Bytes that passed from the server so far.
    pub fn bytes_down(&self) -> u64 {
        self.line.flow(Direction::Down).bytes.load(Ordering::Relaxed)
    }

    /// Connections that were taken so far.
    pub fn connections(&self) -> u64 {
        self.line.connections.load(Ordering::Relaxed)
    }

    fn ask(&self, command: impl FnOnce(mpsc::Sender<io::Result<()>>) -> Command) -> Result<()> {
        let (done, is_done) = mpsc::channel();
        self.commands.send(command(done)).ok().context("the cable's thread ended")?;
        is_done.recv_timeout(Duration::from_secs(10)).context("the cable does not answer")??;
        Ok(())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = self.cut();
        // Without commands the relay ends.
        let (gone, _) = async_mpsc::unbounded_channel();
        self.commands = gone;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Line {
    fn flow(&self, direction: Direction) -> &Flow {
        &self.flows[direction as usize]
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Relay {
    address: SocketAddr,
    server: SocketAddr,
    line: Arc<Line>,
}

impl Relay {
    async fn run(
        self,
        listener: TcpListener,
        mut commands: async_mpsc::UnboundedReceiver<Command>,
        mut due: async_mpsc::UnboundedReceiver<()>,
    ) {
        let mut listener = Some(listener);
        let mut cut = watch::Sender::new(false);
        let mut connections = JoinSet::new();
        loop {
            let accept = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None => return,
                    Some(Command::Cut(done)) => {
                        listener = None;
                        cut_all(&mut cut, &mut connections).await;
                        let _ = done.send(Ok(()));
                    }
                    Some(Command::Mend(done)) => {
                        // A cut that came due and was not yet seen is of before.
                        while due.try_recv().is_ok() {}
                        let outcome = match listener {
                            Some(_) => Ok(()),
                            None => TcpListener::bind(self.address).await.map(|bound| listener = Some(bound)),
                        };
                        let _ = done.send(outcome);
                    }
                },
                _ = due.recv() => {
                    listener = None;
                    cut_all(&mut cut, &mut connections).await;
                }
                Some(_) = connections.join_next() => {}
                accepted = accept => if let Ok((client, _)) = accepted {
                    self.line.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(carry(client, self.server, self.line.clone(), cut.subscribe()));
                },
            }
        }
    }
}

async fn cut_all(cut: &mut watch::Sender<bool>, connections: &mut JoinSet<()>) {
    cut.send_replace(true);
    while connections.join_next().await.is_some() {}
    *cut = watch::Sender::new(false);
}

/// Carries one connection until both sides are done, or it is cut.
async fn carry(mut client: TcpStream, server: SocketAddr, line: Arc<Line>, mut cut: watch::Receiver<bool>) {
    // Before a byte passes: whoever sees one may close a direction, and that must not be missed.
    let [closed_up, closed_down] =
        [Direction::Up, Direction::Down].map(|direction| line.flow(direction).closed.subscribe());
    let connect = tokio::select! {
        _ = cut.wait_for(|cut| *cut) => None,
        connected = TcpStream::connect(server) => connected.ok(),
    };
    let Some(mut upstream) = connect else {
        let _ = client.set_zero_linger(); // as if the server itself had refused
        return;
    };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let broken = {
        let (client_in, client_out) = client.split();
        let (server_in, server_out) = upstream.split();
        let delay = Duration::from_micros(line.delay.load(Ordering::Relaxed));
        let both = async {
            if delay.is_zero() {
                return tokio::try_join!(
                    pump(client_in, server_out, &line, Direction::Up, closed_up),
                    pump(server_in, client_out, &line, Direction::Down, closed_down),
                );
            }
            let (up_in, up_out) = tokio::io::simplex(MOST_UNDER_WAY);
            let (down_in, down_out) = tokio::io::simplex(MOST_UNDER_WAY);
            let (up, down, ..) = tokio::try_join!(
                pump(up_in, server_out, &line, Direction::Up, closed_up),
                pump(down_in, client_out, &line, Direction::Down, closed_down),
                hold_back(client_in, up_out, delay),
                hold_back(server_in, down_out, delay),
            )?;
            Ok((up, down))
        };
        tokio::select! {
            _ = cut.wait_for(|cut| *cut) => true,
            done = both => done.is_err(),
        }
    };
    if broken {
        // dropping now sends a reset
        let _ = (client.set_zero_linger(), upstream.set_zero_linger());
    }
}

/// Most bytes on a long line in one direction.
const MOST_UNDER_WAY: usize = 1 << 20;

/// Hands on what comes in so much later, in the same order.
async fn hold_back(
    mut from: ReadHalf<'_>,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> io::Result<()> {
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let (mut buffer, mut is_ended) = (vec![0; 64 << 10], false);
    loop {
        let next = under_way.front().map(|(due, _)| *due);
        if next.is_none() && is_ended {
            return to.shutdown().await;
        }
        tokio::select! {
            biased;
            () = async { tokio::time::sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {
                if let Some((_, bytes)) = under_way.pop_front() {
                    to.write_all(&bytes).await?;
                }
            }
            read = from.read(&mut buffer), if !is_ended => match read? {
                0 => is_ended = true,
                read => under_way.push_back((Instant::now() + delay, buffer[..read].to_vec())),
            },
        }
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: WriteHalf<'_>,
    line: &Line,
    direction: Direction,
    mut closed: watch::Receiver<u64>,
) -> io::Result<()> {
    let flow = line.flow(direction);
    let mut stalled = line.stalled.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let pace = line.pace.load(Ordering::Relaxed);
        // A slow line carries little at a time, so that its pace is even.
        let most = if pace == 0 { buffer.len() } else { 4 << 10 };
        let read = tokio::select! {
            read = from.read(&mut buffer[..most]) => read?,
            Ok(()) = closed.changed() => {
                to.shutdown().await?;
                while from.read(&mut buffer).await? > 0 {}
                return Ok(());
            }
        };
        if read == 0 {
            return to.shutdown().await;
        }
        if let Some(micros) = (read as u64 * 1_000_000).checked_div(pace) {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
        let _ = stalled.wait_for(|stalled| !*stalled).await;
        if direction == Direction::Up {
            let mut to = lock(&line.lost_answer);
            if to.is_some_and(|bytes| buffer[..read].windows(bytes.len()).any(|window| window == bytes)) {
                *to = None;
                *lock(&line.flow(Direction::Down).budget) = Some(0);
            }
        }
        let (passes, ends) = spend(flow, read);
        to.write_all(&buffer[..passes]).await?;
        flow.bytes.fetch_add(passes as u64, Ordering::Relaxed);
        if ends {
            let _ = line.due.send(());
            return std::future::pending().await; // the relay cuts this connection with all others
        }
    }
}

/// How many of the bytes may pass, and whether the cable is to be cut behind them.
fn spend(flow: &Flow, bytes: usize) -> (usize, bool) {
    let mut budget = lock(&flow.budget);
    match *budget {
        Some(left) if left <= bytes as u64 => {
            *budget = None;
            (left as usize, true)
        }
        Some(left) => {
            *budget = Some(left - bytes as u64);
            (bytes, false)
        }
        None => (bytes, false),
    }
}
