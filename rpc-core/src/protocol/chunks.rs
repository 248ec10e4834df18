//! Items that have come and were not taken.

use std::collections::VecDeque;

use crate::limits::BATCH_BYTES;
use crate::marshal::Payload;

/// Below this the items of a message would take less memory than it takes to keep them by themselves.
const SMALL_BYTES: usize = 1024;

/// Items, marshalled one after the other.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) count: u32,
    pub(crate) bytes: Payload,
}

/// The items of a stream, in order: those of each message by themselves, and those of small ones that nobody was
/// quick enough to take put together. So what they take in memory is what they take of the credit, and little more.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    whole: VecDeque<Chunk>,
    /// Small ones, behind all others, and how many items they are.
    small: Vec<u8>,
    count: u32,
}

impl Chunks {
    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.small.is_empty()
    }

    /// Appends the items of a message, which are fewer than their bytes; `keep` makes them outlast it.
    pub(super) fn push(&mut self, count: u32, bytes: &[u8], keep: impl FnOnce(&[u8]) -> Payload) {
        let is_small = bytes.len() < SMALL_BYTES;
        if !is_small || self.small.len() + bytes.len() > BATCH_BYTES {
            let gathered = self.take_small();
            self.whole.extend(gathered);
        }
        if is_small && !self.is_empty() {
            self.small.extend_from_slice(bytes);
            self.count += count;
        } else {
            self.whole.push_back(Chunk { count, bytes: keep(bytes) });
        }
    }

    /// The next items.
    pub(super) fn pop(&mut self) -> Option<Chunk> {
        self.whole.pop_front().or_else(|| self.take_small())
    }

    fn take_small(&mut self) -> Option<Chunk> {
        let bytes = std::mem::take(&mut self.small);
        let count = std::mem::take(&mut self.count);
        (!bytes.is_empty()).then(|| Chunk { count, bytes: Payload::from(bytes::Bytes::from(bytes)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_out_as_they_went_in_and_small_ones_together() {
        let sizes = [1, 2, 1_023, 1_024, 5, 20_000, 1, 1, 1_000, 3];
        for taken_early in 0..sizes.len() {
            let (mut chunks, mut sent, mut received) = (Chunks::default(), Vec::new(), Vec::new());
            let mut counts = (0, 0);
            for (index, size) in (0..200).zip(sizes.into_iter().cycle()) {
                let items = vec![index as u8; size];
                chunks.push(size as u32, &items, Payload::from_slice);
                counts.0 += size as u32;
                sent.extend_from_slice(&items);
                if index % sizes.len() == taken_early
                    && let Some(chunk) = chunks.pop()
                {
                    counts.1 += chunk.count;
                    received.extend_from_slice(&chunk.bytes);
                }
            }
            while let Some(chunk) = chunks.pop() {
                counts.1 += chunk.count;
                received.extend_from_slice(&chunk.bytes);
            }
            assert!(sent == received && counts.0 == counts.1 && chunks.is_empty());
        }
    }

    #[test]
    fn small_messages_take_little_more_than_their_bytes() {
        let mut chunks = Chunks::default();
        (0..60_000).for_each(|_| chunks.push(1, &[7], Payload::from_slice));
        assert!(chunks.whole.len() <= 60_000 / BATCH_BYTES + 1);
        assert!(chunks.small.capacity() <= 2 * BATCH_BYTES);
    }
}
