//! The part of a process that serves requests which carry their own ids, and may wait.
//!
//! It runs the very code of a node that waits (`dsync_core::waits`): what a node does with tokio is
//! done here by an executor that polls in order, and by a desk on which the futures leave their
//! wishes. Where a real node has a task, here is a step after each event:
//!
//! ```text
//! event ─> pump ─> futures that were woken ─> their orders, and chores ─> pump ─> ... until all is quiet
//! ```
//!
//! A reply is put on the wire in the step in which its future ends, as in a real node: from then on
//! its grant is the client's. A client that hangs up before that drops the future, and a process that
//! dies drops them all; the dead one proposes no Leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use dsync_core::audit::AuditRecord;
use dsync_core::locks::{Attachment, LockOperation};
use dsync_core::machine::{Applied, Machine, NodeOperation, Operation, Outcome, RequestId};
use dsync_core::proposer::Expired;
use dsync_core::raft::{Input, RoleKind};
use dsync_core::types::{BootId, LocalTime};
use dsync_core::waits::{
    self, Asked, Chore, Listeners, PATIENCE_MS, SWEEP_MS, SubmitError, Upkeep, Watch,
};

use super::desk::{Desk, Order, Reply};
use super::executor::Executor;
use super::{Answer, PendingRead, Process, Reader, Shared, Waiting};

/// A leader that is asked to stop waits this long for a successor.
const DRAIN_LIMIT_MS: u64 = 2_500;

/// See the module.
#[derive(Debug)]
pub(super) struct Serving {
    listeners: Arc<Listeners>,
    desk: Arc<Desk>,
    futures: Executor<Done>,
    /// The future of each request that waits, while its connection is open.
    asked: BTreeMap<Waiting, u64>,
    /// Commands on their way, by their number at the proposer.
    submitted: BTreeMap<u64, Submitter>,
    upkeep: Upkeep,
    watch: Watch,
    silence_limit_ms: u64,
    sweep_at: LocalTime,
    stopping: Stopping,
}

/// Who wants to know what became of a command.
#[derive(Debug)]
enum Submitter {
    Future(Reply<Applied>),
    Client(Waiting),
    Upkeep(Chore),
}

/// What a future ends with.
#[derive(Debug)]
enum Done {
    Asked(Waiting, Result<waits::Answer, SubmitError>),
    /// Nobody listens here any more.
    Stopped,
}

/// How far an orderly stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// Those who wait are being sent elsewhere.
    Listening,
    /// Nothing is taken in, and a leader looks for a successor.
    Draining {
        until: LocalTime,
    },
}

impl Serving {
    pub(super) fn new(
        boot: BootId,
        machine: &Machine,
        now: LocalTime,
        silence_limit_ms: u64,
    ) -> Self {
        let listeners = Arc::new(Listeners::new(boot));
        Self {
            desk: Arc::new(Desk::new(now, machine.clone())),
            futures: Executor::new(),
            asked: BTreeMap::new(),
            submitted: BTreeMap::new(),
            upkeep: Upkeep::new(listeners.clone()),
            watch: Watch::new(silence_limit_ms),
            silence_limit_ms,
            sweep_at: now,
            stopping: Stopping::No,
            listeners,
        }
    }

    /// Time passes.
    pub(super) fn set_now(&self, now: LocalTime) {
        self.desk.set_now(now);
    }

    /// Another node speaks.
    pub(super) fn heard(&mut self, node: dsync_core::types::NodeId, now: LocalTime) {
        self.watch.heard(node, now);
    }

    /// A snapshot was installed.
    pub(super) fn installed(&self, machine: &Machine) {
        self.desk.publish(machine);
        self.listeners.installed(machine);
    }
}

impl Process {
    // === Requests ===

    /// One command, answered by its own entry.
    pub(super) fn command(
        &mut self,
        now: LocalTime,
        waiting: Waiting,
        request: Option<RequestId>,
        operation: Operation,
        shared: &mut Shared,
    ) {
        let deadline = now.plus(shared.plan.clients.timeout_ms);
        self.submit(
            now,
            operation.with_request(request),
            deadline,
            Submitter::Client(waiting),
            shared,
        );
    }

    /// An acquire or an upgrade that may wait: the future of a real node.
    pub(super) fn wait(
        &mut self,
        waiting: Waiting,
        request: Option<RequestId>,
        operation: Operation,
        wait_ms: u64,
        shared: &Shared,
    ) {
        let step_ms = shared.plan.clients.timeout_ms;
        let operation =
            move |attachment| attached(operation, attachment, wait_ms > 0).with_request(request);
        let asked = Asked { operation, wait_ms, step_ms };
        let (desk, listeners) = (self.serving.desk.clone(), self.serving.listeners.clone());
        let number = self.serving.futures.spawn(async move {
            Done::Asked(waiting, waits::ask(&*desk, &listeners, asked).await)
        });
        self.serving.asked.insert(waiting, number);
    }

