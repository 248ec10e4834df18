//! A marshalled value, and how one comes to be without an allocation while it is small.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::Serialize;

use super::serializer::Marshaller;
use super::{Fault, Shape};
use crate::error::{Code, Error};

/// How many bytes a payload holds without an allocation: the arguments and replies of most calls.
pub(super) const INLINE: usize = 64;

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
    #[inline]
    pub(crate) fn marshal<T: Serialize + ?Sized>(value: &T, shape: Shape) -> Result<Payload, Error> {
        let mut marshaller = Marshaller::new(shape);
        match value.serialize(&mut marshaller) {
            Ok(()) => Ok(marshaller.finish()),
            Err(fault) => Err(refused(&fault)),
        }
    }

    #[inline]
    pub(super) fn in_place(len: u8, bytes: [u8; INLINE]) -> Payload {
        Payload(Repr::Inline { len, bytes })
    }

    #[inline]
    pub(super) fn shared(bytes: Bytes) -> Payload {
        Payload(Repr::Shared(bytes))
    }

    /// A copy of bytes that are already MessagePack.
    pub fn from_slice(slice: &[u8]) -> Payload {
        let mut bytes = [0; INLINE];
        match bytes.get_mut(..slice.len()) {
            Some(place) => {
                place.copy_from_slice(slice);
                Payload::in_place(slice.len() as u8, bytes)
            }
            None => Payload::shared(Bytes::copy_from_slice(slice)),
        }
    }

    /// The marshalled bytes.
    #[inline]
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

#[cold]
fn refused(fault: &Fault) -> Error {
    Error::new(Code::Internal, format!("the value cannot be marshalled: {fault}"))
}

impl From<Bytes> for Payload {
    /// Keeps small ones in place, so that a payload does not keep a large receive buffer alive.
    fn from(bytes: Bytes) -> Self {
        if bytes.len() <= INLINE { Payload::from_slice(&bytes) } else { Payload::shared(bytes) }
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
