//! Values and MessagePack: what a call carries, marshalled and unmarshalled.
//!
//! Owns [`Payload`] (a marshalled value), [`ArgumentList`] and [`Arguments`] (the two ends of a call's arguments),
//! [`unmarshal()`] for whole values, the [`Guard`] that bounds what a peer's bytes may cost, and [`Timestamp`].
//! It does not know messages: where in a frame a payload stands is the business of [`crate::message`].
//!
//! - Writing gives the bytes that rmp-serde would, to which rare kinds of values are handed on. Slices of bytes cost it
//!   a call of the writer for each byte (a mebibyte takes more than twenty times as long), a vector whose first element
//!   is a byte and another is not cannot be written by it at all, and scalars cost it two calls of the writer.
//! - Reading is our own, and the tests hold it against rmp-serde's. A guard around rmp-serde's deserializer cannot
//!   hold: it tells nobody how many bytes it has left, so that neither a declared length nor trailing bytes can be
//!   checked, and it counts depth in arrays and maps only, while enums, options and newtypes recurse uncounted.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod argument_list;
mod arguments;
mod byte_slice;
mod compound;
mod deserializer;
mod fault;
mod gathered;
mod guard;
mod is_bytes;
mod items;
mod payload;
mod reader;
mod scalars;
mod serializer;
mod stream_argument;
mod timestamp;
mod unmarshal;
mod writer;

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::argument_list::ArgumentList;
pub use self::arguments::Arguments;
pub(crate) use self::fault::Fault;
pub(crate) use self::gathered::{APART_BYTES, Gather};
pub(crate) use self::guard::Guard;
pub(crate) use self::items::{ItemWriter, unmarshal_item};
pub use self::payload::Payload;
pub use self::stream_argument::StreamArgument;
pub(crate) use self::stream_argument::{STREAM_REPLY, is_stream_reply};
pub use self::timestamp::{ParseTimestampError, Timestamp, TimestampRangeError};
pub(crate) use self::unmarshal::{unmarshal, unmarshal_payload};

/// The name of newtypes that stand for an extension: a pair of its type and its bytes.
const EXTENSION: &str = rmp_serde::MSGPACK_EXT_STRUCT_NAME;

/// How structs are marshalled. Both shapes are understood when unmarshalling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// As maps by field name: fields can be added, and other languages see names.
    #[default]
    Named,
    /// As arrays in the order of declaration: smaller and faster, for `#[service(compact)]`.
    ///
    /// Fields can be added at the end alone, with `#[serde(default)]`; none may be left out
    /// (`skip_serializing_if`), since those after it would take its place. serde's untagged and adjacently
    /// tagged enums do not recognise struct variants in this shape.
    Positional,
}

/// What a service trait's type parameters must be: values that can be sent, received and kept by either side.
///
/// Implemented for every such type; there is nothing to implement by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in a call",
    label = "not a value that can be sent and received",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to its definition",
    note = "it must own what it holds (no references) and be `Send + Sync`, because either side may keep it"
)]
pub trait Value: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}
