//! A stand-in for the driver: a real machine, to which entries of this node and of others are applied
//! in the order in which they come, at the runtime's (paused) time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use dsync_core::audit::AuditRecord;
use dsync_core::locks::{Acquire, Attachment, LockOperation, Release};
use dsync_core::machine::{
    Command, FirstState, Machine, NodeOperation, Operation, Origin, Outcome, Settings,
    StoredCommand,
};
use dsync_core::raft::{Entry, Founding, Payload, RaftStatus, RoleKind};
use dsync_core::types::{BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName, Term};
use dsync_core::wire::encode;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::owner;
use crate::handle::{Applied, DriverRequest, NodeHandle, NodeStatus, SubmitError};
use crate::waits::Listeners;

/// The node under test, and another one.
pub const HERE: (NodeId, BootId) = (NodeId(1), BootId(0x11));
pub const ELSEWHERE: (NodeId, BootId) = (NodeId(2), BootId(0x22));

/// What happens to commands and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    /// They are applied, or proven, at once.
    Serves,
    /// They lie somewhere; who sent them is told at the deadline that nobody knows.
    Stalls,
    /// They were not taken by anybody.
    Missing,
}

pub struct World {
    pub node: NodeHandle,
    state: Arc<Mutex<State>>,
}

pub struct State {
    machine: Machine,
    published: Arc<ArcSwap<Machine>>,
    listeners: Option<Arc<Listeners>>,
    began: Instant,
    sequence: u64,
    pub leader: Leader,
    /// A read barrier takes this long.
    pub barrier: Duration,
    /// Nothing that is applied is shown to this node, as if it lagged.
    pub lags: bool,
    missed: Vec<AuditRecord>,
    /// What this node sent, in order, if it was applied.
    pub applied: Vec<Operation>,
    /// What lies somewhere.
    stalled: Vec<(Origin, Operation)>,
    /// What stalls has been given up: commands carry a mark above it.
    pub raises_mark: bool,
    draining: bool,
}

