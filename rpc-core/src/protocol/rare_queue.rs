//! A queue in which on most connections nothing ever waits: until something does, it takes no more than a pointer.

use std::collections::VecDeque;

/// What was used once keeps its memory until it is told to [`shrink`](Self::shrink).
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "a queue that is empty has no memory, and is still four times as large"
)]
pub(crate) struct RareQueue<T>(Option<Box<VecDeque<T>>>);

impl<T> Default for RareQueue<T> {
    fn default() -> Self {
        RareQueue(None)
    }
}

impl<T> RareQueue<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.0.as_ref()?.front()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|queue| queue.iter())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flat_map(|queue| queue.iter_mut())
    }

    pub(crate) fn push_back(&mut self, value: T) {
        self.0.get_or_insert_default().push_back(value);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.0.as_mut()?.pop_front()
    }

    pub(crate) fn retain_mut(&mut self, keep: impl FnMut(&mut T) -> bool) {
        if let Some(queue) = &mut self.0 {
            queue.retain_mut(keep);
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        if let Some(queue) = &mut self.0 {
            queue.clear();
        }
    }

    /// Gives up memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        match &mut self.0 {
            Some(queue) if !queue.is_empty() => queue.shrink_to_fit(),
            none => *none = None,
        }
    }
}
