//! The words of a script.

use bytes::Bytes;

use super::cluster::Cluster;
use super::show;
use crate::raft::*;
use crate::types::NodeName;

/// Time passes in steps of this, so that timers fire in order.
const TICK_MS: u64 = 10;

impl Cluster {
    /// Carries one command out.
    pub(super) fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, args) = words.split_first().expect("a command has a verb");
        match *verb {
            "quiet" => self.quietly(&args.join(" ")),
            "hide" => self.hidden = args.iter().map(|kind| (*kind).to_owned()).collect(),
            "limit" => self.limit(args[0], args[1].parse().unwrap()),
            "cluster" => self.found_quietly(args),
            "nodes" => (1..=args[0].parse().unwrap()).map(NodeId).for_each(|id| self.start(id)),
            "found" => self.found(id(args[0]), args[1], &args[2..]),
            "campaign" => self.tick(id(args[0]), true),
            "elect" => self.elect(id(args[0])),
            "tick" => self.pass(args, false),
            "run" => self.pass(args, true),
            "deliver" => self.deliver_matching(args),
            "drop" => drop(self.matching(args)),
            "double" => self.double(args),
            "delay" => self.delay(args),
            "late" => self.deliver_late(),
            "stabilize" => self.stabilize(),
            "propose" => self.propose(id(args[0]), &args[1..], false),
            "propose-yielding" => self.propose(id(args[0]), &args[1..], true),
            "read" => self.read(id(args[0])),
            "transfer" => {
                self.step(id(args[0]), Input::Transfer { to: args.get(1).map(|to| id(to)) });
            }
            "hash" => self.hash(id(args[0]), args[1], args[2]),
            "due" => self.due(id(args[0]), ms(args[1])),
            "snapshot" => self.snapshot(id(args[0])),
            "isolate" => self.isolate(id(args[0])),
            "cut" => drop(self.cuts.insert(link(args[0]))),
            "heal" => self.cuts.clear(),
            _ => self.disk_command(verb, args),
        }
    }

    fn disk_command(&mut self, verb: &str, args: &[&str]) {
        match verb {
            "disk" => self.nodes.get_mut(&id(args[0])).unwrap().disk.manual = args[1] == "manual",
            "sync" => self.sync_on_demand(id(args[0]), args.get(1).copied()),
            "crash" => args.iter().for_each(|name| self.crash(id(name))),
            "restart" => args.iter().for_each(|name| self.start(id(name))),
            "backup" => {
                let node = self.nodes.get_mut(&id(args[0])).unwrap();
                node.backup = node.disk.copy();
            }
            "restore" => {
                let node = self.nodes.get_mut(&id(args[0])).unwrap();
                node.disk.put_back(node.backup.clone());
            }
            "wipe" => self.nodes.get_mut(&id(args[0])).unwrap().disk.put_back(Vec::new()),
            "holds" => self.show_disk(id(args[0])),
            "status" => self.each(args, Self::show_status),
            "log" => self.each(args, Self::show_log),
            "stamps" => self.each(args, Self::show_stamps),
            "machine" => self.each(args, Self::show_machine),
            _ => panic!("unknown command {verb}"),
        }
    }

    fn quietly(&mut self, command: &str) {
        self.quiet = true;
        self.command(command);
        self.quiet = false;
    }

    fn limit(&mut self, name: &str, value: usize) {
        match name {
            "window_messages" => self.limits.window_messages = value,
            "append_bytes" => self.limits.append_bytes = value,
            "command_bytes" => self.limits.command_bytes = value,
            "uncommitted_bytes" => self.limits.uncommitted_bytes = value,
            "log_held_bytes" => self.limits.log_held_bytes = value,
            "log_tail_entries" => self.limits.log_tail_entries = value as u64,
            "log_tail_bytes" => self.limits.log_tail_bytes = value,
            "snapshot_piece_bytes" => self.snapshot_piece_bytes = value,
            _ => panic!("unknown limit {name}"),
        }
    }

    /// `cluster 3` or `cluster 3 leader n1`: the way there is other scripts' subject.
    fn found_quietly(&mut self, args: &[&str]) {
        let size: u64 = args[0].parse().unwrap();
        let names: Vec<String> = (1..=size).map(|id| format!("n{id}")).collect();
        self.quiet = true;
        self.command(&format!("nodes {size}"));
        self.command(&format!("found n1 c {}", names.join(" ")));
        self.command("run 300ms");
        if let Some(leader) = args.get(2) {
            self.command(&format!("campaign {leader}"));
            self.command("stabilize");
            self.command("run 160ms");
        }
        self.quiet = false;
        self.take_output();
        if let Some(leader) = args.get(2) {
            self.command(&format!("status {leader}"));
        }
    }

    fn found(&mut self, at: NodeId, cluster: &str, names: &[&str]) {
        let cluster_id = ClusterId(u128::from_str_radix(cluster, 16).unwrap());
        let founders = names.iter().map(|name| (id(name), NodeName((*name).into()))).collect();
        self.step(at, Input::Found(Founding { cluster_id, founders, machine: Bytes::new() }));
    }

    /// `tick n1 400ms` for one node, `tick 400ms` for all; `run` delivers all messages meanwhile.
    fn pass(&mut self, args: &[&str], deliver: bool) {
        let (time, names) = args.split_last().expect("how long");
        let end = self.now.plus(ms(time));
        let up = |cluster: &Self| cluster.nodes.keys().copied().collect::<Vec<_>>();
        let ids = if names.is_empty() { up(self) } else { names.iter().map(|n| id(n)).collect() };
        while self.now < end {
            self.now = self.now.plus(TICK_MS).min(end);
            for id in &ids {
                self.tick(*id, false);
            }
            if deliver {
                self.stabilize();
            }
        }
    }

    /// Takes messages out of the network: `n1->n2`, a kind like `Append`, both, or all.
    fn matching(&mut self, args: &[&str]) -> Vec<Envelope> {
        let fits = |envelope: &Envelope| {
            args.iter().all(|arg| match arg.contains("->") {
                true => (envelope.from, envelope.to) == link(arg),
                false => show::message(&envelope.message).split(' ').next() == Some(*arg),
            })
        };
        let (taken, rest) = self.network.drain(..).partition(fits);
        self.network = rest;
        taken
    }

    /// Lets a node stand until it leads; a second time if it had to learn the term first. What it sends
    /// as a leader is left in the network.
    fn elect(&mut self, candidate: NodeId) {
        self.quiet = true;
        for _ in 0..2 {
            self.tick(candidate, true);
            for _ in 0..4 {
                self.deliver_matching(&["VoteRequest"]);
                self.deliver_matching(&["VoteReply"]);
            }
            if self.raft(candidate).status().role == RoleKind::Leader {
                break;
            }
        }
        self.quiet = false;
        self.take_output();
        self.command(&format!("status {}", show::name(candidate)));
    }

    fn deliver_matching(&mut self, args: &[&str]) {
        for envelope in self.matching(args) {
            self.deliver(envelope);
        }
    }

    fn double(&mut self, args: &[&str]) {
        let taken = self.matching(args);
        self.network.extend(taken.iter().chain(&taken).cloned());
    }

    fn delay(&mut self, args: &[&str]) {
        let taken = self.matching(args);
        self.late.extend(taken);
    }

    fn deliver_late(&mut self) {
        for envelope in std::mem::take(&mut self.late) {
            self.deliver(envelope);
        }
    }

    fn stabilize(&mut self) {
        for _ in 0..1_000 {
            if self.network.is_empty() {
                return;
            }
            let envelope = self.network.remove(0);
            self.deliver(envelope);
        }
        panic!("the network never falls silent");
    }

    fn propose(&mut self, at: NodeId, commands: &[&str], yields: bool) {
        let list = commands.iter().map(|c| Bytes::copy_from_slice(c.as_bytes())).collect();
        self.step(at, Input::Propose { ticket: 1, commands: Commands { list, yields } });
    }

    fn read(&mut self, at: NodeId) {
        let node = self.nodes.get_mut(&at).unwrap();
        node.next_read += 1;
        let id = node.next_read;
        self.step(at, Input::Read { id });
    }

    fn hash(&mut self, at: NodeId, index: &str, hash: &str) {
        let index = Index(index.parse().unwrap());
        let hash = u64::from_str_radix(hash, 16).unwrap();
        self.step(at, Input::StateHash(StateHash { index, hash }));
    }

    /// The machine has something to end at this cluster time.
    fn due(&mut self, at: NodeId, ms: u64) {
        let node = self.nodes.get_mut(&at).unwrap();
        node.next_due = Some(ClusterTime(ms));
        let index = node.raft.as_ref().unwrap().status().applied;
        let next_due = node.next_due;
        self.step(at, Input::Applied { index, next_due });
    }

    fn snapshot(&mut self, at: NodeId) {
        let node = self.nodes.get_mut(&at).unwrap();
        let raft = node.raft.as_ref().unwrap();
        let meta = raft.snapshot_meta(raft.status().applied).expect("the entry is in the log");
        node.snapshot = Some((meta.clone(), node.frozen()));
        self.step(at, Input::SnapshotTaken(meta));
    }

    fn isolate(&mut self, one: NodeId) {
        for other in self.nodes.keys().copied().filter(|id| *id != one) {
            self.cuts.extend([(one, other), (other, one)]);
        }
    }

    /// `sync n1` completes all that is under way, also what follows from it; `sync n1 1` one batch.
    fn sync_on_demand(&mut self, at: NodeId, count: Option<&str>) {
        let count = count.map_or(usize::MAX, |count| count.parse().unwrap());
        for _ in 0..count {
            if !self.sync(at) {
                return;
            }
        }
    }
}

pub(super) fn id(name: &str) -> NodeId {
    NodeId(name.strip_prefix('n').and_then(|id| id.parse().ok()).expect("a node is called n1"))
}

fn link(text: &str) -> (NodeId, NodeId) {
    let (from, to) = text.split_once("->").expect("a link is written n1->n2");
    (id(from), id(to))
}

fn ms(text: &str) -> u64 {
    text.strip_suffix("ms").and_then(|ms| ms.parse().ok()).expect("a time is written 400ms")
}
