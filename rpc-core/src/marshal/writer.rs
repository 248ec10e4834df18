//! Collects MessagePack, in place while it is small: the lowest layer of marshalling, which knows MessagePack and
//! not serde.
//!
//! Every value takes its smallest form, as the specification asks.
//! Source: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use super::Fault;
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

    /// How many bytes there are.
    #[inline]
    pub(super) fn position(&self) -> usize {
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
            self.spilled = pool::take();
        }
        self.spilled.reserve_exact(needed);
        self.spilled.extend_from_slice(&self.inline[..self.len]);
        self.len = INLINE + 1;
    }

    #[inline]
    pub(super) fn nil(&mut self) {
        self.append(&[0xc0]);
    }

    #[inline]
    pub(super) fn bool(&mut self, value: bool) {
        self.append(&[0xc2 + u8::from(value)]);
    }

    #[inline]
    pub(super) fn unsigned(&mut self, value: u64) {
        if value < 0x80 {
            self.append(&[value as u8]);
        } else if let Ok(value) = u8::try_from(value) {
            self.append(&[0xcc, value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.append(&marked::<2, 3>(0xcd, value.to_be_bytes()));
        } else if let Ok(value) = u32::try_from(value) {
            self.append(&marked::<4, 5>(0xce, value.to_be_bytes()));
        } else {
            self.append(&marked::<8, 9>(0xcf, value.to_be_bytes()));
        }
    }

    #[inline]
    pub(super) fn signed(&mut self, value: i64) {
        if let Ok(value) = u64::try_from(value) {
            self.unsigned(value);
        } else if value >= -0x20 {
            self.append(&[value as u8]);
        } else if let Ok(value) = i8::try_from(value) {
            self.append(&[0xd0, value as u8]);
        } else if let Ok(value) = i16::try_from(value) {
            self.append(&marked::<2, 3>(0xd1, value.to_be_bytes()));
        } else if let Ok(value) = i32::try_from(value) {
            self.append(&marked::<4, 5>(0xd2, value.to_be_bytes()));
        } else {
            self.append(&marked::<8, 9>(0xd3, value.to_be_bytes()));
        }
    }

    #[inline]
    pub(super) fn f32(&mut self, value: f32) {
        self.append(&marked::<4, 5>(0xca, value.to_be_bytes()));
    }

    #[inline]
    pub(super) fn f64(&mut self, value: f64) {
        self.append(&marked::<8, 9>(0xcb, value.to_be_bytes()));
    }

    #[inline]
    pub(super) fn str(&mut self, value: &str) -> Result<(), Fault> {
        match value.len() {
            len @ 0..32 => self.append(&[0xa0 | len as u8]),
            len @ 32..256 => self.append(&[0xd9, len as u8]),
            len => self.head(0xda, len)?,
        }
        self.append(value.as_bytes());
        Ok(())
    }

    #[inline]
    pub(super) fn bin(&mut self, value: &[u8]) -> Result<(), Fault> {
        self.bin_head(value.len())?;
        self.append(value);
        Ok(())
    }

    /// The beginning of a binary of `len` bytes, which must follow.
    #[inline]
    pub(super) fn bin_head(&mut self, len: usize) -> Result<(), Fault> {
        match len {
            0..256 => self.append(&[0xc4, len as u8]),
            _ => self.head(0xc5, len)?,
        }
        Ok(())
    }

    /// The beginning of an array of `len` values, which must follow.
    #[inline]
    pub(super) fn array_head(&mut self, len: usize) -> Result<(), Fault> {
        match len {
            0..16 => self.append(&[0x90 | len as u8]),
            _ => self.head(0xdc, len)?,
        }
        Ok(())
    }

    /// The beginning of a map of `len` keys and values, which must follow in turn.
    #[inline]
    pub(super) fn map_head(&mut self, len: usize) -> Result<(), Fault> {
        match len {
            0..16 => self.append(&[0x80 | len as u8]),
            _ => self.head(0xde, len)?,
        }
        Ok(())
    }

    pub(super) fn extension(&mut self, tag: i8, value: &[u8]) -> Result<(), Fault> {
        match value.len() {
            len @ (1 | 2 | 4 | 8 | 16) => self.append(&[0xd4 + len.ilog2() as u8]),
            len @ 0..256 => self.append(&[0xc7, len as u8]),
            len => self.head(0xc8, len)?,
        }
        self.append(&[tag as u8]);
        self.append(value);
        Ok(())
    }

    /// A length of two bytes after `marker`, or of four after the marker that follows it.
    fn head(&mut self, marker: u8, len: usize) -> Result<(), Fault> {
        if let Ok(len) = u16::try_from(len) {
            self.append(&marked::<2, 3>(marker, len.to_be_bytes()));
        } else if let Ok(len) = u32::try_from(len) {
            self.append(&marked::<4, 5>(marker + 1, len.to_be_bytes()));
        } else {
            return Err(Fault::new(format!("MessagePack has no room for a length of {len}")));
        }
        Ok(())
    }
}

/// A marker and what follows it, as one array, so that they are appended with one check.
#[inline]
fn marked<const N: usize, const M: usize>(marker: u8, bytes: [u8; N]) -> [u8; M] {
    let mut marked = [marker; M];
    marked[1..].copy_from_slice(&bytes);
    marked
}
