//! Who is connected, and by which connection a message goes.
//!
//! Each node dials every other one, once for each lane. So between two nodes stand up to four
//! connections, and each side sends by those it dialled itself. Until its own are up (the DNS entry
//! of a new pod may reach some nodes seconds after the pod has dialled them) a node sends by those
//! that it accepted, and by the other lane before none at all: any of them is better than a lost
//! message.
//!
//! A node that restarts is known by its new boot id: its first new connection ends the old ones,
//! which may not have noticed yet. A second address of a node that is dialled already (IPv4 and IPv6
//! of one pod) is left alone until the first connection ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dsync_core::types::{NodeId, NodeName};
use tokio::sync::{Notify, watch};

use super::PeerInfo;
use super::frame::{self, Frame};
use super::handshake::Proven;
use super::introduction::{Introduction, Lane, Refusal, judge};
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
    last_link: u64,
}

#[derive(Debug)]
struct Node {
    introduction: Introduction,
    address: SocketAddr,
    version: u16,
    /// Oldest first.
    links: Vec<Link>,
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
    pub(super) fn new(own: Introduction) -> Self {
        let state = State { own, nodes: BTreeMap::new(), last_link: 0 };
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
        for node in state.nodes.values() {
            let farewell = state.judge(&node.introduction, None).err();
            for link in &node.links {
                said.iter().for_each(|frame| link.outbox.introduce(frame.clone()));
                if let Some(refusal) = &farewell {
                    link.outbox.close(frame::encode(&Frame::Farewell(refusal.clone())).ok());
                }
            }
        }
    }

    /// Decides whether this node may talk to `theirs` now, and in which version.
    pub(super) fn judge(
        &self,
        theirs: &Introduction,
        expected: Option<&NodeName>,
    ) -> Result<u16, Refusal> {
        self.lock().judge(theirs, expected)
    }

    /// As [`Table::judge`], for a dialler. One that is connected already stops here: the listener
    /// would take the new connection for a replacement and end the good one.
    pub(super) fn judge_dialled(
        &self,
        theirs: &Introduction,
        expected: Option<&NodeName>,
        lane: Lane,
    ) -> Result<u16, Refusal> {
        let state = self.lock();
        let version = state.judge(theirs, expected)?;
        let connected = state.nodes.get(&theirs.node_id).is_some_and(|node| {
            node.introduction.boot_id == theirs.boot_id
                && node.links.iter().any(|link| link.is_dialled(lane))
        });
        let node_id = theirs.node_id;
        if connected { Err(Refusal::AlreadyConnected { node_id }) } else { Ok(version) }
    }

    /// Gives a proven connection its place.
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
    fn judge(&self, theirs: &Introduction, expected: Option<&NodeName>) -> Result<u16, Refusal> {
        let version = judge(&self.own, theirs, expected)?;
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
        });
        let same_process = node.introduction.boot_id == theirs.boot_id;
        let same_kind = |link: &Link| link.role == proven.role && link.lane == proven.lane;
        if same_process && proven.role == Role::Dialler && node.links.iter().any(same_kind) {
            return Err(NoPlace::AlreadyDialled);
        }
        // What is replaced: everything of an earlier process, and the connection that this one's
        // dialler has given up before it dialled again.
        node.links.retain(|link| {
            let stays = same_process && !same_kind(link);
            if !stays {
                link.ended.notify_one();
            }
            stays
        });
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
