//! What must hold between any two entries. For tests and the simulator; serving never runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lease::Due;
use super::listeners::Listens;
use super::lock::Lock;
use super::presence::Presence;
use super::reduction;
use super::request::{Attachment, HoldId, Mode, Owner};
use super::table::LockTable;
use crate::types::ClusterTime;

impl LockTable {
    /// Checks the table as of the last stamp.
    ///
    /// # Errors
    /// A sentence that names the broken rule, and where it is broken.
    pub fn check_invariants(&self, now: ClusterTime) -> Result<(), String> {
        for (name, lock) in &self.locks {
            self.check_holders(lock, now).map_err(|rule| format!("lock {name}: {rule}"))?;
            self.check_queue(lock, now).map_err(|rule| format!("lock {name}: {rule}"))?;
        }
        for (id, hold) in &self.holds {
            require(!hold.claim || hold.ends_at.is_some(), "a claim has no end")?;
            require(hold.revoked.is_none() || hold.ends_at.is_some(), "a revoked hold has no end")?;
            require(!self.waits.contains_key(id), "a hold and a wait have one id")?;
        }
        self.check_nobody_is_stuck(now)?;
        self.check_indexes()
    }

    fn check_holders(&self, lock: &Lock, now: ClusterTime) -> Result<(), String> {
        require(!lock.is_idle(), "an idle lock is kept")?;
        let live: Vec<_> = self.live_holders(lock, now).map(|(_, share)| *share).collect();
        let exclusive = live.iter().any(|share| share.mode == Mode::Exclusive);
        require(!exclusive || live.len() == 1, "an exclusive holder is not alone")?;
        let semaphore = lock.permits_max > 0;
        let fits = live.iter().all(|share| (share.mode == Mode::Permits) == semaphore);
        require(fits, "permits of a plain lock, or a plain hold of a semaphore")?;
        let held: u64 = live.iter().map(|share| u64::from(share.permits)).sum();
        require(!semaphore || held <= u64::from(lock.permits_max), "more permits than there are")?;
        let one_token = live.windows(2).all(|pair| pair[0].token == pair[1].token);
        require(semaphore || one_token, "overlapping readers have different tokens")?;
        let minted = lock.holders.values().all(|share| share.token < self.tokens.next());
        require(minted, "a token was not minted here")?;
        let all: u64 = lock.holders.values().map(|share| u64::from(share.permits)).sum();
        require(all == lock.permits_held, "the permits that are held are miscounted")
    }

    /// Nobody waits without a reason. While ends wait to be cleared, so may the grants that follow.
    fn check_queue(&self, lock: &Lock, now: ClusterTime) -> Result<(), String> {
        if !self.is_cleared(now) {
            return Ok(());
        }
        for (id, _) in self.live_earlier(lock, HoldId::LAST, now) {
            let wait = self.waits.get(&id).ok_or("a place has no wait")?;
            require(!self.fits(&wait.items, id, now), "a waiter waits without a reason")?;
        }
        let upgrader = self.live_upgrader(lock, now);
        let alone = |id| self.live_others(lock, id, now).next().is_none();
        require(!upgrader.is_some_and(alone), "a holder that is alone waits to be")
    }

    /// The wait graph has no knot: everybody ends, if everybody does who can.
    fn check_nobody_is_stuck(&self, now: ClusterTime) -> Result<(), String> {
        let owners: Vec<&Owner> = self.owners.keys().map(|owner| &**owner).collect();
        let stuck = reduction::stuck(self, &owners, now);
        match stuck.first() {
            Some(owner) => Err(format!("{} owners are stuck: {}", stuck.len(), owner.name)),
            None => Ok(()),
        }
    }

