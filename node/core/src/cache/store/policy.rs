//! What goes first when there is no room.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher};
use std::mem::size_of;

use lru::LruCache;

use super::Copy;
use crate::cache::value::Key;

/// Entries, in the order in which they are given up. It knows no limits: see [`BoundedStore`](super::BoundedStore).
pub trait Policy: Debug + Send {
    /// Memory that an entry takes, beside the bytes of its key, its value and its media type.
    const ENTRY_BYTES: usize;

    /// Without entries. The seed is secret: who knew it could choose keys that collide.
    fn new(seed: u64) -> Self;
    /// The entry of `key`, which counts as a use of it.
    fn get(&mut self, key: &Key) -> Option<&Copy>;
    /// A new entry, for a key that has none.
    fn insert(&mut self, key: Key, copy: Copy);
    /// Takes the entry of `key` out.
    fn remove(&mut self, key: &Key) -> Option<Copy>;
    /// Takes out the entry that is worth least.
    fn evict(&mut self) -> Option<(Key, Copy)>;
    /// Takes out everything that `keep` does not want.
    fn retain(&mut self, keep: &mut dyn FnMut(&Key, &Copy) -> bool);
    /// How many entries there are.
    fn len(&self) -> usize;
    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The least recently used goes first.
#[derive(Debug)]
pub struct Lru(LruCache<Key, Copy, Seeded>);

/// An entry's places in the list.
const LIST_BYTES: usize = 2 * size_of::<usize>();
/// Its place in the hash table: pointers to key and entry, and a byte. Tables double when they are 7/8
/// full, so at worst 16 places are there for each 7 entries.
const TABLE_BYTES: usize = (2 * size_of::<usize>() + 1) * 16 / 7;
/// The counter of a body, made when it is first handed out.
const BODY_COUNTER_BYTES: usize = 3 * size_of::<usize>();

impl Policy for Lru {
    const ENTRY_BYTES: usize =
        size_of::<Key>() + size_of::<Copy>() + LIST_BYTES + TABLE_BYTES + BODY_COUNTER_BYTES;

    fn new(seed: u64) -> Self {
        Self(LruCache::unbounded_with_hasher(Seeded(seed)))
    }

    fn get(&mut self, key: &Key) -> Option<&Copy> {
        self.0.get(key)
    }

    fn insert(&mut self, key: Key, copy: Copy) {
        self.0.put(key, copy);
    }

    fn remove(&mut self, key: &Key) -> Option<Copy> {
        self.0.pop(key)
    }

    fn evict(&mut self) -> Option<(Key, Copy)> {
        self.0.pop_lru()
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key, &Copy) -> bool) {
        self.0.retain(|key, copy| keep(key, copy));
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// SipHash under a seed that comes from outside: the core rolls no dice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(pub(super) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
