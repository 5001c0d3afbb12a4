//! The bounded store against an oracle that is too simple to be wrong, and its limits at every moment.

use bytes::Bytes;

use super::shard::size;
use super::{BoundedStore, Copy, Limits, Lru, Source, Store, Usage};
use crate::cache::placement::{Incarnation, Process};
use crate::cache::value::{Key, Value, Version};
use crate::dice::Dice;
use crate::types::{BootId, NodeId};

const HISTORIES: u64 = 2_000;
const STEPS: usize = 100;

/// Entries from the least to the most recently used, within limits.
struct Oracle {
    entries: Vec<(Key, Copy)>,
    limits: Limits,
}

impl Oracle {
    fn usage(&self) -> Usage {
        let bytes = self.entries.iter().map(|(key, copy)| size::<Lru>(key, copy)).sum();
        Usage { bytes, entries: self.entries.len() }
    }

    fn get(&mut self, key: &Key) -> Option<Copy> {
        let at = self.entries.iter().position(|(known, _)| known == key)?;
        let entry = self.entries.remove(at);
        self.entries.push(entry.clone());
        Some(entry.1)
    }

    fn remove(&mut self, key: &Key) {
        self.entries.retain(|(known, _)| known != key);
    }

    fn put(&mut self, key: &Key, copy: Copy) -> Vec<(Key, Copy)> {
        self.remove(key);
        let (limits, mut gone) = (self.limits, Vec::new());
        if size::<Lru>(key, &copy) > limits.bytes_max || limits.entries_max == 0 {
            return gone;
        }
        self.entries.push((key.clone(), copy));
        while !within(self.usage(), limits) {
            gone.push(self.entries.remove(0));
        }
        gone
    }
}

fn within(usage: Usage, limits: Limits) -> bool {
    usage.bytes <= limits.bytes_max && usage.entries <= limits.entries_max
}

fn key(dice: &mut Dice) -> Key {
    let number = dice.below(12);
    Key("k".repeat(1 + dice.index(2) * 20) + &number.to_string())
}

fn copy(dice: &mut Dice, number: u64) -> Copy {
    let process = Process { node: NodeId(1), boot: BootId(1) };
    let frame = Bytes::from(vec![0; 1_000]);
    Copy {
        value: Value {
            body: frame.slice(..dice.index(600)),
            content_type: "t".repeat(dice.index(30)),
        },
        version: Version { epoch: 1, number },
        expires: None,
        source: Source { home: Incarnation { process, returns: 0 }, session: None },
    }
}

fn limits(dice: &mut Dice) -> Limits {
    Limits { bytes_max: dice.index(4_000), entries_max: dice.index(10) }
}

#[test]
fn one_shard_agrees_with_the_oracle_and_counts_every_byte() {
    for seed in 0..HISTORIES {
        let mut dice = Dice(seed);
        let mut oracle = Oracle { entries: Vec::new(), limits: limits(&mut dice) };
        let mut store: BoundedStore = BoundedStore::new(oracle.limits, 1, seed);
        for step in 0..STEPS {
            let key = key(&mut dice);
            match dice.below(10) {
                0..4 => {
                    let copy = copy(&mut dice, step as u64);
                    assert_eq!(store.put(&key, copy.clone()), oracle.put(&key, copy), "{seed}");
                }
                4..8 => assert_eq!(store.get(&key), oracle.get(&key), "{seed}"),
                8 => {
                    store.remove(&key);
                    oracle.remove(&key);
                }
                _ => {
                    let old = dice.below(1 + step as u64);
                    store.retain(&mut |_, copy| copy.version.number >= old);
                    oracle.entries.retain(|(_, copy)| copy.version.number >= old);
                }
            }
            assert_eq!(store.usage(), oracle.usage(), "history {seed}, step {step}");
            assert!(within(store.usage(), oracle.limits), "history {seed}, step {step}");
        }
    }
}

#[test]
fn shards_keep_within_the_limits_of_the_whole() {
    for seed in 0..HISTORIES {
        let mut dice = Dice(seed);
        let (limits, shards) = (limits(&mut dice), dice.index(5));
        let mut store: BoundedStore = BoundedStore::new(limits, shards, seed);
        for step in 0..STEPS {
            let (key, copy) = (key(&mut dice), copy(&mut dice, step as u64));
            for (gone, _) in store.put(&key, copy.clone()) {
                assert_ne!(gone, key, "history {seed}, step {step}");
                assert_eq!(store.get(&gone), None, "history {seed}, step {step}");
            }
            let kept = store.get(&key);
            assert!(kept.is_none_or(|kept| kept == copy), "history {seed}, step {step}");
            assert!(within(store.usage(), limits), "history {seed}, step {step}");
            assert_eq!(store.usage(), counted(&mut store), "history {seed}, step {step}");
        }
    }
}

#[test]
fn what_is_kept_does_not_hold_the_frame_that_it_came_in() {
    let mut dice = Dice(1);
    let (key, copy) = (key(&mut dice), copy(&mut dice, 1));
    let limits = Limits { bytes_max: 10_000, entries_max: 10 };
    let mut store: BoundedStore = BoundedStore::new(limits, 1, 1);
    let given = copy.value.body.as_ptr();
    store.put(&key, copy);
    assert_ne!(store.get(&key).unwrap().value.body.as_ptr(), given);
}

#[test]
fn parts_of_limits_are_the_whole() {
    let whole = Limits { bytes_max: 1_003, entries_max: 5 };
    let parts = || (0..4).map(|shard| whole.part(shard, 4));
    assert_eq!(parts().map(|part| part.bytes_max).sum::<usize>(), whole.bytes_max);
    assert_eq!(parts().map(|part| part.entries_max).sum::<usize>(), whole.entries_max);
}

#[test]
fn a_handle_sees_what_another_one_keeps() {
    let mut dice = Dice(1);
    let (key, copy) = (key(&mut dice), copy(&mut dice, 1));
    let limits = Limits { bytes_max: 100_000, entries_max: 100 };
    let mut store: BoundedStore = BoundedStore::new(limits, 16, 1);
    let mut other = store.clone();
    store.put(&key, copy.clone());
    assert_eq!(other.get(&key), Some(copy));
}

fn counted(store: &mut BoundedStore) -> Usage {
    let mut usage = Usage::default();
    store.retain(&mut |key, copy| {
        usage.bytes += size::<Lru>(key, copy);
        usage.entries += 1;
        true
    });
    usage
}
