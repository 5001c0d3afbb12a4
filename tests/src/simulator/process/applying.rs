//! The applying side: restores and entries go through one queue, in the order in which the core
//! handed them out.

use dsync_core::machine::{Applied, NodeOutcome, Origin, Outcome};
use dsync_core::raft::{Entry, Input, SnapshotMeta, StateHash};
use dsync_core::types::LocalTime;

use super::super::ask::Answer;
use super::super::node::Node;
use super::super::put_back;
use super::super::queue::ProcessEvent;
use super::super::world::Shared;
use super::{Process, Work, restored};

impl Process {
    pub(super) fn start_work(
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

    pub(super) fn work_one(
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
            Some(Ok(machine)) => {
                self.machine = put_back::into_locks(machine, shared.plan.lock_bug);
            }
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
            if let Some((origin, applied)) = applied.answer {
                answers.extend(self.settle(now, &origin, applied)?);
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
        now: LocalTime,
        origin: &Origin,
        applied: Applied,
    ) -> Result<Option<(u64, Applied)>, String> {
        let Some(sequence) = self.proposer.applied(origin, &applied.outcome) else {
            return Ok(None);
        };
        match applied.outcome {
            Outcome::DiskRefused => {
                return Err("boot_superseded: another process has used this boot count".to_owned());
            }
            Outcome::Node(NodeOutcome::BootRegistered) => {
                self.raft.step(now, Input::BootRegistered { index: applied.index });
            }
            _ => {}
        }
        Ok(Some((sequence, applied)))
    }

    pub(super) fn answer_command(&mut self, sequence: u64, applied: Applied, shared: &mut Shared) {
        let Some(waiting) = self.commands.remove(&sequence) else {
            return self.served(sequence, applied, shared);
        };
        let Applied { outcome, index, .. } = applied;
        if outcome == Outcome::Void {
            shared.void(self.raft.id());
        }
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
}
