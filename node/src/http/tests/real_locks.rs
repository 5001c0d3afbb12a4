//! A node over a real lock table, without consensus: each operation is applied at once, as the next
//! entry of a log, a millisecond an entry.

use std::sync::{Arc, OnceLock};

use dsync_core::audit::AuditRecord;
use dsync_core::machine::{
    Command, FirstState, Machine, NodeOperation, Operation, Origin, Settings, StoredCommand,
};
use dsync_core::raft::{Entry, Founding, Payload};
use dsync_core::types::{BootCount, BootId, ClusterId, ClusterTime, NodeId, NodeName, Term};
use dsync_core::wire::encode;

use super::fake_node::FakeNode;
use crate::handle::{Applied, NodeHandle};

const NODE: NodeId = NodeId(2);
const BOOT: BootId = BootId(0xb007);

/// The log of a cluster of one.
struct Log {
    machine: Machine,
    sequence: u64,
}

impl Log {
    fn founded(settings: Settings) -> Self {
        let first = FirstState::V1 { settings, token_base: 1 << 22 };
        let founding = Founding {
            cluster_id: ClusterId(0xc),
            founders: [(NODE, NodeName("n2".to_owned()))].into(),
            machine: encode(&first).into(),
        };
        let mut log = Self { machine: Machine::default(), sequence: 0 };
        log.append(Payload::Founding(founding));
        log.submit(Operation::Node(NodeOperation::RegisterBoot { count: BootCount(1) }));
        log
    }

    fn submit(&mut self, operation: Operation) -> (Applied, Vec<AuditRecord>) {
        self.sequence += 1;
        let origin = Origin {
            node: NODE,
            boot: BOOT,
            sequence: self.sequence,
            low_water: self.sequence,
            taken_at: self.machine.active_time(),
        };
        let command = StoredCommand::V1(Command { origin, operation });
        let (applied, records) = self.append(Payload::Command(encode(&command).into()));
        (applied.expect("a command has an answer"), records)
    }

    fn append(&mut self, payload: Payload) -> (Option<Applied>, Vec<AuditRecord>) {
        let index = self.machine.applied().next();
        let stamp = ClusterTime(index.0);
        let applied = self.machine.apply(&Entry { term: Term(1), index, stamp, payload });
        let answer = applied.answer.map(|(_, applied)| applied);
        (answer, applied.events)
    }
}

/// A node with the default settings, but for leases that are short enough for tests.
pub fn node() -> FakeNode {
    let mut settings = Settings::default();
    settings.locks.lease_ms_min = 1;
    node_with(settings)
}

/// A node with these settings.
pub fn node_with(settings: Settings) -> FakeNode {
    let mut log = Log::founded(settings);
    let founded = Arc::new(log.machine.clone());
    let handle = Arc::new(OnceLock::<NodeHandle>::new());
    let told = Arc::clone(&handle);
    let node = FakeNode::new(move |operation, published| {
        let (applied, records) = log.submit(operation.clone());
        published.store(Arc::new(log.machine.clone()));
        let handle = told.get().expect("it is set before the first request");
        handle.listeners().applied(&log.machine, &records);
        handle.events().push(records);
        Ok(applied)
    });
    node.machine.store(founded);
    let _ = handle.set(node.site.node.clone());
    node
}
