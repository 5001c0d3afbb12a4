//! Heal and serve: the end of every run, and the half of correctness that safety rules do not see.
//!
//! First, in many runs, one node stays broken in one way (deaf, mute, alone, disk hung, stopped, off)
//! and the others have to serve in spite of it. Then everything is healed, everybody who may live is
//! started, and within a bounded time all of them have to serve, agree on one leader, and stand at the
//! same state. A wiped node stays outside and can say why.

use dsync_core::raft::{NotYet, RoleKind};

use super::faults::links_of;
use super::node::Standing;
use super::swarm::Impairment;
use super::time::Instant;
use super::world::World;
use crate::checkers::demand;

/// Virtual time within which the healed cluster serves on every node.
const SERVES_WITHIN_MS: u64 = 10_000;
/// Virtual time within which the users of a healed cluster have finished, however long they wait.
const REST_WITHIN_MS: u64 = 60_000;
/// What one hand-out of entries takes at most to be applied once the cluster is healed. Slower ones are
/// for the storm: clients that ask as soon as they are answered use up all that such a cluster can
/// apply, and a node that starts again with a whole log to apply gains on the others only by what they
/// leave. (Seen with 3 ms for one entry: 334 entries a second against 325 new ones, so that a node 660
/// entries behind made good 11 a second, and would have been there after a minute.)
const APPLY_US_MAX: u64 = 300;
/// How long clients at least rest in a healed cluster whose window to a follower is narrow: it commits
/// as fast as that window lets it, so a node that has fallen behind can gain nothing on it. (Seen with
/// one entry a round trip: 222 new entries a second, and a node 191 entries behind made good 1.7 a
/// second.) Resting leaves it room; a wider window would leave the narrow one untested.
const REST_MS_MIN: u64 = 100;
/// Virtual time within which a leader that is deaf, or whose disk hangs, gives up: two election
/// time-outs, and something for the clock's grain.
const LEAVES_WITHIN_MS: u64 = 2_000;

impl World {
    pub(crate) fn heal_and_serve(&mut self) {
        if let Some(slot) = self.impair() {
            let mut others = self.members();
            others.retain(|other| *other != slot);
            self.serve(&others, "the others serve although one node is broken");
            self.leaves_office(slot);
        }
        self.heal(None);
        self.serve(&self.members(), "a healed cluster serves on every node");
        self.lockers_rest();
        self.settle();
        self.rest_and_serve();
        self.outsiders_stay_outside();
        self.check_histories();
    }

    /// All faults end; everybody who may live does, except for one that stays off.
    fn heal(&mut self, off: Option<usize>) {
        self.calm = true;
        self.off = off;
        if self.shared.failure.is_some() {
            return;
        }
        self.shared.note(0, "heal", [0; 4]);
        self.shared.network.heal();
        self.shared.plan.disk.slow_ppm = 0;
        self.shared.plan.disk.jitter_us = self.shared.plan.disk.jitter_us.min(1_000);
        self.shared.plan.apply_us = self.shared.plan.apply_us.min(APPLY_US_MAX);
        if self.shared.plan.has_narrow_window() {
            let think_ms = &mut self.shared.plan.clients.think_ms;
            *think_ms = REST_MS_MIN.max(*think_ms);
        }
        self.topple_us = None;
        for slot in (0..self.nodes.len()).filter(|slot| Some(*slot) != off) {
            // What waits for a disk that hung until just now would wait on: the machine is restarted.
            let stalled = self.nodes[slot].disk.stalled_until > self.shared.now;
            self.nodes[slot].disk.stalled_until = Instant(0);
            if self.nodes[slot].paused {
                self.nodes[slot].resume(&mut self.shared);
            }
            if stalled || self.nodes[slot].disk.hangs() {
                self.crash(slot, 0);
            }
            self.nodes[slot].start(&mut self.shared);
        }
    }

