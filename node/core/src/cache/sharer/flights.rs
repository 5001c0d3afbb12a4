//! Questions to homes.

use super::{Flight, Sharer, Waiting};
use crate::cache::bug::Bug;
use crate::cache::coherence::Output;
use crate::cache::message::{CacheMessage, Found};
use crate::cache::placement::{Incarnation, Placement};
use crate::cache::store::{Copy, Source, Store};
use crate::cache::value::Key;
use crate::types::LocalTime;

impl<P: Placement> Sharer<P> {
    pub(super) fn ask(&mut self, now: LocalTime, key: &Key, by: Waiting, out: &mut Vec<Output>) {
        let Some(home) = self.home(key) else { return self.park(key, None, by) };
        if !by.alone
            && let Some(flight) = self.open.get(key).copied()
            && self.may_join(now, flight, home)
            && let Some(flight) = self.flights.get_mut(&flight)
        {
            return flight.joined.push(by);
        }
        self.fly(now, key, home, vec![by], out);
    }

    pub(super) fn may_join(&self, now: LocalTime, flight: u64, home: Incarnation) -> bool {
        let Some(flight) = self.flights.get(&flight).filter(|flight| flight.home == home) else {
            return false;
        };
        let of = self.homes.get(&home);
        let same = of.is_some_and(|of| of.number.is_some() && of.number == flight.session);
        let leased = of.is_some_and(|of| now < of.lease_over);
        (same && leased) || self.bugs.has(Bug::JoinerTakesOldValue)
    }

    /// The flight is noted before the question leaves (R4).
    pub(super) fn fly(
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

    pub(super) fn answered<S: Store>(
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

    pub(super) fn may_keep(&self, flight: &Flight, found: &Found) -> bool {
        let Some(of) = self.homes.get(&flight.home) else { return false };
        let same = of.number.is_some()
            && (of.number == flight.session || self.bugs.has(Bug::FillOutlivesSession));
        let fresh = flight.poison.is_none_or(|below| found.version >= below)
            || self.bugs.has(Bug::FillIgnoresPoison);
        same && fresh
    }

    pub(super) fn take_flight(&mut self, home: Incarnation, request: u64) -> Option<Flight> {
        if self.flights.get(&request).is_none_or(|flight| flight.home != home) {
            return None;
        }
        let flight = self.flights.remove(&request)?;
        if self.open.get(&flight.key) == Some(&request) {
            self.open.remove(&flight.key);
        }
        Some(flight)
    }

    pub(super) fn ask_elsewhere(&mut self, now: LocalTime, placement: &P, out: &mut Vec<Output>) {
        let moved = self
            .flights
            .iter()
            .filter(|(_, flight)| placement.home(&flight.key) != Some(flight.home));
        let moved: Vec<(Incarnation, u64)> =
            moved.map(|(request, flight)| (flight.home, *request)).collect();
        for (home, request) in moved {
            let Some(flight) = self.take_flight(home, request) else { continue };
            for by in flight.first.into_iter().chain(flight.joined) {
                self.ask(now, &flight.key, by, out);
            }
        }
    }
}
