//! What values are written to: a payload under way, in place while it is small.

use std::io::{self, Write};

use super::payload::{INLINE, Payload};
use crate::pool::{self, LARGE_BYTES};

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
}

impl Writer {
    #[inline]
    pub(super) fn new() -> Self {
        Writer { len: 0, inline: [0; INLINE], spilled: Vec::new() }
    }

    #[inline]
    pub(super) fn finish(self) -> Payload {
        match u8::try_from(self.len) {
            Ok(len) if self.len <= INLINE => Payload::in_place(len, self.inline),
            _ => Payload::shared(pool::share(self.spilled)),
        }
    }

    /// Forgets everything, and keeps the memory.
    pub(super) fn clear(&mut self) {
        // What has spilled once is likely to do so again, and then needs no second copy.
        self.len = if self.spilled.capacity() > 0 { INLINE + 1 } else { 0 };
        self.spilled.clear();
    }

    /// Lets go of all memory, with what is in it.
    pub(super) fn release(&mut self) {
        self.len = 0;
        self.spilled = Vec::new();
    }

    /// How many bytes there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        self.inline.get(..self.len).unwrap_or(&self.spilled)
    }

    /// Takes back everything from position `from` on, as a vector.
    pub(super) fn split_off(&mut self, from: usize) -> Vec<u8> {
        let tail = self.as_slice().get(from..).unwrap_or_default().to_vec();
        if self.len <= INLINE {
            self.len = self.len.min(from)
        } else {
            self.spilled.truncate(from)
        }
        tail
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
        if needed >= LARGE_BYTES {
            self.spilled = pool::take(needed);
        }
        self.spilled.reserve_exact(needed);
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
