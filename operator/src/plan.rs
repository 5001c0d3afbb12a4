//! What to do next with the nodes: one action, from what is observed and what is asked for. Pure.
//!
//! The rule that everything else serves: *no action of ours leaves fewer than a quorum of caught-up
//! voters*. So a node that serves is restarted only while all that could be missed are there, and the
//! leader last. A node that does not run at all can be replaced at any time, which is what makes a bad
//! spec revertible: it would otherwise wait for itself.
//!
//! Two opinions make a node ready, the kubelet's and its own answer to the operator. One without the
//! other is no knowledge, and nothing is done on it: an operator that is cut off from the nodes must
//! not take them for dead.

use std::fmt;

use crate::marks::Phase;

/// What is known of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// There is no pod.
    Missing,
    /// Its pod is ending.
    Terminating,
    /// Its container does not run: it cannot be scheduled, pulled or started, or crashes.
    Down,
    /// It runs and does not take part.
    Lagging,
    /// The kubelet and the node do not say the same.
    Unsure,
    /// It is a member, knows a leader and has caught up.
    Ready,
}

/// One place in the cluster: a pod and its claim, by ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// What is known of its node.
    pub health: Health,
    /// Its pod is not of the newest template.
    pub outdated: bool,
    /// Its claim is about to be deleted, and is held only by the pod.
    pub claim_terminating: bool,
    /// Its disk is not the one that the cluster knows under this name.
    pub disk_lost: bool,
}

/// All that the decision depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// How far the founding is.
    pub phase: Phase,
    /// Kubernetes has taken in the newest StatefulSet, so `outdated` can be trusted.
    pub template_known: bool,
    /// By ordinal.
    pub seats: Vec<Seat>,
    /// Which of them leads, confirmed by a quorum just now.
    pub leader: Option<usize>,
    /// Pods shall stop.
    pub hibernate: bool,
    /// Nothing shall be done.
    pub pause: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: all is as asked for.
    Rest,
    /// Nothing yet.
    Wait(Blocked),
    /// Have a pod replaced.
    Restart {
        /// Whose.
        ordinal: usize,
        /// By which call.
        how: How,
    },
}

/// By which call a pod is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The eviction API, which counts us among all others who want to take a pod away.
    Evict,
    /// A plain delete, for a pod that serves nobody: an eviction could be refused for its own sake.
    Delete,
}

/// What has to happen before the next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The user has to take `pause` away.
    Paused,
    /// Kubernetes has to take in the StatefulSet.
    Template,
    /// A pod has to end.
    Ending(usize),
    /// A pod has to appear.
    Missing(usize),
    /// A pod has to become ready.
    NotReady(usize),
    /// The kubelet and the node have to agree.
    Unsure(usize),
    /// Its claim is being deleted: if its pod ended now, its disk would be lost.
    ClaimTerminating(usize),
    /// A quorum has to name a leader.
    NoLeader,
    /// Too few others are ready.
    Quorum(usize),
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("spec.pause is true"),
            Self::Template => f.write_str("the StatefulSet is being taken in"),
            Self::Ending(at) => write!(f, "pod {at} is ending"),
            Self::Missing(at) => write!(f, "pod {at} does not exist"),
            Self::NotReady(at) => write!(f, "node {at} is not ready"),
            Self::Unsure(at) => {
                write!(f, "the kubelet and node {at} disagree on whether it is ready")
            }
            Self::ClaimTerminating(at) => write!(
                f,
                "the claim of node {at} is being deleted: its disk would be lost with its pod"
            ),
            Self::NoLeader => f.write_str("no quorum names a leader"),
            Self::Quorum(at) => write!(f, "too few other nodes are ready to restart node {at}"),
        }
    }
}

