//! Whole values out of bytes.

use serde::Deserialize;

use super::reader::{Loose, Reader};
use super::{Fault, Guard, Payload};

/// Unmarshals one whole value within the default [`Guard`]; bytes that follow it are an error.
///
/// # Errors
/// The [`Fault`] says what was expected where, and what came. Which code that is, and whether the call ran, is
/// for the caller to say.
pub(crate) fn unmarshal<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    Reader::new(bytes, Guard::default()).whole()
}

/// Like [`unmarshal`], within another [`Guard`].
#[cfg(test)]
pub(crate) fn unmarshal_within<'a, T: Deserialize<'a>>(bytes: &'a [u8], guard: Guard) -> Result<T, Fault> {
    Reader::new(bytes, guard).whole()
}

/// Like [`unmarshal_within`], of a payload: a large [`Bytes`](bytes::Bytes) in the value shares its memory.
#[inline]
pub(crate) fn unmarshal_payload<'a, T: Deserialize<'a>>(
    payload: &'a Payload,
    guard: Guard,
) -> Result<T, Fault> {
    Reader::within(payload, 0, guard).whole()
}

impl<'de> Reader<'de> {
    #[inline]
    fn whole<T: Deserialize<'de>>(mut self) -> Result<T, Fault> {
        let value = self.value()?;
        self.end()?;
        Ok(value)
    }

    /// Unmarshals the next value.
    ///
    /// A binary is bytes to some types and a sequence to others (`Vec<u8>` among them), and each asks for what it
    /// wants; but a type that takes anything does not say. serde itself asks so for what it keeps for later, in
    /// untagged and internally tagged enums and flattened structs, where a `Vec<u8>` is the more likely, and would
    /// not find itself in bytes; others are given bytes. If the value then fails, it is read once more with the
    /// two reversed. (serde's keeper is known by its name, which nobody promises; without it there would still be
    /// both attempts, in the other order.)
    #[inline]
    pub(super) fn value<T: Deserialize<'de>>(&mut self) -> Result<T, Fault> {
        let before = self.save();
        self.room = size_of::<T>();
        match T::deserialize(&mut *self) {
            Err(fault) if self.loose == Loose::Guessed => {
                self.restore(before);
                self.once_more(fault)
            }
            result => result,
        }
    }

    #[cold]
    fn once_more<T: Deserialize<'de>>(&mut self, fault: Fault) -> Result<T, Fault> {
        self.room = size_of::<T>();
        self.loose = Loose::Reversed;
        let result = T::deserialize(&mut *self);
        self.loose = Loose::None;
        result.map_err(|_| fault)
    }
}
