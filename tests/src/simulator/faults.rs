//! What goes wrong, how often, and for how long.
//!
//! One fault at a time is drawn, at irregular gaps, from the kinds that the seed has kept; most last a
//! while, so they overlap. Half of them aim at a leader, since that is where it hurts. Nothing here
//! may break what the design does not promise to survive: at most a minority of disks is lost, and a
//! disk is set back only if all other members know that it held more, whatever else goes wrong then, or
//! while a sitting leader is there to notice.

use dsync_core::raft::RoleKind;
use dsync_core::types::NodeId;

use super::ask::Answer;
use super::disk::Image;
use super::node::Standing;
use super::queue::{Event, ProcessEvent};
use super::rng::Rng;
use super::world::World;

/// A hand-over has come about or been given up by then: an election time-out, and one election.
const HAND_OVER_MS: u64 = 2_000;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// A machine loses power, and starts again after a while.
    Crash,
    /// All machines lose power at once.
    CrashAll,
    /// The next node to win an election loses power in that moment.
    Topple,
    /// A process is stopped for a while (SIGSTOP) and then goes on.
    Pause,
    /// A machine is cut off: both ways, or one.
    Isolate,
    /// The machines fall into two halves, of any size.
    Split,
    /// One direction between two machines is cut.
    CutLink,
    /// A connection breaks: what is under way on it is lost.
    Reset,
    /// No sync completes for a while.
    StallDisk,
    /// Somebody asks to hand the lead over.
    Transfer,
    /// Somebody stops a process in order, and starts it again.
    Drain,
    /// A node is flooded with commands.
    Flood,
    /// A machine comes back with an empty disk.
    Wipe,
    /// Somebody copies a disk.
    CopyDisk,
    /// A machine comes back with that old copy.
    SetBack,
}

impl FaultKind {
    const ALL: [Self; 15] = [
        Self::Crash,
        Self::CrashAll,
        Self::Topple,
        Self::Pause,
        Self::Isolate,
        Self::Split,
        Self::CutLink,
        Self::Reset,
        Self::StallDisk,
        Self::Transfer,
        Self::Drain,
        Self::Flood,
        Self::Wipe,
        Self::CopyDisk,
        Self::SetBack,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashAll => "crash all",
            Self::Topple => "topple next",
            Self::Pause => "pause",
            Self::Isolate => "isolate",
            Self::Split => "split",
            Self::CutLink => "cut link",
            Self::Reset => "reset",
            Self::StallDisk => "stall disk",
            Self::Transfer => "transfer",
            Self::Drain => "drain",
            Self::Flood => "flood",
            Self::Wipe => "wipe",
            Self::CopyDisk => "copy disk",
            Self::SetBack => "set back",
        }
    }
}

/// How much goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct FaultPlan {
    gap_ms: u64,
    /// Typical length of a fault.
    length_ms: u64,
    kinds: Vec<FaultKind>,
    /// How often a process dies of putting an answer on the wire: just after it, or just before.
    pub(crate) reply_death_ppm: u64,
    /// Faults begin before the cluster is founded.
    pub(crate) from_start: bool,
}

impl FaultPlan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let keep = rng.pick(&[10, 30, 60, 100]);
        Self {
            gap_ms: rng.pick(&[150, 500, 1_500, 4_000]),
            length_ms: rng.pick(&[100, 600, 2_000]),
            kinds: FaultKind::ALL.into_iter().filter(|_| rng.percent(keep)).collect(),
            reply_death_ppm: rng.pick(&[0, 0, 2_000, 20_000]),
            from_start: rng.percent(30),
        }
    }

    /// How long a machine stays off.
    pub(crate) fn down_us(&self, rng: &mut Rng) -> u64 {
        rng.around(self.length_ms * 1_000)
    }

    /// These kinds only, this often and this long.
    pub(crate) fn only(&mut self, gap_ms: u64, length_ms: u64, kinds: &[FaultKind]) {
        (self.gap_ms, self.length_ms, self.kinds) = (gap_ms, length_ms, kinds.to_vec());
        self.reply_death_ppm = 0;
    }
}