/// Decides.
#[must_use]
pub fn plan(observed: &Observed) -> Action {
    if observed.pause {
        return Action::Wait(Blocked::Paused);
    }
    if !observed.template_known {
        return Action::Wait(Blocked::Template);
    }
    if observed.hibernate {
        return hibernating(observed);
    }
    observed
        .replace_dead()
        .or_else(|| observed.wait_for_transition())
        .or_else(|| observed.replace_lagging())
        .or_else(|| observed.roll())
        .or_else(|| observed.wait_for_ready())
        .unwrap_or(Action::Rest)
}

fn hibernating(observed: &Observed) -> Action {
    match observed.position(|seat| seat.health != Health::Missing) {
        Some(at) => Action::Wait(Blocked::Ending(at)),
        None => Action::Rest,
    }
}

impl Observed {
    /// What does not run serves nobody: it is replaced at once.
    fn replace_dead(&self) -> Option<Action> {
        let dead =
            |seat: &Seat| seat.outdated && seat.health == Health::Down && !seat.claim_terminating;
        self.position(dead).map(|ordinal| Action::Restart { ordinal, how: How::Delete })
    }

    /// Somebody is on the way, by us or by others: first things first.
    fn wait_for_transition(&self) -> Option<Action> {
        let blocked = self.seats.iter().enumerate().find_map(|(at, seat)| match seat.health {
            Health::Terminating => Some(Blocked::Ending(at)),
            Health::Missing => Some(Blocked::Missing(at)),
            Health::Unsure => Some(Blocked::Unsure(at)),
            // A lost disk does not come back by waiting.
            Health::Down | Health::Lagging if !seat.outdated && !seat.disk_lost => {
                Some(Blocked::NotReady(at))
            }
            Health::Down | Health::Lagging | Health::Ready => None,
        });
        blocked.map(Action::Wait)
    }

    /// What runs and does not take part goes before what serves. While nothing is founded, nothing
    /// can be missed.
    fn replace_lagging(&self) -> Option<Action> {
        let ordinal = self.position(|seat| seat.outdated && seat.health == Health::Lagging)?;
        Some(if self.seats[ordinal].claim_terminating {
            Action::Wait(Blocked::ClaimTerminating(ordinal))
        } else if self.phase == Phase::Founded && !self.quorum_without(ordinal) {
            Action::Wait(Blocked::Quorum(ordinal))
        } else {
            Action::Restart { ordinal, how: How::Delete }
        })
    }

    /// What serves: one at a time, the leader last.
    fn roll(&self) -> Option<Action> {
        let waiting = |at: usize| self.seats[at].outdated && self.seats[at].health == Health::Ready;
        let outdated = (0..self.seats.len()).rev().filter(|at| waiting(*at)).collect::<Vec<_>>();
        let first = *outdated.first()?;
        let Some(leader) = self.leader else { return Some(Action::Wait(Blocked::NoLeader)) };
        let ordinal = outdated.iter().copied().find(|at| *at != leader).unwrap_or(first);
        Some(if self.seats[ordinal].claim_terminating {
            Action::Wait(Blocked::ClaimTerminating(ordinal))
        } else if !self.quorum_without(ordinal) {
            Action::Wait(Blocked::Quorum(ordinal))
        } else {
            Action::Restart { ordinal, how: How::Evict }
        })
    }

    fn wait_for_ready(&self) -> Option<Action> {
        let late = self.position(|seat| seat.health != Health::Ready);
        late.map(|at| Action::Wait(Blocked::NotReady(at)))
    }

    /// Whether the others can do without this one. A node that is alone is never missed by another.
    fn quorum_without(&self, ordinal: usize) -> bool {
        let ready = |(at, seat): (usize, &Seat)| at != ordinal && seat.health == Health::Ready;
        let others = self.seats.iter().enumerate().filter(|pair| ready(*pair)).count();
        others >= self.quorum() || self.seats.len() == 1
    }

    /// More than half.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.seats.len() / 2 + 1
    }

    fn position(&self, is: impl Fn(&Seat) -> bool) -> Option<usize> {
        self.seats.iter().position(is)
    }
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
