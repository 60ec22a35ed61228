//! What goes wrong, and when: thrown from a seed, then done to a world. Each fault mends what it
//! broke.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::world::{Database, World};
use harness::{Cable, Dice, Direction};

/// How long a moment is waited for that may never come, since the job has ended before.
const NEVER: Duration = Duration::from_secs(2);

/// When a fault happens, counted from the job's start or the end of the fault before.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Milliseconds(u64),
    /// After this many bytes from the directory.
    Read(u64),
    /// After this many bytes to the control plane.
    Sent(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    KillRouter,
    KillControlPlane,
    KillBoth,
    CrashDatabase,
    FreezeRouter,
    FreezeControlPlane,
    CutLink,
    StallLink,
    SlowLink,
    HalfCloseLink,
    CutDirectory,
    StallDirectory,
    SlowDirectory,
    HalfCloseDirectory,
}

impl Kind {
    pub(super) const ALL: [Self; 14] = [
        Self::KillRouter,
        Self::KillControlPlane,
        Self::KillBoth,
        Self::CrashDatabase,
        Self::FreezeRouter,
        Self::FreezeControlPlane,
        Self::CutLink,
        Self::StallLink,
        Self::SlowLink,
        Self::HalfCloseLink,
        Self::CutDirectory,
        Self::StallDirectory,
        Self::SlowDirectory,
        Self::HalfCloseDirectory,
    ];

    /// Whether a job may end FAILED for it: whoever breaks the directory's connection often enough
    /// makes it unreadable.
    pub(super) fn may_fail_a_job(self) -> bool {
        matches!(self, Self::CutDirectory | Self::HalfCloseDirectory)
    }

    /// Whether it ends a run of the job in its middle, so that a read follows a reconciliation.
    pub(super) fn interrupts_reconciling(self) -> bool {
        matches!(
            self,
            Self::KillControlPlane | Self::KillBoth | Self::CrashDatabase | Self::FreezeControlPlane
        )
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    moment: Moment,
    /// How long it lasts.
    lasts: Duration,
    direction: Direction,
}

/// Throws what goes wrong in one sync.
pub(super) fn throw(dice: &mut Dice, database: Database) -> Vec<Fault> {
    let count = 1 + dice.below(3);
    (0..count).map(|_| one(dice, database)).collect()
}

fn one(dice: &mut Dice, database: Database) -> Fault {
    let kind = loop {
        let kind = Kind::ALL[dice.index(Kind::ALL.len())];
        if kind != Kind::CrashDatabase || database == Database::Postgres {
            break kind;
        }
    };
    let moment = match dice.below(4) {
        0 => Moment::Milliseconds(dice.below(1_200)),
        1 => Moment::Sent(dice.below(150_000)),
        _ => Moment::Read(dice.below(1_300_000)),
    };
    let lasts = match kind {
        // Beyond the lease of the world, too.
        Kind::FreezeControlPlane => dice.below(3_000),
        _ if dice.below(2) == 0 => 0,
        _ => dice.below(1_200),
    };
    let direction = if dice.below(2) == 0 { Direction::Up } else { Direction::Down };
    Fault { kind, moment, lasts: Duration::from_millis(lasts), direction }
}

impl Fault {
    /// Waits for its moment, breaks, and mends. `pace` is the directory's usual one. Says whether
    /// the job still ran at the moment.
    pub(super) async fn happen(
        self,
        world: &mut World,
        pace: Option<u64>,
        runs: impl Fn() -> bool,
    ) -> Result<bool> {
        self.arm(world)?;
        self.moment(world).await?;
        let met = runs();
        let pause = || tokio::time::sleep(self.lasts);
        match self.kind {
            Kind::KillRouter => {
                world.kill_router()?;
                pause().await;
                world.start_router()?;
            }
            Kind::KillControlPlane => {
                world.kill_control_plane()?;
                pause().await;
                world.start_control_plane()?;
            }
            Kind::KillBoth => {
                world.kill_control_plane()?;
                world.kill_router()?;
                pause().await;
                world.start_router()?;
                world.start_control_plane()?;
            }
            Kind::CrashDatabase => world.crash_database(self.lasts).await?,
            Kind::FreezeRouter => {
                world.router()?.freeze()?;
                pause().await;
                world.router()?.thaw()?;
            }
            Kind::FreezeControlPlane => {
                world.control_plane()?.freeze()?;
                pause().await;
                world.control_plane()?.thaw()?;
            }
            Kind::CutLink | Kind::CutDirectory => {
                self.cable(world)?.cut()?;
                pause().await;
                self.cable(world)?.mend()?;
            }
            Kind::StallLink | Kind::StallDirectory => {
                self.cable(world)?.stall();
                pause().await;
                self.cable(world)?.resume();
            }
            Kind::SlowLink => {
                world.link()?.slow(Some(50_000));
                pause().await;
                world.link()?.slow(None);
            }
            Kind::SlowDirectory => {
                world.directory_link()?.slow(Some(100_000));
                pause().await;
                world.directory_link()?.slow(pace);
            }
            Kind::HalfCloseLink | Kind::HalfCloseDirectory => self.cable(world)?.half_close(self.direction),
        }
        Ok(met)
    }

    fn cable<'a>(&self, world: &'a World) -> Result<&'a Cable> {
        match self.kind {
            Kind::CutDirectory | Kind::StallDirectory | Kind::HalfCloseDirectory => world.directory_link(),
            _ => world.link(),
        }
    }

    /// A cut at a number of bytes of its own cable is made by the cable: to the byte.
    fn arm(self, world: &World) -> Result<()> {
        match (self.kind, self.moment) {
            (Kind::CutLink, Moment::Sent(bytes)) => world.link()?.cut_after(Direction::Up, bytes),
            (Kind::CutDirectory, Moment::Read(bytes)) => {
                world.directory_link()?.cut_after(Direction::Down, bytes);
            }
            _ => {}
        }
        Ok(())
    }

    async fn moment(self, world: &World) -> Result<()> {
        let (link, directory, began) = (world.link()?, world.directory_link()?, Instant::now());
        let (sent, read) = (link.bytes_up(), directory.bytes_down());
        let come = || match self.moment {
            Moment::Milliseconds(after) => began.elapsed() >= Duration::from_millis(after),
            Moment::Sent(bytes) => link.bytes_up() - sent >= bytes,
            Moment::Read(bytes) => directory.bytes_down() - read >= bytes,
        };
        while !come() && began.elapsed() < NEVER {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}
