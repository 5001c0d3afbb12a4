//! A store without bounds.

use std::collections::BTreeMap;

use super::{Copy, Store};
use crate::cache::value::Key;

/// A store without bounds, for tests and models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MapStore(pub BTreeMap<Key, Copy>);

impl Store for MapStore {
    fn get(&mut self, key: &Key) -> Option<Copy> {
        self.0.get(key).cloned()
    }

    fn put(&mut self, key: &Key, copy: Copy) -> Vec<(Key, Copy)> {
        self.0.insert(key.clone(), copy);
        Vec::new()
    }

    fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key, &Copy) -> bool) {
        self.0.retain(|key, copy| keep(key, copy));
    }
}
