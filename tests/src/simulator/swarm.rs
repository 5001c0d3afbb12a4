//! What one seed decides before its run begins (swarm testing: Groce and others, 2012).
//!
//! Faults hide one another: a run with every fault at full rate never gets far enough for the subtle
//! ones. So each seed draws its own cluster size, leaves most kinds of fault out, and draws the rates
//! of the rest, the sizes of windows, frames, logs and snapshots, and the speed of disk and network.
//! A profile bends the draw towards one situation; it never takes a check away.

use dsync_core::locks;
use dsync_core::machine::Settings;
use dsync_core::raft::{Bug, Limits};

use super::faults::{FaultKind, FaultPlan};
use super::lockers::LockerPlan;
use super::rng::Rng;

/// How the network treats messages.
#[derive(Clone, Debug)]
pub(crate) struct NetworkPlan {
    pub(crate) latency_us: u64,
    pub(crate) jitter_us: u64,
    pub(crate) loss_ppm: u64,
    pub(crate) double_ppm: u64,
    pub(crate) late_ppm: u64,
    pub(crate) late_ms: u64,
    pub(crate) in_order: bool,
}

impl NetworkPlan {
    /// True if a message mostly arrives, and soon.
    pub(crate) fn is_gentle(&self) -> bool {
        self.loss_ppm <= 1_000 && self.late_ppm == 0
    }
}

/// How fast disks are.
#[derive(Clone, Debug)]
pub(crate) struct DiskPlan {
    pub(crate) sync_us: u64,
    pub(crate) jitter_us: u64,
    /// How often a sync takes long by itself.
    pub(crate) slow_ppm: u64,
    pub(crate) slow_ms: u64,
}

impl DiskPlan {
    /// True if no leader is deposed by its own disk: a record waits for the sync under way and then for
    /// its own, together well within an election time-out (800 ms).
    pub(crate) fn is_gentle(&self) -> bool {
        self.slow_ppm == 0 || self.slow_ms <= 300
    }
}

/// Who uses the cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    /// Clients without leases, whose history is recorded.
    pub(crate) recorded: usize,
    /// Clients with leases.
    pub(crate) leased: usize,
    pub(crate) think_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) names: u64,
    pub(crate) shared_percent: u64,
    pub(crate) read_percent: u64,
    pub(crate) ttl_ms: u64,
}

/// A fault of one node that stays while the others have to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Impairment {
    /// Hears nobody, is heard by all.
    Deaf,
    /// Is heard by nobody, hears all.
    Mute,
    /// Both.
    Alone,
    /// Its disk never finishes.
    DiskHangs,
    /// Its process is stopped.
    Paused,
    /// Its machine is off.
    Down,
}

impl Impairment {
    const ALL: [Self; 6] =
        [Self::Deaf, Self::Mute, Self::Alone, Self::DiskHangs, Self::Paused, Self::Down];
}

/// Everything that a seed decides beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) chaos_ms: u64,
    pub(crate) tick_us: u64,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    pub(crate) snapshot_every: u64,
    pub(crate) hash_every: u64,
    pub(crate) chunk_bytes: usize,
    /// Time to apply what one `Ready` hands out; 0: at once.
    pub(crate) apply_us: u64,
    pub(crate) network: NetworkPlan,
    pub(crate) disk: DiskPlan,
    pub(crate) faults: FaultPlan,
    pub(crate) clients: ClientPlan,
    pub(crate) lockers: LockerPlan,
    /// Before everything is healed: the others serve although one node is like this.
    pub(crate) impairment: Option<Impairment>,
    /// Instead: any one is off from the middle of the storm on.
    pub(crate) impaired_at_once: bool,
    /// At the end: nobody uses the cluster for longer than it keeps commands.
    pub(crate) quiet: bool,
    pub(crate) bug: Option<Bug>,
    pub(crate) lock_bug: Option<locks::Bug>,
}

