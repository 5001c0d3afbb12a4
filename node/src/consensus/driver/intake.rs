//! What comes in: from the other nodes, the snapshot worker, this node's clients, and the clock.

use dsync_core::machine::{NodeOperation, Operation};
use dsync_core::raft::{Envelope, Input, Message, SnapshotMeta};
use tokio::time::Instant;

use super::super::founding_clock::Moment;
use super::super::inbox::SnapshotEvent;
use super::super::waiters::Reply;
use super::{Driver, DriverParts};
use crate::clock;
use crate::handle::{DriverRequest, SubmitError};
use crate::peers::PeerEvent;

impl Driver {
    pub(super) fn peer_event(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Introduced(introduction) => self.parts.founder.introduced(&introduction),
            PeerEvent::Message(envelope) if !self.may_take(&envelope) => {}
            PeerEvent::Message(envelope) => {
                self.watch.heard(envelope.from, clock::now());
                self.step(Input::Message(envelope));
            }
            PeerEvent::HomeLease(from, message) => self.home_lease_message(from, message),
            PeerEvent::Unreachable(node) => self.step(Input::Unreachable(node)),
            PeerEvent::Refused { refusal, by_peer, .. } => {
                self.parts.founder.refused(&refusal, by_peer);
                let fatal = refusal.fatal_for(self.parts.introduction.boot_id);
                if let Some(fatal) = fatal.filter(|_| by_peer) {
                    self.stop(fatal.into());
                }
            }
        }
    }

    /// A founding proposal is held, and so confirmed, only if this node's clock agrees.
    fn may_take(&mut self, envelope: &Envelope) -> bool {
        match &envelope.message {
            Message::FoundingOffer(founding) if self.parts.raft.is_empty() => {
                self.parts.founder.confirms(founding, Moment::now())
            }
            _ => true,
        }
    }

    pub(super) fn snapshot_event(&mut self, event: SnapshotEvent) {
        match event {
            SnapshotEvent::Taken { meta, bytes } => {
                self.parts.snapshotter.taken(Some(bytes));
                self.step(Input::SnapshotTaken(meta.clone()));
                self.superseded_by(meta);
            }
            SnapshotEvent::NotTaken => self.parts.snapshotter.taken(None),
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
            SnapshotEvent::Hashed(hash) => {
                self.parts.snapshotter.hashed();
                self.step(Input::StateHash(hash));
            }
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

    pub(super) fn request(&mut self, request: DriverRequest) {
        match request {
            DriverRequest::Submit { operation, deadline, reply } => {
                self.submit(operation, deadline.into(), reply);
            }
            DriverRequest::Barrier { deadline, reply } => match self.refusal() {
                Some(error) => drop(reply.send(Err(error))),
                None => self.reads.add(deadline.into(), reply),
            },
            DriverRequest::HomeLease { home, sent_at, granted } => {
                self.ask_home_lease(home, sent_at, granted);
            }
            DriverRequest::Drain { done } => self.drain(done),
        }
    }

    fn submit(&mut self, operation: Operation, deadline: Instant, reply: Reply) {
        if let Some(error) = self.refusal() {
            return drop(reply.send(Err(error)));
        }
        let now = clock::now();
        let left = deadline.saturating_duration_since(Instant::now());
        let until = now.plus(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let taken_at = self.parts.machine.active_time();
        let sequence = self.parts.proposer.submit(now, taken_at, operation, until);
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

    pub(super) fn tick(&mut self) {
        self.ticked_at = Instant::now();
        let now = clock::now();
        self.parts.raft.tick(now);
        for expired in self.parts.proposer.expired(now) {
            self.waiters.give_up(expired.sequence, expired.into());
        }
        self.reads.tick(Instant::now());
        self.watch_over_listeners();
        self.tick_home_leases();
        if self.draining.is_some() {
            // Repeated: a hand-over that did not come about is given up after a while.
            self.step(Input::Transfer { to: None });
        }
        self.parts.snapshotter.clean(self.parts.raft.status().durable);
        if let Some(founding) = self.parts.founder.proposal(&self.parts.raft, Moment::now) {
            self.step(Input::Found(founding));
        }
    }

    /// Notices who cannot be listened at: other nodes, if this one leads, or this one.
    fn watch_over_listeners(&mut self) {
        let now = clock::now();
        let DriverParts { raft, machine, .. } = &self.parts;
        let watched = self.watch.tick(now, raft, machine);
        let (taken_at, until) = (machine.active_time(), now.plus(self.parts.silence_limit_ms));
        for (node, boot) in watched.silent {
            tracing::warn!(%node, %boot, "a member is silent: nobody is taken to listen there");
            let operation = Operation::Node(NodeOperation::LoseListeners(boot));
            self.parts.proposer.submit(now, taken_at, operation, until);
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
}
