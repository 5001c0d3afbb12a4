#![allow(clippy::unwrap_used)] // a panic is how a test says no

//! Records and chains for tests.

use dsync_core::audit::{AuditHead, AuditRecord, Event, encode};
use dsync_core::locks::{
    Acquire, EventItem, LockEvent, LockItem, LockOperation, Mode, Owner, Release, What,
};
use dsync_core::machine::{
    Command, FirstState, Machine, NodeOperation, Operation, Origin, Settings, StoredCommand,
};
use dsync_core::raft::{Entry, Founding, Payload};
use dsync_core::types::{BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName, Term};
use dsync_core::wire;

use super::catalog::Catalog;
use super::query::{Question, search};
use super::trail::Page;

/// A chain, and every record in it.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Where it has come to.
    pub head: AuditHead,
    /// From number 1 on.
    pub records: Vec<AuditRecord>,
}

impl Chain {
    /// A chain of so many records: grants and releases of a few locks by a few owners.
    pub fn of(count: u64) -> Self {
        let mut chain = Self::default();
        chain.grow(count);
        chain
    }

    /// Adds records; gives them back.
    pub fn grow(&mut self, count: u64) -> &[AuditRecord] {
        let from = self.records.len();
        for _ in 0..count {
            let number = self.head.count + 1;
            let (index, stamp) = (Index(number * 2), ClusterTime(number * 10));
            self.records.push(self.head.append(index, stamp, event(number)));
        }
        &self.records[from..]
    }

    /// The head after record `number`.
    pub fn head_at(&self, number: u64) -> AuditHead {
        let records = self.slice(1, number).iter();
        records.fold(AuditHead::default(), |head, record| head.after(&encode(record)))
    }

    /// The records `from` to `to`.
    pub fn slice(&self, from: u64, to: u64) -> &[AuditRecord] {
        let at = |number: u64| usize::try_from(number).unwrap();
        &self.records[at(from) - 1..at(to)]
    }

    /// The same as a page, written at 7 ms.
    pub fn page(&self, from: u64, to: u64) -> Page {
        self.slice(from, to).iter().map(|record| (7, encode(record))).collect()
    }
}

/// An event that is another one for each number.
pub fn event(number: u64) -> Event {
    let item = EventItem {
        name: format!("lock-{}", number % 3),
        mode: Mode::Exclusive,
        permits: 1,
        token: number,
    };
    Event::Lock(LockEvent {
        what: if number.is_multiple_of(2) { What::Released } else { What::Granted },
        owner: Owner { principal: "anonymous".into(), name: format!("owner-{}", number % 5) },
        items: vec![item],
        hold: None,
        wait: None,
        attachment: None,
        elapsed_ms: number,
        detail: String::new(),
    })
}

/// Numbers of all records that can be read; panics at one that is not the chain's.
pub fn numbers(catalog: &Catalog, chain: &Chain) -> Vec<u64> {
    let question = Question { until: u64::MAX, limit: usize::MAX, ..Question::default() };
    let found = search(catalog, &question);
    assert_eq!(found.unreadable, []);
    for line in &found.lines {
        assert_eq!(line.record().as_ref(), chain.slice(line.number, line.number).first());
    }
    found.lines.iter().map(|line| line.number).collect()
}

/// What a real machine made: its chain, and the machine after each record (the first: before any).
/// Each record is of an entry of its own: a grant, then the release of it.
pub fn applied(records: u64) -> (Chain, Vec<Machine>) {
    let mut log = Log::founded();
    let (mut chain, mut machines) = (Chain::default(), vec![log.machine.clone()]);
    for number in 1..=records {
        let pair = number.div_ceil(2);
        let owner = Owner { principal: "anonymous".into(), name: format!("owner-{}", pair % 5) };
        let name = format!("lock-{}", pair % 3);
        let (mode, permits, permits_max) = (Mode::Exclusive, 1, 1);
        let made = log.submit(if number % 2 == 1 {
            let items = vec![LockItem { name, mode, permits, permits_max }];
            let (ttl_ms, queue, attachment) = (Some(0), false, None);
            Operation::lock(LockOperation::Acquire(Acquire {
                owner,
                items,
                ttl_ms,
                queue,
                attachment,
            }))
        } else {
            Operation::lock(LockOperation::Release(Release { owner, name }))
        });
        assert_eq!(made.len(), 1, "{made:?}");
        chain.records.extend(made);
        machines.push(log.machine.clone());
    }
    chain.head = log.machine.audit();
    assert_eq!(chain.head, chain.head_at(records));
    (chain, machines)
}

const NODE: NodeId = NodeId(2);
const BOOT: BootId = BootId(0xb007);

/// The log of a cluster of one, a millisecond an entry.
struct Log {
    machine: Machine,
    sequence: u64,
}

impl Log {
    fn founded() -> Self {
        let first = FirstState::V1 { settings: Settings::default(), token_base: 1 << 22 };
        let founding = Founding {
            cluster_id: ClusterId(0xc),
            founders: [(NODE, NodeName("n2".to_owned()))].into(),
            machine: wire::encode(&first).into(),
        };
        let mut log = Self { machine: Machine::default(), sequence: 0 };
        log.append(Payload::Founding(founding));
        log.submit(Operation::Node(NodeOperation::RegisterBoot { count: BootCount(1) }));
        log
    }

    fn submit(&mut self, operation: Operation) -> Vec<AuditRecord> {
        self.sequence += 1;
        let origin = Origin {
            node: NODE,
            boot: BOOT,
            sequence: self.sequence,
            low_water: self.sequence,
            taken_at: self.machine.active_time(),
        };
        let command = StoredCommand::V1(Command { origin, operation });
        self.append(Payload::Command(wire::encode(&command).into()))
    }

    fn append(&mut self, payload: Payload) -> Vec<AuditRecord> {
        let index = self.machine.applied().next();
        let stamp = ClusterTime(index.0);
        self.machine.apply(&Entry { term: Term(1), index, stamp, payload }).events
    }
}
