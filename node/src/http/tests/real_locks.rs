//! A node over a real machine, without consensus: each operation is applied at once, as the next
//! entry of a log, a millisecond an entry.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use dsync_core::audit::AuditRecord;
use dsync_core::machine::{
    Command, FirstState, Machine, NodeOperation, Operation, Origin, Settings, StoredCommand,
};
use dsync_core::queue::SubQueue;
use dsync_core::raft::{Entry, Founding, Payload};
use dsync_core::types::{BootCount, BootId, ClusterId, ClusterTime, NodeId, NodeName, Term};
use dsync_core::wire::encode;

use super::fake_node::FakeNode;
use crate::handle::{Applied, NodeHandle};

const NODE: NodeId = NodeId(2);
const BOOT: BootId = BootId(0xb007);

/// What an entry has done, for the parts of the node that are told.
struct Done {
    applied: Option<Applied>,
    records: Vec<AuditRecord>,
    ready: BTreeSet<(Arc<str>, SubQueue)>,
}

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

    fn submit(&mut self, operation: Operation) -> Done {
        self.sequence += 1;
        let origin = Origin {
            node: NODE,
            boot: BOOT,
            sequence: self.sequence,
            low_water: self.sequence,
            taken_at: self.machine.active_time(),
        };
        let command = StoredCommand::V1(Command { origin, operation });
        self.append(Payload::Command(encode(&command).into()))
    }

    fn append(&mut self, payload: Payload) -> Done {
        let index = self.machine.applied().next();
        let stamp = ClusterTime(index.0);
        let applied = self.machine.apply(&Entry { term: Term(1), index, stamp, payload });
        // It looks at all there is: with thousands of locks not at each of the steps to them.
        if index.0 < 200 || index.0.is_multiple_of(2_000) {
            self.machine.check_invariants().unwrap();
        }
        let (records, ready) = (applied.events, applied.ready);
        Done { applied: applied.answer.map(|(_, applied)| applied), records, ready }
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
        let Done { applied, records, ready } = log.submit(operation.clone());
        published.store(Arc::new(log.machine.clone()));
        let handle = told.get().expect("it is set before the first request");
        handle.listeners().applied(&log.machine, &records);
        handle.events().push(records);
        handle.queues().ready(&ready);
        Ok(applied.expect("a command has an answer"))
    });
    node.machine.store(founded);
    let _ = handle.set(node.site.node.clone());
    node
}
