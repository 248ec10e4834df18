//! Bytes, read value by value within a [`Guard`]: the lowest layer of unmarshalling, which knows MessagePack and
//! not serde.
//!
//! Source: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use std::fmt;

use bytes::Bytes;

use super::guard::GUARDED;
use super::{Fault, Guard, Payload};
use crate::memory::{NotTaken, Reserve};

/// What is left of some bytes, and of the depth and memory that their values may take.
pub(super) struct Reader<'de> {
    rest: &'de [u8],
    /// How many more levels may be entered.
    depth: u32,
    /// How large the place is that was charged for the value which is read next; see [`Reader::charge_own`].
    pub(super) room: usize,
    /// How many more bytes of memory may be filled, and where more of them come from.
    budget: usize,
    reserve: Option<Reserve<'de>>,
    pub(super) loose: Loose,
    /// Where the bytes lie, if that can be shared.
    source: Option<&'de Payload>,
}

/// What became of the binaries that came where anything was asked for; see [`Reader::value`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Loose {
    /// There was none.
    None,
    /// Each was given as its visitor seemed to want it.
    Guessed,
    /// That was wrong, and each is given the other way.
    Reversed,
}

/// A value's beginning; for all but arrays and maps also its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head<'de> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    F32(f32),
    F64(f64),
    Str(&'de [u8]),
    Bin(&'de [u8]),
    /// An array of so many elements, which fit into what is left.
    Array(usize),
    /// A map of so many entries, which fit into what is left.
    Map(usize),
    Ext(i8, &'de [u8]),
}

/// A place to return to.
pub(super) struct Saved<'de> {
    rest: &'de [u8],
    /// How much was charged for nothing yet; with a limit of all there is, the sum may come round, and back again.
    unused: usize,
}

impl<'de> Reader<'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8], guard: Guard) -> Self {
        Reader::after(bytes, bytes, None, guard)
    }

    /// Reads a payload from a place in its [body](Payload::body) on.
    #[inline]
    pub(super) fn within(payload: &'de Payload, at: usize, guard: Guard) -> Self {
        let rest = payload.body().get(at..).unwrap_or_default();
        Reader::after(rest, rest, payload.source(), guard)
    }

    /// Reads bytes of which only the `rest` is left, and which are the body of the source if there is one.
    #[inline]
    pub(super) fn after(bytes: &[u8], rest: &'de [u8], source: Option<&'de Payload>, guard: Guard) -> Self {
        let len = source.map_or(bytes.len(), Payload::len);
        let budget = guard.budget().saturating_add(len);
        Reader { rest, depth: guard.depth(), budget, reserve: None, room: 0, loose: Loose::None, source }
    }

    /// The same, where what values take beyond their message's size, but for a little, is the reserve of their call.
    #[inline]
    pub(super) fn with_reserve(mut self, reserve: Reserve<'de>) -> Self {
        self.budget -= reserve.bytes();
        self.reserve = Some(reserve);
        self
    }

    /// The length of the array that comes next, for a caller who will read its elements.
    #[inline]
    pub(super) fn array(&mut self) -> Result<usize, Fault> {
        if let short @ 0x90..=0x9f = self.peek()? {
            self.step();
            return self.fitting(usize::from(short & 0x0f));
        }
        match self.head()? {
            Head::Array(len) => Ok(len),
            other => Err(other.instead_of(&"an array")),
        }
    }

    /// The length of the map that comes next, in entries.
    #[inline]
    pub(super) fn map(&mut self) -> Result<usize, Fault> {
        if let short @ 0x80..=0x8f = self.peek()? {
            self.step();
            return self.fitting_entries(usize::from(short & 0x0f));
        }
        match self.head()? {
            Head::Map(len) => Ok(len),
            other => Err(other.instead_of(&"a map")),
        }
    }

    /// The binary that comes next.
    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'de [u8], Fault> {
        if self.peek()? == 0xc4 {
            let [len] = self.after_marker()?;
            return self.contents(len.into());
        }
        match self.head()? {
            Head::Bin(bytes) => Ok(bytes),
            other => Err(other.instead_of(&"a binary")),
        }
    }

    /// Whether nothing is left.
    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Checks that nothing is left.
    #[inline]
    pub(super) fn end(&self) -> Result<(), Fault> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Fault::not_the_end(left)),
        }
    }

    /// Runs `inside` one level deeper.
    #[inline]
    pub(super) fn nested<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if !GUARDED {
            return inside(self);
        }
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(Fault::too_deep());
        };
        self.depth = depth;
        let result = inside(self);
        self.depth += 1;
        result
    }

    /// Charges memory that is about to be filled.
    #[inline]
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        match self.budget.checked_sub(bytes) {
            _ if !GUARDED => Ok(()),
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => self.charge_reserve(bytes),
        }
    }

    /// Charges more than there is yet.
    #[cold]
    fn charge_reserve(&mut self, bytes: usize) -> Result<(), Fault> {
        let reserve = self.reserve.ok_or_else(Fault::over_budget)?;
        let lacking = bytes - self.budget;
        let taken = reserve.take(lacking).map_err(|not_taken| match not_taken {
            NotTaken::BeyondReserve => Fault::over_budget(),
            NotTaken::Exhausted => Fault::no_room(),
        })?;
        self.budget = taken - lacking;
        Ok(())
    }

    /// Charges a value of type `T` that is larger than the place that its parent has for it: then that place is for a
    /// pointer, and the value is in an allocation of its own, as what is in a `Box` is.
    #[inline]
    pub(super) fn charge_own<T>(&mut self) -> Result<(), Fault> {
        if GUARDED && size_of::<T>() > self.room { self.charge(size_of::<T>()) } else { Ok(()) }
    }

    /// How many elements a collection may be told to expect: never more than follow, and few enough that room
    /// for them is cheap whatever they are. A longer collection grows as its elements arrive.
    #[inline]
    pub(super) fn size_hint(left: usize) -> Option<usize> {
        const AT_MOST: usize = 4_096;
        Some(left.min(AT_MOST))
    }

    /// What there is to return to with [`restore`](Self::restore).
    #[inline]
    pub(super) fn save(&self) -> Saved<'de> {
        Saved { rest: self.rest, unused: self.budget.wrapping_add(self.reserve()) }
    }

    pub(super) fn restore(&mut self, saved: Saved<'de>) {
        self.rest = saved.rest;
        // What has been taken meanwhile is there for the next attempt.
        self.budget = saved.unused.wrapping_sub(self.reserve());
    }

    /// How much is left of what is taken only when it is needed.
    #[inline]
    fn reserve(&self) -> usize {
        self.reserve.as_ref().map_or(0, Reserve::left)
    }

    /// What is left to read.
    #[inline]
    pub(super) fn rest(&self) -> &'de [u8] {
        self.rest
    }

    /// The first byte of the value that comes next.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Fault> {
        self.rest.first().copied().ok_or_else(Fault::cut_short)
    }

    /// Passes over the byte that [`peek`](Self::peek) gave.
    #[inline]
    pub(super) fn step(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Reads the beginning of the next value.
    pub(super) fn head(&mut self) -> Result<Head<'de>, Fault> {
        let marker = self.peek()?;
        self.step();
        Ok(match marker {
            0x00..=0x7f => Head::Unsigned(marker.into()),
            0x80..=0x8f => Head::Map(self.fitting_entries(usize::from(marker & 0x0f))?),
            0x90..=0x9f => Head::Array(self.fitting(usize::from(marker & 0x0f))?),
            0xa0..=0xbf => Head::Str(self.take(usize::from(marker & 0x1f))?),
            0xc0 => Head::Nil,
            0xc1 => return Err(Fault::new("byte 0xc1 is not MessagePack")),
            0xc2 => Head::Bool(false),
            0xc3 => Head::Bool(true),
            0xc4..=0xc6 => {
                let len = self.length(marker - 0xc4)?;
                Head::Bin(self.contents(len)?)
            }
            0xc7..=0xc9 => {
                let len = self.length(marker - 0xc7)?;
                return self.ext_head(len);
            }
            0xca => Head::F32(f32::from_be_bytes(self.chunk()?)),
            0xcb => Head::F64(f64::from_be_bytes(self.chunk()?)),
            0xcc => Head::Unsigned(u8::from_be_bytes(self.chunk()?).into()),
            0xcd => Head::Unsigned(u16::from_be_bytes(self.chunk()?).into()),
            0xce => Head::Unsigned(u32::from_be_bytes(self.chunk()?).into()),
            0xcf => Head::Unsigned(u64::from_be_bytes(self.chunk()?)),
            0xd0 => Head::Signed(i8::from_be_bytes(self.chunk()?).into()),
            0xd1 => Head::Signed(i16::from_be_bytes(self.chunk()?).into()),
            0xd2 => Head::Signed(i32::from_be_bytes(self.chunk()?).into()),
            0xd3 => Head::Signed(i64::from_be_bytes(self.chunk()?)),
            0xd4..=0xd8 => return self.ext_head(1 << (marker - 0xd4)),
            0xd9..=0xdb => {
                let len = self.length(marker - 0xd9)?;
                Head::Str(self.take(len)?)
            }
            0xdc..=0xdd => {
                let len = self.length(marker - 0xdc + 1)?;
                Head::Array(self.fitting(len)?)
            }
            0xde..=0xdf => {
                let len = self.length(marker - 0xde + 1)?;
                Head::Map(self.fitting_entries(len)?)
            }
            0xe0..=0xff => Head::Signed(i64::from(marker as i8)),
        })
    }

    /// Passes over the next value, well-formed and within the depth, without building anything.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        let values = match self.head()? {
            Head::Array(len) => len,
            Head::Map(len) => 2 * len,
            Head::Str(bytes) => return text(bytes).map(drop),
            _ => return Ok(()),
        };
        self.nested(|reader| {
            for _ in 0..values {
                reader.skip()?;
            }
            Ok(())
        })
    }

    /// The length of an array, if that many elements can follow: each takes at least a byte.
    #[inline]
    fn fitting(&self, len: usize) -> Result<usize, Fault> {
        if len <= self.rest.len() { Ok(len) } else { Err(Fault::too_long(len, "element", self.rest.len())) }
    }

    /// The length of a map, if that many entries can follow: each takes at least a byte for key and for value.
    #[inline]
    fn fitting_entries(&self, len: usize) -> Result<usize, Fault> {
        if len <= self.rest.len() / 2 {
            Ok(len)
        } else {
            Err(Fault::too_long(len, "map entry", self.rest.len()))
        }
    }

    fn ext_head(&mut self, len: usize) -> Result<Head<'de>, Fault> {
        let [tag] = self.chunk()?;
        Ok(Head::Ext(tag as i8, self.take(len)?))
    }

    /// A length of 1, 2 or 4 bytes: as many as 2 to the power of `width`.
    #[inline]
    fn length(&mut self, width: u8) -> Result<usize, Fault> {
        Ok(match width {
            0 => u8::from_be_bytes(self.chunk()?).into(),
            1 => u16::from_be_bytes(self.chunk()?).into(),
            // Where a usize is smaller than 32 bits, such a length is more than memory holds anyway.
            _ => usize::try_from(u32::from_be_bytes(self.chunk()?)).unwrap_or(usize::MAX),
        })
    }

    /// The contents of a binary, whose head has been read: they may stand apart.
    #[inline]
    fn contents(&mut self, len: usize) -> Result<&'de [u8], Fault> {
        match self.source {
            Some(payload) => match payload.apart(payload.body().len() - self.rest.len()) {
                Some(piece) => Ok(piece),
                None => self.take(len),
            },
            None => self.take(len),
        }
    }

    /// Contents of a binary that was read, for somebody who keeps them, without copying them.
    pub(super) fn share(&self, contents: &[u8]) -> Option<Bytes> {
        self.source?.share(contents)
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'de [u8], Fault> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(Fault::too_long(len, "byte", self.rest.len()));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The bytes after a marker that was peeked at, in one step: what is left changes once.
    #[inline]
    pub(super) fn after_marker<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let after = self.rest.get(1..).and_then(|after| after.split_first_chunk());
        let (chunk, rest) = after.ok_or_else(Fault::cut_short)?;
        self.rest = rest;
        Ok(*chunk)
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or_else(Fault::cut_short)?;
        self.rest = rest;
        Ok(*chunk)
    }
}

/// The text in the bytes of a string.
#[inline]
pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        Fault::new(format!("a string is not UTF-8 from its byte {} on", error.valid_up_to()))
    })
}

/// Shows no contents.
impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("rest", &self.rest.len()).finish_non_exhaustive()
    }
}
