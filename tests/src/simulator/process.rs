//! The shell of a simulated node: what the real node's driver does, without waiting for anything.
//!
//! It keeps the driver's duties in the driver's order: records go to the disk and their token comes
//! back when they are synced; what is sent leaves at once; a restore and entries to apply go through one
//! queue of work, because a snapshot must not overtake entries that were handed out before it.
//! Requests that may wait are in `process/serving.rs`, other clients in `process/clients.rs`.

mod applying;
mod clients;
mod desk;
mod executor;
mod founding;
mod serving;
mod snapshots;

use std::collections::{BTreeMap, VecDeque};

use dsync_core::machine::{Machine, Restore};
use dsync_core::proposer::Proposer;
use dsync_core::raft::{
    Bootstrap, Entry, Input, Message, NotYet, Raft, Ready, SnapshotMeta, Timing,
};
use dsync_core::types::{BootCount, BootId, ClusterTime, Index, LocalTime, NodeId};

use self::serving::Serving;
use super::ask::Answer;
use super::disk::{Image, SnapshotFile};
use super::node::Node;
use super::put_back;
use super::queue::{Parcel, ProcessEvent};
use super::world::Shared;
use crate::checkers::Seen;

/// How long a proposer waits before it sends a command again.
const RETRY_MS: u64 = 500;
/// Why a node that holds nothing does not join a cluster by itself; the end of a run asks for it.
pub(crate) type Outside = NotYet;

/// Work of the applying side, in order.
#[derive(Debug)]
enum Work {
    Restore(SnapshotMeta),
    Apply(Vec<Entry>),
}

/// A client that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    client: usize,
    op: u64,
}

/// A read that has no answer yet.
#[derive(Debug)]
struct PendingRead {
    reader: Reader,
    deadline: LocalTime,
    /// Ask again from this time on; `None` while it is asked.
    again_at: Option<LocalTime>,
}

/// Who reads.
#[derive(Debug)]
enum Reader {
    /// A client, one lock.
    Client(Waiting, String),
    /// A request that was granted, and has to prove it.
    Future(desk::Reply<ClusterTime>),
}

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    pub(crate) bootstrap: Option<Bootstrap>,
    pub(crate) seen: Seen,
    proposer: Proposer,
    boot: BootId,
    introduce_at: LocalTime,
    work: VecDeque<Work>,
    working: bool,
    receiving: Vec<u8>,
    /// The file that each follower is being sent, which stays while a newer one replaces it, as in the
    /// real node: otherwise a cluster that takes them faster than one travels would send for ever.
    sending: BTreeMap<NodeId, SnapshotFile>,
    snapshot_busy: bool,
    snapshot_at: Index,
    commands: BTreeMap<u64, Waiting>,
    reads: BTreeMap<u64, PendingRead>,
    next_read: u64,
    serving: Serving,
    /// It has stopped in order, and is to be ended.
    pub(crate) ended: bool,
    /// Tickets of floods, of which nobody wants to know.
    flood_ticket: u64,
    leader: Option<NodeId>,
}

impl Process {
    /// Restores the machine, as the driver does before it starts the core.
    pub(crate) fn start(
        raft: Raft,
        boot: BootId,
        count: BootCount,
        bootstrap: Option<Bootstrap>,
        image: &Image,
        shared: &mut Shared,
    ) -> Option<Self> {
        let machine = match (&image.snapshot, image.newest_file()) {
            (None, _) => put_back::into_locks(Machine::default(), shared.plan.lock_bug),
            (Some(_), Some(file)) => match restored(&file.bytes) {
                Ok(machine) => put_back::into_locks(machine, shared.plan.lock_bug),
                Err(what) => {
                    shared.violation("a stored snapshot restores", 0, what);
                    return None;
                }
            },
            (Some(meta), None) => {
                let what = format!("snapshot {} is recorded and its file is gone", meta.index);
                shared.violation("a stored snapshot restores", 0, what);
                return None;
            }
        };
        let seen = Seen::new(&raft.status());
        let silence_limit_ms = 2 * Timing::default().election_max_ms;
        Some(Self {
            seen,
            serving: Serving::new(boot, &machine, LocalTime(0), silence_limit_ms),
            ended: false,
            proposer: Proposer::new(raft.id(), boot, count, RETRY_MS),
            boot,
            introduce_at: LocalTime(0),
            work: VecDeque::new(),
            working: false,
            receiving: Vec::new(),
            sending: BTreeMap::new(),
            snapshot_busy: false,
            snapshot_at: machine.applied(),
            commands: BTreeMap::new(),
            reads: BTreeMap::new(),
            // An answer to the process before this one must not fit a read of ours.
            next_read: boot.0 & !0xffff_ffff,
            flood_ticket: 0,
            leader: None,
            raft,
            machine,
            bootstrap,
        })
    }

