//! The few MessagePack forms that envelopes are made of, read and written in place.
//!
//! On the call path, so by hand: writing cannot fail, reading borrows. Source:
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use super::{Malformed, Message};

pub(super) const NIL: u8 = 0xc0;

#[inline]
pub(super) fn put_array(out: &mut Vec<u8>, elements: u8) {
    debug_assert!(elements < 16, "envelopes have less than 16 elements");
    out.push(0x90 | elements);
}

/// The head of an array of any length.
pub(super) fn put_array_head(out: &mut Vec<u8>, elements: usize) {
    match elements {
        0..=15 => out.push(0x90 | elements as u8),
        16..=0xffff => {
            out.push(0xdc);
            out.extend_from_slice(&(elements as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdd);
            out.extend_from_slice(&(elements as u32).to_be_bytes());
        }
    }
}

/// The head of a binary, whose bytes are to follow.
pub(super) fn put_bin_head(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=0xff => out.extend_from_slice(&[0xc4, length as u8]),
        0x100..=0xffff => {
            out.push(0xc5);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xc6);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

pub(super) fn put_map(out: &mut Vec<u8>, entries: usize) {
    match entries {
        0..=15 => out.push(0x80 | entries as u8),
        16..=0xffff => {
            out.push(0xde);
            out.extend_from_slice(&(entries as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&(entries as u32).to_be_bytes());
        }
    }
}

#[inline]
pub(super) fn put_uint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            let [a, b] = (value as u16).to_be_bytes();
            out.extend_from_slice(&[0xcd, a, b]);
        }
        0x1_0000..=0xffff_ffff => {
            let [a, b, c, d] = (value as u32).to_be_bytes();
            out.extend_from_slice(&[0xce, a, b, c, d]);
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
            out.extend_from_slice(&[0xcf, a, b, c, d, e, f, g, h]);
        }
    }
}

