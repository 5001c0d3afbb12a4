//! Where values are kept. The protocol says what may be in it; how much of it, and what goes first, is
//! the store's own business: to lose a copy is always allowed.
//!
//! [`BoundedStore`] is what a node has: shards with a lock each, each bounded by bytes and by count at
//! once. What goes first is a [`Policy`]'s business, and [`Lru`] is the one that there is.

mod bounded;
mod map;
mod policy;
mod shard;

#[cfg(test)]
mod bounded_test;

use super::placement::Incarnation;
use super::value::{Key, Value, Version};
use crate::types::LocalTime;

pub use bounded::{BoundedStore, Usage};
pub use map::MapStore;
pub use policy::{Lru, Policy};
pub use shard::Limits;

/// A value as one node keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    /// The value.
    pub value: Value,
    /// Its version.
    pub version: Version,
    /// Not to be read from then on.
    pub expires: Option<LocalTime>,
    /// By what right it is here.
    pub source: Source,
}

/// By what right a value is kept: whose it is, and in which session it was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The key's home.
    pub home: Incarnation,
    /// The session; `None`: this node is the home.
    pub session: Option<u64>,
}

/// A bounded map. A get from any thread reads it without asking the protocol, and looks at the lease of
/// the copy's source *after* it has found the copy.
pub trait Store {
    /// The value kept for `key`.
    fn get(&mut self, key: &Key) -> Option<Copy>;
    /// Keeps `copy` for `key`, or nothing if it is too large; says which other keys had to make room.
    fn put(&mut self, key: &Key, copy: Copy) -> Vec<(Key, Copy)>;
    /// Drops what is kept for `key`.
    fn remove(&mut self, key: &Key);
    /// Drops everything that `keep` does not want.
    fn retain(&mut self, keep: &mut dyn FnMut(&Key, &Copy) -> bool);
}
