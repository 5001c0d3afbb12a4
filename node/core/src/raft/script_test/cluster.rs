//! Several cores in one thread, a network that does only what the script says, and a log of what
//! happened.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{Node, View};
use super::show;
use crate::raft::*;

/// The cluster of one script.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) now: LocalTime,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// Under way, oldest first.
    pub(super) network: Vec<Envelope>,
    /// Taken out of the network by `delay`, until `late`.
    pub(super) late: Vec<Envelope>,
    /// Directed links that lose everything.
    pub(super) cuts: BTreeSet<(NodeId, NodeId)>,
    pub(super) limits: Limits,
    /// A published bug to put back.
    #[cfg(feature = "bugs")]
    pub(super) bug: Option<Bug>,
    pub(super) snapshot_piece_bytes: usize,
    /// Messages and disk writes are not shown.
    pub(super) quiet: bool,
    /// Kinds of messages that are not shown.
    pub(super) hidden: Vec<String>,
    output: Vec<String>,
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            now: LocalTime(0),
            nodes: BTreeMap::new(),
            network: Vec::new(),
            late: Vec::new(),
            cuts: BTreeSet::new(),
            #[cfg(feature = "bugs")]
            bug: None,
            limits: Limits { log_tail_entries: 0, ..Limits::default() },
            snapshot_piece_bytes: 8,
            quiet: false,
            hidden: Vec::new(),
            output: Vec::new(),
        }
    }

    /// What happened since the last call.
    pub(super) fn take_output(&mut self) -> Vec<String> {
        std::mem::take(&mut self.output)
    }

    pub(super) fn say(&mut self, line: impl Into<String>) {
        self.output.push(line.into());
    }

    fn say_unless_quiet(&mut self, line: String) {
        if !self.quiet {
            self.output.push(line);
        }
    }

    /// Starts a node from what its disk holds.
    pub(super) fn start(&mut self, id: NodeId) {
        let mut options = RaftOptions::new(id, id.0);
        options.limits = self.limits;
        #[cfg(feature = "bugs")]
        {
            options.bug = self.bug;
        }
        let (now, node) = (self.now, self.nodes.entry(id).or_default());
        let recovered = node.disk.recover();
        node.machine.clear();
        if recovered.snapshot.is_some() {
            node.thaw();
        }
        node.raft = Some(Raft::new(options, now, recovered));
        self.pump(id);
    }

    /// Gives an input to a node that is up, and carries out what follows.
    pub(super) fn step(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        self.observe(id, |raft| raft.step(now, input));
        self.pump(id);
    }

    /// Lets a node notice the time. Its election timer runs out only if `campaign` says so: time-outs
    /// are random, and a script shall not be.
    pub(super) fn tick(&mut self, id: NodeId, campaign: bool) {
        let now = self.now;
        self.observe(id, |raft| {
            raft.election_at = if campaign { now } else { LocalTime(u64::MAX) };
            raft.tick(now);
        });
        self.pump(id);
    }

    /// Hands one message over. A node that is down gets nothing.
    pub(super) fn deliver(&mut self, envelope: Envelope) {
        self.step(envelope.to, Input::Message(envelope));
    }

    /// Completes the oldest write of a node's disk; false if there is none.
    pub(super) fn sync(&mut self, id: NodeId) -> bool {
        let Some((records, proof)) = self.nodes.get_mut(&id).and_then(|node| node.disk.sync())
        else {
            return false;
        };
        self.say_unless_quiet(format!("{} disk: {}", show::name(id), show::records(&records)));
        self.step(id, Input::Persisted(proof));
        true
    }

    fn observe<T>(&mut self, id: NodeId, act: impl FnOnce(&mut Raft) -> T) -> Option<T> {
        let raft = self.nodes.get_mut(&id)?.raft.as_mut()?;
        let before = View::of(raft);
        let result = act(raft);
        let changes = before.changes(&View::of(raft));
        for change in changes {
            self.say(format!("{}: {change}", show::name(id)));
        }
        Some(result)
    }

    /// Carries out what a core asks for until it asks for nothing.
    fn pump(&mut self, id: NodeId) {
        while let Some(ready) = self.observe(id, Raft::ready)
            && !ready.is_empty()
        {
            self.carry_out(id, ready);
        }
    }

    fn carry_out(&mut self, id: NodeId, ready: Ready) {
        for envelope in ready.send {
            self.post(envelope);
        }
        self.report(id, &ready.reads, &ready.refused);
        for input in self.machine_work(id, ready.restore, &ready.apply) {
            self.feed(id, input);
        }
        for write in ready.snapshot_writes {
            self.store_piece(id, write);
        }
        for read in ready.snapshot_reads {
            self.read_piece(id, &read);
        }
        if let Some(batch) = ready.persist {
            self.write(id, batch);
        }
        if let Some(fatal) = ready.fatal {
            self.say(format!("{} stops: {fatal}", show::name(id)));
            self.crash(id);
        }
    }

    fn feed(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        self.observe(id, |raft| raft.step(now, input));
    }

    fn post(&mut self, envelope: Envelope) {
        let cut = self.cuts.contains(&(envelope.from, envelope.to));
        if !self.hidden.contains(&show::kind(&envelope.message)) {
            self.say_unless_quiet(show::envelope(&envelope, if cut { "-x" } else { "->" }));
        }
        if !cut {
            self.network.push(envelope);
        }
    }

    fn report(
        &mut self,
        id: NodeId,
        reads: &[(u64, Option<ClusterTime>)],
        refused: &[(u64, Refusal)],
    ) {
        let name = show::name(id);
        for (read, fresh) in reads {
            let state = self.nodes[&id].machine.join(" ");
            self.say(match fresh.is_some() {
                true => format!("{name}: read {read} answered from state [{state}]"),
                false => format!("{name}: read {read} has to ask again"),
            });
        }
        for (_, refusal) in refused {
            self.say(format!("{name}: proposal refused: {refusal:?}"));
        }
    }

    fn machine_work(
        &mut self,
        id: NodeId,
        restore: Option<SnapshotMeta>,
        apply: &[Entry],
    ) -> Vec<Input> {
        let Some(node) = self.nodes.get_mut(&id) else { return Vec::new() };
        let mut inputs = Vec::new();
        if let Some(meta) = restore {
            node.thaw();
            inputs.push(Input::Applied { index: meta.index, next_due: node.next_due });
        }
        node.apply(apply);
        if let Some(last) = apply.last() {
            inputs.push(Input::Applied { index: last.index, next_due: node.next_due });
        }
        inputs
    }

    fn store_piece(&mut self, id: NodeId, write: SnapshotWrite) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if write.offset == 0 {
            node.incoming.clear();
        }
        node.incoming.extend(&write.bytes);
        if write.last {
            node.snapshot = Some((write.meta.clone(), std::mem::take(&mut node.incoming).into()));
            self.feed(id, Input::SnapshotStored(write.meta));
        }
    }

    fn read_piece(&mut self, id: NodeId, read: &SnapshotRead) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let piece = node.piece(read, self.snapshot_piece_bytes);
        if let Some((meta, offset, bytes, last)) = piece {
            self.feed(id, Input::SnapshotData { to: read.to, meta, offset, bytes, last });
        }
    }

    fn write(&mut self, id: NodeId, batch: PersistBatch) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let text = show::records(node.disk.write(batch));
        if node.disk.manual {
            self.say_unless_quiet(format!("{} writes: {text}", show::name(id)));
        } else {
            self.sync(id);
        }
    }

    /// The process ends, and the disk forgets what it had not synced.
    pub(super) fn crash(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.raft = None;
            node.incoming.clear();
            node.sending.clear();
            node.disk.crash();
        }
    }
}