    /// The client has closed the connection: the future is dropped where it stands, and an answer
    /// that comes has nowhere to go.
    pub(super) fn hung_up(&mut self, waiting: Waiting) {
        if let Some(number) = self.serving.asked.remove(&waiting) {
            self.serving.futures.abort(number);
        }
        self.serving.submitted.retain(
            |_, submitter| !matches!(submitter, Submitter::Client(client) if *client == waiting),
        );
        self.commands.retain(|_, client| *client != waiting);
    }

    /// An orderly stop begins: who waits is told to go elsewhere, then nothing is taken in any more.
    pub(super) fn drain(&mut self) {
        if self.serving.stopping != Stopping::No {
            return;
        }
        self.serving.stopping = Stopping::Listening;
        let (desk, listeners) = (self.serving.desk.clone(), self.serving.listeners.clone());
        self.serving.futures.spawn(async move {
            // If the cluster did not hear of it, it finds out.
            let _ = waits::stop_listening(&*desk, &listeners).await;
            Done::Stopped
        });
    }

    // === Steps ===

    /// Entries were applied: the state is shown, the listeners are told, and those who submitted them
    /// are answered, in this order. See `waits::Site` for what would be lost by another one.
    pub(super) fn show_applied(
        &mut self,
        now: LocalTime,
        records: &[AuditRecord],
        answers: Vec<(u64, Applied)>,
        shared: &mut Shared,
    ) {
        self.serving.desk.publish(&self.machine);
        self.others_run(now, shared);
        self.serving.listeners.applied(&self.machine, records);
        self.others_run(now, shared);
        for (sequence, applied) in answers {
            self.answer_command(sequence, applied, shared);
            self.others_run(now, shared);
        }
    }

    /// A real node's requests run on other threads than its driver: some of those that are woken may
    /// get their turn between any two steps of it.
    fn others_run(&mut self, now: LocalTime, shared: &mut Shared) {
        while self.serving.futures.has_woken() && shared.rng.percent(50) {
            if let Some((_, done)) = self.serving.futures.run() {
                self.done(now, done, shared);
            }
        }
    }

    /// Runs who was woken and takes in what they want. False: nothing has changed.
    pub(super) fn serve(&mut self, now: LocalTime, shared: &mut Shared) -> bool {
        let mut busy = false;
        while let Some((_, done)) = self.serving.futures.run() {
            busy = true;
            self.done(now, done, shared);
        }
        for order in self.serving.desk.take_orders() {
            busy = true;
            self.order(now, order, shared);
        }
        while let Some((chore, operation)) = self.serving.upkeep.next_chore() {
            busy = true;
            let until = now.plus(PATIENCE_MS);
            self.submit(now, operation, until, Submitter::Upkeep(chore), shared);
        }
        if let Some(what) = self.serving.desk.take_bug() {
            shared.violation("a lock request is answered by its own kind", 0, what);
        }
        busy
    }

    fn done(&mut self, now: LocalTime, done: Done, shared: &mut Shared) {
        match done {
            Done::Asked(waiting, result) => {
                self.serving.asked.remove(&waiting);
                let answer = match result {
                    Ok(answer) => {
                        let (index, stamp, waited_ms) =
                            (answer.index, answer.stamp, answer.waited_ms);
                        Answer::Waited { outcome: answer.deliver(), index, stamp, waited_ms }
                    }
                    Err(error) => told(error),
                };
                self.answer(waiting, answer, self.machine.applied(), shared);
            }
            Done::Stopped => {
                self.raft.step(now, Input::Transfer { to: None });
                let until = now.plus(DRAIN_LIMIT_MS);
                self.serving.stopping = Stopping::Draining { until };
            }
        }
    }

    fn order(&mut self, now: LocalTime, order: Order, shared: &mut Shared) {
        match order {
            Order::Submit { operation, deadline, reply } => {
                self.submit(now, *operation, deadline, Submitter::Future(reply), shared);
            }
            Order::Barrier { deadline, reply } => match self.refusal() {
                Some(error) => reply.fill(Err(error)),
                None => {
                    let reader = Reader::Future(reply);
                    let read = PendingRead { reader, deadline, again_at: Some(now) };
                    self.reads.insert(self.next_read, read);
                    self.next_read += 1;
                    self.ask_reads_again(now, shared);
                }
            },
        }
    }

    fn submit(
        &mut self,
        now: LocalTime,
        operation: Operation,
        deadline: LocalTime,
        submitter: Submitter,
        shared: &mut Shared,
    ) {
        if let Some(error) = self.refusal() {
            return self.tell(submitter, Err(error), shared);
        }
        let taken_at = self.machine.active_time();
        let sequence = self.proposer.submit(now, taken_at, operation, deadline);
        self.serving.submitted.insert(sequence, submitter);
    }

    /// An orderly stop is under way.
    pub(crate) fn stops(&self) -> bool {
        self.serving.stopping != Stopping::No
    }

    /// Nothing is taken in any more.
    pub(super) fn drains(&self) -> bool {
        matches!(self.serving.stopping, Stopping::Draining { .. })
    }

    /// Why nothing can be asked of this node now.
    fn refusal(&self) -> Option<SubmitError> {
        if self.drains() {
            return Some(SubmitError::Stopping);
        }
        let id = self.raft.id();
        let member = self.raft.membership().is_some_and(|members| members.contains(id));
        (!member).then_some(SubmitError::NotMember)
    }