    /// The indexes say what holds and waits say, and nothing more.
    fn check_indexes(&self) -> Result<(), String> {
        let mut expected = Expected::default();
        for (id, hold) in &self.holds {
            for name in hold.names.iter() {
                let share = self.share(hold, name);
                require(share.is_some_and(|it| it.hold == *id), "a hold has no share of its lock")?;
                expected.presence(&hold.owner, name, Presence::Holds(*id));
            }
            expected.due(hold.ends_at, Due::hold(*id));
            expected.told(hold.told_by(), *id);
            if let Some(wish) = &hold.wish {
                let lock = self.locks.get(&wish.name);
                let known = lock.is_some_and(|lock| lock.wishes.contains(id));
                require(known, "a wish is not known to its lock")?;
                expected.wants.insert((hold.owner.clone(), wish.name.clone()));
                expected.due(wish.listener.place_ends_at, Due::wish(*id));
                expected.listens(wish.listener.attachment, Listens::Wish(*id));
            }
        }
        for (id, wait) in &self.waits {
            for item in wait.items.iter() {
                let lock = self.locks.get(&item.name).ok_or("a wait's lock is gone")?;
                require(lock.queue.contains_key(id), "a wait has no place")?;
                let writer = lock.writers.contains(id) == (item.mode == Mode::Exclusive);
                require(writer, "the writers of a queue are miscounted")?;
                let wants = self.owners.get(&wait.owner).map_or(0, |it| it.wants.size());
                let crossing = lock.crossing.contains(id) == (wants > 1);
                require(crossing, "the waits that cross others are miscounted")?;
                expected.wants.insert((wait.owner.clone(), item.name.clone()));
                expected.presence(&wait.owner, &item.name, Presence::Waits(*id));
            }
            expected.due(wait.listener.place_ends_at, Due::wait(*id));
            expected.listens(wait.listener.attachment, Listens::Wait(*id));
        }
        expected.check(self)
    }
}

/// What the indexes have to say.
#[derive(Default)]
struct Expected {
    presences: BTreeMap<(Arc<Owner>, Arc<str>), Presence>,
    wants: BTreeSet<(Arc<Owner>, Arc<str>)>,
    dues: BTreeSet<Due>,
    told: BTreeMap<Attachment, HoldId>,
    listening: BTreeMap<Attachment, Listens>,
}

impl Expected {
    fn presence(&mut self, owner: &Arc<Owner>, name: &Arc<str>, presence: Presence) {
        self.presences.insert((owner.clone(), name.clone()), presence);
    }

    fn due(&mut self, at: Option<ClusterTime>, due: impl Fn(ClusterTime) -> Due) {
        self.dues.extend(at.map(due));
    }

    fn told(&mut self, tellers: impl Iterator<Item = Attachment>, hold: HoldId) {
        self.told.extend(tellers.map(|it| (it, hold)));
    }

    fn listens(&mut self, attachment: Option<Attachment>, listens: Listens) {
        self.listening.extend(attachment.map(|it| (it, listens)));
    }

    fn check(self, table: &LockTable) -> Result<(), String> {
        let noted: usize = table.owners.values().map(|it| it.on.size()).sum();
        require(noted == self.presences.len(), "an owner's index names too many locks")?;
        require(table.presences == noted as u64, "the presences are miscounted")?;
        for ((owner, name), presence) in &self.presences {
            let noted = table.presence(name, owner) == Some(*presence);
            require(noted, "an owner's index misses a lock")?;
        }
        let wants = table.owners.iter();
        let wants = wants.flat_map(|(owner, it)| it.wants.iter().map(move |name| (owner, name)));
        let wanted = self.wants.iter().map(|(owner, name)| (owner, name));
        require(wants.eq(wanted), "what owners wait for is miscounted")?;
        let idle = table.owners.values().any(|it| it.on.is_empty());
        require(!idle, "an idle owner is kept")?;
        let dues = table.dues.iter().filter(|due| !due.is_of_boot());
        require(dues.eq(self.dues.iter()), "the ends to come are not those of holds and waits")?;
        let listening = table.listening.iter().map(|(at, it)| (*at, *it));
        require(listening.eq(self.listening), "who listens is not who waits")?;
        let told = table.told.iter().map(|(at, it)| (*at, *it));
        require(told.eq(self.told), "who was told is not who holds")
    }
}

fn require(holds: bool, broken_rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken_rule.to_owned()) }
}
