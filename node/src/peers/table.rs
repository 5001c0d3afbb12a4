//! Who is connected, and by which connection a message goes.
//!
//! Each node dials every other one, once for each lane. So between two nodes stand up to four
//! connections, and each side sends by those it dialled itself. Until its own are up (the DNS entry
//! of a new pod may reach some nodes seconds after the pod has dialled them) a node sends by those
//! that it accepted, and by the other lane before none at all: any of them is better than a lost
//! message.
//!
//! A node that restarts is known by its new boot id. Its old connections may not have noticed yet that
//! their process has ended, so they are asked, by a probe; if none answers in time they are given up,
//! and the new process takes their place. If one does, two processes have one node id, one of them on
//! a copy of the disk, and it is the newcomer that is refused (`node_id_in_use`): the healthy original
//! must not pay for a copy that somebody starts. Rejected: to replace unasked, which let the copy take
//! part and had the cluster tell the *original* that its disk was set back. A second address of a node that is dialled already (IPv4 and IPv6
//! of one pod) is left alone until the first connection ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsync_core::raft::HeldBoot;
use dsync_core::types::{BootId, NodeId, NodeName};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::PeerInfo;
use super::frame::{self, Frame};
use super::handshake::Proven;
use super::introduction::{Introduction, Lane, Refusal, judge, judge_process};
use super::limits::PeerLimits;
use super::outbox::Outbox;
use super::secret::Role;

/// The nodes met since the process started, and this node itself.
#[derive(Debug)]
pub(super) struct Table {
    state: Mutex<State>,
    /// Counts changes of connections and of what peers say of themselves.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    own: Introduction,
    /// With links: connected. Without: known from earlier, for people; one at most for each name.
    nodes: BTreeMap<NodeId, Node>,
    /// What the log says of the nodes' processes.
    held: BTreeMap<NodeId, HeldBoot>,
    last_link: u64,
    last_probe: u64,
}

#[derive(Debug)]
struct Node {
    introduction: Introduction,
    address: SocketAddr,
    version: u16,
    /// Oldest first. All of one process: that of `introduction`.
    links: Vec<Link>,
    /// The latest probe that this process has answered.
    alive: u64,
}

#[derive(Clone, Debug)]
struct Link {
    number: u64,
    role: Role,
    lane: Lane,
    outbox: Arc<Outbox>,
    ended: Arc<Notify>,
}

/// A connection's place in the table.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) outbox: Arc<Outbox>,
    /// Told when the table gives the connection up.
    pub(super) ended: Arc<Notify>,
}

/// Why a proven connection got no place.
#[derive(Debug)]
pub(super) enum NoPlace {
    /// This node has dialled that process on that lane already.
    AlreadyDialled,
    /// The two may not talk (any more).
    Refused(Refusal),
}

impl Table {
    pub(super) fn new(own: Introduction, held: BTreeMap<NodeId, HeldBoot>) -> Self {
        let state = State { own, nodes: BTreeMap::new(), held, last_link: 0, last_probe: 0 };
        Self { state: Mutex::new(state), changes: watch::Sender::new(0) }
    }

    pub(super) fn own(&self) -> Introduction {
        self.lock().own.clone()
    }

    /// Says to all who this node is from now on. Those it may no longer talk to are told why, and
    /// left.
    pub(super) fn set_own(&self, own: Introduction) {
        let mut state = self.lock();
        if state.own == own {
            return;
        }
        state.own = own;
        let said = frame::encode(&Frame::Introduction(state.own.clone())).ok();
        for link in state.nodes.values().flat_map(|node| &node.links) {
            said.iter().for_each(|frame| link.outbox.introduce(frame.clone()));
        }
        state.leave_whom_it_refuses();
    }

    /// The log says something new of the nodes' processes. Those that must not take part are told so,
    /// and left.
    pub(super) fn set_held(&self, held: BTreeMap<NodeId, HeldBoot>) {
        let mut state = self.lock();
        state.held = held;
        state.leave_whom_it_refuses();
    }

    /// Decides whether this node may talk to `theirs` now, and in which version. Takes up to `probe`
    /// if another process of that node is connected.
    pub(super) async fn judge(
        &self,
        theirs: &Introduction,
        expected: Option<&NodeName>,
        probe: Duration,
    ) -> Result<u16, Refusal> {
        let version = self.lock().judge(theirs, expected)?;
        if self.older_boot_lives(theirs, probe).await {
            return Err(Refusal::NodeIdInUse { node_id: theirs.node_id });
        }
        Ok(version)
    }