impl World {
    /// The faults' turn.
    pub(crate) fn fault(&mut self) {
        let plan = self.shared.plan.faults.clone();
        if self.calm {
            return;
        }
        let gap_us = self.shared.rng.around(plan.gap_ms * 1_000);
        self.shared.queue.push(self.shared.now.plus_us(gap_us), Event::Fault);
        if plan.kinds.is_empty() || self.shared.now < self.quiet_until {
            return;
        }
        if self.set_back_due && self.set_one_back() {
            self.set_back_due = false;
            return;
        }
        let kind = self.shared.rng.pick(&plan.kinds);
        let length_us = self.shared.rng.around(plan.length_ms * 1_000);
        self.inject(kind, length_us);
    }

    fn inject(&mut self, kind: FaultKind, length_us: u64) {
        let slot = self.victim();
        self.shared.note(slot, kind.name(), [length_us, 0, 0, 0]);
        match kind {
            FaultKind::Crash => self.crash(slot, length_us),
            FaultKind::CrashAll => {
                for slot in 0..self.nodes.len() {
                    let later_us = self.shared.rng.below(length_us + 1);
                    self.crash(slot, later_us);
                }
            }
            FaultKind::Topple => self.topple_us = Some(length_us),
            FaultKind::Pause => self.pause(slot, length_us),
            FaultKind::Isolate => {
                let links = self.links_around(slot);
                self.cut(links, length_us);
            }
            FaultKind::Split => {
                let links = self.split();
                self.cut(links, length_us);
            }
            FaultKind::CutLink => {
                let other = self.shared.rng.index(self.nodes.len());
                if other != slot {
                    self.cut(vec![(slot, other)], length_us);
                }
            }
            FaultKind::Reset => self.reset(slot),
            FaultKind::StallDisk => {
                // Sometimes until somebody replaces it, as far as this run is concerned.
                let forever = self.shared.rng.percent(10);
                let us = if forever { 60_000_000 } else { length_us };
                // A second stall does not end the first: what waits for that one has its end in mind,
                // and the disk would seem well while a snapshot file waits on.
                let until = self.shared.now.plus_us(us);
                let disk = &mut self.nodes[slot].disk;
                disk.stalled_until = disk.stalled_until.max(until);
            }
            FaultKind::Transfer => self.transfer(slot),
            FaultKind::Drain => self.happen(slot, ProcessEvent::Drain),
            FaultKind::Flood => {
                let commands = self.shared.rng.pick(&[1, 5, 30]);
                let bytes = self.shared.rng.pick(&[8, 100, 1_000]);
                self.happen(slot, ProcessEvent::Flood { commands, bytes });
            }
            FaultKind::Wipe => self.wipe(slot, length_us),
            FaultKind::CopyDisk => {
                for node in &mut self.nodes {
                    let member = node.standing == Standing::Member;
                    node.copy = member.then(|| node.disk.image.clone()).or(node.copy.take());
                }
            }
            FaultKind::SetBack => self.set_back_due = !self.set_one_back(),
        }
    }

    /// Whom it hits: half of the time one that leads.
    fn victim(&mut self) -> usize {
        let leader = self.nodes.iter().position(|node| {
            node.process.as_ref().is_some_and(|p| p.raft.status().role == RoleKind::Leader)
        });
        let any = self.shared.rng.index(self.nodes.len());
        let aimed = self.shared.rng.percent(50);
        leader.filter(|_| aimed).unwrap_or(any)
    }

    /// Answers leave. Some take their process with them: the answer of a command or of a wait still
    /// arrives, or it does not, and nothing that the process was about to do is done.
    pub(crate) fn pass_on_replies(&mut self, slot: usize) {
        let quiet = self.calm || self.shared.now < self.quiet_until;
        let deadly = if quiet { 0 } else { self.shared.plan.faults.reply_death_ppm };
        let mut died = None;
        while let Some(reply) = self.shared.replies.pop_front() {
            if died == Some(reply.boot) {
                continue;
            }
            let aimed_at = matches!(
                reply.answer,
                Answer::Applied { .. } | Answer::Waited { .. } | Answer::Outcome(_)
            );
            let dies = aimed_at && self.shared.rng.chance(deadly);
            if !dies || self.shared.rng.percent(50) {
                let boot = reply.boot;
                self.shared.deliver(reply);
                died = dies.then_some(boot);
            } else {
                died = Some(reply.boot);
            }
        }
        if died.is_some() {
            let down_us = self.shared.plan.faults.down_us(&mut self.shared.rng);
            self.shared.note(slot, "dies of its answer", [down_us, 0, 0, 0]);
            self.crash(slot, down_us);
        }
    }

