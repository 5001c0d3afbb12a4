//! What asking for locks says: anew, again, for more, for less.

use super::super::world::{Ask, LOCKS, Part, REASON, Which, owner};
use super::{Ear, Oracle, Wait, Wish, bit, kind_of, limit, part_of, refused, same_locks, told_by};
use crate::locks::{AcquireOutcome, Attachment, HoldOutcome, LockRefusal, Mode};

impl Oracle {
    pub(super) fn ask(&mut self, ask: &Ask) -> AcquireOutcome {
        if let Some(refusal) = self.fault(ask) {
            return AcquireOutcome::Refused(refusal);
        }
        let ttl = ask.ttl.unwrap_or(self.rules.default_lease_ms);
        for part in &ask.parts {
            if let Some(at) = self.hold_on(ask.who, part.name) {
                return self.ask_while_holding(at, ask, part.name, ttl);
            }
            if let Some(at) = self.wait_on(ask.who, part.name) {
                return self.ask_while_waiting(at, ask, part.name, ttl);
            }
        }
        self.ask_anew(ask, ttl)
    }

    fn fault(&self, ask: &Ask) -> Option<LockRefusal> {
        if let Some(refusal) = self.lease_fault(ask.ttl) {
            return Some(refusal);
        }
        if ask.parts.is_empty() {
            return Some(LockRefusal::NoName);
        }
        if ask.parts.len() > self.rules.request_names_max as usize {
            return Some(limit("request_names_max", self.rules.request_names_max));
        }
        for (at, part) in ask.parts.iter().enumerate() {
            if ask.parts[..at].iter().any(|before| before.name == part.name) {
                return Some(LockRefusal::NamedTwice(LOCKS[part.name].to_owned()));
            }
        }
        let mut parts: Vec<&Part> = ask.parts.iter().collect();
        parts.sort_by_key(|part| part.name);
        parts.into_iter().find_map(|part| {
            if part.permits == 0 || part.permits > part.max {
                return Some(LockRefusal::BadPermits(LOCKS[part.name].to_owned()));
            }
            let many = part.max > self.rules.permits_max;
            many.then(|| limit("permits_max", self.rules.permits_max))
        })
    }

    pub(super) fn lease_fault(&self, ttl: Option<u64>) -> Option<LockRefusal> {
        let (min, max) = (self.rules.lease_ms_min, self.rules.lease_ms_max);
        let ttl = ttl.filter(|ttl| *ttl != 0)?;
        let refuse =
            |setting: &str, limit| Some(LockRefusal::Limit { setting: setting.to_owned(), limit });
        if ttl > max {
            return refuse("lease_ms_max", max);
        }
        if ttl < min { refuse("lease_ms_min", min) } else { None }
    }

    /// The owner holds `name`: the same request, an upgrade, or a refusal.
    fn ask_while_holding(&mut self, at: usize, ask: &Ask, name: usize, ttl: u64) -> AcquireOutcome {
        let hold = &self.holds[at];
        let same_locks = same_locks(&hold.parts, &ask.parts);
        let pairs = || hold.parts.iter().zip(&ask.parts);
        let weaker = |held: Mode, asked: Mode| held == Mode::Exclusive && asked == Mode::Shared;
        let same = same_locks
            && pairs()
                .all(|(held, asked)| held.mode == asked.mode || weaker(held.mode, asked.mode));
        let upgrade = same_locks
            && ask.parts.len() == 1
            && pairs().all(|(held, asked)| weaker(asked.mode, held.mode));
        if !same && !upgrade {
            let hold = Some(hold.id);
            return refused(LockRefusal::AlreadyHeld { name: LOCKS[name].to_owned(), hold });
        }
        if hold.revoked {
            return self.end_revoked(at);
        }
        let claim = hold.claim;
        if claim {
            if self.is_unheard(ask.via) {
                self.holds[at].told = told_by(ask.via);
                return AcquireOutcome::Waiting { ahead: 0, holders: vec![owner(ask.who)] };
            }
            self.take_up(at, ttl);
            self.holds[at].told = if upgrade { Some(vec![]) } else { told_by(ask.via) };
        }
        if upgrade {
            return self.upgrade(at, name, ttl, ask.queue, ask.via);
        }
        if !claim {
            self.extend(at, ttl);
            self.holds[at].is_told_by(ask.via);
        }
        self.granted(at)
    }

