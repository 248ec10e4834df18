//! A map that most connections never use: until one does, it takes no more than a pointer.
//!
//! Its keys are ids, which the other side chooses. They are hashed by one multiplication with a number that it cannot know:
//! enough where a connection's limits bound how many there are, at a fraction of what the standard library's hash costs.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::chance;

/// What was used once keeps its memory until it is told to [`shrink`](Self::shrink).
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "a map that is empty has no memory, and is still five times as large"
)]
pub(crate) struct RareMap<K, V>(Option<Box<HashMap<K, V, IdHash>>>);

#[derive(Debug)]
struct IdHash {
    seed: u64,
}

impl Default for IdHash {
    fn default() -> Self {
        IdHash { seed: chance::draw() | 1 }
    }
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    #[inline]
    fn build_hasher(&self) -> IdHasher {
        IdHasher { seed: self.seed, hash: 0 }
    }
}

struct IdHasher {
    seed: u64,
    hash: u64,
}

impl Hasher for IdHasher {
    #[inline]
    fn write_u64(&mut self, id: u64) {
        let product = u128::from(self.hash ^ id).wrapping_mul(u128::from(self.seed));
        self.hash = product as u64 ^ (product >> 64) as u64;
    }

    /// Which kind of id it is.
    #[inline]
    fn write_isize(&mut self, kind: isize) {
        self.hash = (kind as u64).rotate_right(8);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

impl<K, V> Default for RareMap<K, V> {
    fn default() -> Self {
        RareMap(None)
    }
}

impl<K, V> RareMap<K, V> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |map| map.len())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|map| map.iter())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().flat_map(|map| map.iter_mut())
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }
}

impl<K: Eq + Hash, V> RareMap<K, V> {
    #[inline]
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.0.as_ref().is_some_and(|map| map.contains_key(key))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.as_mut()?.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.get_or_insert_default().insert(key, value)
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.as_mut()?.remove(key)
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        if let Some(map) = &mut self.0 {
            map.retain(keep);
        }
    }

    /// Gives up memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        match &mut self.0 {
            Some(map) if !map.is_empty() => map.shrink_to_fit(),
            none => *none = None,
        }
    }
}
