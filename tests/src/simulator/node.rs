//! A simulated machine: a disk, a clock, and sometimes a process on it.
//!
//! The machine survives what its process does not. A paused process keeps what arrives in its inbox and
//! takes it all at once when it goes on, as after SIGSTOP; its disk goes on meanwhile.

use std::collections::VecDeque;

use dsync_core::raft::{BootFault, Bootstrap, Bug, Introduction, Raft, RaftOptions};
use dsync_core::types::{BootCount, BootId, NodeName};

use super::disk::{Disk, Image};
use super::process::Process;
use super::put_back;
use super::queue::{Event, ProcessEvent};
use super::time::{Clock, Instant};
use super::world::Shared;

/// What a machine is to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Founder, with its disk.
    Member,
    /// Its disk was wiped: it stays outside until membership commands exist.
    Wiped,
    /// Its disk was set back to an old copy; whether the cluster tells is being found out.
    SetBack,
    /// The core said that it must stop, and why.
    Refused(String),
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) slot: usize,
    pub(crate) name: NodeName,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) process: Option<Box<Process>>,
    /// Counts processes, so that what belongs to a dead one is dropped.
    pub(crate) generation: u64,
    pub(crate) paused: bool,
    inbox: VecDeque<ProcessEvent>,
    pub(crate) standing: Standing,
    /// An old copy of the disk that somebody made.
    pub(crate) copy: Option<Image>,
    /// How often its disk was refused since it was set back.
    pub(crate) refusals: u64,
}

impl Node {
    pub(crate) fn new(slot: usize, clock: Clock, image: Image) -> Self {
        Self {
            slot,
            name: NodeName(format!("n{slot}")),
            clock,
            disk: Disk::new(image),
            process: None,
            generation: 0,
            paused: false,
            inbox: VecDeque::new(),
            standing: Standing::Member,
            copy: None,
            refusals: 0,
        }
    }

    /// True if a process runs, paused or not.
    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// True if it runs, and takes part.
    pub(crate) fn is_member_up(&self) -> bool {
        self.standing == Standing::Member && self.is_up() && !self.paused
    }

    /// Starts a process from what the disk holds.
    pub(crate) fn start(&mut self, shared: &mut Shared) {
        let kept_out = matches!(self.standing, Standing::Refused(_)) || self.disk.image.refused;
        if self.is_up() || kept_out {
            return;
        }
        self.generation += 1;
        self.paused = false;
        self.inbox.clear();
        self.disk.image.boots += 1;
        let now = self.clock.read(shared.now);
        let mut options = RaftOptions::new(self.disk.image.node_id, shared.rng.next());
        options.limits = shared.plan.limits;
        put_back::into_core(&mut options, shared.plan.bug);
        let boot = BootId(shared.rng.next());
        let count = BootCount(self.disk.image.boots);
        (options.boot, options.boot_count) = (boot, count);
        let raft = Raft::new(options, now, self.disk.image.recovered());
        shared.checkers.uptimes.started(self.slot, boot, shared.now);
        let introduction = Introduction {
            name: self.name.clone(),
            node_id: self.disk.image.node_id,
            boot_id: boot,
            holds: None,
        };
        let bootstrap = raft.is_empty().then(|| Bootstrap::new(introduction, shared.plan.nodes));
        let process = Process::start(raft, boot, count, bootstrap, &self.disk.image, shared);
        self.process = process.map(Box::new);
        let tick_us = shared.rng.below(shared.plan.tick_us);
        self.schedule(shared, tick_us, ProcessEvent::Tick);
    }

    /// Something happens to this node's process after `in_us`, if it still lives then.
    pub(crate) fn schedule(&self, shared: &mut Shared, in_us: u64, event: ProcessEvent) {
        let (slot, generation) = (self.slot, self.generation);
        let at = shared.now.plus_us(in_us);
        shared.queue.push(at, Event::Process { slot, generation, event });
    }

