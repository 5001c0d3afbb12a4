//! The replicated machine: everything that applying the log has made.
//!
//! Applying is a pure function of the state and the entry. No clock (the entry carries its stamp),
//! no hash order, no floats, no setting of the own node: the same log gives the same state on every
//! node, in every release of one feature level. [`Machine::hash`] is how nodes check that on each
//! other.
//!
//! One entry is applied in this order, and the order is part of the protocol:
//!
//! 1. its stamp moves time: what has ended by then ends ([`crate::locks`], `lease.rs`;
//!    [`crate::queue`], `deadlines.rs`);
//! 2. its command's origin is checked: process, number, age (`session.rs`);
//! 3. its client's id for it is looked up (`requests.rs`; of queues, item by item, `item_requests.rs`);
//! 4. its operation acts, and its outcome is remembered until its sender needs it no more;
//! 5. what has happened goes into the audit trail's chain;
//! 6. the state is hashed now and then (`hash_clock.rs`).
//!
//! All state lives in persistent maps, so a clone is a frozen copy that costs nothing: the node
//! publishes one after every batch for readers, and writes snapshots from one while applying goes on.

mod command;
mod hash_clock;
mod item_requests;
mod requests;
mod restore;
mod session;
mod settings;
mod snapshot;

#[cfg(test)]
mod item_requests_test;
#[cfg(test)]
mod machine_test;
#[cfg(test)]
mod requests_test;
#[cfg(test)]
mod snapshot_test;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use command::{
    Applied, Command, NodeOperation, NodeOutcome, Operation, Origin, Outcome, RequestId,
    RequestItems, RequestRefusal, StoredCommand,
};
pub use restore::{Restore, RestoreError};
use rpds::RedBlackTreeMapSync;
pub use settings::{FirstState, RequestRules, Settings, SettingsError};
pub use snapshot::StoredChunk;

use crate::audit::{AuditHead, AuditRecord, Event};
use crate::cache::{Process, RingOperation, RingOutcome, RingTable, RingTurn};
use crate::locks::{Bug, HoldRef, LockOperation, LockOutcome, LockTable, LocksView, Renew, Turn};
use crate::queue::{
    self, Push, PushOutcome, QueueOperation, QueueOutcome, QueueTable, QueuesView, Settle,
    SettleOutcome, SubQueue,
};
use crate::raft::{Entry, Founding, Payload};
use crate::types::{
    ActiveTime, BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName,
};
use crate::wire::{self, DecodeError};
use hash_clock::HashClock;
use item_requests::{ItemRequests, Limits, Named};
use requests::{Requests, Seen};
use session::{Admission, Session};

/// The replicated state. A clone is a frozen copy and costs nothing; the default is the state before
/// the founding entry.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    applied: Index,
    /// The highest stamp applied.
    time: ClusterTime,
    /// How much of it has passed while anything was timed.
    active: ActiveTime,
    /// Set by entry 1. Until then nothing else changes.
    founded: Option<Arc<Founded>>,
    sessions: RedBlackTreeMapSync<NodeId, Session>,
    locks: LockTable,
    audit: AuditHead,
    requests: Requests,
    queues: QueueTable,
    items: ItemRequests,
    ring: Arc<RingTable>,
    hash_clock: HashClock,
}

/// What the founding entry fixed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Founded {
    cluster_id: ClusterId,
    founders: BTreeMap<NodeId, NodeName>,
    settings: Settings,
}

/// What applying one entry did.
#[derive(Debug)]
pub struct AppliedEntry {
    /// The entry.
    pub index: Index,
    /// Its stamp.
    pub stamp: ClusterTime,
    /// For a command: whose it is, and what came of it here or at an earlier copy.
    pub answer: Option<(Origin, Applied)>,
    /// What happened, in order.
    pub events: Vec<AuditRecord>,
    /// Where messages have become ready: for those who wait for them.
    pub ready: BTreeSet<(Arc<str>, SubQueue)>,
    /// The state after this entry is to be hashed, on every node.
    pub hash_due: bool,
    /// The entry holds bytes that this release cannot read. It changed nothing but the time, and
    /// nobody gets an answer.
    pub undecodable: Option<DecodeError>,
}

