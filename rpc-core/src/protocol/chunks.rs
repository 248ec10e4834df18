//! Items that have come and were not taken.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::marshal::Payload;
use crate::message::Items;

/// From this size on a message's items are kept as they came. Smaller ones that wait are put together, or each would
/// take many times the memory of what it carries.
const CHUNK_BYTES: usize = 4 * 1024;

/// A window is not put together to fewer pieces than this: credit is given for one after the other.
const PIECES: usize = 8;

/// Items, still marshalled one after the other.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// How many there are said to be.
    pub(crate) count: u32,
    pub(crate) bytes: Payload,
}

/// A queue of items.
#[derive(Debug)]
pub(super) struct Chunks {
    /// From which size on items stay apart.
    apart: usize,
    chunks: VecDeque<Chunk>,
    /// Small ones, behind all others.
    tail: Vec<u8>,
    tail_count: u32,
}

impl Chunks {
    /// For a stream with a window of so many bytes.
    pub(super) fn new(window: usize) -> Self {
        let apart = CHUNK_BYTES.min(window / PIECES);
        Chunks { apart, chunks: VecDeque::new(), tail: Vec::new(), tail_count: 0 }
    }

    /// Appends the items of a message. `keep` makes them outlast their frame.
    pub(super) fn push(&mut self, items: &Items<'_>, keep: impl FnOnce(&[u8]) -> Payload) {
        let bytes = items.bytes;
        // Each takes a byte at least. One more than that is as wrong as any number, and counts can be added.
        let count = items.count.min(bytes.len() as u32 + 1);
        let alone = self.chunks.is_empty() && self.tail_count == 0;
        if alone || bytes.len() >= self.apart {
            self.flush();
            self.chunks.push_back(Chunk { count, bytes: keep(bytes) });
            return;
        }
        self.tail.extend_from_slice(bytes);
        self.tail_count += count;
        if self.tail.len() >= self.apart {
            self.flush();
        }
    }

    pub(super) fn pop(&mut self) -> Option<Chunk> {
        if self.chunks.is_empty() {
            self.flush();
        }
        self.chunks.pop_front()
    }

    fn flush(&mut self) {
        if self.tail_count > 0 {
            let bytes = Payload::from(Bytes::from(std::mem::take(&mut self.tail)));
            self.chunks.push_back(Chunk { count: std::mem::take(&mut self.tail_count), bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::StreamName;

    fn push(chunks: &mut Chunks, bytes: &[u8]) {
        let items = Items { name: StreamName { call: 1, stream: 1 }, count: bytes.len() as u32, bytes };
        chunks.push(&items, Payload::from_slice);
    }

    #[test]
    fn items_come_out_as_they_went_in_and_small_ones_together() {
        let sizes = [1, 2, 4_095, 4_096, 5, 20_000, 1, 1, 1_000, 3];
        for window in [1, 100, 64 * 1024] {
            for taken_early in 0..sizes.len() {
                let (mut chunks, mut sent, mut received) = (Chunks::new(window), Vec::new(), Vec::new());
                let mut count = 0;
                let mut take = |chunks: &mut Chunks| {
                    let chunk = chunks.pop()?;
                    count += chunk.count as usize;
                    received.extend_from_slice(&chunk.bytes);
                    Some(())
                };
                for (index, size) in (0..200).zip(sizes.into_iter().cycle()) {
                    let items = vec![index as u8; size];
                    push(&mut chunks, &items);
                    sent.extend_from_slice(&items);
                    if index % sizes.len() == taken_early {
                        take(&mut chunks).expect("there is something");
                    }
                }
                while take(&mut chunks).is_some() {}
                assert!(sent == received && count == sent.len());
            }
        }
    }

    #[test]
    fn counts_that_cannot_be_can_be_added_and_are_still_too_many() {
        let mut chunks = Chunks::new(64 * 1024);
        for bytes in [&[7; 10][..], &[], &[7], &[], &[7; 5_000], &[]] {
            let items = Items { name: StreamName { call: 1, stream: 1 }, count: u32::MAX, bytes };
            chunks.push(&items, Payload::from_slice);
        }
        let chunks: Vec<_> = std::iter::from_fn(|| chunks.pop()).collect();
        assert!(chunks.iter().all(|chunk| chunk.count as usize > chunk.bytes.len()), "{chunks:?}");
    }

    #[test]
    fn small_messages_take_little_more_than_their_bytes() {
        let mut chunks = Chunks::new(64 * 1024);
        (0..60_000).for_each(|_| push(&mut chunks, &[7]));
        assert!(chunks.chunks.len() <= 60_000 / CHUNK_BYTES + 1);
        assert!(chunks.tail.capacity() <= 2 * CHUNK_BYTES);
    }
}