impl Plan {
    /// Draws a plan.
    pub(crate) fn draw(rng: &mut Rng, bug: Option<Bug>) -> Self {
        let mut plan = Self {
            nodes: rng.pick(&[1, 3, 3, 3, 3, 5, 5]),
            chaos_ms: rng.pick(&[3_000, 6_000, 10_000, 15_000, 25_000]),
            tick_us: rng.between(12, 30) * 1_000,
            limits: limits(rng),
            settings: settings(rng),
            snapshot_every: rng.pick(&[10, 25, 60, 200, 1_000]),
            hash_every: rng.pick(&[16, 64, 256]),
            chunk_bytes: rng.pick(&[64, 512, 4_096, 65_536]),
            apply_us: rng.pick(&[0, 0, 300, 3_000]),
            network: network(rng),
            disk: disk(rng),
            faults: FaultPlan::draw(rng),
            clients: clients(rng),
            impairment: rng.percent(60).then(|| rng.pick(&Impairment::ALL)),
            impaired_at_once: rng.percent(25),
            lockers: LockerPlan::draw(rng),
            quiet: rng.percent(10),
            bug: None,
            lock_bug: None,
        };
        if plan.network.latency_us + plan.network.jitter_us > 5_000 {
            // A window of one entry on a slow network is not a fault to survive but a setting to mend.
            plan.limits.window_messages = plan.limits.window_messages.max(8);
            plan.limits.append_bytes = plan.limits.append_bytes.max(512);
            plan.limits.window_bytes = plan.limits.window_bytes.max(4_096);
        }
        if let Some(bug) = bug {
            plan.bend_towards(rng, bug);
        }
        plan
    }

    /// The situation in which mistakes of the locks show: many lockers, some of whom hang up and ask
    /// again, on few names. The mistake itself is put back by the caller.
    pub(crate) fn bend_towards_locks(&mut self, rng: &mut Rng, bug: locks::Bug) {
        let lockers = &mut self.lockers;
        (lockers.count, lockers.plain, lockers.think_ms) = (rng.pick(&[3, 4, 5]), 2, 25);
        (lockers.hasty_percent, lockers.twice_percent) = (20, 10);
        lockers.shared_percent = rng.pick(&[20, 60]);
        self.settings.locks.lock_waiters_max = 10_000;
        if bug == locks::Bug::ClaimIsHold {
            self.faults.only(400, 1_000, &[FaultKind::Crash, FaultKind::Isolate]);
            self.settings.locks.claim_window_ms = 10_000;
        }
        if bug == locks::Bug::AgeRunsWhileQuiet {
            (self.quiet, self.settings.requests.command_retention_ms) = (true, 2_000);
        }
    }

    /// True if fewer than eight entries, of about 64 bytes each, may be under way to a follower.
    pub(crate) fn has_narrow_window(&self) -> bool {
        let limits = &self.limits;
        let by_messages = limits.window_messages * (limits.append_bytes / 64).max(1);
        by_messages.min(limits.window_bytes / 64) < 8
    }

