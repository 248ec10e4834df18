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
