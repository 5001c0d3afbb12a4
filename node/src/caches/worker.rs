//! The task that owns the machines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dsync_core::cache::{
    Answer, BoundedStore, Coherence, Incarnation, Key, Leases, Output, Placement, Process, Ticket,
    Write, WriteOutcome,
};
use dsync_core::types::LocalTime;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::waiting::Seat;
use super::{CacheError, CacheMetrics, Got, Homes, Line};
use crate::clock;
use crate::peers::Heard;

/// The machines' clock beats this often.
const TICK: Duration = Duration::from_millis(10);
/// Requests and messages that are taken in at most before leases are published and others get a turn.
const TURN_MAX: usize = 256;

/// What the task is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// A client's get that found nothing to serve.
    Get { key: Key, verify: bool, reply: oneshot::Sender<Result<Got, CacheError>>, seat: Seat },
    /// A client's write.
    Write {
        key: Key,
        write: Write,
        reply: oneshot::Sender<Result<WriteOutcome, CacheError>>,
        seat: Seat,
    },
    /// The leader has granted the home lease that was asked for then.
    Granted { home: Incarnation, sent_at: LocalTime },
}

/// How far the task has come: what the home lease's task goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The epoch of the ring that is installed.
    pub(super) epoch: u64,
    /// How many homes it has.
    pub(super) homes: usize,
    /// Nobody waits for releases of keys.
    pub(super) settled: bool,
    /// This process's place in it.
    pub(super) home: Option<Incarnation>,
    /// When the home lease ends.
    pub(super) lease_over: LocalTime,
    /// Nobody has copies of keys that this home lost by this epoch.
    pub(super) released: u64,
    /// A ring has been installed: from the start on there is one, though it may be empty.
    pub(super) installed: bool,
}

impl Progress {
    /// True if this node serves as a home.
    pub(super) fn is_home_at(&self, now: LocalTime) -> bool {
        self.home.is_some() && now < self.lease_over
    }
}

/// Who waits for an answer.
enum Waiter {
    Get(oneshot::Sender<Result<Got, CacheError>>),
    Write(oneshot::Sender<Result<WriteOutcome, CacheError>>),
}

/// The machines, and who waits for them.
pub(super) struct Worker<L, P> {
    process: Process,
    machines: Coherence<P, BoundedStore>,
    line: L,
    waiting: BTreeMap<Ticket, (Waiter, Seat)>,
    last_ticket: Ticket,
    leases: Arc<ArcSwap<Leases>>,
    progress: watch::Sender<Progress>,
    metrics: CacheMetrics,
}

/// What comes to the task.
pub(super) struct Inboxes<H: Homes> {
    /// From this node's clients, and from the home lease's task.
    pub(super) asked: mpsc::Receiver<Ask>,
    /// From other nodes.
    pub(super) heard: mpsc::Receiver<Heard>,
    /// From the log.
    pub(super) rings: watch::Receiver<H::Ring>,
    /// Who knows the rules.
    pub(super) homes: H,
}

impl<L: Line, P: Placement> Worker<L, P> {
    pub(super) fn new(
        process: Process,
        machines: Coherence<P, BoundedStore>,
        line: L,
        leases: Arc<ArcSwap<Leases>>,
        metrics: CacheMetrics,
    ) -> Self {
        Self {
            process,
            machines,
            line,
            waiting: BTreeMap::new(),
            last_ticket: 0,
            leases,
            progress: watch::Sender::default(),
            metrics,
        }
    }

    /// How far it has come, from now on.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Runs until the node stops.
    pub(super) async fn run<H: Homes<Ring = P>>(mut self, mut inboxes: Inboxes<H>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.install(&mut inboxes);
        loop {
            tokio::select! {
                asked = inboxes.asked.recv() => match asked {
                    Some(ask) => self.take_asked(ask, &mut inboxes.asked),
                    None => return,
                },
                Some(heard) = inboxes.heard.recv() => self.take_heard(heard, &mut inboxes.heard),
                ring = inboxes.rings.changed() => match ring {
                    Ok(()) => self.install(&mut inboxes),
                    Err(_) => return,
                },
                _ = ticks.tick() => {
                    let out = self.machines.tick(clock::now());
                    self.carry_out(out);
                }
            }
            self.publish();
        }
    }