    /// Asks the connected process of that node, if it is another one than `theirs`, whether it lives.
    /// One that does not say so in time loses its connections.
    async fn older_boot_lives(&self, theirs: &Introduction, wait: Duration) -> bool {
        let Some((boot, probe)) = self.lock().probe(theirs) else { return false };
        let verdict = |state: &State| {
            let node = state.nodes.get(&theirs.node_id);
            let node = node.filter(|node| node.introduction.boot_id == boot);
            match node.filter(|node| !node.links.is_empty()) {
                Some(node) if node.alive >= probe => Some(true),
                Some(_) => None,
                None => Some(false),
            }
        };
        let mut changes = self.changes.subscribe();
        let answered = changes.wait_for(|_| verdict(&self.lock()).is_some());
        // The sender lives as long as `self`.
        let _ = timeout(wait, answered).await;
        let lives = verdict(&self.lock());
        if lives.is_none() {
            self.lock().give_up(theirs.node_id, boot);
            self.changes.send_modify(|changes| *changes += 1);
        }
        lives.unwrap_or(false)
    }

    /// A probe was answered by the process of this connection.
    pub(super) fn answered(&self, node_id: NodeId, boot: BootId, probe: u64) {
        let mut state = self.lock();
        if let Some(node) = state.nodes.get_mut(&node_id)
            && node.introduction.boot_id == boot
        {
            node.alive = node.alive.max(probe);
        }
        drop(state);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// As [`Table::judge`], for a dialler. One that is connected already stops here: the listener
    /// would take the new connection for a replacement and end the good one.
    pub(super) async fn judge_dialled(
        &self,
        theirs: &Introduction,
        expected: Option<&NodeName>,
        lane: Lane,
        probe: Duration,
    ) -> Result<u16, Refusal> {
        let version = self.judge(theirs, expected, probe).await?;
        let state = self.lock();
        let connected = state.nodes.get(&theirs.node_id).is_some_and(|node| {
            node.introduction.boot_id == theirs.boot_id
                && node.links.iter().any(|link| link.is_dialled(lane))
        });
        let node_id = theirs.node_id;
        if connected { Err(Refusal::AlreadyConnected { node_id }) } else { Ok(version) }
    }

    /// Gives a proven connection its place. Never that of another process: see [`Table::judge`].
    pub(super) fn attach(&self, proven: &Proven, limits: &PeerLimits) -> Result<Place, NoPlace> {
        let place = self.lock().attach(proven, limits)?;
        self.changes.send_modify(|changes| *changes += 1);
        Ok(place)
    }

    /// A peer has said something new of itself.
    pub(super) fn update(&self, theirs: &Introduction) -> Result<(), Refusal> {
        let mut state = self.lock();
        state.judge(theirs, None)?;
        if let Some(node) = state.nodes.get_mut(&theirs.node_id) {
            node.introduction = theirs.clone();
        }
        drop(state);
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    /// A connection has ended. True if messages were sent by it, or may have been before another took
    /// its place.
    pub(super) fn detach(&self, node_id: NodeId, number: u64) -> bool {
        let mut state = self.lock();
        let Some(node) = state.nodes.get_mut(&node_id) else { return false };
        let replaced = !node.links.iter().any(|link| link.number == number);
        let best = |lane| node.best(lane).is_some_and(|link| link.number == number);
        let used = best(Lane::Urgent) || best(Lane::Bulk);
        node.links.retain(|link| link.number != number);
        drop(state);
        if replaced {
            return true;
        }
        self.changes.send_modify(|changes| *changes += 1);
        used
    }

    /// Where a message for this node waits.
    pub(super) fn outbox(&self, node_id: NodeId, lane: Lane) -> Option<Arc<Outbox>> {
        let state = self.lock();
        Some(state.nodes.get(&node_id)?.best(lane)?.outbox.clone())
    }

    /// Waits until this node has no dialled connection to that one on that lane.
    pub(super) async fn undialled(&self, node_id: NodeId, lane: Lane) {
        let free = |state: &State| {
            let node = state.nodes.get(&node_id);
            node.is_none_or(|node| !node.links.iter().any(|link| link.is_dialled(lane)))
        };
        let mut changes = self.changes.subscribe();
        // The sender lives as long as `self`.
        let _ = changes.wait_for(|_| free(&self.lock())).await;
    }

    /// Told of every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Ends every connection after what waits has been written.
    pub(super) fn close_all(&self) {
        for node in self.lock().nodes.values() {
            node.links.iter().for_each(|link| link.outbox.close(None));
        }
    }

    pub(super) fn known(&self) -> Vec<PeerInfo> {
        self.lock().nodes.values().map(Node::info).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leave_whom_it_refuses(&self) {
        for node in self.nodes.values() {
            let Err(refusal) = self.judge(&node.introduction, None) else { continue };
            let farewell = frame::encode(&Frame::Farewell(refusal)).ok();
            node.links.iter().for_each(|link| link.outbox.close(farewell.clone()));
        }
    }

    fn judge(&self, theirs: &Introduction, expected: Option<&NodeName>) -> Result<u16, Refusal> {
        let version = judge(&self.own, theirs, expected)?;
        judge_process(self.held.get(&theirs.node_id), theirs)?;
        let holder = self.nodes.iter().find(|(id, node)| {
            **id != theirs.node_id
                && node.introduction.name == theirs.name
                && !node.links.is_empty()
        });
        match holder {
            Some((holder, _)) => {
                Err(Refusal::NameInUse { name: theirs.name.clone(), holder: *holder })
            }
            None => Ok(version),
        }
    }

    /// Begins to ask the connected process of that node, if it is another one than `theirs`, whether it
    /// lives: which process, and the number of the probe.
    fn probe(&mut self, theirs: &Introduction) -> Option<(BootId, u64)> {
        let node = self.nodes.get(&theirs.node_id)?;
        let boot = node.introduction.boot_id;
        if boot == theirs.boot_id || node.links.is_empty() {
            return None;
        }
        self.last_probe += 1;
        if let Ok(frame) = frame::encode(&Frame::Probe(self.last_probe)) {
            node.links.iter().for_each(|link| link.outbox.probe(frame.clone()));
        }
        Some((boot, self.last_probe))
    }

    /// Ends the connections of that process.
    fn give_up(&mut self, node_id: NodeId, boot: BootId) {
        if let Some(node) = self.nodes.get_mut(&node_id)
            && node.introduction.boot_id == boot
        {
            node.end_links(|_| true);
        }
    }

    fn attach(&mut self, proven: &Proven, limits: &PeerLimits) -> Result<Place, NoPlace> {
        let theirs = &proven.theirs;
        self.judge(theirs, None).map_err(NoPlace::Refused)?;
        self.nodes
            .retain(|id, node| *id == theirs.node_id || node.introduction.name != theirs.name);
        let node = self.nodes.entry(theirs.node_id).or_insert_with(|| Node {
            introduction: theirs.clone(),
            address: proven.address,
            version: proven.version,
            links: Vec::new(),
            alive: 0,
        });
        if node.introduction.boot_id != theirs.boot_id && !node.links.is_empty() {
            let node_id = theirs.node_id;
            return Err(NoPlace::Refused(Refusal::NodeIdInUse { node_id }));
        }
        let same_kind = |link: &Link| link.role == proven.role && link.lane == proven.lane;
        if proven.role == Role::Dialler && node.links.iter().any(same_kind) {
            return Err(NoPlace::AlreadyDialled);
        }
        // What is replaced: the connection that its dialler has given up before it dialled again.
        node.end_links(same_kind);
        node.introduction = theirs.clone();
        node.address = proven.address;
        node.version = proven.version;

        self.last_link += 1;
        let link = Link::new(self.last_link, proven, limits);
        if self.own != proven.own
            && let Ok(said) = frame::encode(&Frame::Introduction(self.own.clone()))
        {
            // It has changed since the handshake said it.
            link.outbox.introduce(said);
        }
        node.links.push(link.clone());
        Ok(Place { number: link.number, outbox: link.outbox, ended: link.ended })
    }
}

impl Node {
    fn end_links(&mut self, which: impl Fn(&Link) -> bool) {
        let ended = self.links.extract_if(.., |link| which(link));
        ended.for_each(|link| link.ended.notify_one());
    }

    /// Of the own lane before the other, dialled before accepted, new before old.
    fn best(&self, lane: Lane) -> Option<&Link> {
        let rank = |link: &&Link| (link.lane == lane, link.role == Role::Dialler, link.number);
        self.links.iter().max_by_key(rank)
    }

    fn info(&self) -> PeerInfo {
        let count = |role| self.links.iter().filter(|link| link.role == role).count();
        PeerInfo {
            introduction: self.introduction.clone(),
            address: self.address,
            version: self.version,
            dialled: count(Role::Dialler),
            accepted: count(Role::Listener),
            queued_bytes: self.links.iter().map(|link| link.outbox.bytes()).sum(),
        }
    }
}

impl Link {
    fn new(number: u64, proven: &Proven, limits: &PeerLimits) -> Self {
        let bytes_max = match proven.lane {
            Lane::Urgent => limits.urgent_bytes,
            Lane::Bulk => limits.bulk_bytes,
        };
        Self {
            number,
            role: proven.role,
            lane: proven.lane,
            outbox: Arc::new(Outbox::new(proven.lane, bytes_max)),
            ended: Arc::new(Notify::new()),
        }
    }

    fn is_dialled(&self, lane: Lane) -> bool {
        self.role == Role::Dialler && self.lane == lane
    }
}
