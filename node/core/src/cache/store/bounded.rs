//! The store of a node: bounded, and shared between threads.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::policy::Seeded;
use super::shard::Shard;
use super::{Copy, Limits, Lru, Policy, Store};
use crate::cache::value::Key;

/// Shards with a lock each; a key's shard is chosen by its hash. Clones are handles on the same store:
/// the protocol's thread has one, and each thread that serves hits.
///
/// Limits hold per shard, in equal parts. So a store is full a little before its limits if the keys are
/// spread unevenly, and the largest value that it can keep is one that fits into a shard.
#[derive(Debug)]
pub struct BoundedStore<P = Lru> {
    shards: Arc<[Mutex<Shard<P>>]>,
    seed: Seeded,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory, as [`Limits::bytes_max`] counts it.
    pub bytes: usize,
    /// Number of values.
    pub entries: usize,
}

impl<P: Policy> BoundedStore<P> {
    /// Without values. At least one shard; the seed is secret, and has to be drawn at random.
    #[must_use]
    pub fn new(limits: Limits, shards: usize, seed: u64) -> Self {
        let shards = shards.max(1);
        // The shards' tables have other seeds than the choice between them: with the same one, all keys
        // of a shard would agree in the part of the hash that spreads them in its table.
        let shard = |at: usize| {
            Mutex::new(Shard::new(limits.part(at, shards), seed.wrapping_add(1 + at as u64)))
        };
        Self { shards: (0..shards).map(shard).collect(), seed: Seeded(seed) }
    }

    /// What it holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.shards.iter().map(lock).fold(Usage::default(), |sum, shard| Usage {
            bytes: sum.bytes + shard.bytes(),
            entries: sum.entries + shard.len(),
        })
    }

    /// How many values have had to make room for others.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.shards.iter().map(lock).map(|shard| shard.evictions()).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard<P>> {
        let shards = self.shards.len() as u64;
        let at = usize::try_from(self.seed.hash_one(key) % shards).unwrap_or(0);
        lock(&self.shards[at])
    }
}

impl<P> Clone for BoundedStore<P> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), seed: self.seed }
    }
}

impl<P: Policy> Store for BoundedStore<P> {
    fn get(&mut self, key: &Key) -> Option<Copy> {
        self.shard(key).get(key)
    }

    fn put(&mut self, key: &Key, copy: Copy) -> Vec<(Key, Copy)> {
        self.shard(key).put(key, &copy)
    }

    fn remove(&mut self, key: &Key) {
        self.shard(key).remove(key);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key, &Copy) -> bool) {
        self.shards.iter().for_each(|shard| lock(shard).retain(keep));
    }
}

/// A thread that panicked while it had the lock has left whole entries.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
