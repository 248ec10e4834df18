//! Whole values out of bytes.

use std::any::Any;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::reader::{Loose, Reader};
use super::{Fault, Guard};

/// Unmarshals one whole value within the default [`Guard`]; bytes that follow it are an error.
///
/// # Errors
/// The [`Fault`] says what was expected where, and what came. Which code that is, and whether the call ran, is
/// for the caller to say.
pub(crate) fn unmarshal<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    unmarshal_within(bytes, Guard::default())
}

/// Like [`unmarshal`], within another [`Guard`].
pub(crate) fn unmarshal_within<'a, T: Deserialize<'a>>(bytes: &'a [u8], guard: Guard) -> Result<T, Fault> {
    let mut reader = Reader::new(bytes, guard);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// Like [`unmarshal_within`], with a faster way for a value that is a `Vec<u8>`.
pub(crate) fn unmarshal_owned<T: DeserializeOwned + 'static>(bytes: &[u8], guard: Guard) -> Result<T, Fault> {
    let mut reader = Reader::new(bytes, guard);
    let value = reader.owned()?;
    reader.end()?;
    Ok(value)
}

impl<'de> Reader<'de> {
    /// Unmarshals the next value.
    ///
    /// A binary is bytes to some types and a sequence to others (`Vec<u8>` among them), and each asks for what it
    /// wants; except where serde keeps values for later, as in untagged and internally tagged enums and flattened
    /// structs. There it is given bytes, and if they turn out to be wrong, everything is read once more with
    /// elements in their place.
    #[inline]
    pub(super) fn value<T: Deserialize<'de>>(&mut self) -> Result<T, Fault> {
        let before = self.save();
        self.room = size_of::<T>();
        match T::deserialize(&mut *self) {
            Err(fault) if self.loose == Loose::BytesSeen => {
                self.restore(before);
                self.once_more(fault)
            }
            result => result,
        }
    }

    #[cold]
    fn once_more<T: Deserialize<'de>>(&mut self, fault: Fault) -> Result<T, Fault> {
        self.room = size_of::<T>();
        self.loose = Loose::Elements;
        let result = T::deserialize(&mut *self);
        self.loose = Loose::Bytes;
        result.map_err(|_| fault)
    }

    /// Unmarshals the next value, which borrows nothing.
    ///
    /// A `Vec<u8>` is copied at once: as a sequence, which it is to serde, it would be built byte by byte.
    #[inline]
    pub(super) fn owned<T: DeserializeOwned + 'static>(&mut self) -> Result<T, Fault> {
        let mut value: Option<T> = None;
        let place: &mut dyn Any = &mut value;
        if let (Some(place), Ok(0xc4..=0xc6)) = (place.downcast_mut::<Option<Vec<u8>>>(), self.peek()) {
            *place = Some(self.binary()?.to_vec());
        }
        value.map_or_else(|| self.value(), Ok)
    }
}
