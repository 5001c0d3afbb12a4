//! One node's caches: its home half, its sharer half, and the store that they share. Everything comes in
//! here, with the time; what is to be sent and answered goes out.

#[cfg(feature = "bugs")]
use super::bug::Bug;
use super::bug::Bugs;
use super::home::Home;
use super::leases::Leases;
use super::message::{CacheMessage, Found};
use super::placement::{Incarnation, Placement, Process};
use super::rules::Rules;
use super::sharer::Sharer;
use super::store::{Copy, Source, Store};
use super::value::{Key, Write, WriteOutcome};
use crate::types::LocalTime;

/// Names a client's request between this node and its shell.
pub type Ticket = u64;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Send a message to another process. It may get lost.
    Send {
        /// To whom.
        to: Process,
        /// What.
        message: CacheMessage,
    },
    /// Tell a client.
    Answer(Answer),
    /// For [`Coherence`] itself: the store had no room for a value of which this node is the home.
    Evicted(Key),
}

impl Output {
    pub(super) fn send(to: Process, message: CacheMessage) -> Self {
        Self::Send { to, message }
    }
}

/// The end of a client's request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A get.
    Got {
        /// Which.
        ticket: Ticket,
        /// The value; `None`: a miss.
        found: Option<Found>,
        /// No message was sent for it.
        hit: bool,
    },
    /// A get for which no home served in time.
    GetUnavailable {
        /// Which.
        ticket: Ticket,
    },
    /// A write.
    Wrote {
        /// Which.
        ticket: Ticket,
        /// What became of it.
        outcome: WriteOutcome,
    },
}

/// One node's caches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coherence<P, S> {
    pub(super) home: Home<P>,
    pub(super) sharer: Sharer<P>,
    pub(super) store: S,
    bugs: Bugs,
}

impl<P: Placement, S: Store> Coherence<P, S> {
    /// A process that has just started: in no ring, with nothing kept.
    #[must_use]
    pub fn new(process: Process, rules: Rules, store: S) -> Self {
        let me = Incarnation { process, returns: 0 };
        Self {
            home: Home::new(me, rules),
            sharer: Sharer::new(process, rules),
            store,
            bugs: Bugs::default(),
        }
    }

    /// The rules of the cluster, as soon as they are known: before this node is in a ring, and never others
    /// afterwards.
    pub fn set_rules(&mut self, rules: Rules) {
        self.home.set_rules(rules);
        self.sharer.set_rules(rules);
    }

    /// Moments at which values of this home go by themselves.
    #[cfg(test)]
    pub(super) fn expiries(&self) -> usize {
        self.home.expiries()
    }

    /// Leaves a rule out.
    #[cfg(feature = "bugs")]
    #[must_use]
    pub fn with_bug(mut self, bug: Option<Bug>) -> Self {
        self.bugs.put_back(bug);
        (self.home.bugs, self.sharer.bugs) = (self.bugs, self.bugs);
        self
    }

    /// What may be read without a message, now (R3). A shell that reads on other threads does the same in
    /// the same order: the copy, then the lease, then the clock.
    pub fn read(&mut self, now: LocalTime, key: &Key) -> Option<Copy> {
        let copy = self.store.get(key)?;
        let own = copy.source.home == self.home.me() && copy.source.session.is_none();
        let leased = match own {
            true => self.home.has_lease(now),
            false => self.sharer.lease_over(&copy.source).is_some_and(|over| now < over),
        };
        (leased && copy.expires.is_none_or(|expires| now < expires)).then_some(copy)
    }

    /// A client's get.
    pub fn get(&mut self, now: LocalTime, ticket: Ticket, key: &Key) -> Vec<Output> {
        let mut out = Vec::new();
        match self.read(now, key) {
            Some(copy) => {
                let found = Found {
                    ttl_left_ms: copy.expires.map(|expires| expires.since(now)),
                    value: copy.value,
                    version: copy.version,
                };
                out.push(Output::Answer(Answer::Got { ticket, found: Some(found), hit: true }));
            }
            None => self.sharer.get(now, ticket, key, &mut out),
        }
        self.settle(now, out)
    }

    /// A client's get that asks the home, whatever is kept here (`consistency=verify`): it trusts no lease
    /// but the home's own.
    pub fn verify(&mut self, now: LocalTime, ticket: Ticket, key: &Key) -> Vec<Output> {
        let mut out = Vec::new();
        self.sharer.verify(now, ticket, key, &mut out);
        self.settle(now, out)
    }

    /// A client's write.
    pub fn write(
        &mut self,
        now: LocalTime,
        ticket: Ticket,
        key: &Key,
        write: Write,
    ) -> Vec<Output> {
        let mut out = Vec::new();
        self.sharer.write(now, ticket, key, write, &mut out);
        self.settle(now, out)
    }

    /// A message from another process. Who it is for is checked here: a home that is no more, or not
    /// yet, and its sharers have nothing to say to each other.
    pub fn receive(&mut self, now: LocalTime, from: Process, message: CacheMessage) -> Vec<Output> {
        let mut out = Vec::new();
        self.take_in(now, from, message, &mut out);
        self.settle(now, out)
    }

    /// The ring as of a new epoch, or the same one settled.
    pub fn install(&mut self, now: LocalTime, placement: &P) -> Vec<Output> {
        let mut out = Vec::new();
        self.home.install(now, placement, &mut self.store, &mut out);
        self.sharer.install(now, placement, &mut self.store, &mut out);
        self.settle(now, out)
    }

    /// The leader has granted the lease that `home` asked for at `sent_at`.
    pub fn home_lease_granted(&mut self, home: Incarnation, sent_at: LocalTime) {
        self.home.lease_granted(home, sent_at);
    }

    /// The leases by which what is kept here may be read.
    #[must_use]
    pub fn leases(&self) -> Leases {
        let own = self.home.is_in_ring().then(|| {
            let source = Source { home: self.home.me(), session: None };
            (source, self.home.lease_over())
        });
        Leases::new(own.into_iter().chain(self.sharer.leases()))
    }

    /// When the home lease ends.
    #[must_use]
    pub fn home_lease_over(&self) -> LocalTime {
        self.home.lease_over()
    }

    /// The newest epoch by whose changes nobody has copies of keys that this home lost.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.home.released()
    }

    /// What time brings. Due every few milliseconds.
    pub fn tick(&mut self, now: LocalTime) -> Vec<Output> {
        let mut out = Vec::new();
        self.home.tick(now, &mut self.store, &mut out);
        self.sharer.tick(now, &mut out);
        self.settle(now, out)
    }

    fn take_in(
        &mut self,
        now: LocalTime,
        from: Process,
        message: CacheMessage,
        out: &mut Vec<Output>,
    ) {
        let home = message.home();
        if message.is_for_home() {
            if home == self.home.me() {
                self.home.receive(now, from, message, &mut self.store, out);
            }
        } else if home.process == from {
            self.sharer.receive(now, message, &mut self.store, out);
        }
    }

    /// This node's messages to itself arrive at once; the rest goes out.
    fn settle(&mut self, now: LocalTime, mut todo: Vec<Output>) -> Vec<Output> {
        let me = self.home.me().process;
        let mut out = Vec::new();
        while !todo.is_empty() {
            for output in std::mem::take(&mut todo) {
                match output {
                    Output::Send { to, message } if to == me => {
                        self.take_in(now, me, message, &mut todo);
                    }
                    Output::Evicted(key) => {
                        self.home.evicted(now, &key, &mut self.store, &mut todo);
                    }
                    other => out.push(other),
                }
            }
        }
        out
    }
}