impl World {
    pub fn new() -> Self {
        let (requests, inbox) = mpsc::channel(16);
        let published = Arc::new(ArcSwap::from_pointee(Machine::default()));
        let status = Arc::new(ArcSwap::from_pointee(status()));
        let node = NodeHandle::new(requests, published.clone(), status, None);
        let mut state = State {
            machine: Machine::default(),
            published,
            listeners: Some(node.listeners().clone()),
            began: Instant::now(),
            sequence: 0,
            leader: Leader::Serves,
            barrier: Duration::ZERO,
            lags: false,
            missed: Vec::new(),
            applied: Vec::new(),
            stalled: Vec::new(),
            raises_mark: false,
            draining: false,
        };
        state.found();
        let state = Arc::new(Mutex::new(state));
        tokio::spawn(drive(state.clone(), inbox));
        Self { node, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The state as the cluster has it, whatever this node sees.
    pub fn machine(&self) -> Machine {
        self.state().machine.clone()
    }

    /// An entry of another node.
    pub fn elsewhere(&self, operation: Operation) -> Outcome {
        self.state().apply_from(ELSEWHERE, operation)
    }

    /// Somebody has the lock, through another node.
    pub fn hold(&self, ask: Acquire) {
        self.elsewhere(Operation::lock(LockOperation::Acquire(ask)));
    }

    pub fn release(&self, who: &str, lock: &str) {
        let release = Release { owner: owner(who), name: lock.into() };
        self.elsewhere(Operation::lock(LockOperation::Release(release)));
    }

    pub fn attachment_elsewhere(number: u64) -> Option<Attachment> {
        Some(Attachment { boot: ELSEWHERE.1, number })
    }

    /// The cluster says that nobody listens at the node under test.
    pub fn lose_this_node(&self) {
        self.elsewhere(Operation::Node(NodeOperation::LoseListeners(HERE.1)));
    }

    /// Comes back when the state is so.
    pub async fn until(&self, is_so: impl Fn(&Machine) -> bool) {
        for _ in 0..10_000 {
            if is_so(&self.machine()) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come about");
    }

    /// Comes back when nothing is under way at the node under test.
    pub async fn settled(&self) {
        self.node.listeners().all_settled().await;
    }

    /// What this node proposed, by its first word.
    pub fn proposed(&self) -> Vec<String> {
        let word = |it: &Operation| {
            let operation = match it {
                Operation::Node(operation) => format!("{operation:?}"),
                Operation::Lock { operation, .. } => format!("{operation:?}"),
                Operation::Queue { operation, .. } => format!("{operation:?}"),
                Operation::QueueRegistry(operation) => format!("{operation:?}"),
                Operation::Ring(operation) => format!("{operation:?}"),
            };
            operation.split(['(', ' ']).next().unwrap_or_default().to_owned()
        };
        self.state().applied.iter().map(word).collect()
    }
}

impl State {
    fn found(&mut self) {
        let first = FirstState::V1 { settings: Settings::default(), token_base: 100 };
        let founders = [HERE, ELSEWHERE].map(|(id, _)| (id, NodeName(id.to_string())));
        self.append(Payload::Founding(Founding {
            cluster_id: ClusterId(7),
            founders: founders.into(),
            machine: encode(&first).into(),
        }));
        for from in [HERE, ELSEWHERE] {
            self.apply_from(
                from,
                Operation::Node(NodeOperation::RegisterBoot { count: BootCount(1) }),
            );
        }
    }

    pub fn apply_from(&mut self, from: (NodeId, BootId), operation: Operation) -> Outcome {
        let origin = self.origin(from);
        self.apply(origin, operation).outcome
    }

    /// The requests that lay somewhere are applied after all. (Leaves that lay there are lost.)
    pub fn apply_stalled(&mut self) {
        for (origin, operation) in std::mem::take(&mut self.stalled) {
            if !matches!(operation, Operation::Lock { operation: LockOperation::Leave(_), .. }) {
                self.apply(origin, operation);
            }
        }
    }

    /// This node sees what it has missed, or (`installed`) the state without it.
    pub fn catch_up(&mut self, installed: bool) {
        self.lags = false;
        self.published.store(Arc::new(self.machine.clone()));
        let missed = std::mem::take(&mut self.missed);
        let Some(listeners) = &self.listeners else { return };
        if installed {
            listeners.installed(&self.machine);
        } else {
            listeners.applied(&self.machine, &missed);
        }
    }

    fn origin(&mut self, (node, boot): (NodeId, BootId)) -> Origin {
        self.sequence += 1;
        let taken_at = self.machine.active_time();
        let low_water = if self.raises_mark { self.sequence } else { 0 };
        Origin { node, boot, sequence: self.sequence, low_water, taken_at }
    }

    fn apply(&mut self, origin: Origin, operation: Operation) -> Applied {
        if origin.node == HERE.0 {
            self.applied.push(operation.clone());
        }
        let command = Command { origin, operation };
        let bytes = encode(&StoredCommand::V1(command)).into();
        self.append(Payload::Command(bytes)).expect("a command has an answer")
    }

    pub fn append(&mut self, payload: Payload) -> Option<Applied> {
        let index = self.machine.applied().next();
        let stamp = ClusterTime(u64::try_from(self.began.elapsed().as_millis()).unwrap());
        let applied = self.machine.apply(&Entry { term: Term(1), index, stamp, payload });
        // Long logs are checked now and then: the check looks at the whole state.
        if index.0 < 100 || index.0.is_multiple_of(100) {
            self.machine.check_invariants().unwrap();
        }
        self.missed.extend(applied.events);
        if !self.lags {
            self.catch_up(false);
        }
        applied.answer.map(|(_, applied)| applied)
    }
}

async fn drive(state: Arc<Mutex<State>>, mut inbox: mpsc::Receiver<DriverRequest>) {
    let mut marks = interval(Duration::from_millis(100));
    loop {
        let request = tokio::select! {
            request = inbox.recv() => request,
            _ = marks.tick() => {
                state.lock().unwrap().append(Payload::Empty);
                continue;
            }
        };
        let Some(request) = request else { return };
        serve(&state, request);
    }
}

fn serve(shared: &Arc<Mutex<State>>, request: DriverRequest) {
    let mut state = shared.lock().unwrap();
    match request {
        DriverRequest::Submit { reply, .. } if state.draining => {
            let _ = reply.send(Err(SubmitError::Stopping));
        }
        DriverRequest::Submit { operation, deadline, reply, .. } => {
            let origin = state.origin(HERE);
            let answer = match state.leader {
                Leader::Serves => Ok(state.apply(origin, operation)),
                Leader::Missing => Err(SubmitError::NoLeader { sent: false }),
                Leader::Stalls => {
                    state.stalled.push((origin, operation));
                    Err(SubmitError::Unknown)
                }
            };
            let at = if answer.is_ok() { Instant::now() } else { deadline.into() };
            tokio::spawn(async move {
                sleep_until(at).await;
                let _ = reply.send(answer);
            });
        }
        DriverRequest::Barrier { deadline, reply } => {
            let (leader, barrier, shared) = (state.leader, state.barrier, shared.clone());
            tokio::spawn(async move {
                if leader != Leader::Serves {
                    sleep_until(deadline.into()).await;
                    let _ = reply.send(Err(SubmitError::NoLeader { sent: false }));
                    return;
                }
                sleep(barrier).await;
                shared.lock().unwrap().catch_up(false);
                let time = shared.lock().unwrap().machine.time();
                let _ = reply.send(Ok(time));
            });
        }
        // Nothing is granted here.
        DriverRequest::HomeLease { .. } => {}
        DriverRequest::Drain { done } => {
            state.draining = true;
            let _ = done.send(());
        }
    }
}

fn status() -> NodeStatus {
    NodeStatus {
        node_id: HERE.0,
        name: NodeName("here".into()),
        boot_id: HERE.1,
        boot_count: BootCount(1),
        cluster_id: None,
        raft: RaftStatus {
            role: RoleKind::Follower,
            term: Term(1),
            leader: None,
            log_start: Index(1),
            last: Index(0),
            durable: Index(0),
            commit: Index(0),
            applied: Index(0),
            time: ClusterTime(0),
            founded: true,
        },
        membership: None,
        outside: None,
        registered: true,
    }
}
