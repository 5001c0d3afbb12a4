//! Part of a store: entries of some keys, within limits.

use bytes::Bytes;

use super::{Copy, Policy};
use crate::cache::value::{Key, Value};

/// How much a store may hold: both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory: keys, values, and what it takes to find them ([`Policy::ENTRY_BYTES`]). What the
    /// allocator rounds up is not counted.
    pub bytes_max: usize,
    /// Number of values.
    pub entries_max: usize,
}

impl Limits {
    /// The part of one of `shards` that share them; all parts together are the whole.
    pub(super) fn part(self, shard: usize, shards: usize) -> Self {
        let part = |whole: usize| whole / shards + usize::from(shard < whole % shards);
        Self { bytes_max: part(self.bytes_max), entries_max: part(self.entries_max) }
    }
}

/// A shard. `bytes` is at any time the sum of its entries' sizes, and never above the limit.
#[derive(Debug)]
pub(super) struct Shard<P> {
    entries: P,
    bytes: usize,
    limits: Limits,
    /// What had to make room so far.
    evictions: u64,
}

impl<P: Policy> Shard<P> {
    pub(super) fn new(limits: Limits, seed: u64) -> Self {
        Self { entries: P::new(seed), bytes: 0, limits, evictions: 0 }
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<Copy> {
        self.entries.get(key).cloned()
    }

    /// Makes room first, so that the limit holds at every moment. What is too large for the whole shard
    /// is not kept, and makes nobody else go; what was kept for its key is gone all the same.
    pub(super) fn put(&mut self, key: &Key, copy: &Copy) -> Vec<(Key, Copy)> {
        self.remove(key);
        let mut gone = Vec::new();
        let size = size::<P>(key, copy);
        if size > self.limits.bytes_max || self.limits.entries_max == 0 {
            return gone;
        }
        while !self.has_room(size) {
            let Some((key, copy)) = self.entries.evict() else { break };
            self.bytes -= self::size::<P>(&key, &copy);
            self.evictions += 1;
            gone.push((key, copy));
        }
        self.bytes += size;
        self.entries.insert(key.clone(), owned(copy));
        gone
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(copy) = self.entries.remove(key) {
            self.bytes -= size::<P>(key, &copy);
        }
    }

    pub(super) fn retain(&mut self, keep: &mut dyn FnMut(&Key, &Copy) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(&mut |key, copy| {
            let kept = keep(key, copy);
            if !kept {
                *bytes -= size::<P>(key, copy);
            }
            kept
        });
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn has_room(&self, size: usize) -> bool {
        self.bytes + size <= self.limits.bytes_max && self.len() < self.limits.entries_max
    }
}

/// What an entry counts.
pub(super) fn size<P: Policy>(key: &Key, copy: &Copy) -> usize {
    P::ENTRY_BYTES + key.0.len() + copy.value.body.len() + copy.value.content_type.len()
}

/// With memory of its own. A body that came in is a slice of its frame: kept like that, all of the frame
/// would stay with it, and nobody would count it.
fn owned(copy: &Copy) -> Copy {
    let Value { body, content_type } = &copy.value;
    let value = Value {
        body: Bytes::copy_from_slice(body),
        content_type: content_type.as_str().to_owned(),
    };
    Copy { value, ..*copy }
}
