//! The other half of every node: copies of other homes' values, and the requests of this node's
//! clients.
//!
//! A get that finds no copy it may serve is a *flight*: one question to the home, which others that
//! want the same key may join. Who may take what comes back is the delicate part:
//!
//! ```text
//! who was there when the question left     whatever comes: it was visible after they asked
//! who joined while the lease ran, before   only what may be kept: the home has noted this node before it
//! any invalidation of the key              answered, so a write that ended before they joined would have
//!                                          needed this node's acknowledgement, and that poisons the flight
//! who comes after an invalidation          starts another flight
//! ```
//!
//! A lease that has run out ends nothing here: copies stay, unread, and are good again if the home grants
//! the *same* session once more. Another session's number says that they are void (R9).

#[cfg(feature = "bugs")]
mod canonical;
mod flights;
mod leases;
mod patience;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use crate::cache::bug::{Bug, Bugs};
use crate::cache::coherence::{Answer, Output, Ticket};
use crate::cache::message::{CacheMessage, Found};
use crate::cache::placement::{Incarnation, Placement, Process};
use crate::cache::rules::Rules;
use crate::cache::store::Store;
use crate::cache::value::{Key, Version, Write, WriteOutcome};
use crate::types::LocalTime;

/// The sharer's half of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sharer<P> {
    me: Process,
    rules: Rules,
    placement: Option<P>,
    homes: BTreeMap<Incarnation, HomeSession>,
    /// Every question under way, by its number.
    flights: BTreeMap<u64, Flight>,
    /// The flight of a key that others may join.
    open: BTreeMap<Key, u64>,
    /// Every write under way, by its number.
    writes: BTreeMap<u64, SentWrite>,
    /// Requests that no home would take, to be tried again.
    parked: Vec<Parked>,
    last_request: u64,
    pub(super) bugs: Bugs,
}

/// The session with one home.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct HomeSession {
    /// Its number; `None` before the first grant.
    number: Option<u64>,
    /// Copies may be served until then.
    lease_over: LocalTime,
    /// All invalidations up to this one have been carried out.
    seen: u64,
    /// And these beyond it.
    seen_beyond: BTreeSet<u64>,
    /// Renewals without an answer, with the moment of sending.
    renewals: BTreeMap<u64, LocalTime>,
    /// When the next one is due.
    renew_at: LocalTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    key: Key,
    home: Incarnation,
    /// The session in which it asked.
    session: Option<u64>,
    sent_at: LocalTime,
    /// Versions below are void.
    poison: Option<Version>,
    first: Vec<Waiting>,
    joined: Vec<Waiting>,
}

