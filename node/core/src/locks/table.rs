//! The lock table: asks, releases, and the grant rule.
//!
//! **Grant rule**: a request is granted if its mode is compatible with every live holder and with
//! every live waiter that came before it. So exclusive and shared stand in one queue: a writer waits
//! for the readers before it, and no reader that comes later passes it. Readers that stand next to
//! each other are granted together.
//!
//! Every change that can free something is followed, in the same entry, by [`LockTable::grant_next`]:
//! between entries nobody waits without a reason (but for what has ended and is not cleared yet,
//! see `lease.rs`).

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::fencing::Tokens;
use super::lease::{Due, later, lease_end, remaining_ms};
use super::lock::{Arrival, Hold, Lock, Waiter};
use super::presence::{Presence, Presences};
use super::outcome::{AcquireOutcome, HOLDERS_NAMED_MAX, LockRefusal, ReleaseOutcome};
use super::request::{Acquire, Mode, Owner, Release};
use super::turn::Turn;
use super::wait_graph;
use crate::types::ClusterTime;

/// Every lock that is held or waited for. A clone costs nothing and shares all it can.
#[derive(Clone, Debug, Default)]
pub struct LockTable {
    /// The state. The other two maps are indexes of it; see `presence.rs`.
    pub(super) locks: RedBlackTreeMapSync<Arc<str>, Lock>,
    pub(super) owners: RedBlackTreeMapSync<Arc<Owner>, Presences>,
    pub(super) dues: RedBlackTreeSetSync<Due>,
    pub(super) tokens: Tokens,
}

impl LockTable {
    /// An empty table whose first token is `token_base`.
    #[must_use]
    pub fn new(token_base: u64) -> Self {
        Self { tokens: Tokens::starting_at(token_base), ..Self::default() }
    }

    /// Asks for a lock.
    pub fn acquire(&mut self, turn: &mut Turn, ask: &Acquire) -> AcquireOutcome {
        match ask.checked_items(&turn.rules) {
            Ok(items) => {
                let item = &items[0];
                let (name, owner) = self.intern(&item.name, &ask.owner);
                self.ask(turn, &Ask { name, owner, mode: item.mode, ttl_ms: ask.ttl_ms.unwrap_or(60_000) })
            }
            Err(refusal) => AcquireOutcome::Refused(refusal),
        }
    }

    /// Gives a hold or a place back.
    pub fn release(&mut self, turn: &mut Turn, release: &Release) -> ReleaseOutcome {
        let (name, owner) = self.intern(&release.name, &release.owner);
        let outcome = match self.live_presence(&name, &owner, turn.now) {
            Some(Presence::Holds) => ReleaseOutcome::Released,
            Some(Presence::Waits(_)) => ReleaseOutcome::LeftQueue,
            None => ReleaseOutcome::NotHolder,
        };
        self.remove(&name, &owner);
        self.grant_next(turn, &name);
        outcome
    }

    /// Grants to the head of the queue as long as the holders allow it, as claims.
    pub(super) fn grant_next(&mut self, turn: &mut Turn, name: &Arc<str>) {
        let mut from = 0;
        while let Some((arrival, waiter)) = self.next_grant(name, from, turn.now) {
            self.remove(name, &waiter.owner);
            let ends_at = turn.now.plus(turn.rules.claim_window_ms);
            self.grant(turn, name, &waiter.owner, waiter.mode, Term::Claim(ends_at));
            from = arrival + 1;
        }
    }

    /// The first live waiter, if no holder is against it.
    fn next_grant(&self, name: &str, from: Arrival, now: ClusterTime) -> Option<(Arrival, Waiter)> {
        let lock = self.locks.get(name)?;
        let (arrival, waiter) = lock.live_waiters(from, now).next()?;
        (!lock.held_against(waiter.mode, now)).then(|| (arrival, waiter.clone()))
    }

    fn ask(&mut self, turn: &mut Turn, ask: &Ask) -> AcquireOutcome {
        if self.live_presence(&ask.name, &ask.owner, turn.now).is_none() {
            self.remove(&ask.name, &ask.owner);
        }
        // Ends that are not cleared yet must not let this ask pass somebody who came earlier.
        self.grant_next(turn, &ask.name);
        if let Some(hold) = self.hold_of(&ask.name, &ask.owner).cloned() {
            return self.ask_again(turn, ask, hold);
        }
        if let Some((arrival, waiter)) = self.waiter_of(&ask.name, &ask.owner) {
            let waiter = waiter.clone();
            return self.keep_place(turn, ask, arrival, waiter);
        }
        self.ask_first(turn, ask).unwrap_or_else(AcquireOutcome::Refused)
    }

    /// The owner holds the lock: the same hold and token, renewed. A claim becomes a full hold.
    fn ask_again(&mut self, turn: &Turn, ask: &Ask, mut hold: Hold) -> AcquireOutcome {
        if hold.mode == Mode::Shared && ask.mode == Mode::Exclusive {
            return AcquireOutcome::Refused(LockRefusal::NotAPlainLock(String::new()));
        }
        let asked_end = lease_end(turn.now, ask.ttl_ms);
        hold.ends_at = if hold.claim { asked_end } else { later(hold.ends_at, asked_end) };
        hold.claim = false;
        let outcome = granted(&hold, turn.now, ask.ttl_ms);
        self.put_hold(&ask.name, &ask.owner, hold);
        outcome
    }

    /// The owner waits already: its place is kept for another window.
    fn keep_place(
        &mut self,
        turn: &Turn,
        ask: &Ask,
        arrival: Arrival,
        mut waiter: Waiter,
    ) -> AcquireOutcome {
        if waiter.mode != ask.mode {
            return AcquireOutcome::Refused(LockRefusal::WaitsInOtherMode);
        }
        let asked_end = turn.now.plus(turn.rules.claim_window_ms);
        waiter.place_ends_at = waiter.place_ends_at.max(asked_end);
        self.put_waiter(&ask.name, arrival, waiter);
        self.waiting(&ask.name, arrival, turn.now)
    }