    /// A command of this part was applied.
    pub(super) fn served(&mut self, sequence: u64, applied: Applied, shared: &mut Shared) {
        if let Some(submitter) = self.serving.submitted.remove(&sequence) {
            self.tell(submitter, Ok(applied), shared);
        }
    }

    /// A command of this part was given up.
    pub(super) fn given_up(&mut self, expired: Expired, shared: &mut Shared) {
        if let Some(submitter) = self.serving.submitted.remove(&expired.sequence) {
            self.tell(submitter, Err(expired.into()), shared);
        }
    }

    fn tell(
        &mut self,
        submitter: Submitter,
        said: Result<Applied, SubmitError>,
        shared: &mut Shared,
    ) {
        match (submitter, said) {
            (Submitter::Future(reply), said) => reply.fill(said),
            (Submitter::Upkeep(chore), said) => self.serving.upkeep.done(chore, said),
            (Submitter::Client(waiting), Ok(Applied { outcome, index, stamp })) => {
                let answer = match outcome {
                    Outcome::Void => Answer::Failed,
                    outcome => Answer::Applied { outcome, index, stamp },
                };
                self.answer(waiting, answer, index, shared);
            }
            (Submitter::Client(waiting), Err(error)) => {
                self.answer(waiting, told(error), self.machine.applied(), shared);
            }
        }
    }

    // === Time ===

    /// The driver's tick, as far as it is about those who wait.
    pub(super) fn watch_over_listeners(&mut self, now: LocalTime) {
        let watched = self.serving.watch.tick(now, &self.raft, &self.machine);
        let (taken_at, until) =
            (self.machine.active_time(), now.plus(self.serving.silence_limit_ms));
        for (_, boot) in watched.silent {
            self.proposer.submit(
                now,
                taken_at,
                Operation::Node(NodeOperation::LoseListeners(boot)),
                until,
            );
        }
        if watched.cut_off {
            self.serving.listeners.cut_off();
        }
        if now >= self.serving.sweep_at {
            self.serving.sweep_at = now.plus(SWEEP_MS);
            self.serving.upkeep.sweep(&self.machine);
        }
        if self.drains() {
            // Repeated: a hand-over that did not come about is given up after a while.
            self.raft.step(now, Input::Transfer { to: None });
        }
    }

    /// True once an orderly stop is over: nobody is waited for, or not any longer. Everybody who is
    /// left is answered.
    pub(super) fn has_drained(&mut self, now: LocalTime, shared: &mut Shared) -> bool {
        let Stopping::Draining { until } = self.serving.stopping else { return false };
        let leads_others = self.raft.status().role == RoleKind::Leader
            && self.raft.membership().is_some_and(|members| members.voters.len() > 1);
        let waited_for = !self.serving.submitted.is_empty()
            || !self.commands.is_empty()
            || !self.reads.is_empty();
        if (leads_others || waited_for) && now < until {
            return false;
        }
        self.finish(now, shared);
        true
    }

    /// Nobody is left without an answer. What was never handed to a leader is certainly not applied;
    /// of the rest nobody knows.
    fn finish(&mut self, now: LocalTime, shared: &mut Shared) {
        for expired in self.proposer.expired(LocalTime(u64::MAX)) {
            let error = if expired.sent { SubmitError::Unknown } else { SubmitError::Stopping };
            if let Some(submitter) = self.serving.submitted.remove(&expired.sequence) {
                self.tell(submitter, Err(error), shared);
            }
            if let Some(waiting) = self.commands.remove(&expired.sequence) {
                self.answer(waiting, told(error), self.machine.applied(), shared);
            }
        }
        for read in std::mem::take(&mut self.reads).into_values() {
            self.read_failed(read.reader, SubmitError::Stopping, shared);
        }
        while let Some((_, done)) = self.serving.futures.run() {
            self.done(now, done, shared);
        }
    }
}

/// What a client is told for an error: as the status code of the HTTP answer says what is certain.
fn told(error: SubmitError) -> Answer {
    match error {
        SubmitError::Unknown | SubmitError::NoLeader { sent: true } => Answer::Unknown,
        SubmitError::NoLeader { sent: false } => Answer::Failed,
        SubmitError::Stopping
        | SubmitError::Overloaded
        | SubmitError::TooLarge
        | SubmitError::NotMember => Answer::Elsewhere,
    }
}

/// As the node's handle completes it: a request without patience is only tried.
fn attached(operation: Operation, attachment: Attachment, queue: bool) -> Operation {
    let attachment = Some(attachment);
    match operation {
        Operation::Lock { operation: LockOperation::Acquire(mut ask), .. } => {
            (ask.queue, ask.attachment) = (queue, attachment);
            Operation::lock(LockOperation::Acquire(ask))
        }
        Operation::Lock { operation: LockOperation::Upgrade(mut ask), .. } => {
            (ask.queue, ask.attachment) = (queue, attachment);
            Operation::lock(LockOperation::Upgrade(ask))
        }
        other => other,
    }
}
