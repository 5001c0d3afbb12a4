//! The shell of a simulated node: what the real node's driver does, without waiting for anything.
//!
//! It keeps the driver's duties in the driver's order: records go to the disk and their token comes
//! back when they are synced; what is sent leaves at once; a restore and entries to apply go through one
//! queue of work, because a snapshot must not overtake entries that were handed out before it.
//! Requests that may wait are in `process/serving.rs`.

mod desk;
mod executor;
mod serving;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use dsync_core::machine::{FirstState, Machine, Outcome, Restore};
use dsync_core::proposer::Proposer;
use dsync_core::raft::{
    Bootstrap, Entry, Input, Introduction, Message, NotYet, Raft, Ready, SnapshotMeta,
    SnapshotWrite, StateHash, Timing,
};
use dsync_core::types::{BootCount, BootId, ClusterId, Index, LocalTime, NodeId};
use dsync_core::waits::{Applied, SubmitError};
use dsync_core::wire;

use super::ask::{Answer, Ask};
use super::disk::{Image, SnapshotFile};
use super::node::Node;
use super::queue::{Event, Parcel, ProcessEvent};
use super::world::{Reply, Shared};
use crate::checkers::Seen;
use serving::Serving;

/// Empty nodes introduce themselves this often.
const INTRODUCE_MS: u64 = 200;
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
    Future(desk::Reply<()>),
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
            (None, _) => Machine::default().with_bug(shared.plan.lock_bug),
            (Some(_), Some(file)) => match restored(&file.bytes) {
                Ok(machine) => machine.with_bug(shared.plan.lock_bug),
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

    // === Time ===

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

    /// Empty nodes look for others; the others tell them what they hold.
    fn introduce(&mut self, node: &Node, now: LocalTime, shared: &mut Shared) {
        if self.bootstrap.is_none() || now < self.introduce_at {
            return;
        }
        self.introduce_at = now.plus(INTRODUCE_MS);
        let introduction = self.introduction(node);
        for to in (0..shared.plan.nodes).filter(|to| *to != node.slot) {
            let parcel = Parcel::Introduction(Box::new(introduction.clone()));
            shared.send((node.slot, to), &parcel);
        }
        self.propose_founding(now, shared);
    }

    fn introduction(&self, node: &Node) -> Introduction {
        Introduction {
            name: node.name.clone(),
            node_id: self.raft.id(),
            boot_id: self.boot,
            holds: self.cluster_id(),
        }
    }

    /// The cluster it holds a log of: by entry 1, or by the machine when that is compacted away.
    fn cluster_id(&self) -> Option<ClusterId> {
        self.raft.cluster_id().or_else(|| self.machine.cluster_id())
    }

    fn propose_founding(&mut self, now: LocalTime, shared: &mut Shared) {
        let Some(bootstrap) = &self.bootstrap else { return };
        let cluster_id = ClusterId(u128::from(shared.rng.next()));
        let first = FirstState::V1 { settings: shared.plan.settings.clone(), token_base: 1 << 22 };
        let machine = Bytes::from(wire::encode(&first));
        if let Ok(founding) = bootstrap.proposal(cluster_id, machine) {
            self.raft.step(now, Input::Found(founding));
        }
    }

    /// Why this node does not take part, if it holds nothing.
    pub(crate) fn outside(&self) -> Option<Outside> {
        self.bootstrap.as_ref()?.proposal(ClusterId(1), Bytes::new()).err()
    }

    // === Network ===

    fn arrived(
        &mut self,
        node: &Node,
        now: LocalTime,
        from: usize,
        parcel: Parcel,
        shared: &mut Shared,
    ) {
        match parcel {
            Parcel::Message(envelope) => {
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

    // === Clients ===

    fn asked(&mut self, now: LocalTime, waiting: Waiting, ask: Ask, shared: &mut Shared) {
        let deadline = now.plus(shared.plan.clients.timeout_ms);
        if self.drains() {
            return self.answer(waiting, Answer::Elsewhere, self.machine.applied(), shared);
        }
        match (ask.operation(), ask) {
            (Some(operation), _) => {
                let time = self.machine.time();
                let sequence = self.proposer.submit(now, time, None, operation, deadline);
                self.commands.insert(sequence, waiting);
            }
            (None, Ask::Read { name }) => {
                let reader = Reader::Client(waiting, name);
                let read = PendingRead { reader, deadline, again_at: Some(now) };
                self.reads.insert(self.next_read, read);
                self.next_read += 1;
                self.ask_reads_again(now, shared);
            }
            (None, Ask::Command { request, operation }) => {
                self.command(now, waiting, request, operation, shared);
            }
            (None, Ask::Wait { request, operation, wait_ms }) => {
                self.wait(waiting, request, operation, wait_ms, shared);
            }
            (None, Ask::Acquire { .. } | Ask::Release { .. }) => {}
        }
    }

    /// Reads that were not answered are asked again, each time under a new number.
    fn ask_reads_again(&mut self, now: LocalTime, shared: &mut Shared) {
        let due: Vec<u64> = self
            .reads
            .iter()
            .filter(|(_, read)| now >= read.deadline || read.again_at.is_some_and(|at| now >= at))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(mut read) = self.reads.remove(&id) else { continue };
            if now >= read.deadline {
                self.read_failed(read.reader, SubmitError::NoLeader { sent: false }, shared);
                continue;
            }
            read.again_at = None;
            self.raft.step(now, Input::Read { id: self.next_read });
            self.reads.insert(self.next_read, read);
            self.next_read += 1;
        }
    }

    fn read_failed(&self, reader: Reader, error: SubmitError, shared: &mut Shared) {
        match reader {
            Reader::Client(waiting, _) => {
                self.answer(waiting, Answer::Failed, self.machine.applied(), shared);
            }
            Reader::Future(reply) => reply.fill(Err(error)),
        }
    }

    fn read_ready(&mut self, now: LocalTime, id: u64, fresh: bool, shared: &mut Shared) {
        if !fresh {
            if let Some(read) = self.reads.get_mut(&id) {
                read.again_at = Some(now.plus(20));
            }
            return;
        }
        match self.reads.remove(&id).map(|read| read.reader) {
            Some(Reader::Client(waiting, name)) => {
                let view = self.machine.locks().get(&name);
                self.answer(waiting, Answer::View(view), self.machine.applied(), shared);
            }
            Some(Reader::Future(reply)) => reply.fill(Ok(())),
            None => {}
        }
    }

    /// Puts an answer on the wire; it is from a state that has applied up to `at`.
    fn answer(&self, waiting: Waiting, answer: Answer, at: Index, shared: &mut Shared) {
        let Waiting { client, op } = waiting;
        shared.replies.push_back(Reply { boot: self.boot, client, op, answer, at });
    }

    /// Commands that nobody waits for, of no known origin: they only fill the log.
    fn flood(&mut self, now: LocalTime, commands: usize, bytes: usize) {
        for _ in 0..commands {
            let junk = Bytes::from(vec![0xff; bytes]);
            self.flood_ticket += 1;
            self.raft.step(now, Input::Propose { ticket: self.flood_ticket, commands: vec![junk] });
        }
    }

    // === What the core wants done ===

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
                shared.send((node.slot, to), &Parcel::Message(Box::new(envelope)));
            }
        }
        self.work.extend(ready.restore.map(Work::Restore));
        if !ready.apply.is_empty() {
            self.work.push_back(Work::Apply(ready.apply));
        }
        self.start_work(node, now, shared)?;
        for (id, fresh) in ready.reads {
            self.read_ready(now, id, fresh, shared);
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

    // === Applying ===

    fn start_work(
        &mut self,
        node: &mut Node,
        now: LocalTime,
        shared: &mut Shared,
    ) -> Result<(), String> {
        if self.working || self.work.is_empty() {
            return Ok(());
        }
        if shared.plan.apply_us == 0 {
            return self.work_one(node, now, shared);
        }
        self.working = true;
        node.schedule(shared, shared.plan.apply_us, ProcessEvent::Worked);
        Ok(())
    }

    fn work_one(
        &mut self,
        node: &mut Node,
        now: LocalTime,
        shared: &mut Shared,
    ) -> Result<(), String> {
        if let Some(at) = self.work.iter().rposition(|work| matches!(work, Work::Restore(_))) {
            self.work.drain(..at); // A newer snapshot makes everything before it pointless.
        }
        match self.work.pop_front() {
            Some(Work::Restore(meta)) => self.restore(node, now, &meta, shared),
            Some(Work::Apply(entries)) => self.apply(node, now, entries, shared)?,
            None => {}
        }
        self.start_work(node, now, shared)
    }

    /// Replaces the machine by a snapshot that was received and stored.
    fn restore(&mut self, node: &Node, now: LocalTime, meta: &SnapshotMeta, shared: &mut Shared) {
        shared.stats.installs += 1;
        match node.disk.image.file(meta).map(|file| restored(&file.bytes)) {
            Some(Ok(machine)) => self.machine = machine.with_bug(shared.plan.lock_bug),
            Some(Err(what)) => shared.violation("a stored snapshot restores", node.slot, what),
            None => {
                let what = format!("told to restore snapshot {}, which is not stored", meta.index);
                shared.violation("a stored snapshot restores", node.slot, what);
            }
        }
        self.snapshot_at = self.machine.applied();
        shared.check_hash(node.slot, self.machine.applied(), self.machine.hash());
        self.serving.installed(&self.machine);
        self.report_applied(now);
    }

    fn apply(
        &mut self,
        node: &mut Node,
        now: LocalTime,
        entries: Vec<Entry>,
        shared: &mut Shared,
    ) -> Result<(), String> {
        let (mut answers, mut records) = (Vec::new(), Vec::new());
        for entry in entries {
            if entry.index <= self.machine.applied() {
                continue;
            }
            let applied = self.machine.apply(&entry);
            shared.check_applied(node.slot, &self.machine, &entry, &applied);
            if let Some((origin, outcome)) = applied.answer {
                answers.extend(self.settle(&origin, outcome, &entry)?);
            }
            records.extend(applied.events);
            let index = entry.index;
            if index.0.is_multiple_of(shared.plan.hash_every) {
                let hash = self.machine.hash();
                shared.check_hash(node.slot, index, hash);
                self.raft.step(now, Input::StateHash(StateHash { index, hash }));
            }
        }
        self.report_applied(now);
        self.show_applied(now, &records, answers, shared);
        self.snapshot(node, now, shared);
        Ok(())
    }

    /// What an entry says to a command of this process.
    fn settle(
        &mut self,
        origin: &dsync_core::machine::Origin,
        outcome: Outcome,
        entry: &Entry,
    ) -> Result<Option<(u64, Applied)>, String> {
        let Some((sequence, outcome)) = self.proposer.applied(origin, outcome) else {
            return Ok(None);
        };
        if outcome == Outcome::DiskRefused {
            return Err("disk_refused: another process has used this boot count".to_owned());
        }
        Ok(Some((sequence, Applied { outcome, index: entry.index, stamp: entry.stamp })))
    }

    fn answer_command(&mut self, sequence: u64, applied: Applied, shared: &mut Shared) {
        let Some(waiting) = self.commands.remove(&sequence) else {
            return self.served(sequence, applied, shared);
        };
        let Applied { outcome, index, .. } = applied;
        let answer = match outcome {
            Outcome::Void => Answer::Failed,
            outcome => Answer::Outcome(outcome),
        };
        self.answer(waiting, answer, index, shared);
    }

    fn report_applied(&mut self, now: LocalTime) {
        let (index, next_due) = (self.machine.applied(), self.machine.next_due());
        self.raft.step(now, Input::Applied { index, next_due });
    }

    // === Snapshots ===

    /// Freezes the state now and then; the file is written while applying goes on.
    fn snapshot(&mut self, node: &Node, _now: LocalTime, shared: &mut Shared) {
        let applied = self.machine.applied();
        let due = applied.0 >= self.snapshot_at.0 + shared.plan.snapshot_every;
        if self.snapshot_busy || !due {
            return;
        }
        let Some(meta) = self.raft.snapshot_meta(applied) else { return };
        (self.snapshot_busy, self.snapshot_at) = (true, applied);
        shared.check_hash(node.slot, applied, self.machine.hash());
        let bytes: Vec<u8> = self.machine.clone().snapshot_chunks().flatten().collect();
        let file = SnapshotFile { meta, bytes: Bytes::from(bytes) };
        store_later(node, file, false, shared);
    }

    fn file_stored(&mut self, node: &mut Node, now: LocalTime, file: SnapshotFile, received: bool) {
        let meta = file.meta.clone();
        node.disk.image.store(file);
        if received {
            self.raft.step(now, Input::SnapshotStored(meta));
        } else {
            self.snapshot_busy = false;
            self.raft.step(now, Input::SnapshotTaken(meta));
        }
    }

    fn read_snapshot(
        &mut self,
        node: &Node,
        now: LocalTime,
        to: NodeId,
        index: Index,
        offset: u64,
        shared: &Shared,
    ) {
        let under_way = self.sending.get(&to);
        let goes_on = under_way.filter(|file| offset > 0 && file.meta.index == index).cloned();
        let (file, offset) = match (goes_on, node.disk.image.newest_stored()) {
            (Some(file), _) => (file, offset),
            (None, Some(newest)) => (newest.clone(), 0),
            (None, None) => return,
        };
        self.sending.insert(to, file.clone());
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(file.bytes.len());
        let end = (from + shared.plan.chunk_bytes).min(file.bytes.len());
        let input = Input::SnapshotData {
            to,
            offset: from as u64,
            bytes: file.bytes.slice(from..end),
            last: end == file.bytes.len(),
            meta: file.meta,
        };
        self.raft.step(now, input);
    }

    fn write_snapshot(
        &mut self,
        node: &Node,
        now: LocalTime,
        write: SnapshotWrite,
        shared: &mut Shared,
    ) {
        if write.offset == 0 {
            self.receiving.clear();
        }
        if self.receiving.len() as u64 != write.offset {
            return self.raft.step(now, Input::SnapshotBroken);
        }
        self.receiving.extend_from_slice(&write.bytes);
        if !write.last {
            return;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.receiving));
        if let Err(what) = restored(&bytes) {
            shared.violation("a received snapshot is whole", node.slot, what);
        }
        store_later(node, SnapshotFile { meta: write.meta, bytes }, true, shared);
    }
}

/// Lets a file become durable after a while.
fn store_later(node: &Node, file: SnapshotFile, received: bool, shared: &mut Shared) {
    let at = node.sync_end(shared);
    let (slot, generation) = (node.slot, node.generation);
    let event = ProcessEvent::FileStored { file: Box::new(file), received };
    shared.queue.push(at, Event::Process { slot, generation, event });
}

fn restored(bytes: &[u8]) -> Result<Machine, String> {
    let mut restore = Restore::new();
    restore.push(bytes).map_err(|error| error.to_string())?;
    restore.finish().map_err(|error| error.to_string())
}
