//! A map that most connections never use: until one does, it takes no more than a pointer.
//!
//! Its keys are ids, which the other side chooses and which grow: so it is ordered, which is quicker for a few hundred of them
//! than a hash that is safe from whoever chooses them.

use std::collections::BTreeMap;

/// What was used once keeps its memory until it is told to [`shrink`](Self::shrink).
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "a map that is empty has no memory, and is still three times as large"
)]
pub(crate) struct RareMap<K, V>(Option<Box<BTreeMap<K, V>>>);

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

impl<K: Ord, V> RareMap<K, V> {
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
        if self.is_empty() {
            self.0 = None;
        }
    }
}
