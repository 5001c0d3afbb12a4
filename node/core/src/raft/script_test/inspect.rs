//! What a script can ask to see of a node.

use super::cluster::Cluster;
use super::commands::id;
use super::{node, show};
use crate::raft::*;

impl Cluster {
    /// One line for each node named, or for all.
    pub(super) fn each(&mut self, args: &[&str], show: fn(&Self, NodeId) -> String) {
        let named: Vec<NodeId> = args.iter().map(|name| id(name)).collect();
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in if named.is_empty() { all } else { named } {
            let line = match self.nodes[&id].raft {
                Some(_) => show(self, id),
                None => String::from("down"),
            };
            self.say(format!("{}: {line}", show::name(id)));
        }
    }

    pub(super) fn show_status(&self, id: NodeId) -> String {
        let status = self.raft(id).status();
        let (part, commit) = (node::part(&status), status.commit);
        format!("{part}, last {}, synced {}, commit {commit}", status.last, status.durable)
    }

    /// Committed entries stand before the bar, if there are others.
    pub(super) fn show_log(&self, id: NodeId) -> String {
        let raft = self.raft(id);
        let all = raft.log.slice(raft.status().log_start, usize::MAX);
        let (committed, rest): (Vec<_>, Vec<_>) = all.iter().partition(|e| e.index <= raft.commit);
        match (committed.is_empty(), rest.is_empty()) {
            (false, true) => show::entries(committed),
            (true, true) => String::from("(compacted)"),
            (true, false) => format!("| {}", show::entries(rest)),
            (false, false) => format!("{} | {}", show::entries(committed), show::entries(rest)),
        }
    }

    pub(super) fn show_stamps(&self, id: NodeId) -> String {
        let all = self.raft(id).log.slice(self.raft(id).status().log_start, usize::MAX);
        let one = |entry: &Entry| format!("{} at {}ms", show::entry(entry), entry.stamp);
        all.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn show_machine(&self, id: NodeId) -> String {
        format!("[{}]", self.nodes[&id].machine.join(" "))
    }

    pub(super) fn show_disk(&mut self, id: NodeId) {
        let recovered = self.nodes[&id].disk.recover();
        let hard = show::hard_state(&recovered.hard_state);
        let snapshot = recovered
            .snapshot
            .map_or(String::new(), |meta| format!("snapshot {}; ", show::meta_text(&meta)));
        let log = show::entries(&recovered.entries);
        self.say(format!("{} disk holds: {hard}; {snapshot}{log}", show::name(id)));
    }

    /// The core of a node that is up.
    pub(super) fn raft(&self, id: NodeId) -> &Raft {
        self.nodes[&id].raft.as_ref().expect("the node is up")
    }
}
