//! Scalars, and the heads of what is longer, in their shortest form: the whole of MessagePack that most calls need.
//!
//! rmp-serde writes the same bytes, a marker by one call of the writer and what follows it by another; here both go in
//! one step. The tests hold every form against what it writes.
//!
//! Source: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use super::writer::Writer;

impl Writer {
    #[inline]
    pub(super) fn nil(&mut self) {
        self.push(0xc0);
    }

    #[inline]
    pub(super) fn boolean(&mut self, value: bool) {
        self.push(0xc2 + u8::from(value));
    }

    #[inline]
    pub(super) fn signed(&mut self, value: i64) {
        match value {
            -32..0 => self.push(value as u8),
            0.. => self.unsigned(value as u64),
            -0x80..-32 => self.marked(0xd0, (value as i8).to_be_bytes()),
            -0x8000..-0x80 => self.marked(0xd1, (value as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => self.marked(0xd2, (value as i32).to_be_bytes()),
            _ => self.marked(0xd3, value.to_be_bytes()),
        }
    }

    #[inline]
    pub(super) fn unsigned(&mut self, value: u64) {
        match value {
            0..0x80 => self.push(value as u8),
            0x80..0x100 => self.marked(0xcc, (value as u8).to_be_bytes()),
            0x100..0x1_0000 => self.marked(0xcd, (value as u16).to_be_bytes()),
            0x1_0000..0x1_0000_0000 => self.marked(0xce, (value as u32).to_be_bytes()),
            _ => self.marked(0xcf, value.to_be_bytes()),
        }
    }

    #[inline]
    pub(super) fn float32(&mut self, value: f32) {
        self.marked(0xca, value.to_be_bytes());
    }

    #[inline]
    pub(super) fn float64(&mut self, value: f64) {
        self.marked(0xcb, value.to_be_bytes());
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        match text.len() {
            len @ 0..32 => self.push(0xa0 | len as u8),
            len @ 32..0x100 => self.marked(0xd9, (len as u8).to_be_bytes()),
            len => self.long_head(0xda, len),
        }
        self.append(text.as_bytes());
    }

    /// The beginning of an array of `len` values.
    #[inline]
    pub(super) fn array(&mut self, len: usize) {
        match len {
            0..16 => self.push(0x90 | len as u8),
            _ => self.long_head(0xdc, len),
        }
    }

    /// The beginning of a map of `len` entries.
    #[inline]
    pub(super) fn map(&mut self, len: usize) {
        match len {
            0..16 => self.push(0x80 | len as u8),
            _ => self.long_head(0xde, len),
        }
    }

    /// A length of two bytes after this marker, or of four after the next one.
    fn long_head(&mut self, marker: u8, len: usize) {
        match u16::try_from(len) {
            Ok(len) => self.marked(marker, len.to_be_bytes()),
            // What is longer than 32 bits can say is longer than a frame, and never sent.
            Err(_) => self.marked(marker + 1, (len as u32).to_be_bytes()),
        }
    }
}
