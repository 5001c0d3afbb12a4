#![allow(clippy::unwrap_used)] // a panic is how a test says no

//! Nodes that fill each other's gaps, over a carrier that can lie.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::audit::fixture::{Chain, numbers};
use crate::audit::metrics::AuditMetrics;
use crate::audit::port::AuditPort;
use crate::audit::trail::TrailOptions;

/// What a node does to words on their way out.
type Lie = fn(Exchange) -> Exchange;

type Ear = mpsc::Sender<(NodeId, Bytes)>;

#[derive(Clone, Default)]
struct Hub(Arc<Mutex<BTreeMap<NodeId, Ear>>>);

#[derive(Clone)]
struct Wire {
    hub: Hub,
    own: NodeId,
    lie: Lie,
}

impl Carrier for Wire {
    fn peers(&self) -> Vec<NodeId> {
        self.hub.0.lock().unwrap().keys().copied().filter(|id| *id != self.own).collect()
    }

    fn send(&self, to: NodeId, word: Bytes) {
        let word = (self.lie)(Exchange::decode(&word).unwrap()).encode();
        let ear = self.hub.0.lock().unwrap()[&to].clone();
        let _ = ear.try_send((self.own, word.into()));
    }
}

struct Node {
    _folder: TempDir,
    port: AuditPort,
    reader: AuditReader,
}

impl Node {
    /// A node that has seen these stretches of the chain and no others.
    fn start(hub: &Hub, id: u64, lie: Lie, chain: &Chain, seen: &[(u64, u64)]) -> Self {
        let folder = TempDir::new().unwrap();
        let options = TrailOptions { segment_bytes: 4_000, ..TrailOptions::new(1 << 30, None) };
        let (mut port, reader) =
            AuditPort::start(folder.path(), options, AuditHead::default(), AuditMetrics::default())
                .unwrap();
        for (from, to) in seen {
            port.position(chain.head_at(from - 1));
            port.append(chain.slice(*from, *to), chain.head_at(*to));
        }
        port.position(chain.head);
        let (ear, heard) = mpsc::channel(16);
        hub.0.lock().unwrap().insert(NodeId(id), ear);
        let wire = Wire { hub: hub.clone(), own: NodeId(id), lie };
        tokio::spawn(run(wire, heard, reader.clone(), port.writer()));
        Self { _folder: folder, port, reader }
    }

    async fn until(&self, done: impl Fn(&Catalog) -> bool) -> Arc<Catalog> {
        let mut reader = self.reader.clone();
        timeout(Duration::from_secs(300), async {
            while !done(&reader.catalog()) {
                assert!(reader.changed().await);
            }
            reader.catalog()
        })
        .await
        .expect("in time")
    }
}

fn honest(word: Exchange) -> Exchange {
    word
}

#[tokio::test]
async fn gaps_are_filled_from_whoever_has_the_records() {
    let (hub, chain) = (Hub::default(), Chain::of(3_000));
    let _first = Node::start(&hub, 1, honest, &chain, &[(1, 1_500)]);
    let _second = Node::start(&hub, 2, honest, &chain, &[(1_400, 3_000)]);
    let empty = Node::start(&hub, 3, honest, &chain, &[]);
    let holes = Node::start(&hub, 4, honest, &chain, &[(10, 20), (1_450, 1_600), (2_999, 3_000)]);
    for node in [&empty, &holes] {
        let catalog =
            node.until(|catalog| catalog.last() == 3_000 && catalog.own_gaps().is_empty()).await;
        assert_eq!(numbers(&catalog, &chain), (1..=3_000).collect::<Vec<_>>());
        assert!(node.port.writer().sync(None));
    }
}

#[tokio::test]
async fn what_nobody_has_stays_a_gap() {
    let (hub, chain) = (Hub::default(), Chain::of(300));
    let _peer = Node::start(&hub, 1, honest, &chain, &[(101, 300)]);
    let node = Node::start(&hub, 2, honest, &chain, &[(1, 50)]);
    let catalog = node.until(|catalog| catalog.last() == 300).await;
    let gaps: Vec<_> = catalog.own_gaps().iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!(gaps, [(51, 100)]);
}

#[tokio::test]
async fn a_peer_that_lies_is_passed_over() {
    let lies: [Lie; 4] = [
        |mut word| {
            if let Exchange::Page { records, .. } = &mut word
                && let Some((_, bytes)) = records.first_mut()
            {
                bytes[3] ^= 1;
            }
            word
        },
        |mut word| {
            if let Exchange::Page { start, .. } = &mut word {
                start.hash[0] ^= 1;
            }
            word
        },
        |mut word| {
            if let Exchange::Page { records, .. } = &mut word {
                records.pop();
            }
            word
        },
        |word| match word {
            Exchange::Page { id, .. } => {
                let start = AuditHead { count: u64::MAX, hash: [0; 32] };
                Exchange::Page { id, start, records: vec![(0, vec![1])] }
            }
            ask @ Exchange::Ask { .. } => ask,
        },
    ];
    for lie in lies {
        let (hub, chain) = (Hub::default(), Chain::of(200));
        let _liar = Node::start(&hub, 1, lie, &chain, &[(1, 200)]);
        let node = Node::start(&hub, 3, honest, &chain, &[]);
        // Nothing of the liar's is taken before an honest node comes.
        let _honest = Node::start(&hub, 2, honest, &chain, &[(1, 200)]);
        let catalog =
            node.until(|catalog| catalog.own_gaps().is_empty() && catalog.last() == 200).await;
        assert_eq!(numbers(&catalog, &chain), (1..=200).collect::<Vec<_>>());
    }
}
