//! The home of keys: orders their writes, and knows who has copies.
//!
//! ```text
//!                  write, no sharer: at once
//!          ┌───────────────────────────────────────────┐
//!   quiet ─┤                                           ├─> visible, answered ─> quiet
//!          └ write ─> round: Invalidate to each sharer ┘
//!                       each acknowledged, or its lease over and its session ended
//! ```
//!
//! What can be seen at the home is what is in its store. During a round that is the old value: it is
//! handed out, but may not be kept (R8). At the end of the round all writes that share it act in the
//! order of their arrival, if the home's own lease still runs; else nobody can say whether they would
//! be seen, and they are answered so.

use std::collections::{BTreeMap, BTreeSet};

use super::bug::{Bug, Bugs};
use super::coherence::Output;
use super::directory::{Directory, PendingWrite, Round};
use super::message::{CacheMessage, Found};
use super::placement::{Incarnation, Placement, Process};
use super::rules::Rules;
use super::session::{Sessions, Slot, Unacknowledged};
use super::store::{Copy, Source, Store};
use super::value::{Key, Version, Write, WriteOutcome};
use crate::types::LocalTime;

/// Processes of which the last write's number is remembered, beyond those with a session.
const WRITERS_MAX: usize = 256;
/// Values that go by themselves in one tick.
const EXPIRIES_PER_TICK_MAX: usize = 1_000;

/// The home's half of a node. One without a place in the ring refuses everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Home<P> {
    me: Incarnation,
    rules: Rules,
    /// The ring in force; `None`: this node is not in it.
    placement: Option<P>,
    /// The ring before it, until it is settled: keys that were not this home's then wait.
    before: Option<P>,
    /// It may serve until then: counted from the sending of what the leader granted (R1).
    lease_over: LocalTime,
    sessions: Sessions,
    directory: Directory,
    /// When values go by themselves.
    expiries: BTreeSet<(LocalTime, Key)>,
    /// The last version's number.
    minted: u64,
    /// The highest write of each process that was acted on.
    written: BTreeMap<Process, u64>,
    /// Nobody has copies of keys that this home lost by this epoch.
    released: u64,
    pub(super) bugs: Bugs,
}

impl<P: Placement> Home<P> {
    pub(super) fn new(me: Incarnation, rules: Rules) -> Self {
        Self {
            me,
            rules,
            placement: None,
            before: None,
            lease_over: LocalTime(0),
            sessions: Sessions::default(),
            directory: Directory::new(),
            expiries: BTreeSet::new(),
            minted: 0,
            written: BTreeMap::new(),
            released: 0,
            bugs: Bugs::default(),
        }
    }

    /// Which home this is.
    pub(super) fn me(&self) -> Incarnation {
        self.me
    }

    /// The leader has granted what was asked for at `sent_at`.
    pub(super) fn lease_granted(&mut self, sent_at: LocalTime) {
        self.lease_over = self.lease_over.max(sent_at.plus(self.rules.home_lease_ms));
    }

    /// When its right to serve ends.
    pub(super) fn lease_over(&self) -> LocalTime {
        self.lease_over
    }

    /// True if the lease runs.
    pub(super) fn has_lease(&self, now: LocalTime) -> bool {
        now < self.lease_over || self.bugs.has(Bug::HomeWithoutLease)
    }

    /// The newest epoch by whose changes no sharer has copies left (R11).
    pub(super) fn released(&self) -> u64 {
        self.released
    }

    /// A new ring, or the same one settled. Keys that are another home's now are gone at once; sharers
    /// say by their renewals that their copies are, too.
    pub(super) fn install<S: Store>(
        &mut self,
        now: LocalTime,
        placement: &P,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let mine = placement.homes().into_iter().find(|home| home.process == self.me.process);
        match mine {
            Some(mine) if mine == self.me && self.placement.is_some() => {}
            Some(mine) => self.begin(mine, store, out),
            None => return self.leave(store, out),
        }
        self.before = match (placement.settled(), self.placement.take()) {
            (true, _) => None,
            (false, Some(former)) if former.epoch() == placement.epoch() => self.before.take(),
            (false, former) => former,
        };
        self.placement = Some(placement.clone());
        self.drop_lost(store, out);
        self.note_released(now);
    }

