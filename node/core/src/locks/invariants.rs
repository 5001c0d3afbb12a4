//! What must hold between any two entries. For tests and the simulator; serving never runs it.

use std::collections::BTreeSet;

use super::lease::Due;
use super::lock::Lock;
use super::presence::{Presence, Presences};
use super::request::{Mode, Owner};
use super::table::LockTable;
use super::wait_graph;
use crate::types::ClusterTime;

impl LockTable {
    /// Checks the table as of the last stamp.
    ///
    /// # Errors
    /// A sentence that names the broken rule, and where it is broken.
    pub fn check_invariants(&self, now: ClusterTime) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        for (name, lock) in &self.locks {
            self.check_holders(lock, now).map_err(|rule| format!("lock {name}: {rule}"))?;
            self.check_queue(lock, now).map_err(|rule| format!("lock {name}: {rule}"))?;
            for hold in lock.holders.values() {
                require(ids.insert(hold.id), "two holds have one id")?;
            }
        }
        self.check_waits(now)?;
        self.check_indexes()
    }

    fn check_holders(&self, lock: &Lock, now: ClusterTime) -> Result<(), String> {
        require(!lock.is_idle(), "an idle lock is kept")?;
        let live: Vec<_> = lock.live_holders(now).map(|(_, hold)| hold).collect();
        let exclusive = live.iter().any(|hold| hold.mode == Mode::Exclusive);
        require(!exclusive || live.len() == 1, "an exclusive holder is not alone")?;
        let one_token = live.windows(2).all(|pair| pair[0].token == pair[1].token);
        require(one_token, "overlapping readers have different tokens")?;
        for hold in lock.holders.values() {
            require(hold.token < self.tokens.next(), "a token was not minted here")?;
            require(!hold.claim || hold.ends_at.is_some(), "a claim has no end")?;
        }
        Ok(())
    }

    fn check_queue(&self, lock: &Lock, now: ClusterTime) -> Result<(), String> {
        // While ends wait to be cleared, so may the grants that follow from them.
        let cleared = self.next_due().is_none_or(|due| due > now);
        if let Some((_, first)) = lock.live_waiters(0, now).next() {
            let reason = lock.held_against(first.mode, now);
            require(reason || !cleared, "the first waiter waits without a reason")?;
        }
        Ok(())
    }

    /// Walks the wait graph depth first: nobody is met twice on one path.
    fn check_waits(&self, now: ClusterTime) -> Result<(), String> {
        let waited_for = |owner| -> Vec<&Owner> {
            let waits = wait_graph::waits(self, owner, now);
            waits.flat_map(|(lock, wait)| wait_graph::reasons(lock, wait, None, now)).collect()
        };
        let mut done = BTreeSet::new();
        for root in self.owners.keys() {
            let mut path: Vec<(&Owner, Vec<&Owner>)> = vec![(root, waited_for(root))];
            let mut on_path = BTreeSet::from([&**root]);
            while let Some((owner, rest)) = path.last_mut() {
                let Some(next) = rest.pop() else {
                    on_path.remove(*owner);
                    done.insert(*owner);
                    path.pop();
                    continue;
                };
                require(!on_path.contains(next), "the wait graph has a cycle")?;
                if !done.contains(next) {
                    on_path.insert(next);
                    path.push((next, waited_for(next)));
                }
            }
        }
        Ok(())
    }

    /// The indexes say what the locks say, and nothing more.
    fn check_indexes(&self) -> Result<(), String> {
        let (mut presences, mut timed) = (0, 0);
        for (name, lock) in &self.locks {
            let holders = lock.holders.iter().map(|(o, hold)| (o, Presence::Holds, hold.ends_at));
            let waiters = lock.queue.iter().map(|(arrival, waiter)| {
                (&waiter.owner, Presence::Waits(*arrival), Some(waiter.place_ends_at))
            });
            for (owner, presence, ends_at) in holders.chain(waiters) {
                let noted = self.presence(name, owner) == Some(presence);
                require(noted, "an owner's index misses a lock")?;
                let due = ends_at.map(|at| Due { at, name: name.clone(), owner: owner.clone() });
                let planned = due.as_ref().is_none_or(|due| self.dues.contains(due));
                require(planned, "an end is not planned")?;
                presences += 1;
                timed += usize::from(due.is_some());
            }
        }
        let noted: usize = self.owners.values().map(Presences::size).sum();
        require(noted == presences, "an owner's index names a lock that it is not on")?;
        let idle = self.owners.values().any(Presences::is_empty);
        require(!idle, "an idle owner is kept")?;
        require(self.dues.size() == timed, "an end is planned for nothing")
    }
}

fn require(holds: bool, broken_rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken_rule.to_owned()) }
}
