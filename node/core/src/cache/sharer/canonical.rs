//! A sharer as a model checker sees it.

use std::mem::take;

use super::{Flight, Sharer};
use crate::cache::canonical::Names;
use crate::cache::home::rename_condition;
use crate::cache::message::CacheMessage;
use crate::cache::placement::{Placement, Process};

impl<P: Placement> Sharer<P> {
    pub(in crate::cache) fn rename(&mut self, names: &mut impl Names) {
        let me = self.me;
        self.rename_sessions(names);
        let request = |mut number: u64, names: &mut _| {
            Names::request(names, me, &mut number);
            number
        };
        self.flights = take(&mut self.flights)
            .into_iter()
            .map(|(number, mut flight)| {
                rename_flight(me, &mut flight, names);
                (request(number, names), flight)
            })
            .collect();
        self.open.values_mut().for_each(|number| *number = request(*number, names));
        self.writes = take(&mut self.writes)
            .into_iter()
            .map(|(number, mut sent)| {
                rename_condition(&mut sent.write, names);
                names.time(&mut sent.by.deadline, 0);
                (request(number, names), sent)
            })
            .collect();
        for parked in &mut self.parked {
            names.time(&mut parked.by.deadline, 0);
            parked.write.iter_mut().for_each(|write| rename_condition(write, names));
        }
        names.last_request(me, &mut self.last_request);
    }

    fn rename_sessions(&mut self, names: &mut impl Names) {
        let (me, keep_ms) = (self.me, self.rules.session_ms);
        for (home, session) in &mut self.homes {
            if let Some(number) = &mut session.number {
                names.session(*home, me, number);
            }
            names.time(&mut session.lease_over, 0);
            names.time(&mut session.renew_at, 0);
            session.renewals = take(&mut session.renewals)
                .into_iter()
                .map(|(mut number, mut sent_at)| {
                    names.request(me, &mut number);
                    names.time(&mut sent_at, keep_ms);
                    (number, sent_at)
                })
                .collect();
        }
    }

    pub(in crate::cache) fn ignores(&self, message: &CacheMessage) -> bool {
        let flies = |request| self.flights.contains_key(request);
        let writes = |request| self.writes.contains_key(request);
        match message {
            CacheMessage::Granted { home, request, .. } => {
                self.homes.get(home).is_none_or(|of| !of.renewals.contains_key(request))
            }
            CacheMessage::Value { request, .. } => !flies(request),
            CacheMessage::Written { request, .. } => !writes(request),
            CacheMessage::Refused { request, .. } => !flies(request) && !writes(request),
            _ => false,
        }
    }

    pub(in crate::cache) fn forget_renewals(&mut self, answerable: impl Fn(u64) -> bool) {
        for session in self.homes.values_mut() {
            session.renewals.retain(|request, _| answerable(*request));
        }
    }
}

fn rename_flight(me: Process, flight: &mut Flight, names: &mut impl Names) {
    if let Some(session) = &mut flight.session {
        names.session(flight.home, me, session);
    }
    // Tells only when what was found goes by itself.
    names.time(&mut flight.sent_at, 0);
    flight.poison.iter_mut().for_each(|below| names.version(below));
    for by in flight.first.iter_mut().chain(&mut flight.joined) {
        names.time(&mut by.deadline, 0);
    }
}
