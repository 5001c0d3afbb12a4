//! How a home gets its lease: what homes and the leader say to each other, on either side.
//!
//! A home asks whoever leads, three times per lease. What is lost is asked again; an ask without an answer
//! within a lease's length is forgotten. The leader's own home takes the same way, without the messages.
//! What is granted, and why it needs a quorum round: `grants.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "bugs")]
use super::bug::Bug;
use super::grants::Grants;
use super::placement::Incarnation;
use super::ring::{RingOperation, RingTable};
use super::rules::Rules;
use crate::types::{BootId, LocalTime, NodeId, Term};

/// Between a home and the leader. Any of them may be lost, repeated, or late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HomeLeaseMessage {
    /// A home asks for a lease.
    Ask {
        /// Which of its process's asks.
        ask: u64,
        /// The home.
        home: Incarnation,
    },
    /// The leader grants it.
    Granted {
        /// Which ask.
        ask: u64,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeLeaseOutput {
    /// Send a message.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: HomeLeaseMessage,
    },
    /// Begin a linearizable read under this number, now, and say by [`HomeLeases::round_ended`] what came
    /// of it.
    BeginRound(u64),
    /// A home of this process has the lease that it asked for.
    Granted {
        /// Which ask.
        ask: u64,
        /// The home.
        home: Incarnation,
        /// When it was sent: the lease is counted from then.
        sent_at: LocalTime,
    },
    /// Propose an operation.
    Propose(RingOperation),
}

/// What this node knows at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The node's clock.
    pub now: LocalTime,
    /// The term that this node leads, if it does.
    pub leads: Option<Term>,
    /// Who leads, as far as is known.
    pub leader: Option<NodeId>,
    /// The ring's members as applied here.
    pub ring: &'a RingTable,
    /// The rules in force.
    pub rules: Rules,
}

impl Moment<'_> {
    fn homes(&self) -> Vec<Incarnation> {
        self.ring.homes().collect()
    }
}

/// Both sides of one process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HomeLeases {
    node: NodeId,
    /// Begins at a random number, so that an answer to the process before this one fits nothing.
    next_ask: u64,
    /// Begins at a random number, other than the node's other reads do.
    next_round: u64,
    /// Asks of this process that have no answer.
    asked: BTreeMap<u64, (Incarnation, LocalTime)>,
    /// While this node leads.
    grants: Option<Grants>,
    /// Asks that wait for their round.
    rounds: BTreeMap<u64, Asker>,
    #[cfg(feature = "bugs")]
    bug: Option<Bug>,
}

/// Who asked, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asker {
    from: NodeId,
    ask: u64,
    home: Incarnation,
}

impl HomeLeases {
    /// A process that has just started.
    #[must_use]
    pub fn new(node: NodeId, boot: BootId) -> Self {
        Self {
            node,
            next_ask: boot.0 & !0xffff_ffff,
            next_round: !boot.0 & !0xffff_ffff,
            asked: BTreeMap::new(),
            grants: None,
            rounds: BTreeMap::new(),
            #[cfg(feature = "bugs")]
            bug: None,
        }
    }

    /// Puts a mistake into what it will grant.
    #[cfg(feature = "bugs")]
    #[must_use]
    pub fn with_bug(self, bug: Option<Bug>) -> Self {
        Self { bug, ..self }
    }

    /// A home of this process asks, at `sent_at`; the ask's number. If nobody is known to lead, it is
    /// never granted.
    pub fn ask(
        &mut self,
        at: &Moment<'_>,
        sent_at: LocalTime,
        home: Incarnation,
        out: &mut Vec<HomeLeaseOutput>,
    ) -> u64 {
        self.take_note(at);
        self.next_ask += 1;
        let ask = self.next_ask;
        self.asked.insert(ask, (home, sent_at));
        match at.leader {
            _ if at.leads.is_some() => self.asked_by(at, Asker { from: self.node, ask, home }, out),
            Some(to) if to != self.node => {
                let message = HomeLeaseMessage::Ask { ask, home };
                out.push(HomeLeaseOutput::Send { to, message });
            }
            _ => {}
        }
        ask
    }

    /// True if the ask may be granted yet.
    #[must_use]
    pub fn is_open(&self, ask: u64) -> bool {
        self.asked.contains_key(&ask)
    }

    /// A message from another node.
    pub fn receive(
        &mut self,
        at: &Moment<'_>,
        from: NodeId,
        message: HomeLeaseMessage,
        out: &mut Vec<HomeLeaseOutput>,
    ) {
        self.take_note(at);
        match message {
            HomeLeaseMessage::Ask { ask, home } if home.process.node == from => {
                self.asked_by(at, Asker { from, ask, home }, out);
            }
            HomeLeaseMessage::Ask { .. } => {}
            HomeLeaseMessage::Granted { ask } => self.granted(ask, out),
        }
    }

    /// A round has ended; confirmed: `at.ring` is as recent as it, or more. False: it was none of these.
    pub fn round_ended(
        &mut self,
        at: &Moment<'_>,
        round: u64,
        confirmed: bool,
        out: &mut Vec<HomeLeaseOutput>,
    ) -> bool {
        self.take_note(at);
        let Some(Asker { from, ask, home }) = self.rounds.remove(&round) else { return false };
        let grants = self.grants.as_ref();
        if confirmed && grants.is_some_and(|grants| grants.confirmed(home, &at.homes())) {
            if from == self.node {
                self.granted(ask, out);
            } else {
                let message = HomeLeaseMessage::Granted { ask };
                out.push(HomeLeaseOutput::Send { to: from, message });
            }
        }
        true
    }

    /// Time passes. Due every few milliseconds.
    pub fn tick(&mut self, at: &Moment<'_>, out: &mut Vec<HomeLeaseOutput>) {
        self.take_note(at);
        let lease_ms = at.rules.home_lease_ms;
        self.asked.retain(|_, (_, sent_at)| at.now < sent_at.plus(lease_ms));
        let grants = self.grants.as_mut();
        let operation = grants.and_then(|grants| {
            grants.tick(at.now, &at.homes(), |homes| at.ring.settled_without(homes))
        });
        out.extend(operation.map(HomeLeaseOutput::Propose));
    }

    /// What was granted in another term is that leader's business, and its rounds prove nothing here.
    fn take_note(&mut self, at: &Moment<'_>) {
        if self.grants.as_ref().map(Grants::term) != at.leads {
            self.grants = at.leads.map(|term| self.office(term, at.rules));
            self.rounds.clear();
        }
    }

    #[allow(clippy::unused_self)]
    fn office(&self, term: Term, rules: Rules) -> Grants {
        let grants = Grants::new(term, rules);
        #[cfg(feature = "bugs")]
        let grants = grants.with_bug(self.bug);
        grants
    }

    fn asked_by(&mut self, at: &Moment<'_>, asker: Asker, out: &mut Vec<HomeLeaseOutput>) {
        let Some(grants) = &mut self.grants else { return };
        if grants.ask(at.now, asker.home, &at.homes()) {
            self.next_round += 1;
            self.rounds.insert(self.next_round, asker);
            out.push(HomeLeaseOutput::BeginRound(self.next_round));
        }
    }

    fn granted(&mut self, ask: u64, out: &mut Vec<HomeLeaseOutput>) {
        if let Some((home, sent_at)) = self.asked.remove(&ask) {
            out.push(HomeLeaseOutput::Granted { ask, home, sent_at });
        }
    }
}
