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

use std::collections::{BTreeMap, BTreeSet};

use super::bug::{Bug, Bugs};
use super::coherence::{Answer, Output, Ticket};
use super::message::{CacheMessage, Found};
use super::placement::{Incarnation, Placement, Process};
use super::rules::Rules;
use super::store::{Copy, Source, Store};
use super::value::{Key, Version, Write, WriteOutcome};
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

    /// Until when copies of this source may be read; `None`: not at all.
    pub(super) fn lease_over(&self, source: &Source) -> Option<LocalTime> {
        let home = self.homes.get(&source.home)?;
        (source.session.is_some() && home.number == source.session).then_some(home.lease_over)
    }

    /// A get that found nothing to serve.
    pub(super) fn get(&mut self, now: LocalTime, ticket: Ticket, key: &Key, out: &mut Vec<Output>) {
        let by = Waiting { ticket, deadline: now.plus(self.rules.patience_ms) };
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
        let by = Waiting { ticket, deadline: now.plus(self.rules.patience_ms) };
        self.send_write(key, write, by, out);
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
                self.granted(now, (home, request), (session, length_ms, sent), store, out);
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

    // --- leases ---

    fn renew(&mut self, now: LocalTime, home: Incarnation, out: &mut Vec<Output>) {
        let epoch = self.placement.as_ref().map_or(0, Placement::epoch);
        let (keep_ms, every_ms) = (self.rules.session_ms, self.rules.renew_every_ms());
        let request = self.next_request();
        let Some(session) = self.homes.get_mut(&home) else { return };
        session.renewals.retain(|_, sent_at| now.since(*sent_at) < keep_ms);
        session.renewals.insert(request, now);
        session.renew_at = now.plus(every_ms);
        let (number, seen) = (session.number, session.seen);
        let message = CacheMessage::Renew { home, request, session: number, seen, epoch };
        out.push(Output::send(home.process, message));
    }

    fn granted<S: Store>(
        &mut self,
        now: LocalTime,
        (home, request): (Incarnation, u64),
        (number, length_ms, sent): (u64, u64, u64),
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let from_answer = self.bugs.has(Bug::LeaseCountedFromAnswer);
        let Some(session) = self.homes.get_mut(&home) else { return };
        let Some(sent_at) = session.renewals.remove(&request) else { return };
        let counted_from = if from_answer { now } else { sent_at };
        let over = counted_from.plus(length_ms);
        if session.number == Some(number) {
            if session.seen >= sent {
                session.lease_over = session.lease_over.max(over);
            }
            return;
        }
        if session.number.is_some_and(|mine| mine > number) {
            return;
        }
        let renewals = std::mem::take(&mut session.renewals);
        let renew_at = session.renew_at;
        *session = HomeSession {
            number: Some(number),
            lease_over: over,
            seen: sent,
            seen_beyond: BTreeSet::new(),
            renewals,
            renew_at,
        };
        store.retain(&mut |_, copy| {
            copy.source.home != home || copy.source.session == Some(number)
        });
        let _ = out;
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

    // --- gets ---

    fn ask(&mut self, now: LocalTime, key: &Key, by: Waiting, out: &mut Vec<Output>) {
        let Some(home) = self.home(key) else { return self.park(key, None, by) };
        if let Some(flight) = self.open.get(key).copied()
            && self.may_join(now, flight, home)
            && let Some(flight) = self.flights.get_mut(&flight)
        {
            return flight.joined.push(by);
        }
        self.fly(now, key, home, vec![by], out);
    }

    fn may_join(&self, now: LocalTime, flight: u64, home: Incarnation) -> bool {
        let Some(flight) = self.flights.get(&flight).filter(|flight| flight.home == home) else {
            return false;
        };
        let of = self.homes.get(&home);
        let same = of.is_some_and(|of| of.number.is_some() && of.number == flight.session);
        let leased = of.is_some_and(|of| now < of.lease_over);
        (same && leased) || self.bugs.has(Bug::JoinerTakesOldValue)
    }

    /// The flight is noted before the question leaves (R4).
    fn fly(
        &mut self,
        now: LocalTime,
        key: &Key,
        home: Incarnation,
        first: Vec<Waiting>,
        out: &mut Vec<Output>,
    ) {
        let request = self.next_request();
        let session = self.homes.get(&home).and_then(|of| of.number);
        let flight = Flight {
            key: key.clone(),
            home,
            session,
            sent_at: now,
            poison: None,
            first,
            joined: Vec::new(),
        };
        self.flights.insert(request, flight);
        self.open.insert(key.clone(), request);
        let key = key.clone();
        out.push(Output::send(home.process, CacheMessage::Get { home, request, session, key }));
    }

    fn answered<S: Store>(
        &mut self,
        now: LocalTime,
        (home, request): (Incarnation, u64),
        found: Option<Found>,
        cacheable: bool,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some(flight) = self.take_flight(home, request) else { return };
        flight.first.iter().for_each(|by| out.push(by.got(found.clone())));
        if cacheable || self.bugs.has(Bug::JoinerTakesOldValue) {
            flight.joined.iter().for_each(|by| out.push(by.got(found.clone())));
        } else if !flight.joined.is_empty() {
            self.fly(now, &flight.key, home, flight.joined.clone(), out);
        }
        if let Some(found) = found.filter(|found| cacheable && self.may_keep(&flight, found)) {
            let source = Source { home, session: self.homes[&home].number };
            let expires = found.ttl_left_ms.map(|left| flight.sent_at.plus(left));
            let (value, version) = (found.value, found.version);
            // Whatever had to make room: copies go without a word, this node's own values do not.
            for (key, copy) in store.put(&flight.key, Copy { value, version, expires, source }) {
                if copy.source.session.is_none() {
                    out.push(Output::Evicted(key));
                }
            }
        }
    }

    fn may_keep(&self, flight: &Flight, found: &Found) -> bool {
        let Some(of) = self.homes.get(&flight.home) else { return false };
        let same = of.number.is_some()
            && (of.number == flight.session || self.bugs.has(Bug::FillOutlivesSession));
        let fresh = flight.poison.is_none_or(|below| found.version >= below)
            || self.bugs.has(Bug::FillIgnoresPoison);
        same && fresh
    }

    fn take_flight(&mut self, home: Incarnation, request: u64) -> Option<Flight> {
        if self.flights.get(&request).is_none_or(|flight| flight.home != home) {
            return None;
        }
        let flight = self.flights.remove(&request)?;
        if self.open.get(&flight.key) == Some(&request) {
            self.open.remove(&flight.key);
        }
        Some(flight)
    }

    fn ask_elsewhere(&mut self, now: LocalTime, placement: &P, out: &mut Vec<Output>) {
        let moved = self.flights.iter().filter(|(_, flight)| {
            placement.home(&flight.key) != Some(flight.home)
        });
        let moved: Vec<(Incarnation, u64)> =
            moved.map(|(request, flight)| (flight.home, *request)).collect();
        for (home, request) in moved {
            let Some(flight) = self.take_flight(home, request) else { continue };
            for by in flight.first.into_iter().chain(flight.joined) {
                self.ask(now, &flight.key, by, out);
            }
        }
    }

    // --- writes ---

    /// Sent once: a second copy could act after somebody else's write that came between.
    fn send_write(&mut self, key: &Key, write: Write, by: Waiting, out: &mut Vec<Output>) {
        let Some(home) = self.home(key) else { return self.park(key, Some(write), by) };
        let request = self.next_request();
        let sent = SentWrite { home, key: key.clone(), write: write.clone(), by };
        self.writes.insert(request, sent);
        let key = key.clone();
        out.push(Output::send(home.process, CacheMessage::Write { home, request, key, write }));
    }

    fn written(
        &mut self,
        home: Incarnation,
        request: u64,
        outcome: WriteOutcome,
        out: &mut Vec<Output>,
    ) {
        if self.writes.get(&request).is_some_and(|sent| sent.home == home)
            && let Some(sent) = self.writes.remove(&request)
        {
            out.push(sent.by.wrote(outcome));
        }
    }

    /// Nothing was done: it can be tried again, at whichever home the ring names by then.
    fn refused(&mut self, home: Incarnation, request: u64) {
        if let Some(flight) = self.take_flight(home, request) {
            for by in flight.first.into_iter().chain(flight.joined) {
                self.park(&flight.key, None, by);
            }
        } else if self.writes.get(&request).is_some_and(|sent| sent.home == home)
            && let Some(sent) = self.writes.remove(&request)
        {
            self.park(&sent.key, Some(sent.write), sent.by);
        }
    }

    /// A home that is not in the ring any more will not answer; what it did is gone with it, or not.
    fn lose_writes(&mut self, placement: &P, out: &mut Vec<Output>) {
        let homes = placement.homes();
        let lost = self.writes.iter().filter(|(_, sent)| !homes.contains(&sent.home));
        let lost: Vec<(Incarnation, u64)> =
            lost.map(|(request, sent)| (sent.home, *request)).collect();
        for (home, request) in lost {
            self.written(home, request, WriteOutcome::Unknown, out);
        }
    }

    // --- patience ---

    fn park(&mut self, key: &Key, write: Option<Write>, by: Waiting) {
        self.parked.push(Parked { key: key.clone(), write, by });
    }

    fn retry_parked(&mut self, now: LocalTime, out: &mut Vec<Output>) {
        for parked in std::mem::take(&mut self.parked) {
            match parked.write {
                None => self.ask(now, &parked.key, parked.by, out),
                Some(write) => self.send_write(&parked.key, write, parked.by, out),
            }
        }
    }

    fn give_up(&mut self, now: LocalTime, out: &mut Vec<Output>) {
        for parked in std::mem::take(&mut self.parked) {
            match parked.write {
                _ if now < parked.by.deadline => self.parked.push(parked),
                None => out.push(parked.by.unavailable()),
                Some(_) => out.push(parked.by.wrote(WriteOutcome::Unavailable)),
            }
        }
        for flight in self.flights.values_mut() {
            for list in [&mut flight.first, &mut flight.joined] {
                let late = list.extract_if(.., |by| by.deadline <= now);
                out.extend(late.map(|by| by.unavailable()));
            }
        }
        let idle = |flight: &Flight| flight.first.is_empty() && flight.joined.is_empty();
        let idle = self.flights.iter().filter(|(_, flight)| idle(flight));
        let idle: Vec<(Incarnation, u64)> =
            idle.map(|(request, flight)| (flight.home, *request)).collect();
        for (home, request) in idle {
            self.take_flight(home, request);
        }
        let late = self.writes.extract_if(.., |_, sent| sent.by.deadline <= now);
        out.extend(late.map(|(_, sent)| sent.by.wrote(WriteOutcome::Unknown)));
    }

    fn home(&self, key: &Key) -> Option<Incarnation> {
        self.placement.as_ref()?.home(key)
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
