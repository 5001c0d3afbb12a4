//! Requests that wait for a home that serves, and the end of their patience.

use super::{Flight, Parked, Sharer, Waiting};
use crate::cache::coherence::Output;
use crate::cache::placement::{Incarnation, Placement};
use crate::cache::value::{Key, Write, WriteOutcome};
use crate::types::LocalTime;

impl<P: Placement> Sharer<P> {
    pub(super) fn park(&mut self, key: &Key, write: Option<Write>, by: Waiting) {
        self.parked.push(Parked { key: key.clone(), write, by });
    }

    pub(super) fn retry_parked(&mut self, now: LocalTime, out: &mut Vec<Output>) {
        for parked in std::mem::take(&mut self.parked) {
            match parked.write {
                None => self.ask(now, &parked.key, parked.by, out),
                Some(write) => self.send_write(&parked.key, write, parked.by, out),
            }
        }
    }

    /// Nothing was done: it can be tried again, at whichever home the ring names by then.
    pub(super) fn refused(&mut self, home: Incarnation, request: u64) {
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

    pub(super) fn give_up(&mut self, now: LocalTime, out: &mut Vec<Output>) {
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
        self.writes.retain(|_, sent| {
            let waits = now < sent.by.deadline;
            if !waits {
                out.push(sent.by.wrote(WriteOutcome::Unknown));
            }
            waits
        });
    }
}