    /// The owner is new to this lock: granted, queued, or refused.
    fn ask_first(&mut self, turn: &mut Turn, ask: &Ask) -> Result<AcquireOutcome, LockRefusal> {
        self.check_owner_room(turn, &ask.owner)?;
        if !self.blocked(&ask.name, ask.mode, turn.now) {
            let term = Term::Lease(lease_end(turn.now, ask.ttl_ms));
            let hold = self.grant(turn, &ask.name, &ask.owner, ask.mode, term);
            return Ok(granted(&hold, turn.now, ask.ttl_ms));
        }
        if let Some(cycle) = wait_graph::closes(self, &ask.owner, &ask.name, ask.mode, turn.now) {
            return Ok(AcquireOutcome::Deadlock { cycle });
        }
        self.check_queue_room(turn, &ask.name)?;
        Ok(self.enqueue(turn, ask))
    }

    /// The grant rule, for one who would come last.
    fn blocked(&self, name: &str, mode: Mode, now: ClusterTime) -> bool {
        self.locks.get(name).is_some_and(|lock| {
            lock.held_against(mode, now)
                || lock.live_waiters(0, now).any(|(_, earlier)| earlier.mode.excludes(mode))
        })
    }

    fn grant(
        &mut self,
        turn: &mut Turn,
        name: &Arc<str>,
        owner: &Arc<Owner>,
        mode: Mode,
        term: Term,
    ) -> Hold {
        let idle = Lock::default();
        let lock = self.locks.get(name).unwrap_or(&idle);
        let token = self.tokens.for_grant(lock, mode, turn.now);
        let (claim, ends_at) = match term {
            Term::Claim(end) => (true, Some(end)),
            Term::Lease(end) => (false, end),
        };
        let hold = Hold { mode, id: turn.next_hold_id(), token, claim, ends_at };
        self.put_hold(name, owner, hold.clone());
        hold
    }

    fn enqueue(&mut self, turn: &Turn, ask: &Ask) -> AcquireOutcome {
        let arrival = self.locks.get(&ask.name).map_or(0, Lock::next_arrival);
        let waiter = Waiter {
            owner: ask.owner.clone(),
            mode: ask.mode,
            place_ends_at: turn.now.plus(turn.rules.claim_window_ms),
        };
        self.put_waiter(&ask.name, arrival, waiter);
        self.waiting(&ask.name, arrival, turn.now)
    }

    fn waiting(&self, name: &str, arrival: Arrival, now: ClusterTime) -> AcquireOutcome {
        let lock = self.locks.get(name).into_iter();
        let earlier = lock.clone().flat_map(|lock| lock.live_waiters(0, now));
        let ahead = earlier.take_while(|(at, _)| *at < arrival).count();
        let holders = lock.flat_map(|lock| lock.live_holders(now)).take(HOLDERS_NAMED_MAX);
        AcquireOutcome::Waiting {
            ahead: u32::try_from(ahead).unwrap_or(u32::MAX),
            holders: holders.map(|(owner, _)| Owner::clone(owner)).collect(),
        }
    }

    fn live_presence(&self, name: &str, owner: &Owner, now: ClusterTime) -> Option<Presence> {
        self.presence(name, owner).filter(|presence| match presence {
            Presence::Holds => self.hold_of(name, owner).is_some_and(|hold| hold.live(now)),
            Presence::Waits(_) => self.waiter_of(name, owner).is_some_and(|(_, w)| w.live(now)),
        })
    }

    fn check_owner_room(&self, turn: &Turn, owner: &Owner) -> Result<(), LockRefusal> {
        let max = turn.rules.owner_holds_max;
        let Some(presences) = self.owners.get(owner) else {
            return room("owner_holds_max", max, 0, || 0);
        };
        let live = || {
            let names = presences.keys();
            names.filter(|name| self.live_presence(name, owner, turn.now).is_some()).count()
        };
        room("owner_holds_max", max, presences.size(), live)
    }

    fn check_queue_room(&self, turn: &Turn, name: &str) -> Result<(), LockRefusal> {
        let Some(lock) = self.locks.get(name) else { return Ok(()) };
        let live = || lock.live_waiters(0, turn.now).count();
        room("lock_waiters_max", turn.rules.lock_waiters_max, lock.queue.size(), live)
    }
}

/// A checked request for one lock.
struct Ask {
    name: Arc<str>,
    owner: Arc<Owner>,
    mode: Mode,
    ttl_ms: u64,
}

/// How long a grant lasts.
#[derive(Clone, Copy)]
enum Term {
    /// Until then, unless its owner asks before.
    Claim(ClusterTime),
    /// Until then; `None`: until it is released.
    Lease(Option<ClusterTime>),
}

fn granted(hold: &Hold, now: ClusterTime, ttl_ms: u64) -> AcquireOutcome {
    AcquireOutcome::Granted {
        hold: hold.id,
        tokens: vec![hold.token],
        remaining_ms: remaining_ms(hold.ends_at, now, ttl_ms),
    }
}

/// Room for one more? `size` counts also what has ended; only at the limit are the live counted.
fn room(
    setting: &str,
    max: u32,
    size: usize,
    live: impl FnOnce() -> usize,
) -> Result<(), LockRefusal> {
    let max_size = usize::try_from(max).unwrap_or(usize::MAX);
    if size < max_size || live() < max_size {
        return Ok(());
    }
    Err(LockRefusal::Limit { setting: setting.to_owned(), limit: max.into() })
}
