//! Clients of the original kind: a command or a read each, answered or given up.

use bytes::Bytes;
use dsync_core::raft::Input;
use dsync_core::types::{ClusterTime, Index, LocalTime};
use dsync_core::waits::SubmitError;

use super::super::ask::{Answer, Ask};
use super::super::world::{Reply, Shared};
use super::{PendingRead, Process, Reader, Waiting};

impl Process {
    pub(super) fn asked(
        &mut self,
        now: LocalTime,
        waiting: Waiting,
        ask: Ask,
        shared: &mut Shared,
    ) {
        let deadline = now.plus(shared.plan.clients.timeout_ms);
        if self.drains() {
            return self.answer(waiting, Answer::Elsewhere, self.machine.applied(), shared);
        }
        match (ask.operation(), ask) {
            (Some(operation), _) => {
                let taken_at = self.machine.active_time();
                let sequence = self.proposer.submit(now, taken_at, operation, deadline);
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
    pub(super) fn ask_reads_again(&mut self, now: LocalTime, shared: &mut Shared) {
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

    pub(super) fn read_failed(&self, reader: Reader, error: SubmitError, shared: &mut Shared) {
        match reader {
            Reader::Client(waiting, _) => {
                self.answer(waiting, Answer::Failed, self.machine.applied(), shared);
            }
            Reader::Future(reply) => reply.fill(Err(error)),
        }
    }

    pub(super) fn read_ready(
        &mut self,
        now: LocalTime,
        id: u64,
        time: Option<ClusterTime>,
        shared: &mut Shared,
    ) {
        let Some(time) = time else {
            if let Some(read) = self.reads.get_mut(&id) {
                read.again_at = Some(now.plus(20));
            }
            return;
        };
        match self.reads.remove(&id).map(|read| read.reader) {
            Some(Reader::Client(waiting, name)) => {
                let view = self.machine.locks().get(&name);
                self.answer(waiting, Answer::View(view), self.machine.applied(), shared);
            }
            Some(Reader::Future(reply)) => reply.fill(Ok(time)),
            None => {}
        }
    }

    /// Puts an answer on the wire; it is from a state that has applied up to `at`.
    pub(super) fn answer(&self, waiting: Waiting, answer: Answer, at: Index, shared: &mut Shared) {
        let Waiting { client, op } = waiting;
        shared.replies.push_back(Reply { boot: self.boot, client, op, answer, at });
    }

    /// Commands that nobody waits for, of no known origin: they only fill the log.
    pub(super) fn flood(&mut self, now: LocalTime, commands: usize, bytes: usize) {
        for _ in 0..commands {
            let junk = Bytes::from(vec![0xff; bytes]);
            self.flood_ticket += 1;
            let commands = vec![junk].into();
            self.raft.step(now, Input::Propose { ticket: self.flood_ticket, commands });
        }
    }
}