    /// The owner waits for `name`: the same request, or a refusal.
    fn ask_while_waiting(&mut self, at: usize, ask: &Ask, name: usize, ttl: u64) -> AcquireOutcome {
        let wait = &self.waits[at];
        let modes = wait.parts.iter().zip(&ask.parts).all(|(one, other)| one.mode == other.mode);
        if !same_locks(&wait.parts, &ask.parts) || !modes {
            if wait.parts.len() == 1 && ask.parts.len() == 1 {
                return refused(LockRefusal::WaitsInOtherMode);
            }
            let (name, hold) = (LOCKS[name].to_owned(), None);
            return refused(LockRefusal::AlreadyHeld { name, hold });
        }
        if !ask.queue {
            return AcquireOutcome::Held { holders: self.holders_against(at) };
        }
        let ear = Ear { attachment: ask.via, asked_at: self.now };
        self.waits[at].ear = ear;
        self.waits[at].ttl = ttl;
        self.waiting(at)
    }

    fn ask_anew(&mut self, ask: &Ask, ttl: u64) -> AcquireOutcome {
        for part in &ask.parts {
            if let Some(kind) = self.kind(part.name).filter(|kind| *kind != kind_of(part)) {
                let name = LOCKS[part.name].to_owned();
                return refused(LockRefusal::PermitsDiffer { name, permits_max: kind });
            }
        }
        if let Some(refusal) = self.no_room(ask) {
            return refused(refusal);
        }
        let (who, since, parts) = (ask.who, self.now, ask.parts.clone());
        let ear = Ear { attachment: ask.via, asked_at: self.now };
        let id = self.next_id();
        self.waits.push(Wait { id, who, parts, ttl, since, ear });
        let at = self.waits.len() - 1;
        if self.is_grantable(at) {
            let wait = self.waits.remove(at);
            self.made -= 1;
            let at = self.grant(&wait, false);
            return self.granted(at);
        }
        if let Some(refused) = self.may_not_wait(at, ask.queue) {
            self.waits.remove(at);
            self.made -= 1;
            return refused;
        }
        self.waiting(at)
    }

    /// It cannot be granted, and stands in the list as if it waited.
    fn may_not_wait(&mut self, at: usize, queue: bool) -> Option<AcquireOutcome> {
        if !queue {
            return Some(AcquireOutcome::Held { holders: self.holders_against(at) });
        }
        let max = self.rules.lock_waiters_max as usize;
        let full = |part: &Part| {
            let others =
                self.waits[..at].iter().filter(|wait| part_of(&wait.parts, part.name).is_some());
            others.count() >= max
        };
        if self.waits[at].parts.iter().any(full) {
            return Some(refused(limit("lock_waiters_max", self.rules.lock_waiters_max)));
        }
        self.deadlock(self.waits[at].who)
    }

    fn no_room(&self, ask: &Ask) -> Option<LockRefusal> {
        let holds = self.holds.iter().map(|hold| (hold.who, hold.parts.len()));
        let all: Vec<_> =
            holds.chain(self.waits.iter().map(|wait| (wait.who, wait.parts.len()))).collect();
        let mine = all.iter().filter(|(who, _)| *who == ask.who).map(|(_, names)| names);
        let (mine, all): (usize, usize) = (mine.sum(), all.iter().map(|(_, names)| names).sum());
        if mine + ask.parts.len() > self.rules.owner_holds_max as usize {
            return Some(limit("owner_holds_max", self.rules.owner_holds_max));
        }
        let full = all + ask.parts.len() > self.rules.presences_max as usize;
        full.then(|| limit("presences_max", self.rules.presences_max))
    }

