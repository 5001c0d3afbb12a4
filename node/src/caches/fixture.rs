//! Caches of several nodes in one process: wires between them that carry, or cut, and a ring that is what
//! the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dsync_core::cache::{
    CacheMessage, Condition, Incarnation, Key, Limits, Placement, Process, Rules, Value, Version,
    Write, WriteOutcome,
};
use dsync_core::types::{BootId, LocalTime, NodeId};
use tokio::sync::{mpsc, watch};

use super::{CacheError, CacheMetrics, CacheParts, Caches, Consistency, Homes, Line};
use crate::clock;
use crate::peers::Heard;

/// A ring of any homes: keys go by the sum of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestRing {
    epoch: u64,
    homes: Vec<Incarnation>,
}

impl Placement for TestRing {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn home(&self, key: &Key) -> Option<Incarnation> {
        let sum: usize = key.0.bytes().map(usize::from).sum();
        self.homes.get(sum % self.homes.len().max(1)).copied()
    }

    fn homes(&self) -> Vec<Incarnation> {
        self.homes.clone()
    }

    fn settled(&self) -> bool {
        true
    }
}

/// The log, as far as caches see it: it grants every lease, and notes what it is asked.
#[derive(Clone, Debug)]
pub(crate) struct TestHomes {
    rules: Rules,
    rings: watch::Sender<TestRing>,
    /// What was asked of it.
    pub(crate) asked: watch::Sender<Asked>,
}

/// What a log was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) enters: usize,
    pub(crate) left: Vec<Incarnation>,
}

impl TestHomes {
    fn new(rules: Rules) -> Self {
        Self { rules, rings: watch::Sender::default(), asked: watch::Sender::default() }
    }

    /// The next ring.
    pub(crate) fn change(&self, homes: &[Incarnation]) {
        self.rings.send_modify(|ring| {
            ring.epoch += 1;
            ring.homes = homes.to_vec();
        });
    }
}

impl Homes for TestHomes {
    type Ring = TestRing;

    fn placement(&self) -> watch::Receiver<TestRing> {
        self.rings.subscribe()
    }

    fn rules(&self) -> Rules {
        self.rules
    }

    async fn enter(&self) -> Duration {
        self.asked.send_modify(|asked| asked.enters += 1);
        Duration::from_millis(10)
    }

    async fn lease(&self, _home: Incarnation) -> Option<LocalTime> {
        Some(clock::now())
    }

    async fn release(&self, _home: Incarnation, _epoch: u64) -> bool {
        true
    }

    async fn leave(&self, home: Incarnation) {
        self.asked.send_modify(|asked| asked.left.push(home));
    }
}

/// What joins the nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wires(Arc<Mutex<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    inboxes: BTreeMap<Process, mpsc::Sender<Heard>>,
    silent: BTreeSet<Process>,
    carried: BTreeMap<&'static str, usize>,
}

/// One node's end.
pub(crate) struct End {
    me: Process,
    wires: Wires,
}

impl Wires {
    /// Nothing comes from or to this process any more.
    pub(crate) fn cut(&self, process: Process) {
        self.0.lock().unwrap().silent.insert(process);
    }

    /// How many messages of a kind were sent.
    pub(crate) fn carried(&self, kind: &str) -> usize {
        self.0.lock().unwrap().carried.get(kind).copied().unwrap_or(0)
    }
}

impl Line for End {
    fn send(&self, to: Process, message: CacheMessage) {
        let mut ends = self.wires.0.lock().unwrap();
        *ends.carried.entry(message.kind()).or_default() += 1;
        if ends.silent.contains(&self.me) || ends.silent.contains(&to) {
            return;
        }
        if let Some(inbox) = ends.inboxes.get(&to) {
            let _ = inbox.try_send(Heard::new(self.me, message));
        }
    }
}

/// Some nodes.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Caches>,
    pub(crate) homes: TestHomes,
    pub(crate) wires: Wires,
}

impl Cluster {
    /// So many nodes, of which none is a home yet.
    pub(crate) fn new(count: u64, rules: Rules) -> Self {
        let (homes, wires) = (TestHomes::new(rules), Wires::default());
        let node = |at| {
            let (me, (sender, heard)) = (process(at), mpsc::channel(1_000));
            wires.0.lock().unwrap().inboxes.insert(me, sender);
            Caches::start(CacheParts {
                process: me,
                limits: Limits { bytes_max: 4 << 20, entries_max: 10_000 },
                seed: at,
                line: End { me, wires: wires.clone() },
                heard,
                homes: homes.clone(),
                metrics: CacheMetrics::default(),
            })
        };
        Self { nodes: (0..count).map(node).collect(), homes, wires }
    }

    /// So many nodes, all of them homes that serve.
    pub(crate) async fn serving(count: u64) -> Self {
        let cluster = Self::new(count, Rules::default());
        let homes: Vec<Incarnation> = (0..count).map(home).collect();
        cluster.homes.change(&homes);
        for node in &cluster.nodes {
            let mut progress = node.0.progress.clone();
            let all = progress.wait_for(|progress| progress.homes == homes.len()).await;
            all.expect("the node runs");
        }
        cluster
    }
}

/// The caches of a node that is alone, and a home.
pub(crate) fn alone() -> Caches {
    let cluster = Cluster::new(1, Rules::default());
    cluster.homes.change(&[home(0)]);
    cluster.nodes[0].clone()
}

/// One node of a cluster.
pub(crate) fn process(at: u64) -> Process {
    Process { node: NodeId(at + 1), boot: BootId(at + 100) }
}

/// Its first place in the ring.
pub(crate) fn home(at: u64) -> Incarnation {
    Incarnation { process: process(at), returns: 0 }
}

pub(crate) fn key(name: impl Into<String>) -> Key {
    Key(name.into())
}

/// An unconditional write of a text.
pub(crate) fn text(text: &str) -> Write {
    let body = Bytes::from(text.to_owned());
    let value = Value { body, content_type: "text/plain".to_owned() };
    Write { value: Some(value), ttl_ms: None, condition: Condition::Any }
}

impl Caches {
    /// Writes, and says under which version.
    pub(crate) async fn put(&self, name: &str, value: &str) -> Version {
        match self.write(key(name), text(value)).await {
            Ok(WriteOutcome::Done(version)) => version,
            other => panic!("{name}={value}: {other:?}"),
        }
    }

    /// Reads a text, and whether it was a hit.
    pub(crate) async fn text(
        &self,
        name: &str,
        consistency: Consistency,
    ) -> Result<Option<(String, bool)>, CacheError> {
        let got = self.get(key(name), consistency).await?;
        let text = |body: &Bytes| String::from_utf8(body.to_vec()).unwrap();
        Ok(got.found.map(|found| (text(&found.value.body), got.hit)))
    }
}