/// A client's get, and until when it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    ticket: Ticket,
    deadline: LocalTime,
    /// It joins no question that was asked before it came, though a lease would allow it.
    alone: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SentWrite {
    home: Incarnation,
    key: Key,
    write: Write,
    by: Waiting,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parked {
    key: Key,
    /// `None`: a get.
    write: Option<Write>,
    by: Waiting,
}

impl<P: Placement> Sharer<P> {
    pub(super) fn new(me: Process, rules: Rules) -> Self {
        Self {
            me,
            rules,
            placement: None,
            homes: BTreeMap::new(),
            flights: BTreeMap::new(),
            open: BTreeMap::new(),
            writes: BTreeMap::new(),
            parked: Vec::new(),
            last_request: 0,
            bugs: Bugs::default(),
        }
    }

    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// A get that found nothing to serve.
    pub(super) fn get(&mut self, now: LocalTime, ticket: Ticket, key: &Key, out: &mut Vec<Output>) {
        let by = self.waiting(now, ticket);
        self.ask(now, key, by, out);
    }

    /// A get that wants the home's word, asked for after it came.
    pub(super) fn verify(
        &mut self,
        now: LocalTime,
        ticket: Ticket,
        key: &Key,
        out: &mut Vec<Output>,
    ) {
        let by = Waiting { alone: true, ..self.waiting(now, ticket) };
        self.ask(now, key, by, out);
    }

    /// A write of a client.
    pub(super) fn write(
        &mut self,
        now: LocalTime,
        ticket: Ticket,
        key: &Key,
        write: Write,
        out: &mut Vec<Output>,
    ) {
        self.send_write(key, write, self.waiting(now, ticket), out);
    }

    /// A new ring, or the same one settled. Copies and questions of keys whose home is another one now
    /// are dropped; every home is told.
    pub(super) fn install<S: Store>(
        &mut self,
        now: LocalTime,
        placement: &P,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        self.placement = Some(placement.clone());
        let homes = placement.homes();
        self.homes.retain(|home, _| homes.contains(home));
        for home in homes.into_iter().filter(|home| home.process != self.me) {
            self.homes.entry(home).or_default();
        }
        if !self.bugs.has(Bug::CopiesOutliveEpoch) {
            store.retain(&mut |key, copy| placement.home(key) == Some(copy.source.home));
        }
        self.ask_elsewhere(now, placement, out);
        self.lose_writes(placement, out);
        self.retry_parked(now, out);
        let homes: Vec<Incarnation> = self.homes.keys().copied().collect();
        homes.into_iter().for_each(|home| self.renew(now, home, out));
    }

    /// Any message to this sharer.
    pub(super) fn receive<S: Store>(
        &mut self,
        now: LocalTime,
        message: CacheMessage,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        match message {
            CacheMessage::Granted { home, request, session, length_ms, sent } => {
                self.granted(now, (home, request), (session, length_ms, sent), store);
            }
            CacheMessage::Value { home, request, found, cacheable } => {
                self.answered(now, (home, request), found, cacheable, store, out);
            }
            CacheMessage::Invalidate { home, session, number, key, below } => {
                self.invalidate((home, session, number), &key, below, store, out);
            }
            CacheMessage::Written { home, request, outcome } => {
                self.written(home, request, outcome, out);
            }
            CacheMessage::Refused { home, request } => self.refused(home, request),
            CacheMessage::Renew { .. }
            | CacheMessage::Get { .. }
            | CacheMessage::Invalidated { .. }
            | CacheMessage::Write { .. } => debug_assert!(false, "for a home"),
        }
    }

    /// What time brings: renewals, patience that ends, requests to try again.
    pub(super) fn tick(&mut self, now: LocalTime, out: &mut Vec<Output>) {
        let due = self.homes.iter().filter(|(_, home)| home.renew_at <= now);
        let due: Vec<Incarnation> = due.map(|(home, _)| *home).collect();
        due.into_iter().for_each(|home| self.renew(now, home, out));
        self.give_up(now, out);
        self.retry_parked(now, out);
    }

    /// Drop, poison, then acknowledge (R6): whatever session it names. In another one than the present
    /// there is nothing to drop, and what the home waits for is true.
    fn invalidate<S: Store>(
        &mut self,
        (home, session, number): (Incarnation, u64, u64),
        key: &Key,
        below: Version,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let copy = store.get(key);
        if copy.is_some_and(|copy| copy.source.home == home && copy.version < below) {
            store.remove(key);
        }
        if self.open.get(key).is_some_and(|flight| self.flights[flight].home == home) {
            self.open.remove(key);
        }
        let flights = self.flights.values_mut();
        for flight in flights.filter(|flight| flight.home == home && flight.key == *key) {
            flight.poison = flight.poison.max(Some(below));
        }
        if let Some(of) = self.homes.get_mut(&home).filter(|of| of.number == Some(session)) {
            of.note_seen(number);
        }
        out.push(Output::send(home.process, CacheMessage::Invalidated { home, session, number }));
    }

    fn home(&self, key: &Key) -> Option<Incarnation> {
        self.placement.as_ref()?.home(key)
    }

    fn waiting(&self, now: LocalTime, ticket: Ticket) -> Waiting {
        Waiting { ticket, deadline: now.plus(self.rules.patience_ms), alone: false }
    }

    fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }
}

impl HomeSession {
    fn note_seen(&mut self, number: u64) {
        if number > self.seen {
            self.seen_beyond.insert(number);
        }
        while self.seen_beyond.remove(&(self.seen + 1)) {
            self.seen += 1;
        }
    }
}

impl Waiting {
    fn got(&self, found: Option<Found>) -> Output {
        Output::Answer(Answer::Got { ticket: self.ticket, found, hit: false })
    }

    fn unavailable(&self) -> Output {
        Output::Answer(Answer::GetUnavailable { ticket: self.ticket })
    }

    fn wrote(&self, outcome: WriteOutcome) -> Output {
        Output::Answer(Answer::Wrote { ticket: self.ticket, outcome })
    }
}