    /// The asker, who waits tentatively, would never be freed.
    fn deadlock(&mut self, who: usize) -> Option<AcquireOutcome> {
        if self.stuck() & bit(who) == 0 {
            return None;
        }
        self.knot = None;
        self.knot = Some(Box::new(self.clone()));
        Some(AcquireOutcome::Deadlock { cycle: Vec::new() })
    }

    // Upgrade and downgrade.

    pub(super) fn upgrade_hold(
        &mut self,
        which: Which,
        ttl: Option<u64>,
        queue: bool,
        via: Option<Attachment>,
    ) -> AcquireOutcome {
        if let Some(refusal) = self.lease_fault(ttl) {
            return refused(refusal);
        }
        let Some(at) = self.find(which).filter(|at| !self.holds[*at].claim) else {
            return AcquireOutcome::Ended;
        };
        let Some(name) = which.name else { return AcquireOutcome::Ended };
        if self.holds[at].revoked {
            return self.end_revoked(at);
        }
        // Who names a hold by its id has heard of it, whatever comes of this.
        self.holds[at].told = None;
        if part_of(&self.holds[at].parts, name).is_some_and(|part| part.mode == Mode::Permits) {
            return refused(LockRefusal::NotAPlainLock(LOCKS[name].to_owned()));
        }
        let ttl = ttl.unwrap_or(self.holds[at].ttl);
        self.upgrade(at, name, ttl, queue, via)
    }

    /// Of a full, plain, unrevoked hold.
    fn upgrade(
        &mut self,
        at: usize,
        name: usize,
        ttl: u64,
        queue: bool,
        via: Option<Attachment>,
    ) -> AcquireOutcome {
        let ear = Ear { attachment: via, asked_at: self.now };
        let who = self.holds[at].who;
        if part_of(&self.holds[at].parts, name).is_some_and(|part| part.mode == Mode::Exclusive) {
            self.extend(at, ttl);
            self.holds[at].is_told_by(via);
            return self.granted(at);
        }
        if let Some(wish) = self.holds[at].wish {
            if wish.name != name {
                let (name, hold) = (LOCKS[wish.name].to_owned(), Some(self.holds[at].id));
                return refused(LockRefusal::AlreadyHeld { name, hold });
            }
            let holders = self.other_holders(name, who);
            if !queue {
                return AcquireOutcome::Held { holders };
            }
            self.holds[at].wish = Some(Wish { ttl, ear, ..wish });
            return AcquireOutcome::Waiting { ahead: 0, holders };
        }
        let holders = self.other_holders(name, who);
        if !holders.is_empty() && !queue {
            return AcquireOutcome::Held { holders };
        }
        self.holds[at].wish = Some(Wish { name, ttl, since: self.now, ear });
        if let Some(refused) = self.deadlock(who) {
            self.holds[at].wish = None;
            return refused;
        }
        if holders.is_empty() {
            self.grant_wish(at);
            return self.granted(at);
        }
        AcquireOutcome::Waiting { ahead: 0, holders }
    }

    pub(super) fn downgrade(&mut self, which: Which) -> HoldOutcome {
        let Some(at) = self.find(which).filter(|at| !self.holds[*at].claim) else {
            return HoldOutcome::NotHeld;
        };
        let Some(name) = which.name else { return HoldOutcome::NotHeld };
        if self.holds[at].revoked {
            self.holds.remove(at);
            return HoldOutcome::Revoked { reason: REASON.to_owned() };
        }
        let remaining_ms = self.remaining(at);
        let hold = &mut self.holds[at];
        hold.told = None;
        let Some(part) = hold.parts.iter_mut().find(|part| part.name == name) else {
            return HoldOutcome::NotHeld;
        };
        if part.mode == Mode::Permits {
            return HoldOutcome::Refused(LockRefusal::NotAPlainLock(LOCKS[name].to_owned()));
        }
        part.mode = Mode::Shared;
        hold.told_upgrade.take_if(|(_, upgraded)| *upgraded == name);
        HoldOutcome::Downgraded { token: part.token, remaining_ms }
    }
}