    /// Power fails, or the process is killed: memory is gone, and of what was not synced some.
    pub(crate) fn crash(&mut self, shared: &mut Shared) {
        if self.process.take().is_none() {
            return;
        }
        shared.checkers.uptimes.died(self.slot);
        self.generation += 1;
        self.paused = false;
        self.inbox.clear();
        if let Err(what) = self.disk.crash(&mut shared.rng) {
            shared.violation("records on disk are in order", self.slot, what);
        }
    }

    /// SIGCONT: everything that arrived meanwhile is taken at once.
    pub(crate) fn resume(&mut self, shared: &mut Shared) {
        self.paused = false;
        for event in std::mem::take(&mut self.inbox) {
            self.happen(event, shared);
        }
    }

    /// One event for the process.
    pub(crate) fn happen(&mut self, event: ProcessEvent, shared: &mut Shared) {
        if self.paused {
            let tick_waits = matches!(event, ProcessEvent::Tick)
                && self.inbox.iter().any(|waiting| matches!(waiting, ProcessEvent::Tick));
            if !tick_waits {
                self.inbox.push_back(event);
            }
            return;
        }
        let Some(mut process) = self.process.take() else { return };
        let verdict = process.happen(self, event, shared);
        match verdict {
            Ok(()) => self.process = Some(process),
            Err(reason) => self.stop_for_good(reason, shared),
        }
    }

    /// A peer has refused this process.
    pub(crate) fn refused(&mut self, fault: BootFault, shared: &mut Shared) {
        if let Some(process) = self.process.take() {
            let fatal = fault.fatal(&process.raft.boot());
            self.stop_for_good(fatal.to_string(), shared);
        }
    }

    /// The core, or a peer, said that this process must stop. One on a disk that was set back is started
    /// again, as every supervisor does; the disk remembers if it was told so by evidence.
    fn stop_for_good(&mut self, reason: String, shared: &mut Shared) {
        let by_evidence = reason.starts_with("disk_refused");
        let superseded = reason.starts_with("boot_superseded");
        let expected = self.standing == Standing::SetBack && (by_evidence || superseded);
        shared.checkers.uptimes.died(self.slot);
        self.generation += 1;
        self.paused = false;
        self.inbox.clear();
        if let Err(what) = self.disk.crash(&mut shared.rng) {
            shared.violation("records on disk are in order", self.slot, what);
        }
        if expected {
            self.refusals += 1;
            let forgets = shared.plan.bug == Some(Bug::SetBackDiskReturns);
            self.disk.image.refused = by_evidence && !forgets;
            let at = shared.now.plus_us(50_000 + shared.rng.below(450_000));
            shared.queue.push(at, Event::Start { slot: self.slot });
        } else {
            shared.violation("no node is told to stop without cause", self.slot, reason.clone());
            self.standing = Standing::Refused(reason);
        }
    }

    /// The disk finished a sync.
    pub(crate) fn synced(&mut self, shared: &mut Shared) {
        if shared.now < self.disk.stalled_until {
            let at = self.disk.stalled_until;
            let (slot, generation) = (self.slot, self.generation);
            shared.queue.push(at, Event::Synced { slot, generation });
            return;
        }
        match self.disk.complete_sync() {
            Ok(Some(token)) => self.happen(ProcessEvent::Persisted(token.synced()), shared),
            Ok(None) => {}
            Err(what) => shared.violation("records on disk are in order", self.slot, what),
        }
        if self.is_up() && self.disk.begin_sync() {
            self.sync_later(shared);
        }
    }

    /// Lets the sync that was just started end after a while.
    pub(crate) fn sync_later(&self, shared: &mut Shared) {
        let at = self.sync_end(shared);
        let (slot, generation) = (self.slot, self.generation);
        shared.queue.push(at, Event::Synced { slot, generation });
    }

    /// When a sync that begins now would end.
    pub(crate) fn sync_end(&self, shared: &mut Shared) -> Instant {
        let plan = &shared.plan.disk;
        let mut us = plan.sync_us + shared.rng.below(plan.jitter_us + 1);
        if shared.rng.chance(plan.slow_ppm) {
            us += shared.rng.below(plan.slow_ms * 1_000);
        }
        shared.now.plus_us(us).max(self.disk.stalled_until)
    }
}
