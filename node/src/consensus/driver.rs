//! The loop that owns the core and the machine.
//!
//! One task, so that nothing in here needs a lock. Each turn: wait for something, take in whatever
//! else has happened meanwhile, let the core think once, then carry out what it asks for. Taking in
//! many events per turn is what makes batches: one sync for many commands, one append for many
//! entries, one confirmation round for many reads.
//!
//! What is flushed before a reply? Nothing is decided here: the core keeps what must wait for the disk
//! to itself until the proof of the sync comes back (`dsync_core::raft`, `ready.rs`). The driver hands
//! batches to the writer in order and never waits for it; sends go out at once.
//!
//! A client's answer comes from this node's own applied state: its entry is applied here, the machine
//! is published, then the waiting request is answered. So a client that reads on the same node
//! afterwards sees what it did.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dsync_core::audit::AuditRecord;
use dsync_core::machine::{Machine, Operation, Outcome, RequestId};
use dsync_core::proposer::Proposer;
use dsync_core::raft::{Entry, Fatal, Input, Raft, Ready, Refusal, RoleKind, SnapshotMeta};
use dsync_core::types::{Index, LocalTime, NodeId};
use dsync_core::waits::Watch;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::founder::Founder;
use super::inbox::{DiskEvent, Event, Inbox, SnapshotEvent};
use super::reads::Reads;
use super::snapshotter::{Snapshotter, SnapshotterError};
use super::waiters::{Reply, Waiters};
use crate::audit::AuditPort;
use crate::clock;
use crate::events::Events;
use crate::handle::{Applied, DriverRequest, NodeStatus, SubmitError};
use crate::health::Health;
use crate::log_port::LogPort;
use crate::metrics::{Metrics, ReasonLabel};
use crate::peers::{Introduction, PeerEvent, Peers};
use crate::waits::Listeners;

/// Events taken in at most before the core gets its turn.
const EVENTS_PER_TURN: usize = 1_024;
/// However much there is to do, the core's clock beats this often.
const TICK_AT_LEAST: Duration = Duration::from_millis(10);
/// A leader that is asked to stop waits this long for a successor.
const DRAIN_LIMIT: Duration = Duration::from_millis(2_500);

