//! One turn's work: the core is fed, and what it asks for is carried out: sent, written, applied,
//! answered.

use std::collections::BTreeSet;
use std::sync::Arc;

use dsync_core::audit::AuditRecord;
use dsync_core::machine::{Machine, NodeOutcome, Origin, Outcome};
use dsync_core::queue::{QueueOutcome, SubQueue};
use dsync_core::raft::{Entry, Fatal, Input, Ready, Refusal};
use dsync_core::types::Index;
use tokio::time::Instant;

use super::{Driver, TICK_AT_LEAST};
use crate::clock;
use crate::handle::Applied;
use crate::metrics::ReasonLabel;

impl Driver {
    /// Hands the core what this node's clients want.
    pub(super) fn feed_core(&mut self) {
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
        if self.parts.proposer.registered() && !self.parts.raft.boot_is_stated() {
            // Commands wait until it is known that this disk holds the registration.
            return;
        }
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
    pub(super) fn work(&mut self) -> bool {
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
        for (id, time) in ready.reads {
            if !self.home_lease_round_ended(id, time.is_some()) {
                self.reads.answered(id, time);
            }
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
        self.parts.queues.all_ready();
        self.parts.ring.applied(self.parts.machine.ring());
        let next_due = self.parts.machine.next_due();
        self.step(Input::Applied { index, next_due });
    }

    /// Applies committed entries, at least one and as many as there is time for; shows the result,
    /// tells the listeners, then answers whoever waited for one of them: in this order, for the reasons
    /// that `dsync_core::waits::Site` gives.
    fn apply(&mut self, began: Instant) {
        let first = Instant::now();
        let (mut answers, mut records, mut ready) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut applied = 0;
        let mut last = None;
        while let Some(entry) = self.to_apply.pop_front() {
            answers.extend(self.apply_one(&entry, &mut records, &mut ready));
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
        self.parts.queues.ready(&ready);
        self.parts.ring.applied(self.parts.machine.ring());
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
        ready: &mut BTreeSet<(Arc<str>, SubQueue)>,
    ) -> Option<(u64, Applied)> {
        let applied = self.parts.machine.apply(entry);
        self.parts.audit.append(&applied.events, self.parts.machine.audit());
        if entry.index > self.counted {
            let metrics = &self.parts.metrics.locks;
            for event in applied.events.iter().filter_map(|record| record.event.lock()) {
                metrics.record(event);
            }
        }
        records.extend(applied.events);
        ready.extend(applied.ready);
        let (machine, raft) = (&self.parts.machine, &self.parts.raft);
        self.parts.snapshotter.checkpoint(entry, machine, applied.hash_due, raft);
        let (origin, applied) = applied.answer?;
        let Some(sequence) = self.parts.proposer.applied(&origin, &applied.outcome) else {
            self.applied_late(&origin, applied.outcome);
            return None;
        };
        match applied.outcome {
            Outcome::DiskRefused => {
                let ours = self.parts.introduction.boot_count;
                let newest = self.parts.raft.held_boot(self.parts.raft.id());
                let newest = newest.map_or(ours, |boot| boot.count.max(ours));
                self.stop(Fatal::BootSuperseded { ours, newest }.into());
                return None;
            }
            Outcome::Node(NodeOutcome::BootRegistered) => {
                self.step(Input::BootRegistered { index: applied.index });
            }
            _ => {}
        }
        Some((sequence, applied))
    }
}

impl Driver {
    /// What an operation has delivered after its client was told that its outcome is not known has
    /// reached nobody.
    fn applied_late(&mut self, origin: &Origin, outcome: Outcome) {
        let ours = origin.boot == self.parts.introduction.boot_id;
        if ours
            && self.waiters.was_given_up(origin.sequence)
            && let Outcome::Queue(QueueOutcome::Received(received)) = outcome
        {
            self.parts.queues.received_late(received);
        }
    }
}

/// A refusal as a word for the metrics.
fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoLeader => "no_leader",
        Refusal::Overloaded => "overloaded",
        Refusal::Transferring => "transferring",
        Refusal::TooLarge => "too_large",
    }
}
