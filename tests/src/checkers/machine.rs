//! The replicated state: its own rules, the tokens, and that it is the same everywhere.
//!
//! All nodes apply the same entries (`log.rs`), and their states are compared by hash. So the rules
//! of the state itself need to be checked once per entry, on the node that applies it first.

use std::collections::BTreeMap;

use dsync_core::locks::{HoldId, HolderView, LockView, Mode};
use dsync_core::machine::Machine;
use dsync_core::types::{ClusterTime, Index};

use super::{Verdict, demand};

/// What is known of the states so far.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    hashes: BTreeMap<Index, u64>,
    frontier: Index,
    time: ClusterTime,
    /// Newest token of every lock of every hold seen.
    tokens: BTreeMap<(HoldId, String), u64>,
    /// Which hold minted which number: one for all of its locks.
    minted: BTreeMap<u64, HoldId>,
    /// Token of the readers of each lock, after the last entry.
    readers: BTreeMap<String, u64>,
    highest_token: u64,
}

impl Machines {
    /// A machine stands after entry `index`, and its hash is this.
    pub(crate) fn hashed(&mut self, index: Index, hash: u64) -> Verdict {
        let first = *self.hashes.entry(index).or_insert(hash);
        demand(first == hash, "states are equal at equal index", || {
            format!("after entry {index}: {first:016x} and {hash:016x}")
        })
    }

    /// A machine has applied one entry.
    pub(crate) fn applied(&mut self, machine: &Machine) -> Verdict {
        if machine.applied() <= self.frontier {
            return Ok(());
        }
        self.frontier = machine.applied();
        demand(machine.time() >= self.time, "cluster time never falls", || {
            format!("{} after {}", machine.time(), self.time)
        })?;
        self.time = machine.time();
        if let Err(what) = machine.check_invariants() {
            return demand(false, "the state keeps its own rules", || {
                let locks: Vec<LockView> = machine.locks().iter().collect();
                let edges: Vec<_> = machine.locks().graph().collect();
                format!("{what}\nentry {}: {locks:#?}\n{edges:#?}", machine.applied())
            });
        }
        let locks: Vec<LockView> = machine.locks().iter().collect();
        let highest_before = self.highest_token;
        for lock in &locks {
            self.holders(lock, highest_before)?;
        }
        let reads = |lock: &&LockView| lock.holders.iter().any(|h| h.mode == Mode::Shared);
        let group = |lock: &LockView| (lock.name.clone(), lock.holders[0].token);
        self.readers = locks.iter().filter(reads).map(group).collect();
        Ok(())
    }

    fn holders(&mut self, lock: &LockView, highest_before: u64) -> Verdict {
        let exclusive = lock.holders.iter().any(|holder| holder.mode == Mode::Exclusive);
        demand(!exclusive || lock.holders.len() == 1, "an exclusive holder is alone", || {
            format!("{lock:?}")
        })?;
        if let Some(permits_max) = lock.permits_max {
            return self.permits(lock, permits_max, highest_before);
        }
        let group = lock.holders.iter().map(|holder| holder.token).max().unwrap_or(0);
        for holder in &lock.holders {
            demand(holder.token == group, "overlapping readers share a token", || {
                format!("{lock:?}")
            })?;
        }
        let known = |holder: &HolderView| {
            let known = self.tokens.get(&(holder.hold, lock.name.clone()));
            known.is_some_and(|token| *token == holder.token)
        };
        let joins = lock.holders.iter().any(known);
        // A reader may join a group within the very entry that ends the last of those we knew.
        let shared = lock.holders.iter().all(|holder| holder.mode == Mode::Shared);
        let joins = joins || (shared && self.readers.get(&lock.name) == Some(&group));
        let fresh: Vec<HoldId> =
            lock.holders.iter().filter(|holder| !known(holder)).map(|holder| holder.hold).collect();
        if !fresh.is_empty() && !joins {
            demand(group > highest_before, "tokens rise over incompatible holders", || {
                format!("{group} after {highest_before}: {lock:?}")
            })?;
            self.mint(group, &fresh, lock)?;
        }
        self.highest_token = self.highest_token.max(group);
        self.tokens.extend(fresh.into_iter().map(|hold| ((hold, lock.name.clone()), group)));
        Ok(())
    }

    /// Everybody who has some of a semaphore has a number of its own, or that of its other locks.
    fn permits(&mut self, lock: &LockView, permits_max: u32, highest_before: u64) -> Verdict {
        let held: u64 = lock.holders.iter().map(|holder| u64::from(holder.permits)).sum();
        demand(held <= permits_max.into(), "no more permits are held than there are", || {
            format!("{lock:?}")
        })?;
        for HolderView { hold, token, .. } in &lock.holders {
            let before = self.tokens.insert((*hold, lock.name.clone()), *token);
            if before.is_none() {
                demand(*token > highest_before, "tokens rise over incompatible holders", || {
                    format!("{token} after {highest_before}: {lock:?}")
                })?;
                self.mint(*token, &[*hold], lock)?;
                self.highest_token = self.highest_token.max(*token);
            }
        }
        Ok(())
    }

    /// A number that is new belongs to the one hold that got it.
    fn mint(&mut self, token: u64, fresh: &[HoldId], lock: &LockView) -> Verdict {
        let Some(eldest) = fresh.iter().min() else { return Ok(()) };
        let first = *self.minted.entry(token).or_insert(*eldest);
        demand(fresh.contains(&first), "no two groups of holders share a token", || {
            format!("{token} of {first:?}: {lock:?}")
        })
    }
}