/// Why the driver ended.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// It was asked to.
    #[error("drained")]
    Drained,
    /// The core refuses to go on.
    #[error(transparent)]
    Core(#[from] Fatal),
    /// The log could not be written or synced; what is in memory must not be acted upon any more.
    #[error("the log failed: {0}")]
    Disk(String),
    /// A part of the node has ended without a word (a panic, most likely).
    #[error("{0} has ended unexpectedly")]
    Lost(&'static str),
    /// A snapshot that the core relies on cannot be read.
    #[error("the snapshot failed: {0}")]
    Snapshot(#[from] SnapshotterError),
}

/// What a driver is made of.
#[derive(Debug)]
pub struct DriverParts {
    /// The core, as recovered.
    pub raft: Raft,
    /// The machine, as restored from the snapshot that the core starts from.
    pub machine: Machine,
    /// This process's commands.
    pub proposer: Proposer,
    /// Makes the founding proposal on an empty disk.
    pub founder: Founder,
    /// The other nodes.
    pub peers: Peers,
    /// What they have been told of this one.
    pub introduction: Introduction,
    /// The log's writer.
    pub writer: LogPort,
    /// The snapshot worker.
    pub snapshotter: Snapshotter,
    /// Keeps the audit trail.
    pub audit: AuditPort,
    /// What happens.
    pub inbox: Inbox,
    /// Where the applied state is shown.
    pub published_machine: Arc<ArcSwap<Machine>>,
    /// Where the status is shown.
    pub published_status: Arc<ArcSwap<NodeStatus>>,
    /// Who waits here for something to be applied.
    pub listeners: Arc<Listeners>,
    /// Where watchers look.
    pub events: Events,
    /// A leader declares nobody to listen at a node that was silent for this long.
    pub silence_limit_ms: u64,
    /// What is counted.
    pub metrics: Metrics,
    /// What the probes look at.
    pub health: Health,
}

/// See the module.
#[derive(Debug)]
pub struct Driver {
    parts: DriverParts,
    waiters: Waiters,
    reads: Reads,
    /// Committed, handed out by the core, not applied yet.
    to_apply: VecDeque<Entry>,
    draining: Option<Draining>,
    ticked_at: Instant,
    last_leader: Option<NodeId>,
    watch: Watch,
    /// Entries up to here were in the log when this process began: what they did was counted by the
    /// one before it.
    counted: Index,
    stopped: Option<Stopped>,
}

/// A shutdown under way.
#[derive(Debug)]
struct Draining {
    until: Instant,
    done: Vec<oneshot::Sender<()>>,
}

impl Driver {
    /// A driver that has not begun.
    #[must_use]
    pub fn new(parts: DriverParts) -> Self {
        let boot = parts.introduction.boot_id;
        let watch = Watch::new(parts.silence_limit_ms);
        let counted = parts.raft.status().last;
        Self {
            parts,
            waiters: Waiters::default(),
            reads: Reads::new(boot),
            to_apply: VecDeque::new(),
            draining: None,
            ticked_at: Instant::now(),
            last_leader: None,
            watch,
            counted,
            stopped: None,
        }
    }

    /// Runs until it is drained or must stop.
    pub async fn run(mut self) -> Stopped {
        let mut more = false;
        loop {
            if !more {
                let event = self.parts.inbox.next().await;
                self.take_in(event);
            }
            // Others of this runtime, and the clock, get their turn: if there is work left, because
            // it may be long; if not, because what brought this event has often brought more. Tasks
            // and sockets that are ready now say what they have to say, and one turn, one sync and
            // one append serve all of it instead of a part. If nothing is ready this costs one look.
            tokio::task::yield_now().await;
            self.parts.health.beat();
            if self.ticked_at.elapsed() >= TICK_AT_LEAST {
                self.tick();
            }
            for _ in 0..EVENTS_PER_TURN {
                let Some(event) = self.parts.inbox.try_next() else { break };
                self.take_in(event);
            }
            self.feed_core();
            more = self.work();
            self.publish_status();
            if let Some(stopped) = self.stopped.take().or_else(|| self.drained()) {
                self.finish();
                return stopped;
            }
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Disk(DiskEvent::Synced(proof)) => self.step(Input::Persisted(proof)),
            Event::Disk(DiskEvent::Failed(why)) => self.stop(Stopped::Disk(why)),
            Event::Snapshot(event) => self.snapshot_event(event),
            Event::Peer(event) => self.peer_event(event),
            Event::Request(request) => self.request(request),
            Event::Tick => self.tick(),
            Event::Lost(part) => self.stop(Stopped::Lost(part)),
        }
    }

    fn peer_event(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Introduced(introduction) => self.parts.founder.introduced(&introduction),
            PeerEvent::Message(envelope) => {
                self.watch.heard(envelope.from, clock::now());
                self.step(Input::Message(envelope));
            }
            PeerEvent::Unreachable(node) => self.step(Input::Unreachable(node)),
            PeerEvent::Refused { refusal, .. } => self.parts.founder.refused(&refusal),
        }
    }

    fn snapshot_event(&mut self, event: SnapshotEvent) {
        match event {
            SnapshotEvent::Taken(meta) => {
                self.step(Input::SnapshotTaken(meta.clone()));
                self.superseded_by(meta);
            }
            SnapshotEvent::Piece { to, meta, offset, bytes, last } => {
                self.step(Input::SnapshotData { to, meta, offset, bytes, last });
            }
            SnapshotEvent::Stored(meta) => {
                self.step(Input::SnapshotStored(meta.clone()));
                self.superseded_by(meta);
            }
            SnapshotEvent::Broken(why) => {
                tracing::warn!(why, "received snapshot is unusable, asking for it again");
                self.step(Input::SnapshotBroken);
            }
            SnapshotEvent::Hashed(hash) => self.step(Input::StateHash(hash)),
        }
    }

    /// If the core took the snapshot, its record is on its way to the disk. One that came too late is
    /// not recorded, and must not replace the one that is.
    fn superseded_by(&mut self, meta: SnapshotMeta) {
        if self.parts.raft.snapshot() == Some(&meta) {
            let last = self.parts.raft.status().last;
            self.parts.snapshotter.supersedes(meta, last);
        }
    }

    fn request(&mut self, request: DriverRequest) {
        match request {
            DriverRequest::Submit { request, operation, deadline, reply } => {
                self.submit(request, operation, deadline.into(), reply);
            }
            DriverRequest::Barrier { deadline, reply } => match self.refusal() {
                Some(error) => drop(reply.send(Err(error))),
                None => self.reads.add(deadline.into(), reply),
            },
            DriverRequest::Drain { done } => self.drain(done),
        }
    }

    fn submit(
        &mut self,
        request: Option<RequestId>,
        operation: Operation,
        deadline: Instant,
        reply: Reply,
    ) {
        if let Some(error) = self.refusal() {
            return drop(reply.send(Err(error)));
        }
        let now = clock::now();
        let left = deadline.saturating_duration_since(Instant::now());
        let until = now.plus(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let time = self.parts.machine.time();
        let sequence = self.parts.proposer.submit(now, time, request, operation, until);
        self.waiters.wait(sequence, reply);
    }

    /// Why nothing can be asked of this node now.
    fn refusal(&self) -> Option<SubmitError> {
        if self.draining.is_some() {
            return Some(SubmitError::Stopping);
        }
        let id = self.parts.raft.id();
        let member = self.parts.raft.membership().is_some_and(|m| m.contains(id));
        (!member).then_some(SubmitError::NotMember)
    }

    fn tick(&mut self) {
        self.ticked_at = Instant::now();
        let now = clock::now();
        self.parts.raft.tick(now);
        for expired in self.parts.proposer.expired(now) {
            self.waiters.give_up(expired.sequence, expired.into());
        }
        self.reads.tick(Instant::now());
        self.watch_over_listeners();
        if self.draining.is_some() {
            // Repeated: a hand-over that did not come about is given up after a while.
            self.step(Input::Transfer { to: None });
        }
        self.parts.snapshotter.clean(self.parts.raft.status().durable);
        if let Some(founding) = self.parts.founder.proposal(&self.parts.raft) {
            self.step(Input::Found(founding));
        }
    }

    /// Notices who cannot be listened at: other nodes, if this one leads, or this one.
    fn watch_over_listeners(&mut self) {
        let now = clock::now();
        let DriverParts { raft, machine, .. } = &self.parts;
        let watched = self.watch.tick(now, raft, machine);
        let (time, until) = (machine.time(), now.plus(self.parts.silence_limit_ms));
        for (node, boot) in watched.silent {
            tracing::warn!(%node, %boot, "a member is silent: nobody is taken to listen there");
            let operation = Operation::LoseListeners(boot);
            self.parts.proposer.submit(now, time, None, operation, until);
        }
        if watched.cut_off {
            self.parts.listeners.cut_off();
        }
        let locks = self.parts.machine.locks();
        self.parts.metrics.locks.record_live(
            locks.holds(),
            locks.waits(),
            self.parts.listeners.open_count(),
        );
    }

    /// Hands the core what this node's clients want.
    fn feed_core(&mut self) {
        let now = clock::now();
        let leader = self.parts.raft.status().leader;
        if leader != self.last_leader {
            self.last_leader = leader;
            self.parts.proposer.leader_changed(now);
        }
        let leads_or_follows = leader.is_some();
        if leads_or_follows && self.reads.has_unasked() {
            for id in self.reads.ask() {
                self.step(Input::Read { id });
            }
        }
        let forwards = leader.is_some_and(|leader| leader != self.parts.raft.id());
        for (ticket, commands) in self.parts.proposer.attempts(now) {
            self.parts.metrics.raft.proposals.inc_by(commands.len() as u64);
            if forwards {
                self.parts.metrics.raft.forwarded.inc_by(commands.len() as u64);
            }
            self.step(Input::Propose { ticket, commands });
        }
    }

    /// Carries out what the core asks for until it asks for nothing more, or until it has taken long
    /// enough that heartbeats come first: a leader that applies for an election time-out without a
    /// word would be deposed, and its successor would have the same entries to apply. True: there is
    /// more to do.
    fn work(&mut self) -> bool {
        let began = Instant::now();
        while self.stopped.is_none() {
            self.apply(began);
            let ready = self.parts.raft.ready();
            if ready.is_empty() && self.to_apply.is_empty() {
                return false;
            }
            self.carry_out(ready);
            if began.elapsed() >= TICK_AT_LEAST {
                return true;
            }
        }
        false
    }

    fn carry_out(&mut self, ready: Ready) {
        // The others' disks are further away than this one.
        for envelope in ready.send {
            self.parts.peers.send(envelope);
        }
        if let Some(batch) = ready.persist {
            self.parts.writer.write(batch);
        }
        if let Some(meta) = ready.restore {
            match self.parts.snapshotter.load(&meta) {
                Ok(machine) => self.restored(machine, meta.index),
                Err(error) => return self.stop(error.into()),
            }
        }
        self.to_apply.extend(ready.apply);
        for (id, fresh) in ready.reads {
            self.reads.answered(id, fresh);
        }
        for (ticket, refusal) in ready.refused {
            let reason = ReasonLabel { reason: refusal_word(refusal) };
            self.parts.metrics.raft.refused.get_or_create(&reason).inc();
            self.parts.proposer.refused(clock::now(), ticket, refusal);
        }
        for read in ready.snapshot_reads {
            self.parts.snapshotter.read(read);
        }
        for write in ready.snapshot_writes {
            self.parts.snapshotter.write(write);
        }
        if let Some(fatal) = ready.fatal {
            self.stop(fatal.into());
        }
    }

    /// The machine is another one now: the leader's snapshot. It contains whatever was still to be
    /// applied.
    fn restored(&mut self, machine: Machine, index: Index) {
        self.to_apply.clear();
        self.parts.machine = machine;
        self.parts.audit.position(self.parts.machine.audit());
        self.publish_machine();
        self.parts.events.restart(self.parts.machine.audit().count);
        self.parts.listeners.installed(&self.parts.machine);
        let next_due = self.parts.machine.next_due();
        self.step(Input::Applied { index, next_due });
    }

    /// Applies committed entries, at least one and as many as there is time for; shows the result,
    /// tells the listeners, then answers whoever waited for one of them: in this order, for the reasons
    /// that `dsync_core::waits::Site` gives.
    fn apply(&mut self, began: Instant) {
        let first = Instant::now();
        let (mut answers, mut records) = (Vec::new(), Vec::new());
        let mut applied = 0;
        let mut last = None;
        while let Some(entry) = self.to_apply.pop_front() {
            answers.extend(self.apply_one(&entry, &mut records));
            (applied, last) = (applied + 1, Some(entry.index));
            if self.stopped.is_some() || began.elapsed() >= TICK_AT_LEAST {
                break;
            }
        }
        let Some(index) = last else { return };
        self.publish_machine();
        self.parts.metrics.raft.applied_entries.inc_by(applied);
        self.parts.metrics.raft.apply_seconds.observe(first.elapsed().as_secs_f64());
        let next_due = self.parts.machine.next_due();
        self.step(Input::Applied { index, next_due });
        // Before anybody is answered: who looks next shall not see a status older than the locks.
        self.publish_status();
        self.parts.listeners.applied(&self.parts.machine, &records);
        self.parts.events.push(records);
        for (sequence, applied) in answers {
            if let Some(took) = self.waiters.answer(sequence, applied) {
                self.parts.metrics.raft.commit_seconds.observe(took.as_secs_f64());
            }
        }
    }

    /// Applies one entry; gives back the answer if it carries an operation of this process.
    fn apply_one(
        &mut self,
        entry: &Entry,
        records: &mut Vec<AuditRecord>,
    ) -> Option<(u64, Applied)> {
        let applied = self.parts.machine.apply(entry);
        self.parts.audit.append(&applied.events, self.parts.machine.audit());
        if entry.index > self.counted {
            let metrics = &self.parts.metrics.locks;
            applied.events.iter().for_each(|record| metrics.record(&record.event));
        }
        records.extend(applied.events);
        self.parts.snapshotter.checkpoint(entry.index, &self.parts.machine, &self.parts.raft);
        let (origin, outcome) = applied.answer?;
        let (sequence, outcome) = self.parts.proposer.applied(&origin, outcome)?;
        if outcome == Outcome::DiskRefused {
            self.stop(Fatal::DiskRefused.into());
            return None;
        }
        Some((sequence, Applied { outcome, index: entry.index, stamp: entry.stamp }))
    }

    fn publish_machine(&self) {
        self.parts.published_machine.store(Arc::new(self.parts.machine.clone()));
    }

    /// Shows the status if anything in it has changed.
    fn publish_status(&mut self) {
        let shown = self.parts.published_status.load();
        let raft = self.parts.raft.status();
        let cluster_id = self.parts.machine.cluster_id().or(self.parts.raft.cluster_id());
        let outside = self.parts.founder.outside(&self.parts.raft);
        let registered = self.parts.proposer.registered();
        let same = shown.raft == raft
            && shown.cluster_id == cluster_id
            && shown.outside == outside
            && shown.registered == registered;
        if same {
            return;
        }
        if shown.raft.role != raft.role || shown.raft.term != raft.term {
            tracing::info!(role = ?raft.role, term = raft.term.0, "role changed");
        }
        let membership = self.parts.raft.membership().cloned();
        let next =
            NodeStatus { raft, cluster_id, membership, outside, registered, ..(**shown).clone() };
        self.parts.metrics.raft.record(&next);
        self.parts.published_status.store(Arc::new(next));
        self.introduce();
    }

    /// Tells the peers when this node holds a founding entry, and when it is founded for good.
    fn introduce(&mut self) {
        let raft = &self.parts.raft;
        let cluster_id = self.parts.machine.cluster_id().or(raft.cluster_id());
        let introduction = Introduction {
            cluster_id: cluster_id.filter(|_| raft.hard_state().founded),
            empty: raft.is_empty(),
            ..self.parts.introduction.clone()
        };
        if introduction != self.parts.introduction {
            self.parts.introduction = introduction.clone();
            self.parts.peers.set_introduction(introduction);
        }
    }

    /// Begins to stop: no new work; a leader looks for a successor.
    fn drain(&mut self, done: oneshot::Sender<()>) {
        match &mut self.draining {
            Some(draining) => draining.done.push(done),
            None => {
                self.step(Input::Transfer { to: None });
                let until = Instant::now() + DRAIN_LIMIT;
                self.draining = Some(Draining { until, done: vec![done] });
            }
        }
    }

    /// True once nobody is waited for, or not any longer.
    fn drained(&self) -> Option<Stopped> {
        let draining = self.draining.as_ref()?;
        let leads_others = self.parts.raft.status().role == RoleKind::Leader
            && self.parts.raft.membership().is_some_and(|m| m.voters.len() > 1);
        let busy = leads_others || !self.waiters.is_empty() || !self.reads.is_empty();
        (!busy || Instant::now() >= draining.until).then_some(Stopped::Drained)
    }

    /// Nobody is left without an answer. What was never handed to a leader is certainly not applied;
    /// of the rest nobody knows.
    fn finish(&mut self) {
        self.parts.audit.close();
        for expired in self.parts.proposer.expired(LocalTime(u64::MAX)) {
            if expired.sent {
                tracing::warn!(sequence = expired.sequence, "stopping with an operation under way");
            }
            self.waiters.stop(expired.sequence, expired.sent);
        }
        for done in self.draining.take().into_iter().flat_map(|draining| draining.done) {
            let _ = done.send(());
        }
    }

    fn step(&mut self, input: Input) {
        self.parts.raft.step(clock::now(), input);
    }

    fn stop(&mut self, stopped: Stopped) {
        self.stopped.get_or_insert(stopped);
    }
}

/// A refusal as a word for the metrics.
fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoLeader => "no_leader",
        Refusal::Overloaded => "overloaded",
        Refusal::Transferring => "transferring",
    }
}
