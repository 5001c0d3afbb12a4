//! Who is a home: the ring's members, as the log has them.
//!
//! # Problem
//!
//! Two nodes that took themselves for the home of one key would each have a value of their own. So who
//! is a home is decided by entries of the log, one after the other, and every node reads the same.
//!
//! # Idea
//!
//! A process becomes a home by its own word ([`RingOperation::Enter`]), and is one until the leader's word
//! ([`RingOperation::Suspend`]) or its own ([`RingOperation::Leave`]). Nothing else takes it out: a process
//! that is lost has sharers that still serve its values, and their leases end with its own. The *epoch* is
//! the log index of the last entry of these.
//!
//! ```text
//!              Enter                        Suspend (its grant is over), Leave (its lease is over)
//! out ------------------------> in service ------------------------------------------------------> out
//!     not beside a former process            the next Enter is another incarnation, and has to wait
//!     of its node, after its delay           longer each time that it is suspended soon (1, 2, 4 .. 60 s)
//! ```
//!
//! # One change at a time
//!
//! A home that enters takes keys from all others. Each of them says when no sharer has copies of those
//! keys left ([`RingOperation::Release`]); until all have, the ring is not *settled*, and the keys' new
//! home does not serve them (R11). A home that goes takes no key from those that stay.
//!
//! A change is refused while any home that stays has not released. Else a key could go to another home
//! and come back while a sharer, who has heard of neither, keeps its copy: its home has forgotten that,
//! and would not invalidate it. So a newer epoch says that the one before it was settled. If the leader
//! finds several grants over, it suspends those homes by one entry; who lives releases, so there is always a
//! next change.
//!
//! # Whose word a suspension is
//!
//! The leader knows of the grants of its own term only. Its command may reach the log later, handed on to
//! the next leader, who has granted the home another lease meanwhile: it acts only in the entry of the
//! term that it names.

mod operation;
mod placement;

#[cfg(test)]
mod script_test;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use operation::{RingOperation, RingOutcome, RingRefusal};
pub use placement::RingPlacement;

use super::bug::{Bug, Bugs};
use super::placement::{Incarnation, Process};
use super::rules::Rules;
use crate::types::{ClusterTime, Index, NodeId, NodeName, Term};

/// One entry being applied.
#[derive(Clone, Copy, Debug)]
pub struct RingTurn {
    /// The entry.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// Its stamp.
    pub now: ClusterTime,
    /// The rules in force.
    pub rules: Rules,
}

/// The homes in service, and what is remembered of those that were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RingTable {
    epoch: Index,
    homes: BTreeMap<NodeId, InService>,
    past: BTreeMap<NodeId, Past>,
    #[serde(skip)]
    bugs: Bugs,
}

/// A home in service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct InService {
    home: Incarnation,
    name: NodeName,
    entered_at: ClusterTime,
    /// The last entry that took keys from it; 0: none has.
    lost_at: Index,
    /// Nobody has copies of keys that it lost by this epoch. Settled: `released >= lost_at`.
    released: Index,
}

/// What is remembered of a node, in service or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Past {
    /// Its last time as a home: the next one of the same process has a higher number.
    last: Incarnation,
    /// How long it had to stay out the last time.
    delay_ms: u64,
    /// It may enter from then on.
    not_before: ClusterTime,
}

impl RingTable {
    /// Applies an operation that `sender` proposed; `name` is its node's, if that is a voter.
    ///
    /// What a sender says of itself is believed: it is the newest process of its node.
    pub fn apply(
        &mut self,
        turn: &RingTurn,
        sender: Process,
        name: Option<&NodeName>,
        operation: &RingOperation,
    ) -> RingOutcome {
        let done = match operation {
            RingOperation::Enter => {
                return match self.enter(turn, sender, name) {
                    Ok(home) => RingOutcome::Entered(home),
                    Err(refusal) => RingOutcome::Refused(refusal),
                };
            }
            RingOperation::Suspend { homes, term } => self.suspend(turn, homes, *term),
            RingOperation::Leave(home) => self.leave(turn, sender, *home),
            RingOperation::Release { home, epoch } => self.release(*home, *epoch),
        };
        done.map_or_else(RingOutcome::Refused, |()| RingOutcome::Done)
    }

    /// The log index of the last change of the homes; 0: there has been none.
    #[must_use]
    pub fn epoch(&self) -> Index {
        self.epoch
    }

