//! A marshalled value, and how one comes to be without an allocation while it is small.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::gathered::{APART_BYTES, Gather, Gathered};
use super::serializer::Marshaller;
use super::{Fault, Shape};
use crate::error::{Code, Error};
use crate::pool;

/// How many bytes a payload holds without an allocation: the arguments and replies of most calls.
pub(super) const INLINE: usize = 64;

/// A slice of shared memory keeps all of it, so it must be at least this part.
const PART: usize = 4;

/// A marshalled value: MessagePack bytes, held in place up to 64 of them and shared beyond. A large [`Bytes`] in the
/// value is a part of it without being copied.
///
/// Cloning one never copies more than those 64 bytes.
#[derive(Clone)]
pub struct Payload(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Bytes),
    Gathered(Arc<Gathered>),
}

impl Payload {
    /// Marshals a value.
    ///
    /// # Errors
    /// [`Code::Internal`] if the value's `Serialize` refuses.
    #[inline]
    pub(crate) fn marshal<T: Serialize + ?Sized>(value: &T, shape: Shape) -> Result<Payload, Error> {
        let mut marshaller = Marshaller::new(shape);
        match marshaller.value(value) {
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

    #[inline]
    pub(super) fn gathered(body: Bytes, apart: Vec<(usize, Bytes)>) -> Payload {
        Payload(Repr::Gathered(Arc::new(Gathered::new(body, apart))))
    }

    /// A copy of bytes that are already MessagePack.
    pub fn from_slice(slice: &[u8]) -> Payload {
        let mut bytes = [0; INLINE];
        match bytes.get_mut(..slice.len()) {
            Some(place) => {
                place.copy_from_slice(slice);
                Payload::in_place(slice.len() as u8, bytes)
            }
            None => Payload::shared(pool::copy(slice)),
        }
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "that of the slice is as good")]
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Inline { len, .. } => usize::from(*len),
            Repr::Shared(bytes) => bytes.len(),
            Repr::Gathered(gathered) => gathered.len(),
        }
    }

    /// The marshalled bytes: copied together, the first time, if a large [`Bytes`] stands apart.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
            Repr::Gathered(gathered) => gathered.whole(),
        }
    }

    /// The shared bytes of a payload that does not fit inline, copied as for [`as_slice`](Self::as_slice).
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Inline { .. } => None,
            Repr::Shared(bytes) => Some(bytes),
            Repr::Gathered(gathered) => Some(gathered.whole()),
        }
    }

    /// The marshalled bytes, copied only if they are held in place, or as for [`as_slice`](Self::as_slice).
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Inline { len, bytes } => Bytes::copy_from_slice(&bytes[..usize::from(len)]),
            Repr::Shared(bytes) => bytes,
            Repr::Gathered(gathered) => gathered.whole().clone(),
        }
    }

    /// Hands all bytes over in their order, the large ones as they are.
    #[inline]
    pub(crate) fn hand_over(&self, to: &mut impl Gather) {
        match &self.0 {
            Repr::Inline { len, bytes } => to.copy(&bytes[..usize::from(*len)]),
            Repr::Shared(bytes) if bytes.len() < APART_BYTES => to.copy(bytes),
            Repr::Shared(bytes) => to.keep(bytes.clone()),
            Repr::Gathered(gathered) => gathered.hand_over(to),
        }
    }

    /// The payload itself if it is held in memory that can be shared.
    #[inline]
    pub(super) fn source(&self) -> Option<&Payload> {
        if let Repr::Inline { .. } = self.0 { None } else { Some(self) }
    }

    /// All bytes that do not stand apart.
    #[inline]
    pub(crate) fn body(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { .. } | Repr::Shared(_) => self.as_slice(),
            Repr::Gathered(gathered) => gathered.body(),
        }
    }

    /// What stands apart and belongs before a place in the body.
    pub(super) fn apart(&self, place: usize) -> Option<&Bytes> {
        match &self.0 {
            Repr::Inline { .. } | Repr::Shared(_) => None,
            Repr::Gathered(gathered) => gathered.at(place),
        }
    }

    /// Some of the bytes in here for somebody who keeps them, if they are worth the memory that is kept with them.
    pub(super) fn share(&self, bytes: &[u8]) -> Option<Bytes> {
        let memory = match &self.0 {
            Repr::Inline { .. } => return None,
            Repr::Shared(memory) => memory,
            Repr::Gathered(gathered) => match gathered.piece(bytes) {
                Some(piece) => return Some(piece.clone()),
                None => gathered.body(),
            },
        };
        let is_worth_it = bytes.len() >= APART_BYTES && bytes.len() >= memory.len() / PART;
        is_worth_it.then(|| memory.slice_ref(bytes))
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