    /// A process that has stopped in order is started again after a while. Who was to take the lead
    /// over may still be on its way there.
    pub(crate) fn end_drained(&mut self, slot: usize) {
        if self.nodes[slot].process.as_ref().is_some_and(|process| process.ended) {
            self.handing_over_until = self.shared.now.plus_ms(HAND_OVER_MS);
            let down_us = self.shared.plan.faults.down_us(&mut self.shared.rng);
            self.crash(slot, down_us);
        }
    }

    pub(crate) fn crash(&mut self, slot: usize, down_us: u64) {
        self.nodes[slot].crash(&mut self.shared);
        let at = self.shared.now.plus_us(down_us);
        self.shared.queue.push(at, Event::Start { slot });
    }

    pub(crate) fn pause(&mut self, slot: usize, length_us: u64) {
        if self.nodes[slot].is_up() {
            self.nodes[slot].paused = true;
            let at = self.shared.now.plus_us(length_us);
            self.shared.queue.push(at, Event::Resume { slot });
        }
    }

    fn cut(&mut self, links: Vec<(usize, usize)>, length_us: u64) {
        let cut = self.shared.network.cut(links);
        self.shared.queue.push(self.shared.now.plus_us(length_us), Event::Mend { cut });
    }

    /// All links of a machine: those into it, those out of it, or both.
    fn links_around(&mut self, slot: usize) -> Vec<(usize, usize)> {
        let ways = self.shared.rng.below(4);
        let (into, out) = (ways != 1, ways != 2);
        links_of(slot, self.nodes.len(), into, out)
    }

    fn split(&mut self) -> Vec<(usize, usize)> {
        let sides: Vec<bool> = self.nodes.iter().map(|_| self.shared.rng.percent(50)).collect();
        let slots = 0..sides.len();
        let pairs = slots.clone().flat_map(|a| slots.clone().map(move |b| (a, b)));
        pairs.filter(|(a, b)| sides[*a] != sides[*b]).collect()
    }

    fn reset(&mut self, slot: usize) {
        let other = self.shared.rng.index(self.nodes.len());
        if other == slot {
            return;
        }
        self.shared.network.reset(slot, other);
        for (at, lost) in [(slot, other), (other, slot)] {
            let id = self.nodes[lost].disk.image.node_id;
            self.happen(at, ProcessEvent::Unreachable(id));
        }
    }

    fn transfer(&mut self, slot: usize) {
        let to = self.shared.rng.index(self.nodes.len());
        let named = self.shared.rng.percent(70);
        self.handing_over_until = self.shared.now.plus_ms(HAND_OVER_MS);
        let to = named.then(|| self.nodes[to].disk.image.node_id);
        self.happen(slot, ProcessEvent::Transfer { to });
    }

    /// How many more disks may be lost.
    fn disks_to_spare(&self) -> usize {
        let lost = self.nodes.iter().filter(|node| node.standing != Standing::Member).count();
        ((self.nodes.len() - 1) / 2).saturating_sub(lost)
    }

    /// An empty disk is a new member: it gets a new id, and stays outside.
    fn wipe(&mut self, slot: usize, down_us: u64) {
        let may = self.nodes[slot].standing == Standing::Member
            && self.disks_to_spare() > 0
            && self.is_founded();
        if !may {
            return;
        }
        self.nodes[slot].crash(&mut self.shared);
        let keeps_id = self.shared.plan.bug == Some(dsync_core::raft::Bug::EmptyDiskVotes);
        let old = self.nodes[slot].disk.image.node_id;
        let id = if keeps_id { old } else { NodeId(self.shared.rng.next()) };
        let lost = self.nodes[slot].disk.replace(Image::empty(id));
        self.shared.checkers.logs.disk_lost(lost);
        self.shared.network.learn(id, slot);
        self.nodes[slot].standing = Standing::Wiped;
        self.nodes[slot].copy = None;
        self.shared.stats.wiped += 1;
        let at = self.shared.now.plus_us(down_us);
        self.shared.queue.push(at, Event::Start { slot });
    }

    /// False: there is no copy yet, or nobody could tell it now.
    fn set_one_back(&mut self) -> bool {
        let can_be_told =
            |slot: &usize| self.is_known_to_hold_more(*slot) || self.can_tell_a_copy(*slot);
        let slot = (0..self.nodes.len()).find(can_be_told);
        slot.into_iter().for_each(|slot| self.set_back(slot));
        slot.is_some()
    }

