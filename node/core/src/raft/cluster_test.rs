//! Whole clusters in a unit test: no faults, instant disks, one message at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::*;
use crate::types::{ClusterId, NodeName};

/// Nodes 1..=n, a network that delivers in order, disks that sync at once.
struct Cluster {
    now: LocalTime,
    nodes: BTreeMap<NodeId, Raft>,
    cut_off: BTreeSet<NodeId>,
    network: VecDeque<Envelope>,
    applied: BTreeMap<NodeId, Vec<Bytes>>,
    reads: Vec<(NodeId, u64, Option<ClusterTime>)>,
    snapshot: Option<SnapshotMeta>,
    /// Sent once, in place of `snapshot`: one that was the newest when its transfer began.
    outdated: Option<SnapshotMeta>,
}

impl Cluster {
    fn found(size: u64) -> Self {
        let ids = (1..=size).map(NodeId);
        let options = |id: NodeId| {
            let mut options = RaftOptions::new(id, id.0);
            options.limits.log_tail_entries = 2;
            options
        };
        let nodes = ids
            .clone()
            .map(|id| (id, Raft::new(options(id), LocalTime(0), Recovered::default())))
            .collect();
        let mut cluster = Self {
            now: LocalTime(0),
            nodes,
            cut_off: BTreeSet::new(),
            network: VecDeque::new(),
            applied: BTreeMap::new(),
            reads: Vec::new(),
            snapshot: None,
            outdated: None,
        };
        let founders = ids.map(|id| (id, NodeName(format!("n{id}")))).collect();
        let founding = Founding { cluster_id: ClusterId(7), founders, machine: Bytes::new() };
        cluster.step(NodeId(1), Input::Found(founding));
        cluster
    }

    fn step(&mut self, id: NodeId, input: Input) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.step(self.now, input);
        self.work(id);
    }

    fn work(&mut self, id: NodeId) {
        loop {
            let ready = self.nodes.get_mut(&id).unwrap().ready();
            if ready.is_empty() {
                return;
            }
            assert_eq!(ready.fatal, None);
            self.carry_out(id, ready);
        }
    }

    fn carry_out(&mut self, id: NodeId, ready: Ready) {
        self.network.extend(ready.send);
        self.reads.extend(ready.reads.iter().map(|(read, fresh)| (id, *read, *fresh)));
        let node = self.nodes.get_mut(&id).unwrap();
        if let Some(batch) = ready.persist {
            let (_records, token) = batch.into_parts();
            node.step(self.now, Input::Persisted(token.synced()));
        }
        if let Some(meta) = ready.restore {
            node.step(self.now, Input::Applied { index: meta.index, next_due: None });
        }
        for write in ready.snapshot_writes {
            assert!(write.last);
            node.step(self.now, Input::SnapshotStored(write.meta));
        }
        for read in ready.snapshot_reads {
            let meta = self.outdated.take().or(self.snapshot.clone()).unwrap();
            let bytes = Bytes::from_static(b"state");
            let (to, offset, last) = (read.to, read.offset, true);
            node.step(self.now, Input::SnapshotData { to, meta, offset, bytes, last });
        }
        if let Some(last) = ready.apply.last() {
            node.step(self.now, Input::Applied { index: last.index, next_due: None });
        }
        let commands = ready.apply.into_iter().filter_map(|entry| match entry.payload {
            Payload::Command(command) => Some(command),
            _ => None,
        });
        self.applied.entry(id).or_default().extend(commands);
    }

    fn run(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        while self.now < end {
            self.now = self.now.plus(10);
            let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
            for id in ids {
                self.nodes.get_mut(&id).unwrap().tick(self.now);
                self.work(id);
            }
            while let Some(envelope) = self.network.pop_front() {
                let cut =
                    self.cut_off.contains(&envelope.from) || self.cut_off.contains(&envelope.to);
                if !cut {
                    self.step(envelope.to, Input::Message(envelope));
                }
            }
        }
    }

    fn leader(&self) -> NodeId {
        let leaders: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| {
                node.status().role == RoleKind::Leader && !self.cut_off.contains(&node.id())
            })
            .map(Raft::id)
            .collect();
        assert_eq!(leaders.len(), 1, "one leader, not {leaders:?}");
        leaders[0]
    }

    fn other(&self) -> NodeId {
        *self.nodes.keys().find(|id| **id != self.leader()).unwrap()
    }

    fn propose(&mut self, id: NodeId, command: &'static str) {
        let commands = vec![Bytes::from_static(command.as_bytes())].into();
        self.step(id, Input::Propose { ticket: 1, commands });
    }
}

#[test]
fn three_founders_elect_one_leader_and_agree_on_what_any_of_them_proposes() {
    let mut cluster = Cluster::found(3);
    cluster.run(2_000);
    let (leader, follower) = (cluster.leader(), cluster.other());
    cluster.propose(leader, "a");
    cluster.propose(follower, "b");
    cluster.run(50);
    for (id, applied) in &cluster.applied {
        assert_eq!(applied, &["a", "b"], "on {id}");
    }
    assert_eq!(cluster.applied.len(), 3);
}

#[test]
fn a_group_of_one_serves_alone() {
    let mut cluster = Cluster::found(1);
    cluster.run(1_000);
    cluster.propose(NodeId(1), "a");
    cluster.step(NodeId(1), Input::Read { id: 9 });
    assert_eq!(cluster.applied[&NodeId(1)], ["a"]);
    assert!(matches!(cluster.reads[..], [(NodeId(1), 9, Some(_))]));
}