    /// One node is broken for the next phase, if a majority is left without it: mostly the leader of
    /// a healed cluster; or one goes off in the middle of the storm, and the others have to find
    /// together out of whatever state that left them in.
    fn impair(&mut self) -> Option<usize> {
        let impairment = self.shared.plan.impairment?;
        let members = self.members();
        if self.shared.failure.is_some() || members.len().saturating_sub(1) <= self.nodes.len() / 2
        {
            return None;
        }
        if self.shared.plan.impaired_at_once && self.is_founded() {
            let slot = self.shared.rng.pick(&members);
            self.shared.note(slot, "goes off", [0; 4]);
            self.nodes[slot].crash(&mut self.shared);
            self.off = Some(slot);
            self.heal(Some(slot));
            return Some(slot);
        }
        self.heal(None);
        // Let a leader arise first: most of these are worst for a leader. And let the founding be over,
        // which needs every founder by design: without one of them the others rightly serve nobody. If
        // it does not come about, the healed cluster is the one to fail for it.
        self.run_until(self.shared.now.plus_ms(1_500));
        if !self.wait_for(SERVES_WITHIN_MS, Self::is_founded) {
            return None;
        }
        let slot = self.leader().or_else(|| members.first().copied())?;
        self.shared.note(slot, "is broken", [impairment as u64, 0, 0, 0]);
        let nodes = self.nodes.len();
        let far = self.shared.now.plus_ms(1_000_000);
        match impairment {
            Impairment::Deaf => drop(self.shared.network.cut(links_of(slot, nodes, true, false))),
            Impairment::Mute => drop(self.shared.network.cut(links_of(slot, nodes, false, true))),
            Impairment::Alone => drop(self.shared.network.cut(links_of(slot, nodes, true, true))),
            Impairment::DiskHangs => self.nodes[slot].disk.stalled_until = far,
            Impairment::Paused => self.nodes[slot].paused = true,
            Impairment::Down => self.nodes[slot].crash(&mut self.shared),
        }
        Some(slot)
    }

    /// A leader that cannot work does not stay in office.
    fn leaves_office(&mut self, slot: usize) {
        let unfit = match self.shared.plan.impairment {
            Some(Impairment::Deaf | Impairment::Alone | Impairment::DiskHangs) => true,
            Some(Impairment::Mute | Impairment::Paused | Impairment::Down) | None => false,
        };
        if !unfit || self.off.is_some() {
            return;
        }
        let leads = |world: &Self| {
            let process = world.nodes[slot].process.as_ref();
            process.is_some_and(|process| process.raft.status().role == RoleKind::Leader)
        };
        let left = self.wait_for(LEAVES_WITHIN_MS, |world| !leads(world));
        let verdict = demand(
            left || self.shared.failure.is_some(),
            "a leader that cannot work leaves office",
            || self.describe(),
        );
        self.shared.judge(slot, verdict);
    }

    /// The member that leads the highest term.
    fn leader(&self) -> Option<usize> {
        let leaders = self.nodes.iter().filter_map(|node| {
            let status = node.process.as_ref()?.raft.status();
            (status.role == RoleKind::Leader).then_some((status.term, node.slot))
        });
        leaders.max().map(|(_, slot)| slot)
    }

    /// On each of these nodes a client gets a lock and gives it back, in time.
    fn serve(&mut self, slots: &[usize], rule: &'static str) {
        if self.shared.failure.is_some() {
            return;
        }
        let first = self.clients.all.len();
        for slot in slots {
            self.clients.add(&mut self.shared, 0, Some(*slot));
        }
        let served = |world: &Self| world.clients.all[first..].iter().all(|probe| probe.rounds > 0);
        let in_time = self.wait_for(SERVES_WITHIN_MS, served);
        let what = || {
            let probes = self.clients.all[first..].iter().zip(slots);
            let silent: Vec<usize> =
                probes.filter(|(probe, _)| probe.rounds == 0).map(|(_, slot)| *slot).collect();
            format!("no round at nodes {silent:?} of {slots:?}: {}", self.describe())
        };
        let verdict = demand(in_time || self.shared.failure.is_some(), rule, what);
        self.shared.judge(0, verdict);
        for probe in &mut self.clients.all[first..] {
            probe.stopping = true;
        }
    }

    /// The users of the complete service come to rest, leave nothing behind, and can have every lock.
    fn lockers_rest(&mut self) {
        if self.shared.plan.lockers.count == 0 {
            return;
        }
        let members = self.members();
        self.clients.lockers.come_to_rest(&members, &mut self.shared);
        self.wait_for_rest("users of a healed cluster come to rest");
        self.clients.lockers.ask_and_flee(&mut self.shared);
        self.wait_for_rest("who hangs up is gone");
        let window_ms = 2 * self.shared.plan.settings.locks.claim_window_ms;
        self.wait_for(window_ms + SERVES_WITHIN_MS, |world| {
            let left = world.clients.lockers.left_behind(&world.shared);
            left.waits.is_empty() && left.ghosts.is_empty()
        });
        let left = self.clients.lockers.left_behind(&self.shared);
        let no_wait = demand(left.waits.is_empty(), "nobody waits for whom nobody waits", || {
            format!("{:#?}", left.waits)
        });
        self.shared.judge(0, no_wait);
        let no_ghost =
            demand(left.ghosts.is_empty(), "nothing is held that nobody knows of", || {
                format!("{:#?}", left.ghosts)
            });
        self.shared.judge(0, no_ghost);
        self.clients.lockers.take_turns(&left.held, &mut self.shared);
        self.wait_for_rest("every lock of a healed cluster can be had by everybody");
    }