    /// The situation in which this bug shows. The bug itself is put back by the caller.
    fn bend_towards(&mut self, rng: &mut Rng, bug: Bug) {
        self.nodes = rng.pick(&[3, 3, 5]);
        let often = |faults: &mut FaultPlan, kinds: &[FaultKind]| faults.only(400, 1_000, kinds);
        match bug {
            Bug::UnsortedQuorum => self.nodes = 5,
            Bug::EmptyDiskVotes => {
                often(&mut self.faults, &[FaultKind::Wipe, FaultKind::Crash, FaultKind::Isolate]);
            }
            Bug::PreVoteKeepsTerm => {
                self.nodes = 3;
                let kinds = [FaultKind::Topple, FaultKind::Isolate, FaultKind::Flood];
                self.faults.only(300, 2_000, &kinds);
                self.impairment = Some(Impairment::Down);
                self.impaired_at_once = true;
                self.chaos_ms = rng.between(4_000, 9_000);
            }
            Bug::NoCheckQuorum => {
                (self.impairment, self.impaired_at_once) = (Some(Impairment::Deaf), false);
            }
            Bug::DiskHangIgnored => {
                (self.impairment, self.impaired_at_once) = (Some(Impairment::DiskHangs), false);
            }
            Bug::TransferToLagging => {
                often(&mut self.faults, &[FaultKind::Transfer, FaultKind::Isolate]);
            }
            Bug::SnapshotKeepsTail => {
                let kinds = [FaultKind::Isolate, FaultKind::Flood, FaultKind::Crash];
                often(&mut self.faults, &kinds);
                self.snapshot_every = 10;
                self.limits.log_tail_entries = 0;
            }
            Bug::StaleWriteCounts => {
                let kinds = [FaultKind::StallDisk, FaultKind::Isolate, FaultKind::Flood];
                often(&mut self.faults, &kinds);
            }
            Bug::ReadWithoutRound => {
                self.faults.only(800, 2_000, &[FaultKind::Pause, FaultKind::Isolate]);
                (self.clients.read_percent, self.clients.recorded) = (50, 4);
                (self.clients.names, self.clients.think_ms) = (1, 5);
            }
            Bug::NoSnapshotForPurged => {
                often(&mut self.faults, &[FaultKind::Crash, FaultKind::Flood]);
                self.snapshot_every = 10;
                self.limits.log_tail_entries = 0;
            }
            Bug::LeaderCountsUnsynced | Bug::VoteBeforeSync => {
                often(&mut self.faults, &[FaultKind::Crash, FaultKind::StallDisk]);
            }
            Bug::CommitEarlierTerm => {
                let kinds = [FaultKind::Crash, FaultKind::Isolate, FaultKind::Flood];
                often(&mut self.faults, &kinds);
            }
            Bug::StampFallsBack => often(&mut self.faults, &[FaultKind::Crash]),
            Bug::SetBackDiskReturns => {
                self.nodes = 3;
                let kinds =
                    [FaultKind::CopyDisk, FaultKind::SetBack, FaultKind::Crash, FaultKind::Isolate];
                often(&mut self.faults, &kinds);
                self.chaos_ms = 25_000;
            }
        }
    }
}

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        window_messages: rng.pick(&[1, 2, 8, 64]),
        window_bytes: rng.pick(&[256, 4_096, 1 << 20]),
        append_bytes: rng.pick(&[64, 512, 16 << 10]),
        uncommitted_bytes: rng.pick(&[2_048, 64 << 10, 8 << 20]),
        apply_bytes: rng.pick(&[128, 4_096, 1 << 20]),
        log_tail_entries: rng.pick(&[0, 1, 5, 50]),
        log_tail_bytes: rng.pick(&[300, 2_000, 16 << 20]),
        ..Limits::default()
    }
}

fn settings(rng: &mut Rng) -> Settings {
    let mut settings = Settings::default();
    settings.locks.claim_window_ms = rng.pick(&[300, 2_000, 10_000]);
    settings.requests.command_retention_ms = rng.pick(&[2_000, 20_000, 300_000]);
    settings.locks.lock_waiters_max = rng.pick(&[2, 10_000]);
    settings.locks.lease_ms_min = 1;
    settings
}

fn network(rng: &mut Rng) -> NetworkPlan {
    let faulty = rng.percent(60);
    let rate = |rng: &mut Rng, rates: &[u64]| if faulty { rng.pick(rates) } else { 0 };
    NetworkPlan {
        latency_us: rng.pick(&[50, 200, 1_000, 5_000]),
        jitter_us: rng.pick(&[50, 1_000, 20_000]),
        loss_ppm: rate(rng, &[0, 1_000, 20_000, 100_000]),
        double_ppm: rate(rng, &[0, 10_000, 100_000]),
        late_ppm: rate(rng, &[0, 1_000, 20_000]),
        late_ms: rng.pick(&[50, 500, 4_000]),
        in_order: rng.percent(40),
    }
}

fn disk(rng: &mut Rng) -> DiskPlan {
    DiskPlan {
        sync_us: rng.pick(&[100, 500, 3_000]),
        jitter_us: rng.pick(&[100, 2_000, 10_000]),
        slow_ppm: rng.pick(&[0, 0, 2_000, 20_000]),
        slow_ms: rng.pick(&[50, 300, 1_500]),
    }
}

fn clients(rng: &mut Rng) -> ClientPlan {
    ClientPlan {
        recorded: rng.pick(&[1, 2, 3, 4]),
        leased: rng.pick(&[0, 1, 2, 3]),
        think_ms: rng.pick(&[5, 25, 100]),
        timeout_ms: rng.pick(&[300, 1_000, 3_000]),
        names: rng.pick(&[1, 2]),
        shared_percent: rng.pick(&[0, 30, 60]),
        read_percent: rng.pick(&[0, 20, 50]),
        ttl_ms: rng.pick(&[200, 1_000, 4_000]),
    }
}