#[inline]
pub(super) fn put_str(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ 0..=31 => out.push(0xa0 | len as u8),
        len @ 32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        len @ 0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0xdb);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Reads one element after the other off a frame.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(frame: &'a [u8]) -> Self {
        Reader(frame)
    }

    #[inline]
    pub(super) fn array(&mut self, what: &str) -> Result<u32, Malformed> {
        match self.byte(what)? {
            marker @ 0x90..=0x9f => Ok(u32::from(marker & 0x0f)),
            0xdc => Ok(u32::from(u16::from_be_bytes(self.bytes(what)?))),
            0xdd => Ok(u32::from_be_bytes(self.bytes(what)?)),
            other => Err(unexpected(what, "an array", other)),
        }
    }

    pub(super) fn map(&mut self, what: &str) -> Result<u32, Malformed> {
        match self.byte(what)? {
            marker @ 0x80..=0x8f => Ok(u32::from(marker & 0x0f)),
            0xde => Ok(u32::from(u16::from_be_bytes(self.bytes(what)?))),
            0xdf => Ok(u32::from_be_bytes(self.bytes(what)?)),
            other => Err(unexpected(what, "a map", other)),
        }
    }

    #[inline]
    pub(super) fn uint(&mut self, what: &str) -> Result<u64, Malformed> {
        match self.byte(what)? {
            value @ 0..=0x7f => Ok(u64::from(value)),
            0xcc => Ok(u64::from(self.byte(what)?)),
            0xcd => Ok(u64::from(u16::from_be_bytes(self.bytes(what)?))),
            0xce => Ok(u64::from(u32::from_be_bytes(self.bytes(what)?))),
            0xcf => Ok(u64::from_be_bytes(self.bytes(what)?)),
            // Some encoders write every integer as a signed one.
            marker @ 0xd0..=0xd3 => {
                let signed = match marker {
                    0xd0 => i64::from(i8::from_be_bytes(self.bytes(what)?)),
                    0xd1 => i64::from(i16::from_be_bytes(self.bytes(what)?)),
                    0xd2 => i64::from(i32::from_be_bytes(self.bytes(what)?)),
                    _ => i64::from_be_bytes(self.bytes(what)?),
                };
                u64::try_from(signed).map_err(|_| unexpected(what, "an unsigned integer", marker))
            }
            other => Err(unexpected(what, "an unsigned integer", other)),
        }
    }

    /// An unsigned integer, or nil for none.
    pub(super) fn optional_uint(&mut self, what: &str) -> Result<Option<u64>, Malformed> {
        if self.skip_nil() { Ok(None) } else { self.uint(what).map(Some) }
    }

    #[inline]
    pub(super) fn str(&mut self, what: &str) -> Result<&'a str, Malformed> {
        let text = self.raw_str(what)?;
        std::str::from_utf8(text).map_err(|_| not_utf8(what))
    }

    /// A string as bytes that are UTF-8: most names are ASCII, which is seen at a glance.
    #[inline]
    pub(super) fn str_bytes(&mut self, what: &str) -> Result<&'a [u8], Malformed> {
        let text = self.raw_str(what)?;
        if text.is_ascii() || std::str::from_utf8(text).is_ok() { Ok(text) } else { Err(not_utf8(what)) }
    }

    #[inline]
    fn raw_str(&mut self, what: &str) -> Result<&'a [u8], Malformed> {
        let len = match self.byte(what)? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => usize::from(self.byte(what)?),
            0xda => usize::from(u16::from_be_bytes(self.bytes(what)?)),
            // A length that does not fit is larger than any frame, so the split below refuses it.
            0xdb => usize::try_from(u32::from_be_bytes(self.bytes(what)?)).unwrap_or(usize::MAX),
            other => return Err(unexpected(what, "a string", other)),
        };
        self.split(len, what)
    }

    /// The length of a binary, whose bytes are next.
    pub(super) fn bin_head(&mut self, what: &str) -> Result<usize, Malformed> {
        match self.byte(what)? {
            0xc4 => Ok(usize::from(self.byte(what)?)),
            0xc5 => Ok(usize::from(u16::from_be_bytes(self.bytes(what)?))),
            0xc6 => Ok(usize::try_from(u32::from_be_bytes(self.bytes(what)?)).unwrap_or(usize::MAX)),
            other => Err(unexpected(what, "a binary", other)),
        }
    }

    /// Takes a nil if the next element is one.
    #[inline]
    pub(super) fn skip_nil(&mut self) -> bool {
        let nil = self.0.first() == Some(&NIL);
        if nil {
            self.0 = &self.0[1..];
        }
        nil
    }

    /// What has not been read.
    #[inline]
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The message, if nothing follows it.
    pub(super) fn end<'m>(self, message: Message<'m>) -> Result<Message<'m>, Malformed> {
        if self.0.is_empty() {
            Ok(message)
        } else {
            Err(Malformed::new(format!("{} bytes follow the last element of a message", self.0.len())))
        }
    }

    #[inline]
    fn byte(&mut self, what: &str) -> Result<u8, Malformed> {
        let [byte] = self.bytes(what)?;
        Ok(byte)
    }

    #[inline]
    fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(|| truncated(what))?;
        self.0 = rest;
        Ok(*bytes)
    }

    #[inline]
    fn split(&mut self, len: usize, what: &str) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(|| truncated(what))?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cold]
fn not_utf8(what: &str) -> Malformed {
    Malformed::new(format!("{what} is not UTF-8"))
}

#[cold]
fn truncated(what: &str) -> Malformed {
    Malformed::new(format!("expected {what}, got the end of the frame"))
}

#[cold]
fn unexpected(what: &str, expected: &str, marker: u8) -> Malformed {
    Malformed::new(format!("expected {what} ({expected}), got 0x{marker:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_strings_survive_at_every_boundary() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1u64 << shift, (1u64 << shift) + 1] {
                let mut out = Vec::new();
                put_uint(&mut out, value);
                assert_eq!(Reader::new(&out).uint("n").expect("what was written"), value);
            }
        }
        for len in [0, 1, 31, 32, 255, 256, 65_535, 65_536] {
            let text = "x".repeat(len);
            let mut out = Vec::new();
            put_str(&mut out, &text);
            assert_eq!(Reader::new(&out).str("s").expect("what was written"), text);
        }
        for entries in [0, 15, 16, 65_535, 65_536] {
            let mut out = Vec::new();
            put_map(&mut out, entries);
            assert_eq!(Reader::new(&out).map("m").expect("what was written"), entries as u32);
        }
    }

    #[test]
    fn signed_forms_of_unsigned_values_are_taken() {
        assert_eq!(Reader::new(&[0xd3, 0, 0, 0, 0, 0, 0, 0, 9]).uint("n").expect("nine"), 9);
        assert!(Reader::new(&[0xd0, 0xff]).uint("n").is_err());
    }
}