    /// One event. An error means that the node must stop for good.
    pub(crate) fn happen(
        &mut self,
        node: &mut Node,
        event: ProcessEvent,
        shared: &mut Shared,
    ) -> Result<(), String> {
        let now = node.clock.read(shared.now);
        self.serving.set_now(now);
        match event {
            ProcessEvent::Tick => self.tick(node, now, shared),
            ProcessEvent::Arrived { from, parcel } => self.arrived(node, now, from, parcel, shared),
            ProcessEvent::Persisted(proof) => self.raft.step(now, Input::Persisted(proof)),
            ProcessEvent::Worked => {
                self.working = false;
                self.work_one(node, now, shared)?;
            }
            ProcessEvent::FileStored { file, received } => {
                self.file_stored(node, now, *file, received);
            }
            ProcessEvent::Asked { client, op, ask } => {
                self.asked(now, Waiting { client, op }, *ask, shared);
            }
            ProcessEvent::HungUp { client, op } => self.hung_up(Waiting { client, op }),
            ProcessEvent::Drain => self.drain(),
            ProcessEvent::Unreachable(id) => self.raft.step(now, Input::Unreachable(id)),
            ProcessEvent::Flood { commands, bytes } => self.flood(now, commands, bytes),
            ProcessEvent::Transfer { to } => self.raft.step(now, Input::Transfer { to }),
        }
        self.pump(node, now, shared)?;
        while self.serve(now, shared) {
            self.pump(node, now, shared)?;
        }
        self.ended = self.has_drained(now, shared);
        Ok(())
    }

    fn tick(&mut self, node: &Node, now: LocalTime, shared: &mut Shared) {
        self.raft.tick(now);
        self.introduce(node, now, shared);
        self.ask_reads_again(now, shared);
        for expired in self.proposer.expired(now) {
            if let Some(waiting) = self.commands.remove(&expired.sequence) {
                let answer = if expired.sent { Answer::Unknown } else { Answer::Failed };
                self.answer(waiting, answer, self.machine.applied(), shared);
            }
            self.given_up(expired, shared);
        }
        self.watch_over_listeners(now);
        node.schedule(shared, shared.plan.tick_us, ProcessEvent::Tick);
    }

    fn arrived(
        &mut self,
        node: &Node,
        now: LocalTime,
        from: usize,
        parcel: Parcel,
        shared: &mut Shared,
    ) {
        match parcel {
            Parcel::Message(envelope, _) => {
                self.serving.heard(envelope.from, now);
                self.raft.step(now, Input::Message(*envelope));
            }
            Parcel::Introduction(introduction) => {
                if introduction.holds.is_none() && self.bootstrap.is_none() {
                    let own = self.introduction(node);
                    shared.send((node.slot, from), &Parcel::Introduction(Box::new(own)));
                }
                if let Some(bootstrap) = &mut self.bootstrap {
                    bootstrap.introduced(*introduction);
                }
            }
        }
    }

    /// Carries out what the core has, until it has nothing more.
    fn pump(&mut self, node: &mut Node, now: LocalTime, shared: &mut Shared) -> Result<(), String> {
        loop {
            self.propose(now);
            let ready = self.raft.ready();
            if ready.is_empty() {
                break;
            }
            self.carry_out(node, now, ready, shared)?;
        }
        self.note_leader(now);
        if !self.raft.is_empty() {
            self.bootstrap = None;
        }
        Ok(())
    }

    fn propose(&mut self, now: LocalTime) {
        if self.proposer.registered() && !self.raft.boot_is_stated() {
            return;
        }
        for (ticket, commands) in self.proposer.attempts(now) {
            self.raft.step(now, Input::Propose { ticket, commands });
        }
    }

    fn note_leader(&mut self, now: LocalTime) {
        let leader = self.raft.status().leader;
        if leader != self.leader && leader.is_some() {
            self.proposer.leader_changed(now);
        }
        self.leader = leader;
    }

    fn carry_out(
        &mut self,
        node: &mut Node,
        now: LocalTime,
        ready: Ready,
        shared: &mut Shared,
    ) -> Result<(), String> {
        if let Some(fatal) = ready.fatal {
            return Err(fatal.to_string());
        }
        if let Some(batch) = ready.persist {
            let (records, token) = batch.into_parts();
            shared.check_records(node, &records);
            if node.disk.write(records, token) {
                node.sync_later(shared);
            }
        }
        for envelope in ready.send {
            shared.check_message(node, self, &envelope);
            if let Message::TimeoutNow = envelope.message {
                shared.stats.transfers += 1;
            }
            if let Some(to) = shared.network.machine_of(envelope.to) {
                let parcel = Parcel::Message(Box::new(envelope), self.raft.boot());
                shared.send((node.slot, to), &parcel);
            }
        }
        self.work.extend(ready.restore.map(Work::Restore));
        if !ready.apply.is_empty() {
            self.work.push_back(Work::Apply(ready.apply));
        }
        self.start_work(node, now, shared)?;
        for (id, time) in ready.reads {
            self.read_ready(now, id, time, shared);
        }
        for (ticket, refusal) in ready.refused {
            self.proposer.refused(now, ticket, refusal);
        }
        for read in ready.snapshot_reads {
            self.read_snapshot(node, now, read.to, read.index, read.offset, shared);
        }
        for write in ready.snapshot_writes {
            self.write_snapshot(node, now, write, shared);
        }
        Ok(())
    }
}

fn restored(bytes: &[u8]) -> Result<Machine, String> {
    let mut restore = Restore::new();
    restore.push(bytes).map_err(|error| error.to_string())?;
    restore.finish().map_err(|error| error.to_string())
}
