//! What values are written to: a payload under way, in place while it is small.

use std::io::{self, Write};

use bytes::Bytes;

use super::payload::{INLINE, Payload};
use crate::pool::{self, POOLED_BYTES};

/// The first allocation of a payload that does not fit inline.
const FIRST_ALLOCATION: usize = 512;

/// A payload under way.
pub(super) struct Writer {
    /// How much of `inline` is filled; above [`INLINE`] for good once the bytes spilled, so that one comparison
    /// decides where bytes go.
    len: usize,
    inline: [u8; INLINE],
    /// Everything, once it did not fit; not allocated before.
    spilled: Vec<u8>,
    /// What stands apart of it; boxed, because most payloads have none.
    apart: Option<Box<Apart>>,
}

/// Contents of binaries that were not copied.
#[derive(Default)]
struct Apart {
    /// Each with the place before which it belongs.
    pieces: Vec<(usize, Bytes)>,
    len: usize,
}

impl Writer {
    #[inline]
    pub(super) fn new() -> Self {
        Writer { len: 0, inline: [0; INLINE], spilled: Vec::new(), apart: None }
    }

    #[inline]
    pub(super) fn finish(self) -> Payload {
        match u8::try_from(self.len) {
            Ok(len) if self.len <= INLINE => Payload::in_place(len, self.inline),
            _ => Writer::finish_spilled(self.spilled, self.apart),
        }
    }

    // Not inlined, or the compiler takes small payloads for the exception.
    #[cold]
    fn finish_spilled(spilled: Vec<u8>, apart: Option<Box<Apart>>) -> Payload {
        let body = pool::share(spilled);
        match apart {
            Some(apart) => Payload::gathered(body, apart.pieces),
            None => Payload::shared(body),
        }
    }

    /// Forgets everything, and keeps the memory.
    pub(super) fn clear(&mut self) {
        // What has spilled once is likely to do so again, and then needs no second copy.
        self.len = if self.spilled.capacity() > 0 { INLINE + 1 } else { 0 };
        self.spilled.clear();
        self.apart = None;
    }

    /// Lets go of all memory, with what is in it.
    pub(super) fn release(&mut self) {
        self.len = 0;
        self.spilled = Vec::new();
        self.apart = None;
    }

    /// How many bytes there are, with those that stand apart.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.place() + self.apart.as_ref().map_or(0, |apart| apart.len)
    }

    /// Where the next byte goes, among those that do not stand apart.
    #[inline]
    pub(super) fn place(&self) -> usize {
        self.body().len()
    }

    /// The bytes that do not stand apart.
    #[inline]
    fn body(&self) -> &[u8] {
        self.inline.get(..self.len).unwrap_or(&self.spilled)
    }

    /// All bytes, if none stand apart.
    #[inline]
    pub(super) fn as_slice(&self) -> Option<&[u8]> {
        if self.apart.is_none() { Some(self.body()) } else { None }
    }

    /// Takes back everything from a [place](Self::place) on, as a vector.
    pub(super) fn split_off(&mut self, from: usize) -> Vec<u8> {
        let mut tail = Vec::new();
        let mut at = from;
        let body = self.inline.get(..self.len).unwrap_or(&self.spilled);
        if let Some(apart) = &mut self.apart {
            // What ends at this place stays: what begins here has its head behind it.
            let stays = apart.pieces.partition_point(|(place, _)| *place <= from);
            for (place, piece) in apart.pieces.drain(stays..) {
                tail.extend_from_slice(&body[at..place]);
                tail.extend_from_slice(&piece);
                at = place;
                apart.len -= piece.len();
            }
        }
        tail.extend_from_slice(body.get(at..).unwrap_or_default());
        if self.len <= INLINE {
            self.len = self.len.min(from)
        } else {
            self.spilled.truncate(from)
        }
        tail
    }

    /// Appends bytes that stay where they are.
    pub(super) fn keep(&mut self, bytes: Bytes) {
        // Whatever has something apart is not in place, so that only those look for it.
        if self.len <= INLINE {
            self.spill(0);
        }
        let place = self.spilled.len();
        let apart = self.apart.get_or_insert_default();
        apart.len += bytes.len();
        apart.pieces.push((place, bytes));
    }

    /// Appends all of another.
    pub(super) fn append_all(&mut self, other: Writer) {
        let base = self.place();
        self.append(other.body());
        if let Some(mut others) = other.apart {
            if self.len <= INLINE {
                self.spill(0);
            }
            let apart = self.apart.get_or_insert_default();
            apart.len += others.len;
            apart.pieces.extend(others.pieces.drain(..).map(|(place, bytes)| (base + place, bytes)));
        }
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        match self.inline.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len += 1;
            }
            None => self.append(&[byte]),
        }
    }

    /// Appends a marker and the bytes that belong to it, in one step while there is room in place.
    #[inline]
    pub(super) fn marked<const N: usize>(&mut self, marker: u8, bytes: [u8; N]) {
        match self.inline.get_mut(self.len..self.len + 1 + N) {
            Some([first, rest @ ..]) => {
                *first = marker;
                rest.copy_from_slice(&bytes);
                self.len += 1 + N;
            }
            _ => {
                self.append(&[marker]);
                self.append(&bytes);
            }
        }
    }

    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        match self.inline.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => {
                if self.len <= INLINE {
                    self.spill(bytes.len());
                }
                self.spilled.extend_from_slice(bytes);
            }
        }
    }

    /// Appends as many bytes as the iterator gives, about `len`.
    #[inline]
    pub(super) fn extend(&mut self, len: usize, bytes: impl Iterator<Item = u8>) {
        if self.len <= INLINE && len > INLINE - self.len {
            self.spill(len);
        }
        if self.len > INLINE {
            self.spilled.extend(bytes);
        } else {
            bytes.for_each(|byte| self.append(&[byte]));
        }
    }

    /// Moves everything to the heap, with room for `more`.
    #[cold]
    fn spill(&mut self, more: usize) {
        let needed = (self.len + more).max(FIRST_ALLOCATION);
        if needed >= POOLED_BYTES {
            self.spilled = pool::take_whole(needed);
        } else {
            self.spilled.reserve_exact(needed);
        }
        self.spilled.extend_from_slice(&self.inline[..self.len]);
        self.len = INLINE + 1;
    }
}

impl Write for Writer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes);
        Ok(())
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
