//! Frames: a `u32` big-endian length and a message, cut out of a stream of bytes.
//!
//! The one place where lengths are read. Whole frames are handed on where they lie in the caller's buffer; only
//! one that is not complete yet is kept here, in memory that grows with the bytes that came and never with the
//! length that was declared.

use std::fmt;
use std::ops::Range;

use bytes::BufMut;

pub(crate) const LENGTH_BYTES: usize = 4;

/// Memory for an unfinished frame grows at least by this.
const STEP: usize = 64 * 1024;

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub(crate) struct Assembler {
    limit: usize,
    /// The beginning of a frame that is not complete, its length included.
    partial: Vec<u8>,
}

impl Assembler {
    /// Takes frames of 1 to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Assembler { limit, partial: Vec::new() }
    }

    /// Whether a frame has begun and is not complete.
    pub(crate) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// How much memory it has for a frame that is not complete.
    pub(crate) fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// How many bytes the frame under way still needs, once its length is known.
    pub(crate) fn missing(&self) -> Option<usize> {
        let length = length(&self.partial)?;
        Some(LENGTH_BYTES + length - self.partial.len())
    }

    /// Room for the frame under way, for a transport to read into, and how much of it may be filled.
    ///
    /// The room is at most as large as what has come, so that a declared length alone costs next to nothing.
    pub(crate) fn room(&mut self) -> (&mut Vec<u8>, usize) {
        let missing = self.missing().unwrap_or(LENGTH_BYTES);
        let step = missing.min(self.partial.len().max(STEP));
        // Not as soon as a little is missing: to grow may mean to move, which must not happen at every read.
        if self.partial.capacity() - self.partial.len() < step.div_ceil(4) {
            self.partial.reserve_exact(step);
        }
        let free = self.partial.capacity() - self.partial.len();
        (&mut self.partial, step.min(free))
    }

    /// The frame under way, without its length, if it is complete now.
    pub(crate) fn take_complete(&mut self) -> Option<Vec<u8>> {
        (self.missing()? == 0).then(|| std::mem::take(&mut self.partial))
    }

    /// Says where in bytes that a transport delivered whole frames lie (without their lengths), and gives the
    /// place where what is left at their end begins.
    ///
    /// Call it only while no frame [is under way](Self::is_partial), or with what follows the one that was: see
    /// [`fill`](Self::fill).
    ///
    /// # Errors
    /// A length of zero or above the limit, before the frame's body is looked at; the frames before it are given
    /// first, in earlier calls of `each`.
    pub(crate) fn cut(&self, bytes: &[u8], mut each: impl FnMut(Range<usize>)) -> Result<usize, BadLength> {
        let mut at = 0;
        while let Some(length) = length(&bytes[at..]) {
            self.check(length)?;
            let body = at + LENGTH_BYTES;
            if bytes.len() - body < length {
                break;
            }
            each(body..body + length);
            at = body + length;
        }
        Ok(at)
    }

    /// Keeps the beginning of a frame, in memory that `room` gives for a frame of that length.
    pub(crate) fn keep(&mut self, begun: &[u8], room: impl FnOnce(usize) -> Vec<u8>) {
        if let Some(length) = length(begun) {
            self.partial = room(length);
        }
        self.partial.extend_from_slice(begun);
    }

    /// Adds to the frame under way what it still lacks, and gives what is left of `bytes`.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub(crate) fn fill<'b>(&mut self, mut bytes: &'b [u8]) -> Result<&'b [u8], BadLength> {
        while !bytes.is_empty() {
            let missing = match self.missing() {
                Some(0) => break,
                Some(missing) => missing,
                None => LENGTH_BYTES - self.partial.len(),
            };
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.partial.put_slice(taken);
            bytes = rest;
            if let Some(length) = length(&self.partial) {
                self.check(length)?;
            }
        }
        Ok(bytes)
    }

    fn check(&self, length: usize) -> Result<(), BadLength> {
        if length == 0 || length > self.limit {
            return Err(BadLength { length, limit: self.limit });
        }
        Ok(())
    }
}

/// The length of the frame that begins here, once it has come.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk::<LENGTH_BYTES>()?);
    // A length that does not fit is above any limit, which is a usize.
    Some(usize::try_from(length).unwrap_or(usize::MAX))
}

