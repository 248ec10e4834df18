//! A marshalled value, and how one comes to be without an allocation while it is small.

use std::fmt;
use std::io::{self, Write};
use std::ops::Deref;

use bytes::Bytes;
use rmp_serde::Serializer;
use rmp_serde::config::BytesMode;
use serde::Serialize;

use super::Shape;
use crate::error::{Code, Error};

/// How many bytes a payload holds without an allocation: the arguments and replies of most calls.
const INLINE: usize = 64;

/// The first allocation of a payload that does not fit inline.
const FIRST_ALLOCATION: usize = 512;

/// A marshalled value: MessagePack bytes, held in place up to 64 of them and shared beyond.
///
/// Cloning one never copies more than those 64 bytes.
#[derive(Clone)]
pub struct Payload(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Bytes),
}

impl Payload {
    /// Marshals a value.
    ///
    /// # Errors
    /// [`Code::Internal`] if the value's `Serialize` refuses.
    pub(crate) fn marshal<T: Serialize + ?Sized>(value: &T, shape: Shape) -> Result<Payload, Error> {
        let mut writer = Writer::new();
        let serializer = Serializer::new(&mut writer).with_bytes(BytesMode::ForceIterables);
        match shape {
            Shape::Named => value.serialize(&mut serializer.with_struct_map()),
            Shape::Positional => value.serialize(&mut serializer.with_struct_tuple()),
        }
        .map_err(|error| Error::new(Code::Internal, format!("the value cannot be marshalled: {error}")))?;
        Ok(writer.finish())
    }

    /// A copy of bytes that are already MessagePack.
    pub fn from_slice(slice: &[u8]) -> Payload {
        let mut bytes = [0; INLINE];
        match bytes.get_mut(..slice.len()) {
            Some(place) => {
                place.copy_from_slice(slice);
                Payload(Repr::Inline { len: slice.len() as u8, bytes })
            }
            None => Payload(Repr::Shared(Bytes::copy_from_slice(slice))),
        }
    }

    /// The marshalled bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
        }
    }

    /// The shared bytes of a payload that does not fit inline: they can be sent without a copy.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Inline { .. } => None,
            Repr::Shared(bytes) => Some(bytes),
        }
    }

    /// The marshalled bytes, copied only if they are held in place.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Inline { len, bytes } => Bytes::copy_from_slice(&bytes[..usize::from(len)]),
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl From<Bytes> for Payload {
    /// Keeps small ones in place, so that a payload does not keep a large receive buffer alive.
    fn from(bytes: Bytes) -> Self {
        if bytes.len() <= INLINE { Payload::from_slice(&bytes) } else { Payload(Repr::Shared(bytes)) }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Shows the length alone: payloads carry what users would not want in a log.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// Collects a payload, in place while it fits.
struct Writer {
    len: usize,
    inline: [u8; INLINE],
    /// Everything, once it did not fit; never allocated before.
    spilled: Vec<u8>,
}

impl Writer {
    #[inline]
    fn new() -> Self {
        Writer { len: 0, inline: [0; INLINE], spilled: Vec::new() }
    }

    #[inline]
    fn finish(self) -> Payload {
        if self.spilled.capacity() == 0 {
            Payload(Repr::Inline { len: self.len as u8, bytes: self.inline })
        } else {
            Payload(Repr::Shared(self.spilled.into()))
        }
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        // `len` stands above the inline bytes for good once they spilled, so that one comparison decides.
        let end = self.len + bytes.len();
        match self.inline.get_mut(self.len..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            None => self.spill(bytes),
        }
    }

    #[inline(never)]
    fn spill(&mut self, bytes: &[u8]) {
        if self.spilled.capacity() == 0 {
            self.spilled.reserve((self.len + bytes.len()).max(FIRST_ALLOCATION));
            self.spilled.extend_from_slice(&self.inline[..self.len]);
            self.len = INLINE + 1;
        }
        self.spilled.extend_from_slice(bytes);
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

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