/// One entry being applied, as each service sees it.
struct Turns {
    locks: Turn,
    queues: queue::Turn,
    ring: RingTurn,
}

impl Turns {
    fn new(entry: &Entry, now: ClusterTime, settings: &Settings) -> Self {
        let (index, term) = (entry.index, entry.term);
        let locks = Turn::new(index, now, settings.locks);
        let queues = queue::Turn::new(index, now, settings.queues);
        Self { locks, queues, ring: RingTurn { index, term, now, rules: settings.caches } }
    }
}

impl Machine {
    /// Applies the next committed entry.
    pub fn apply(&mut self, entry: &Entry) -> AppliedEntry {
        debug_assert_eq!(
            entry.index,
            self.applied.next(),
            "entries are applied in order, each once"
        );
        self.applied = entry.index;
        self.move_time(entry.stamp);
        let settings = self.founded.as_ref().map(|founded| founded.settings.clone());
        let Some(settings) = settings else { return self.apply_unfounded(entry) };
        let mut turns = Turns::new(entry, self.time, &settings);
        let effect = self.apply_founded(&mut turns, &settings, &entry.payload);
        let (answer, undecodable) = match effect {
            Ok(answer) => (answer, None),
            Err(error) => (None, Some(error)),
        };
        let (index, stamp) = (entry.index, self.time);
        let events = turns.locks.take_events().into_iter().map(Event::Lock);
        let events = events.chain(turns.queues.take_events().into_iter().map(Event::Queue));
        let events = events.map(|event| self.audit.append(index, stamp, event)).collect();
        let ready = turns.queues.take_ready();
        let state_bytes = self.queues.view().usage().bytes;
        let hash_due = self.hash_clock.applied(entry.weight_bytes() as u64, state_bytes);
        AppliedEntry { index, stamp, answer, events, ready, hash_due, undecodable }
    }