    /// Any message to this home.
    pub(super) fn receive<S: Store>(
        &mut self,
        now: LocalTime,
        from: Process,
        message: CacheMessage,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        match message {
            CacheMessage::Renew { request, session, seen, epoch, .. } => {
                self.renew(now, from, (request, session, seen, epoch), out);
            }
            CacheMessage::Get { request, session, key, .. } => {
                self.get(now, from, (request, session), &key, store, out);
            }
            CacheMessage::Invalidated { session, number, .. } => {
                self.invalidated(now, from, (session, number), store, out);
            }
            CacheMessage::Write { request, key, write, .. } => {
                self.write(now, &key, PendingWrite { from, request, write }, store, out);
            }
            CacheMessage::Granted { .. }
            | CacheMessage::Value { .. }
            | CacheMessage::Invalidate { .. }
            | CacheMessage::Written { .. }
            | CacheMessage::Refused { .. } => debug_assert!(false, "for a sharer"),
        }
    }

    /// What time brings: leases that are over, invalidations to repeat, values that go by themselves.
    pub(super) fn tick<S: Store>(
        &mut self,
        now: LocalTime,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        self.expire_values(now, store, out);
        let slots: Vec<Slot> = self.sessions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(session) = self.sessions.get(slot) else { continue };
            if session.unacknowledged.is_empty() {
                continue;
            }
            if self.is_over(session.lease_over, now) {
                self.end_session(now, slot, store, out);
            } else {
                self.repeat(now, slot, out);
            }
        }
        self.note_released(now);
    }

    /// The store had no room for the value: no gets find it any more, and its sharers' copies follow
    /// before the key is forgotten (R13).
    pub(super) fn evicted<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.directory.get(key) else { return };
        if entry.round.is_none() {
            self.begin_round(now, key, Vec::new(), store, out);
        }
    }

    // --- the ring ---

    /// A place in the ring, with nothing kept from any earlier one.
    fn begin<S: Store>(&mut self, me: Incarnation, store: &mut S, out: &mut Vec<Output>) {
        self.leave(store, out);
        let (rules, bugs, written) = (self.rules, self.bugs, std::mem::take(&mut self.written));
        *self = Self { bugs, written, ..Self::new(me, rules) };
    }

    fn leave<S: Store>(&mut self, store: &mut S, out: &mut Vec<Output>) {
        let me = self.me;
        store.retain(&mut |_, copy| copy.source != Source { home: me, session: None });
        for (_, entry) in std::mem::take(&mut self.directory) {
            self.refuse_round(entry.round, out);
        }
        self.expiries.clear();
        self.placement = None;
        self.lease_over = LocalTime(0);
    }

    /// Nothing of a round under way was ever visible: its writes can be refused.
    fn refuse_round(&self, round: Option<Round>, out: &mut Vec<Output>) {
        for write in round.into_iter().flat_map(|round| round.writes) {
            let (to, request) = (write.from, write.request);
            out.push(Output::send(to, CacheMessage::Refused { home: self.me, request }));
        }
    }

    fn drop_lost<S: Store>(&mut self, store: &mut S, out: &mut Vec<Output>) {
        let lost: Vec<Key> =
            self.directory.keys().filter(|key| !self.is_home(key)).cloned().collect();
        for key in lost {
            store.remove(&key);
            let round = self.directory.remove(&key).and_then(|entry| entry.round);
            self.refuse_round(round, out);
        }
    }

    fn is_home(&self, key: &Key) -> bool {
        self.placement.as_ref().is_some_and(|ring| ring.home(key) == Some(self.me))
    }

    /// True if gets and writes of the key are this home's to answer, now.
    fn serves(&self, now: LocalTime, key: &Key) -> bool {
        let had = |before: &P| before.home(key) == Some(self.me);
        let settled = self.placement.as_ref().is_some_and(Placement::settled);
        self.has_lease(now)
            && self.is_home(key)
            && (settled || self.before.as_ref().is_some_and(had))
    }

    fn note_released(&mut self, now: LocalTime) {
        let Some(epoch) = self.placement.as_ref().map(Placement::epoch) else { return };
        let behind = self
            .sessions
            .iter()
            .any(|(_, session)| session.epoch < epoch && !self.is_over(session.lease_over, now));
        if !behind {
            self.released = epoch;
        }
    }

    // --- sessions ---

    fn is_over(&self, lease_over: LocalTime, now: LocalTime) -> bool {
        let early = u64::from(self.bugs.has(Bug::LeaseWaitTooShort));
        now.plus(early) >= lease_over
    }

    fn renew(
        &mut self,
        now: LocalTime,
        from: Process,
        (request, session, seen, epoch): (u64, Option<u64>, u64, u64),
        out: &mut Vec<Output>,
    ) {
        if self.placement.is_none() || !self.has_lease(now) {
            return;
        }
        if let Some(worn) = self.sessions.take_worn() {
            self.directory.values_mut().for_each(|entry| entry.sharers.remove(worn));
        }
        let Some(slot) = self.sessions.open(from, now) else { return };
        let length_ms = self.extension(now, slot);
        let stretched = self.rules.stretched(length_ms);
        let Some(of) = self.sessions.get_mut(slot) else { return };
        if length_ms > 0 {
            of.lease_over = of.lease_over.max(now.plus(stretched));
        }
        of.epoch = of.epoch.max(epoch);
        let (number, sent) = (of.number, of.sent);
        let granted =
            CacheMessage::Granted { home: self.me, request, session: number, length_ms, sent };
        if session == Some(number) && seen < sent {
            self.send_again(now, slot, 0, out);
        }
        out.push(Output::send(from, granted));
        self.note_released(now);
    }

    /// By how much a session's lease may grow: never beyond the home's own (R2), and not at all while
    /// the sharer leaves an invalidation unanswered (R10).
    fn extension(&self, now: LocalTime, slot: Slot) -> u64 {
        let mute = |limit| self.sessions.get(slot).is_some_and(|of| of.is_mute(now, limit));
        if mute(self.rules.unanswered_max_ms()) {
            return 0;
        }
        if self.bugs.has(Bug::SessionNotNested) {
            return self.rules.session_ms;
        }
        self.rules.session_ms.min(self.lease_over.since(now))
    }

    fn repeat(&mut self, now: LocalTime, slot: Slot, out: &mut Vec<Output>) {
        self.send_again(now, slot, self.rules.unanswered_max_ms().max(1), out);
    }

    fn send_again(&mut self, now: LocalTime, slot: Slot, rest_ms: u64, out: &mut Vec<Output>) {
        let home = self.me;
        let Some(session) = self.sessions.get_mut(slot) else { return };
        for (number, waits) in &mut session.unacknowledged {
            if now.since(waits.repeated) < rest_ms {
                continue;
            }
            waits.repeated = now;
            let round = self.directory.get(&waits.key).and_then(|entry| entry.round.as_ref());
            let Some(below) = round.map(|round| round.below) else { continue };
            let (number, key) = (*number, waits.key.clone());
            let message =
                CacheMessage::Invalidate { home, session: session.number, number, key, below };
            out.push(Output::send(session.process, message));
        }
    }

    fn invalidated<S: Store>(
        &mut self,
        now: LocalTime,
        from: Process,
        (number, invalidation): (u64, u64),
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some((slot, _)) = self.sessions.of(from).filter(|(_, of)| of.number == number) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(waits) = session.unacknowledged.remove(&invalidation) else { return };
        self.accounted_for(now, slot, &waits.key, store, out);
    }

    /// The session's lease is over, and somebody waits for it: it is gone for good (R9).
    fn end_session<S: Store>(
        &mut self,
        now: LocalTime,
        slot: Slot,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let waited_for = std::mem::take(&mut session.unacknowledged);
        if !self.bugs.has(Bug::SilentSharerKeepsSession) {
            self.sessions.end(slot);
        }
        for waits in waited_for.into_values() {
            self.accounted_for(now, slot, &waits.key, store, out);
        }
    }

    // --- reading ---

    fn get<S: Store>(
        &mut self,
        now: LocalTime,
        from: Process,
        (request, session): (u64, Option<u64>),
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let home = self.me;
        if !self.serves(now, key) {
            return out.push(Output::send(from, CacheMessage::Refused { home, request }));
        }
        let found = self.visible(now, key, store);
        let of = self.sessions.of(from).filter(|(_, of)| session == Some(of.number));
        let slot = of.map(|(slot, _)| slot).filter(|_| from != self.me.process);
        let entry = self.directory.get_mut(key);
        let during_write = !self.bugs.has(Bug::KeptDuringWrite);
        let entry = entry.filter(|entry| entry.round.is_none() || !during_write);
        let cacheable = match (entry, slot, &found) {
            (Some(entry), Some(slot), Some(_)) => {
                entry.sharers.insert(slot);
                true
            }
            _ => false,
        };
        out.push(Output::send(from, CacheMessage::Value { home, request, found, cacheable }));
    }

    fn visible<S: Store>(&self, now: LocalTime, key: &Key, store: &mut S) -> Option<Found> {
        let copy = store.get(key)?;
        let mine = copy.source == Source { home: self.me, session: None };
        let lives = copy.expires.is_none_or(|expires| now < expires);
        (mine && lives).then(|| Found {
            value: copy.value,
            version: copy.version,
            ttl_left_ms: copy.expires.map(|expires| expires.since(now)),
        })
    }

    // --- writing ---

    fn write<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        write: PendingWrite,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        if !self.first_time(&write) {
            return;
        }
        let (home, to, request) = (self.me, write.from, write.request);
        if !self.serves(now, key) {
            return out.push(Output::send(to, CacheMessage::Refused { home, request }));
        }
        if let Some(round) = self.directory.entry(key.clone()).or_default().round.as_mut() {
            return round.writes.push(write);
        }
        let current = self.visible(now, key, store).map(|found| found.version);
        if !write.write.condition.holds(current) {
            self.forget_empty(key, store);
            let outcome = WriteOutcome::ConditionFailed(current);
            return out.push(Output::send(to, CacheMessage::Written { home, request, outcome }));
        }
        self.begin_round(now, key, vec![write], store, out);
    }

    /// Of each process every write acts once, and none after a later one.
    fn first_time(&mut self, write: &PendingWrite) -> bool {
        if self.written.len() > WRITERS_MAX {
            let sessions = &self.sessions;
            self.written.retain(|process, _| sessions.of(*process).is_some());
        }
        let newest = self.written.entry(write.from).or_default();
        let first = write.request > *newest;
        *newest = write.request.max(*newest);
        first
    }

    fn begin_round<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        writes: Vec<PendingWrite>,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let below = self.mint();
        let sharers = self.directory.get(key).map(|entry| entry.sharers).unwrap_or_default();
        let mut waiting = BTreeMap::new();
        for slot in sharers.iter() {
            if let Some(number) = self.invalidate(now, slot, key, below, store, out) {
                waiting.insert(slot, number);
            }
        }
        if self.bugs.has(Bug::ValueShownEarly) {
            self.act(now, key, &writes, store, &mut Vec::new());
        }
        if self.bugs.has(Bug::WriteWaitsForNobody) {
            waiting.clear();
        }
        let over = waiting.is_empty();
        if let Some(entry) = self.directory.get_mut(key) {
            entry.round = Some(Round { below, waiting, writes });
        }
        if over {
            self.end_round(now, key, store, out);
        }
    }

    /// Sends one session an invalidation. `None`: its lease is over already, and so is the session.
    fn invalidate<S: Store>(
        &mut self,
        now: LocalTime,
        slot: Slot,
        key: &Key,
        below: Version,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        if self.is_over(self.sessions.get(slot)?.lease_over, now) {
            self.end_session(now, slot, store, out);
            return None;
        }
        let home = self.me;
        let session = self.sessions.get_mut(slot)?;
        session.sent += 1;
        let (number, key) = (session.sent, key.clone());
        let waits = Unacknowledged { key: key.clone(), since: now, repeated: now };
        session.unacknowledged.insert(number, waits);
        let message = CacheMessage::Invalidate { home, session: session.number, number, key, below };
        out.push(Output::send(session.process, message));
        Some(number)
    }

    /// One sharer can serve the key's old value no more.
    fn accounted_for<S: Store>(
        &mut self,
        now: LocalTime,
        slot: Slot,
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let round = self.directory.get_mut(key).and_then(|entry| entry.round.as_mut());
        let Some(round) = round else { return };
        round.waiting.remove(&slot);
        if round.waiting.is_empty() {
            self.end_round(now, key, store, out);
        }
    }

    /// Nobody can read the old value anywhere else: now it is replaced.
    fn end_round<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.directory.get_mut(key) else { return };
        let Some(round) = entry.round.take() else { return };
        entry.sharers = Default::default();
        if round.writes.is_empty() {
            store.remove(key);
        } else if self.has_lease(now) {
            self.act(now, key, &round.writes, store, out);
        } else {
            for write in &round.writes {
                self.answer(write, WriteOutcome::Unknown, out);
            }
        }
        self.forget_empty(key, store);
    }

    fn act<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        writes: &[PendingWrite],
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        for pending in writes {
            let current = self.visible(now, key, store).map(|found| found.version);
            let outcome = if pending.write.condition.holds(current) {
                WriteOutcome::Done(self.replace(now, key, &pending.write, store, out))
            } else {
                WriteOutcome::ConditionFailed(current)
            };
            self.answer(pending, outcome, out);
        }
    }

    fn replace<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        write: &Write,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Version {
        let version = self.mint();
        let expires = write.ttl_ms.map(|ttl| now.plus(ttl));
        let Some(value) = write.value.clone() else {
            store.remove(key);
            return version;
        };
        if let Some(expires) = expires {
            self.expiries.insert((expires, key.clone()));
        }
        let source = Source { home: self.me, session: None };
        for (other, copy) in store.put(key, Copy { value, version, expires, source }) {
            if copy.source == source {
                self.evicted(now, &other, store, out);
            }
        }
        version
    }

    fn answer(&self, write: &PendingWrite, outcome: WriteOutcome, out: &mut Vec<Output>) {
        let (home, to, request) = (self.me, write.from, write.request);
        out.push(Output::send(to, CacheMessage::Written { home, request, outcome }));
    }

    fn mint(&mut self) -> Version {
        self.minted += 1;
        let epoch = self.placement.as_ref().map_or(0, Placement::epoch);
        Version { epoch, number: self.minted }
    }

    /// A key without value, sharer and round needs no entry: its next version is higher anyway.
    fn forget_empty<S: Store>(&mut self, key: &Key, store: &mut S) {
        let Some(entry) = self.directory.get(key) else { return };
        let mine = Source { home: self.me, session: None };
        let kept = store.get(key).is_some_and(|copy| copy.source == mine);
        if entry.round.is_none() && entry.sharers.is_empty() && !kept {
            self.directory.remove(key);
        }
    }

    fn expire_values<S: Store>(&mut self, now: LocalTime, store: &mut S, out: &mut Vec<Output>) {
        for _ in 0..EXPIRIES_PER_TICK_MAX {
            let Some((at, _)) = self.expiries.first() else { return };
            if *at > now {
                return;
            }
            let Some((_, key)) = self.expiries.pop_first() else { return };
            let over = store.get(&key).is_some_and(|copy| {
                copy.source == Source { home: self.me, session: None }
                    && copy.expires.is_some_and(|expires| expires <= now)
            });
            if over {
                store.remove(&key);
                self.evicted(now, &key, store, out);
            }
        }
    }
}