    /// The homes in service, in the order of nodes.
    pub fn homes(&self) -> impl Iterator<Item = Incarnation> + '_ {
        self.homes.values().map(|of| of.home)
    }

    /// True for a home in service.
    #[must_use]
    pub fn is_in_service(&self, home: Incarnation) -> bool {
        self.homes.get(&home.process.node).is_some_and(|of| of.home == home)
    }

    /// Every home has released what it has lost.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.settled_without(&[])
    }

    /// Every home but these has released what it has lost: these may go.
    #[must_use]
    pub fn settled_without(&self, going: &[Incarnation]) -> bool {
        let mut stay = self.homes.values().filter(|of| !going.contains(&of.home));
        stay.all(|of| of.released >= of.lost_at)
    }

    /// Checks what must hold between any two entries; for tests and the simulator.
    ///
    /// # Errors
    /// A sentence that names the broken rule.
    pub fn check_invariants(&self) -> Result<(), String> {
        for (node, of) in &self.homes {
            let others = self.homes.iter().filter(|(other, _)| *other != node);
            if others.into_iter().any(|(_, other)| other.name == of.name) {
                return Err(format!("two homes have the name {}", of.name));
            }
            if of.lost_at > self.epoch || of.home.process.node != *node {
                return Err(format!("the home of node {node} contradicts the epoch or its place"));
            }
        }
        Ok(())
    }

    /// Puts a mistake back.
    #[cfg(feature = "bugs")]
    pub fn put_back(&mut self, bug: Option<Bug>) {
        self.bugs.put_back(bug);
    }

    fn enter(
        &mut self,
        turn: &RingTurn,
        process: Process,
        name: Option<&NodeName>,
    ) -> Result<Incarnation, RingRefusal> {
        let name = name.ok_or(RingRefusal::NoVoter)?;
        let beside = self.bugs.has(Bug::EntersBesideFormer);
        let mut former = self.homes.values();
        let former = former.find(|of| of.home.process.node == process.node || of.name == *name);
        if let Some(former) = former.filter(|_| !beside) {
            return Err(RingRefusal::InService(former.home));
        }
        if !self.settled() {
            return Err(RingRefusal::NotSettled);
        }
        let past = self.past.get(&process.node);
        let left_ms = past.map_or(0, |past| past.not_before.since(turn.now));
        if left_ms > 0 {
            return Err(RingRefusal::TooEarly { left_ms });
        }
        let last = past.map(|past| past.last).filter(|last| last.process == process);
        let home = Incarnation { process, returns: last.map_or(0, |last| last.returns + 1) };
        self.take_in(turn, home, name.clone());
        Ok(home)
    }

    fn take_in(&mut self, turn: &RingTurn, home: Incarnation, name: NodeName) {
        let node = home.process.node;
        self.epoch = turn.index;
        self.homes.values_mut().for_each(|of| of.lost_at = turn.index);
        let (lost_at, released) = (Index(0), Index(0));
        let entered_at = turn.now;
        self.homes.insert(node, InService { home, name, entered_at, lost_at, released });
        let delay_ms = self.past.get(&node).map_or(0, |past| past.delay_ms);
        self.past.insert(node, Past { last: home, delay_ms, not_before: turn.now });
    }

    fn suspend(
        &mut self,
        turn: &RingTurn,
        homes: &[Incarnation],
        term: Term,
    ) -> Result<(), RingRefusal> {
        if turn.term != term && !self.bugs.has(Bug::SuspensionOutlivesTerm) {
            return Err(RingRefusal::OtherTerm);
        }
        let going = self.take_out(turn, homes)?;
        for InService { home, entered_at, .. } in going {
            let Some(past) = self.past.get_mut(&home.process.node) else { continue };
            let rules = turn.rules;
            let soon = turn.now.since(entered_at) < rules.return_delay_ms_max;
            let doubled = if soon { past.delay_ms.saturating_mul(2) } else { 0 };
            past.delay_ms = doubled.max(rules.return_delay_ms).min(rules.return_delay_ms_max);
            past.not_before = turn.now.plus(past.delay_ms);
        }
        Ok(())
    }

    fn leave(
        &mut self,
        turn: &RingTurn,
        sender: Process,
        home: Incarnation,
    ) -> Result<(), RingRefusal> {
        if home.process != sender {
            return Err(RingRefusal::NotInService);
        }
        self.take_out(turn, &[home]).map(drop)
    }

    fn take_out(
        &mut self,
        turn: &RingTurn,
        homes: &[Incarnation],
    ) -> Result<Vec<InService>, RingRefusal> {
        if !homes.iter().any(|home| self.is_in_service(*home)) {
            return Err(RingRefusal::NotInService);
        }
        if !self.settled_without(homes) {
            return Err(RingRefusal::NotSettled);
        }
        self.epoch = turn.index;
        let goes = |(_, of): &(NodeId, InService)| homes.contains(&of.home);
        let (going, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.homes).into_iter().partition(goes);
        self.homes = stay.into_iter().collect();
        Ok(going.into_iter().map(|(_, of)| of).collect())
    }

    fn release(&mut self, home: Incarnation, epoch: Index) -> Result<(), RingRefusal> {
        let of = self.homes.get_mut(&home.process.node).filter(|of| of.home == home);
        let of = of.ok_or(RingRefusal::NotInService)?;
        of.released = of.released.max(epoch);
        Ok(())
    }
}