/// A frame's length that is not allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLength {
    length: usize,
    limit: usize,
}

impl fmt::Display for BadLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes, expected 1 to {}", self.length, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        bytes
    }

    /// What a connection does with each read, whatever its size.
    fn feed(assembler: &mut Assembler, mut bytes: &[u8], frames: &mut Vec<Vec<u8>>) -> Result<(), BadLength> {
        if assembler.is_partial() {
            bytes = assembler.fill(bytes)?;
            match assembler.take_complete() {
                Some(frame) => frames.push(frame[LENGTH_BYTES..].to_vec()),
                None => return Ok(()),
            }
        }
        let end = assembler.cut(bytes, |range| frames.push(bytes[range].to_vec()))?;
        assembler.keep(&bytes[end..], |_| Vec::new());
        Ok(())
    }

    #[test]
    fn case_05_and_06_slices_of_any_size_give_the_same_frames() {
        let expected: [&[u8]; 4] = [b"a", &[7; 300], b"bc", &[9; if cfg!(miri) { 100 } else { 100_000 }]];
        let bytes = stream(&expected);
        for size in [1, 2, 3, 4, 5, 7, 64, 301, 65_536, bytes.len()] {
            let mut assembler = Assembler::new(1 << 20);
            let mut frames = Vec::new();
            for slice in bytes.chunks(size) {
                feed(&mut assembler, slice, &mut frames).expect("sound frames");
            }
            assert_eq!(frames, expected, "in slices of {size}");
            assert!(!assembler.is_partial());
        }
    }

    #[test]
    fn case_17_to_20_lengths_at_and_beyond_the_limit() {
        let declared = |length: u32| {
            let mut frames = Vec::new();
            feed(&mut Assembler::new(16), &length.to_be_bytes(), &mut frames)
        };
        assert_eq!(declared(0), Err(BadLength { length: 0, limit: 16 }));
        assert_eq!(declared(16), Ok(()));
        assert_eq!(declared(17), Err(BadLength { length: 17, limit: 16 }));
        assert_eq!(declared(u32::MAX), Err(BadLength { length: u32::MAX as usize, limit: 16 }));
        // The same when the length comes byte by byte.
        let mut assembler = Assembler::new(16);
        let mut frames = Vec::new();
        for byte in [0, 0, 0] {
            feed(&mut assembler, &[byte], &mut frames).expect("no length yet");
        }
        assert!(feed(&mut assembler, &[17], &mut frames).is_err());
    }

    #[test]
    fn a_frame_that_comes_in_small_pieces_is_seldom_moved() {
        const BYTES: usize = 4 << 20;
        // Miri is slow.
        const PIECE: usize = if cfg!(miri) { 4 << 10 } else { 1 };
        let mut assembler = Assembler::new(1 << 30);
        let mut frames = Vec::new();
        feed(&mut assembler, &(BYTES as u32).to_be_bytes(), &mut frames).expect("a legal length");
        let mut grown = 0;
        let mut capacity = 0;
        for came in (0..BYTES).step_by(PIECE) {
            let (room, step) = assembler.room();
            assert!(step >= PIECE, "after {came} bytes");
            grown += usize::from(room.capacity() != capacity);
            capacity = room.capacity();
            assert!(
                capacity <= 2 * (came + STEP) + 2 * LENGTH_BYTES,
                "{capacity} bytes for {came} that came"
            );
            room.extend_from_slice(&[0x90; PIECE]);
        }
        assert!(grown <= 16, "it was moved {grown} times");
        assert_eq!(assembler.take_complete().map(|frame| frame.len()), Some(LENGTH_BYTES + BYTES));
    }

    #[test]
    fn case_21_a_declared_length_reserves_one_step_at_most() {
        let mut assembler = Assembler::new(1 << 30);
        let mut frames = Vec::new();
        let mut bytes = (1u32 << 30).to_be_bytes().to_vec();
        bytes.push(0x90);
        feed(&mut assembler, &bytes, &mut frames).expect("a legal length");
        let (room, step) = assembler.room();
        assert_eq!(step, STEP);
        assert!(room.capacity() <= 2 * STEP);
    }
}