    /// The cluster, once the founding entry is applied.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.founded.as_ref().map(|founded| founded.cluster_id)
    }

    /// The founders, once founded.
    #[must_use]
    pub fn founders(&self) -> Option<&BTreeMap<NodeId, NodeName>> {
        self.founded.as_ref().map(|founded| &founded.founders)
    }

    /// The settings, once founded.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.founded.as_ref().map(|founded| &founded.settings)
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Cluster time: the highest stamp applied.
    #[must_use]
    pub fn time(&self) -> ClusterTime {
        self.time
    }

    /// What a command's age is counted by; see [`ActiveTime`].
    #[must_use]
    pub fn active_time(&self) -> ActiveTime {
        self.active
    }

    /// The low-water mark of a process, as far as it is applied: every command of it with a number
    /// below this has taken effect or never will. `None`: it is no node's newest process.
    #[must_use]
    pub fn low_water(&self, boot: BootId) -> Option<u64> {
        let session = self.sessions.values().find(|session| session.boot == boot)?;
        Some(session.low_water)
    }

    /// When the next lease, claim, place, delivery, delay or memory of a request ends; not later than [`Machine::time`] while some that
    /// have ended are still to be cleared away. `None`: nothing is timed.
    #[must_use]
    pub fn next_due(&self) -> Option<ClusterTime> {
        let dues = [
            self.locks.next_due(),
            self.requests.next_due(),
            self.queues.next_due(),
            self.items.next_due(),
        ];
        dues.into_iter().flatten().min()
    }

    /// The locks as of [`Machine::time`].
    #[must_use]
    pub fn locks(&self) -> LocksView<'_> {
        self.locks.view(self.time)
    }

    /// The queues. What ends by [`Machine::time`] has ended.
    #[must_use]
    pub fn queues(&self) -> QueuesView<'_> {
        self.queues.view()
    }

    /// The homes of cached keys that are in service.
    #[must_use]
    pub fn ring(&self) -> &RingTable {
        &self.ring
    }

    /// The end of the audit trail.
    #[must_use]
    pub fn audit(&self) -> AuditHead {
        self.audit
    }

    /// The newest registered process of every node, in id order.
    pub fn boots(&self) -> impl Iterator<Item = (NodeId, BootId, BootCount)> + '_ {
        self.sessions.iter().map(|(node, session)| (*node, session.boot, session.count))
    }

    /// Puts a mistake back into the lock table.
    #[cfg(feature = "bugs")]
    #[must_use]
    pub fn with_bug(mut self, bug: Option<Bug>) -> Self {
        self.locks.put_back(bug);
        self
    }

    /// Puts a mistake back into the queues.
    #[cfg(feature = "bugs")]
    #[must_use]
    pub fn with_queue_bug(mut self, bug: Option<queue::Bug>) -> Self {
        self.queues.put_back(bug);
        self
    }

    /// Puts a mistake back into the ring's members.
    #[cfg(feature = "bugs")]
    #[must_use]
    pub fn with_ring_bug(mut self, bug: Option<crate::cache::Bug>) -> Self {
        Arc::make_mut(&mut self.ring).put_back(bug);
        self
    }

    /// Checks what must hold between any two entries; for tests and the simulator.
    ///
    /// # Errors
    /// A sentence that names the broken rule.
    pub fn check_invariants(&self) -> Result<(), String> {
        for (node, session) in &self.sessions {
            let below = session.answers.first().is_some_and(|(at, _)| *at < session.low_water);
            if below {
                return Err(format!("node {node}: an answer below the low-water mark is kept"));
            }
        }
        self.requests.check_invariants()?;
        self.items.check_invariants()?;
        self.queues.check_invariants()?;
        self.ring.check_invariants()?;
        self.locks.check_invariants(self.time)
    }

    /// What nobody waits for is no measure of age: if nothing was timed before this entry, the leader
    /// had no reason to append one, and whatever was taken in meanwhile was taken in just now.
    fn move_time(&mut self, stamp: ClusterTime) {
        let elapsed_ms = stamp.since(self.time);
        if self.next_due().is_some() || self.locks.has(Bug::AgeRunsWhileQuiet) {
            self.active = self.active.plus(elapsed_ms);
        }
        self.time = self.time.plus(elapsed_ms);
    }

    fn apply_founded(
        &mut self,
        turns: &mut Turns,
        settings: &Settings,
        payload: &Payload,
    ) -> Result<Option<(Origin, Applied)>, DecodeError> {
        self.locks.advance(&mut turns.locks);
        self.queues.advance(&mut turns.queues);
        self.requests.note(turns.locks.events(), self.forget_at(settings));
        self.requests.forget(self.time);
        self.items.forget(self.time);
        let Payload::Command(bytes) = payload else { return Ok(None) };
        let StoredCommand::V1(command) = wire::decode("command", bytes)?;
        Ok(Some(self.execute(turns, settings, &command)))
    }

    fn apply_unfounded(&mut self, entry: &Entry) -> AppliedEntry {
        let founded = match &entry.payload {
            Payload::Founding(founding) => self.found(founding),
            _ => Ok(()),
        };
        let (index, stamp, undecodable) = (entry.index, self.time, founded.err());
        let (answer, events, ready, hash_due) = (None, Vec::new(), BTreeSet::new(), false);
        AppliedEntry { index, stamp, answer, events, ready, hash_due, undecodable }
    }

    fn found(&mut self, founding: &Founding) -> Result<(), DecodeError> {
        let FirstState::V1 { settings, token_base } =
            wire::decode("first state", &founding.machine)?;
        self.locks.start_tokens(token_base);
        self.founded = Some(Arc::new(Founded {
            cluster_id: founding.cluster_id,
            founders: founding.founders.clone(),
            settings,
        }));
        Ok(())
    }

    fn execute(
        &mut self,
        turns: &mut Turns,
        settings: &Settings,
        command: &Command,
    ) -> (Origin, Applied) {
        let origin = command.origin;
        let applied = match &command.operation {
            Operation::Node(NodeOperation::RegisterBoot { count }) => {
                let outcome = self.register(&mut turns.locks, &origin, *count);
                self.here(outcome)
            }
            _ => self.execute_once(turns, settings, command),
        };
        (origin, applied)
    }

    /// It is this entry that says so.
    fn here(&self, outcome: Outcome) -> Applied {
        Applied { outcome, index: self.applied, stamp: self.time }
    }

    /// Needs no number and no age to be safe: a repeat, however late, either names the process that
    /// is registered, or a count that is no longer higher. Whoever listened at the process before
    /// this one does not any more.
    fn register(&mut self, turn: &mut Turn, origin: &Origin, count: BootCount) -> Outcome {
        let known = self.sessions.get(&origin.node).map(|session| (session.boot, session.count));
        if known.is_some_and(|(boot, _)| boot == origin.boot) {
            return Outcome::Node(NodeOutcome::BootRegistered);
        }
        if known.is_some_and(|(_, newest)| newest >= count) {
            return Outcome::DiskRefused;
        }
        if let Some((before, _)) = known {
            self.locks.lose_listeners(turn, before, true);
        }
        self.sessions.insert_mut(origin.node, Session::new(origin.boot, count));
        Outcome::Node(NodeOutcome::BootRegistered)
    }

    fn execute_once(
        &mut self,
        turns: &mut Turns,
        settings: &Settings,
        command: &Command,
    ) -> Applied {
        let origin = &command.origin;
        let Some(session) = self.sessions.get_mut(&origin.node) else {
            return self.here(Outcome::Void);
        };
        match session.admit(origin) {
            Admission::First => {}
            Admission::Known(applied) => return applied,
            Admission::Refused(outcome) => return self.here(outcome),
        }
        // At least as old as a request id that was settled when it was taken in, and is forgotten now.
        let late = self.active.since(origin.taken_at) >= settings.requests.command_retention_ms;
        let outcome = if late { Outcome::Void } else { self.act(turns, settings, command) };
        let applied = self.here(outcome);
        if let Some(session) = self.sessions.get_mut(&origin.node) {
            session.remember(origin.sequence, applied.clone());
        }
        applied
    }

    /// One arm for each service.
    fn act(&mut self, turns: &mut Turns, settings: &Settings, command: &Command) -> Outcome {
        let turn = &mut turns.locks;
        match &command.operation {
            Operation::Node(operation) => {
                Outcome::Node(self.act_on_nodes(turn, &command.origin, operation))
            }
            Operation::Lock { request: Some(id), operation } => {
                self.act_on_locks_once(turn, settings, id, operation)
            }
            Operation::Lock { request: None, operation } => {
                let before = turn.events().len();
                let outcome = self.locks.act(turn, operation);
                self.requests.note(&turn.events()[before..], self.forget_at(settings));
                Outcome::Lock(outcome)
            }
            Operation::Queue { requests, operation } => {
                let limits = Limits {
                    forget_at: self.forget_at(settings),
                    items_max: settings.queues.request_items_max,
                };
                let turn = &mut turns.queues;
                Outcome::Queue(self.act_on_queues(turn, limits, requests, operation))
            }
            Operation::QueueRegistry(operation) => {
                Outcome::QueueRegistry(self.queues.register(&mut turns.queues, operation))
            }
            Operation::Ring(operation) => {
                Outcome::Ring(self.act_on_ring(&turns.ring, &command.origin, operation))
            }
        }
    }

    fn act_on_ring(
        &mut self,
        turn: &RingTurn,
        origin: &Origin,
        operation: &RingOperation,
    ) -> RingOutcome {
        let sender = Process { node: origin.node, boot: origin.boot };
        let founded = self.founded.as_deref();
        let name = founded.and_then(|founded| founded.founders.get(&origin.node));
        Arc::make_mut(&mut self.ring).apply(turn, sender, name, operation)
    }

    fn act_on_queues(
        &mut self,
        turn: &mut queue::Turn,
        limits: Limits,
        requests: &[RequestItems],
        operation: &QueueOperation,
    ) -> QueueOutcome {
        match operation {
            QueueOperation::Push(push) if !requests.is_empty() => {
                self.push_once(turn, limits, requests, push)
            }
            QueueOperation::Settle(settle) if !requests.is_empty() => {
                self.settle_once(turn, limits, requests, settle)
            }
            other => self.queues.apply(turn, other),
        }
    }

    /// Item by item, since two copies of one request may have been merged into one command.
    fn push_once(
        &mut self,
        turn: &mut queue::Turn,
        limits: Limits,
        requests: &[RequestItems],
        push: &Push,
    ) -> QueueOutcome {
        let (queues, items) = (&mut self.queues, &mut self.items);
        let outcomes = push.items.iter().enumerate().map(|(at, item)| {
            let mut act = || {
                let one = Push { items: vec![item.clone()], ..push.without_items() };
                match queues.apply(turn, &QueueOperation::Push(one)) {
                    QueueOutcome::Pushed(mut outcomes) if outcomes.len() == 1 => outcomes.remove(0),
                    QueueOutcome::Refused(refusal) => PushOutcome::Refused(refusal),
                    other => unreachable!("a push of one item was answered by {other:?}"),
                }
            };
            match Named::pushed(requests, at, push, item) {
                None => act(),
                Some(named) => items.once(&named, limits, act),
            }
        });
        QueueOutcome::Pushed(outcomes.collect())
    }

    /// As [`Machine::push_once`].
    fn settle_once(
        &mut self,
        turn: &mut queue::Turn,
        limits: Limits,
        requests: &[RequestItems],
        settle: &Settle,
    ) -> QueueOutcome {
        let (queues, items) = (&mut self.queues, &mut self.items);
        let outcomes = settle.items.iter().enumerate().map(|(at, item)| {
            let mut act = || {
                let one = Settle { topic: settle.topic.clone(), items: vec![item.clone()] };
                match queues.apply(turn, &QueueOperation::Settle(one)) {
                    QueueOutcome::Settled(mut outcomes) if outcomes.len() == 1 => {
                        outcomes.remove(0)
                    }
                    QueueOutcome::Refused(refusal) => SettleOutcome::Refused(refusal),
                    other => unreachable!("a settle of one item was answered by {other:?}"),
                }
            };
            match Named::settled(requests, at, settle, item) {
                None => act(),
                Some(named) => items.once(&named, limits, act),
            }
        });
        QueueOutcome::Settled(outcomes.collect())
    }

    fn act_on_nodes(
        &mut self,
        turn: &mut Turn,
        origin: &Origin,
        operation: &NodeOperation,
    ) -> NodeOutcome {
        match operation {
            // A registration needs no number, and does not come here.
            NodeOperation::RegisterBoot { .. } => NodeOutcome::BootRegistered,
            NodeOperation::LoseListeners(boot) => self.lose_listeners(turn, *boot),
            NodeOperation::ResumeListeners => self.resume_listeners(turn, origin),
            NodeOperation::StopListening => {
                if let Some(session) = self.sessions.get_mut(&origin.node) {
                    session.draining = true;
                }
                self.lose_listeners(turn, origin.boot)
            }
            NodeOperation::RaiseLowWater => {
                NodeOutcome::LowWaterRaised { sequence: origin.sequence }
            }
        }
    }

    /// If the client's id for the request is known, it is answered; else the request is applied.
    fn act_on_locks_once(
        &mut self,
        turn: &mut Turn,
        settings: &Settings,
        id: &RequestId,
        operation: &LockOperation,
    ) -> Outcome {
        let limits = (settings.requests.ids_max, settings.requests.id_retention_ms);
        let seen = self.requests.look_up(id, operation, self.time, limits);
        let (forget_at, before) = (self.forget_at(settings), turn.events().len());
        let outcome = match &seen {
            Some(Seen::Answer(outcome)) => self.as_now(operation, outcome),
            Some(seen) => Outcome::Lock(self.act_again(turn, seen, operation)),
            None => Outcome::Lock(self.locks.act(turn, operation)),
        };
        let events = &turn.events()[before..];
        self.requests.note(events, forget_at);
        if let Some(Seen::First(key, digest)) = seen {
            let target = match operation {
                LockOperation::Acquire(ask) => self.locks.target(ask, events),
                _ => None,
            };
            let target = target.filter(|_| !self.locks.has(Bug::GrantPlayedBack));
            self.requests.remember(key, digest, operation, &outcome, target, forget_at);
        }
        outcome
    }

    /// What the first copy has become is answered as it is now.
    fn act_again(
        &mut self,
        turn: &mut Turn,
        seen: &Seen,
        operation: &LockOperation,
    ) -> LockOutcome {
        match (seen, operation) {
            (Seen::Live(id), LockOperation::Acquire(ask)) => {
                LockOutcome::Acquire(self.locks.acquire_again(turn, *id, ask))
            }
            (Seen::Upgraded(_), LockOperation::Upgrade(ask)) => {
                LockOutcome::Acquire(self.locks.upgraded_again(turn, &ask.hold, ask.attachment))
            }
            (Seen::Upgraded(hold), LockOperation::Acquire(ask)) => {
                let (hold, principal) = (*hold, ask.owner.principal.clone());
                let name = ask.items.first().map(|item| item.name.clone());
                let hold = HoldRef { principal, hold, name };
                LockOutcome::Acquire(self.locks.upgraded_again(turn, &hold, ask.attachment))
            }
            (_, operation) => self.locks.act(turn, operation),
        }
    }

    /// The answer to a repeat. Most outcomes are said again as they were; how long a hold lasts is said
    /// as it is now, since whoever repeats the request counts from the repeat.
    fn as_now(&self, operation: &LockOperation, outcome: &Outcome) -> Outcome {
        let (locks, now) = (&self.locks, self.time);
        let Outcome::Lock(before) = outcome else { return outcome.clone() };
        if locks.has(Bug::RenewalPlayedBack) {
            return outcome.clone();
        }
        Outcome::Lock(match (operation, before) {
            (
                LockOperation::Renew(Renew { hold, .. }) | LockOperation::Downgrade(hold),
                LockOutcome::Hold(before),
            ) => LockOutcome::Hold(locks.hold_as_now(hold, before, now)),
            (_, LockOutcome::RenewAll(before)) => {
                LockOutcome::RenewAll(locks.all_as_now(before, now))
            }
            (_, before) => before.clone(),
        })
    }

    fn forget_at(&self, settings: &Settings) -> ClusterTime {
        self.time.plus(settings.requests.id_retention_ms)
    }

    /// Only of a process that could listen: the silence of an earlier one was noted when it was
    /// replaced.
    fn lose_listeners(&mut self, turn: &mut Turn, boot: BootId) -> NodeOutcome {
        if self.sessions.values().any(|session| session.boot == boot) {
            self.locks.lose_listeners(turn, boot, false);
        }
        NodeOutcome::ListenersNoted
    }

    fn resume_listeners(&mut self, turn: &mut Turn, origin: &Origin) -> NodeOutcome {
        let draining = self.sessions.get(&origin.node).is_some_and(|session| session.draining);
        if !draining {
            self.locks.resume_listeners(turn, origin.boot);
        }
        NodeOutcome::ListenersNoted
    }
}