    fn wait_for_rest(&mut self, rule: &'static str) {
        let rested = self.wait_for(REST_WITHIN_MS, |world| world.clients.lockers.are_at_rest());
        let verdict = demand(rested || self.shared.failure.is_some(), rule, || {
            format!("{:#?}\n{}", self.clients.lockers, self.describe())
        });
        self.shared.judge(0, verdict);
    }

    /// Without new work, all members come to the same state.
    fn settle(&mut self) {
        if self.shared.failure.is_some() {
            return;
        }
        self.clients.stop();
        let settled = self.wait_for(SERVES_WITHIN_MS, |world| {
            let mut ends = world.members().into_iter().map(|slot| {
                let process = world.nodes[slot].process.as_ref()?;
                let status = process.raft.status();
                let applied = process.machine.applied();
                let at_end = applied == status.last && status.durable == status.last;
                at_end.then_some((status.term, status.leader?, applied))
            });
            let Some(Some(first)) = ends.next() else { return false };
            ends.all(|end| end == Some(first))
        });
        let verdict = demand(
            settled || self.shared.failure.is_some(),
            "a healed cluster agrees on one leader and one log",
            || self.describe(),
        );
        self.shared.judge(0, verdict);
        for slot in self.members() {
            let Some(process) = &self.nodes[slot].process else { continue };
            let (applied, hash) = (process.machine.applied(), process.machine.hash());
            self.shared.check_hash(slot, applied, hash);
        }
    }

    /// Nobody uses the cluster for longer than it keeps commands. The first one that comes then is not
    /// old: its node took it in just now, though with a state that is.
    fn rest_and_serve(&mut self) {
        if !self.shared.plan.quiet || self.shared.failure.is_some() {
            return;
        }
        let requests = self.shared.plan.settings.requests;
        let is_timed = |world: &Self| {
            let processes = world.nodes.iter().filter_map(|node| node.process.as_ref());
            processes.filter_map(|process| process.machine.next_due()).next().is_some()
        };
        let limit_ms = requests.id_retention_ms + REST_WITHIN_MS;
        let end = self.shared.now.plus_ms(limit_ms);
        while is_timed(self) && self.shared.now < end && self.shared.failure.is_none() {
            self.run_until(self.shared.now.plus_ms(1_000));
        }
        let rests = !is_timed(self) || self.shared.failure.is_some();
        let rule = "in a cluster that nobody uses nothing stays timed";
        let verdict = demand(rests, rule, || self.describe());
        self.shared.judge(0, verdict);
        self.run_until(self.shared.now.plus_ms(requests.command_retention_ms + 1_000));
        self.shared.quiet = true;
        self.serve(&self.members(), "a cluster that was quiet serves on every node");
        self.shared.quiet = false;
        self.settle();
    }

    /// A wiped node knows why it is outside; one that was set back has been told to stop.
    fn outsiders_stay_outside(&mut self) {
        self.wait_for(SERVES_WITHIN_MS, |world| {
            let wiped = world.nodes.iter().filter(|node| node.standing == Standing::Wiped);
            wiped.map(reason_outside).all(|why| matches!(why, Some(NotYet::ClusterExists { .. })))
        });
        for slot in 0..self.nodes.len() {
            let node = &self.nodes[slot];
            let verdict = match &node.standing {
                Standing::Wiped if self.shared.plan.bug.is_none() => {
                    let why = reason_outside(node);
                    demand(
                        matches!(why, Some(NotYet::ClusterExists { .. })),
                        "a wiped node stays outside and says why",
                        || format!("{why:?}"),
                    )
                }
                Standing::SetBack => {
                    let refused = node.refusals > 0;
                    demand(refused, "a disk that was set back is refused", || self.describe())
                }
                Standing::Member | Standing::Refused(_) | Standing::Wiped => Ok(()),
            };
            self.shared.judge(slot, verdict);
        }
    }

    fn check_histories(&mut self) {
        if self.shared.failure.is_some() {
            return;
        }
        let (stats, verdict) = self.shared.checkers.histories.check();
        self.shared.histories = stats;
        self.shared.judge(0, verdict);
    }

    /// Runs until `holds`, at most so long. A broken rule ends it too.
    fn wait_for(&mut self, limit_ms: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.shared.now.plus_ms(limit_ms);
        while self.shared.now < end && self.shared.failure.is_none() {
            if holds(self) {
                return true;
            }
            self.run_until(self.shared.now.plus_ms(5));
        }
        holds(self)
    }

    /// Every node in a line, for reports.
    pub(crate) fn describe(&self) -> String {
        let line = |node: &super::node::Node| {
            let status = node.process.as_ref().map(|process| process.raft.status());
            format!("\n  n{} {:?} {status:?}", node.slot, node.standing)
        };
        self.nodes.iter().map(line).collect()
    }
}

/// Why a node that holds nothing does not take part.
fn reason_outside(node: &super::node::Node) -> Option<NotYet> {
    node.process.as_ref()?.outside()
}