    fn take_asked(&mut self, first: Ask, more: &mut mpsc::Receiver<Ask>) {
        let mut next = Some(first);
        for _ in 0..TURN_MAX {
            let Some(ask) = next else { return };
            self.ask(ask);
            next = more.try_recv().ok();
        }
        // Taken out already, and not to be lost.
        next.into_iter().for_each(|ask| self.ask(ask));
    }

    fn take_heard(&mut self, first: Heard, more: &mut mpsc::Receiver<Heard>) {
        let mut next = Some(first);
        for _ in 0..TURN_MAX {
            let Some(heard) = next else { return };
            self.hear(heard);
            next = more.try_recv().ok();
        }
        next.into_iter().for_each(|heard| self.hear(heard));
    }

    fn ask(&mut self, ask: Ask) {
        let now = clock::now();
        let out = match ask {
            Ask::Get { key, verify, reply, seat } => {
                let ticket = self.ticket(Waiter::Get(reply), seat);
                match verify {
                    true => self.machines.verify(now, ticket, &key),
                    false => self.machines.get(now, ticket, &key),
                }
            }
            Ask::Write { key, write, reply, seat } => {
                let ticket = self.ticket(Waiter::Write(reply), seat);
                self.machines.write(now, ticket, &key, write)
            }
            Ask::Granted { home, sent_at } => {
                self.machines.home_lease_granted(home, sent_at);
                Vec::new()
            }
        };
        self.carry_out(out);
    }

    fn hear(&mut self, heard: Heard) {
        self.metrics.received(heard.message.kind());
        let out = self.machines.receive(clock::now(), heard.from, heard.message);
        self.carry_out(out);
    }

    /// A new ring walks over everything that is kept: other tasks of this thread go elsewhere meanwhile,
    /// where there is an elsewhere.
    fn install<H: Homes<Ring = P>>(&mut self, inboxes: &mut Inboxes<H>) {
        let ring = inboxes.rings.borrow_and_update().clone();
        self.machines.set_rules(inboxes.homes.rules());
        let machines = &mut self.machines;
        let mut install = || machines.install(clock::now(), &ring);
        let threads = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        let out = match threads {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(install),
            _ => install(),
        };
        self.carry_out(out);
        let process = self.process;
        let homes = ring.homes();
        self.progress.send_modify(|progress| {
            progress.epoch = ring.epoch();
            progress.settled = ring.settled();
            progress.homes = homes.len();
            progress.home = homes.into_iter().find(|home| home.process == process);
            progress.installed = true;
        });
    }

    fn ticket(&mut self, waiter: Waiter, seat: Seat) -> Ticket {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, (waiter, seat));
        self.last_ticket
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, message } => {
                    self.metrics.sent(message.kind());
                    self.line.send(to, message);
                }
                Output::Answer(answer) => self.answer(answer),
                Output::Evicted(_) => debug_assert!(false, "the machines keep it to themselves"),
            }
        }
    }

    /// Nobody may listen any more.
    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Got { ticket, found, hit } => {
                self.answer_get(ticket, Ok(Got { found, hit, staleness_ms: 0 }));
            }
            Answer::GetUnavailable { ticket } => {
                self.answer_get(ticket, Err(CacheError::HomeUnavailable));
            }
            Answer::Wrote { ticket, outcome } => self.answer_write(
                ticket,
                match outcome {
                    WriteOutcome::Unknown => Err(CacheError::Unknown),
                    WriteOutcome::Unavailable => Err(CacheError::HomeUnavailable),
                    outcome => Ok(outcome),
                },
            ),
        }
    }

    fn answer_get(&mut self, ticket: Ticket, answer: Result<Got, CacheError>) {
        if let Some((Waiter::Get(reply), _seat)) = self.waiting.remove(&ticket) {
            let _ = reply.send(answer);
        }
    }

    fn answer_write(&mut self, ticket: Ticket, answer: Result<WriteOutcome, CacheError>) {
        if let Some((Waiter::Write(reply), _seat)) = self.waiting.remove(&ticket) {
            let _ = reply.send(answer);
        }
    }

    /// Shows threads that serve hits, and the home lease's task, what has changed.
    fn publish(&self) {
        let leases = self.machines.leases();
        if **self.leases.load() != leases {
            self.leases.store(Arc::new(leases));
        }
        let (lease_over, released) = (self.machines.home_lease_over(), self.machines.released());
        self.progress.send_if_modified(|progress| {
            let changed = released != progress.released;
            (progress.lease_over, progress.released) = (lease_over, released);
            changed
        });
    }
}