#[test]
fn the_others_go_on_when_the_leader_is_cut_off_and_it_catches_up_later() {
    let mut cluster = Cluster::found(5);
    cluster.run(2_000);
    let old = cluster.leader();
    cluster.cut_off.insert(old);
    cluster.run(2_000);
    let new = cluster.leader();
    assert_ne!(old, new);
    assert_ne!(cluster.nodes[&old].status().role, RoleKind::Leader, "it noticed that it is alone");
    cluster.propose(new, "x");
    cluster.run(100);
    cluster.cut_off.clear();
    cluster.run(1_000);
    assert_eq!(cluster.applied[&old], ["x"]);
}

#[test]
fn a_follower_that_comes_back_alone_does_not_disturb_the_leader() {
    let mut cluster = Cluster::found(3);
    cluster.run(2_000);
    let (leader, follower) = (cluster.leader(), cluster.other());
    let term = cluster.nodes[&leader].status().term;
    cluster.cut_off.insert(follower);
    cluster.run(5_000);
    cluster.cut_off.clear();
    cluster.run(2_000);
    assert_eq!((cluster.leader(), cluster.nodes[&leader].status().term), (leader, term));
}

#[test]
fn reads_on_every_node_are_confirmed_by_a_round() {
    let mut cluster = Cluster::found(3);
    cluster.run(2_000);
    for id in [1, 2, 3].map(NodeId) {
        cluster.step(id, Input::Read { id: id.0 });
    }
    cluster.run(50);
    cluster.reads.sort_unstable();
    let confirmed = cluster.reads.iter().map(|(id, read, time)| (*id, *read, time.is_some()));
    let expected = (1..=3).map(|id| (NodeId(id), id, true));
    assert!(confirmed.eq(expected));
}

/// Nothing is appended while nothing is timed, so the last stamp says nothing about what time it is.
#[test]
fn reads_and_followers_know_the_time_however_long_ago_the_last_entry_was() {
    let mut cluster = Cluster::found(3);
    cluster.run(2_000);
    let leader = cluster.leader();
    let last_stamp = cluster.nodes[&leader].log.last_stamp();
    cluster.run(3_600_000);
    assert_eq!(cluster.nodes[&leader].log.last_stamp(), last_stamp);
    let hour_later = last_stamp.plus(3_600_000);
    for id in [1, 2, 3].map(NodeId) {
        let shown = cluster.nodes[&id].status().time;
        assert!(shown.plus(200) >= hour_later, "{id}: {shown}");
        cluster.step(id, Input::Read { id: id.0 });
    }
    cluster.run(50);
    assert_eq!(cluster.reads.len(), 3);
    assert!(cluster.reads.iter().all(|(_, _, time)| *time >= Some(hour_later)));
}

#[test]
fn the_lead_goes_to_the_one_named_and_nothing_is_lost() {
    let mut cluster = Cluster::found(3);
    cluster.run(2_000);
    let (leader, follower) = (cluster.leader(), cluster.other());
    cluster.propose(leader, "before");
    cluster.step(leader, Input::Transfer { to: Some(follower) });
    cluster.run(50);
    assert_eq!(cluster.leader(), follower);
    cluster.propose(leader, "after");
    cluster.run(50);
    assert_eq!(cluster.applied[&leader], ["before", "after"]);
}

#[test]
fn a_follower_that_needs_purged_entries_gets_the_snapshot() {
    let mut cluster = Cluster::found(3);
    cluster.run(2_000);
    let (leader, follower) = (cluster.leader(), cluster.other());
    cluster.cut_off.insert(follower);
    for _ in 0..20 {
        cluster.propose(leader, "x");
        cluster.run(20);
    }
    let applied = cluster.nodes[&leader].status().applied;
    let meta = cluster.nodes[&leader].snapshot_meta(applied).unwrap();
    cluster.snapshot = Some(meta.clone());
    cluster.step(leader, Input::SnapshotTaken(meta));
    assert!(cluster.nodes[&leader].status().log_start > Index(10));
    cluster.cut_off.clear();
    cluster.run(1_000);
    cluster.propose(leader, "y");
    cluster.run(200);
    assert_eq!(cluster.nodes[&follower].status().applied, cluster.nodes[&leader].status().applied);
    assert_eq!(cluster.applied[&follower].last().unwrap(), "y");
}

#[test]
fn a_follower_whose_snapshot_is_outdated_on_arrival_gets_the_newest() {
    let mut cluster = Cluster::found(3);
    cluster.run(2_000);
    let (leader, follower) = (cluster.leader(), cluster.other());
    let grow = |cluster: &mut Cluster| {
        for _ in 0..10 {
            cluster.propose(leader, "x");
            cluster.run(20);
        }
        let applied = cluster.nodes[&leader].status().applied;
        let meta = cluster.nodes[&leader].snapshot_meta(applied).unwrap();
        cluster.snapshot = Some(meta.clone());
        cluster.step(leader, Input::SnapshotTaken(meta.clone()));
        meta
    };
    cluster.cut_off.insert(follower);
    let old = grow(&mut cluster);
    // Until it counts as gone: for one that lives the log would be kept.
    cluster.run(1_000);
    grow(&mut cluster);
    assert!(cluster.nodes[&leader].status().log_start > old.index.next());
    cluster.outdated = Some(old);
    cluster.cut_off.clear();
    cluster.run(1_000);
    assert_eq!(cluster.outdated, None, "the old one was sent");
    assert_eq!(cluster.nodes[&follower].status().applied, cluster.nodes[&leader].status().applied);
}