    /// True if the disk of every other member says, for good, that the victim's has held more than its
    /// copy does. (One that does not would let it in, and might be the one whom it meets.)
    fn is_known_to_hold_more(&self, victim: usize) -> bool {
        let Some(copy) = &self.nodes[victim].copy else { return false };
        let committed = |entry: &dsync_core::raft::Entry| {
            self.shared.checkers.logs.term_committed(entry.index) == Some(entry.term)
        };
        let mut others = self
            .nodes
            .iter()
            .filter(|node| node.slot != victim && node.standing == Standing::Member);
        let knows = |node: &super::node::Node| {
            node.disk.image.held_by(copy.node_id, committed) > copy.last()
        };
        self.nodes[victim].standing == Standing::Member && others.all(knows)
    }

    /// An old copy of a disk comes back. If only a sitting leader knows better, nothing else goes wrong
    /// until it has had time to say so.
    fn set_back(&mut self, slot: usize) {
        if self.disks_to_spare() == 0 {
            return;
        }
        let known_by_all = self.is_known_to_hold_more(slot);
        let Some(mut copy) = self.nodes[slot].copy.take() else { return };
        let disk = &self.nodes[slot].disk.image;
        if copy.node_id != disk.node_id || !self.is_true_prefix(&copy) {
            return;
        }
        let acknowledged = self.nodes[slot].process.as_ref().map(|p| p.raft.status().commit);
        let behind = acknowledged.is_some_and(|index| copy.last() < index);
        let boot_returns = copy.boots < disk.boots;
        self.nodes[slot].crash(&mut self.shared);
        copy.boots = copy.boots.min(self.nodes[slot].disk.image.boots);
        let lost = self.nodes[slot].disk.replace(copy);
        if behind || boot_returns || known_by_all {
            self.shared.checkers.logs.disk_lost(lost);
            self.nodes[slot].standing = Standing::SetBack;
            self.shared.stats.set_back += 1;
        }
        for other in 0..self.nodes.len() {
            self.shared.network.reset(slot, other);
        }
        if !known_by_all {
            self.quiet_until = self.shared.now.plus_ms(4_000);
        }
        self.shared.queue.push(self.shared.now.plus_ms(5), Event::Start { slot });
    }

    /// True if the copy's log has not been overwritten since: it only ends early. (One with a tail that
    /// was replaced can be told by nobody if it is long enough.)
    fn is_true_prefix(&self, copy: &Image) -> bool {
        let committed = |index| self.shared.checkers.logs.term_committed(index);
        copy.entries.back().is_some_and(|last| committed(last.index) == Some(last.term))
    }

    /// True while one leader sits and will go on sitting that every other node follows, nothing is cut or
    /// stopped, no disk is slow enough to depose it, no hand-over is under way, and the victim knows as committed what the leader does, up to an entry of the leader's own term. Then
    /// the leader has the victim's acknowledgement of all that it may forget now.
    fn can_tell_a_copy(&self, victim: usize) -> bool {
        let Some(leader) = self.nodes.iter().find_map(|node| {
            let status = node.process.as_ref()?.raft.status();
            (status.role == RoleKind::Leader && node.is_member_up()).then_some(status)
        }) else {
            return false;
        };
        if self.nodes[victim].copy.is_none() {
            return false;
        }
        let follows = self.nodes.iter().all(|node| {
            node.standing == Standing::Member
                && !node.paused
                && node.disk.stalled_until <= self.shared.now
                && node.process.as_ref().is_some_and(|process| {
                    let status = process.raft.status();
                    !process.stops() && status.term == leader.term && status.leader == leader.leader
                })
        });
        let victim = &self.nodes[victim];
        let process = victim.process.as_ref().map(|process| process.raft.status());
        follows
            && self.shared.network.is_whole()
            && self.shared.plan.network.is_gentle()
            && self.shared.plan.disk.is_gentle()
            && self.shared.now >= self.handing_over_until
            && process.is_some_and(|status| {
                status.role != RoleKind::Leader
                    && status.commit == leader.commit
                    && victim.disk.image.term_at(leader.commit) == Some(leader.term)
            })
    }
}

/// The links of one machine, by direction.
pub(crate) fn links_of(slot: usize, nodes: usize, into: bool, out: bool) -> Vec<(usize, usize)> {
    let others = (0..nodes).filter(|other| *other != slot);
    others
        .flat_map(|other| {
            let inward = into.then_some((other, slot));
            let outward = out.then_some((slot, other));
            inward.into_iter().chain(outward)
        })
        .collect()
}
