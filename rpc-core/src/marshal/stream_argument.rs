//! What stands in a message where a stream belongs: an extension with the stream's number.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::EXTENSION;

/// The extension's type.
const TYPE: i8 = 1;

/// The place of a stream among the arguments of a call, or in its reply: the stream's number within the call.
///
/// The first argument that is a stream has number 1, the next one 2; the reply's is 0. Stubs that `#[service]` writes
/// pass it where the trait says `Streaming<T>`, and attach the stream itself with [`Call::stream`](crate::Call::stream).
/// On the wire it is the MessagePack extension 1 with one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamArgument(
    /// The number.
    pub u8,
);

/// The result of a call whose reply is a stream: number 0, marshalled.
pub(crate) const STREAM_REPLY: [u8; 3] = [0xd4, 0x01, 0x00];

/// Whether a result says that the reply is a stream, in any of its forms.
pub(crate) fn is_stream_reply(value: &[u8]) -> bool {
    value == STREAM_REPLY || matches!(value, [0xc7, 1, 1, 0] | [0xc8, 0, 1, 1, 0] | [0xc9, 0, 0, 0, 1, 1, 0])
}

impl Serialize for StreamArgument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(EXTENSION, &Extension(&[self.0]))
    }
}

/// The pair that serde is given for an extension.
struct Extension<'a>(&'a [u8]);

impl Serialize for Extension<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Binary<'a>(&'a [u8]);
        impl Serialize for Binary<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&TYPE)?;
        pair.serialize_element(&Binary(self.0))?;
        pair.end()
    }
}

impl<'de> Deserialize<'de> for StreamArgument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(EXTENSION, StreamVisitor)
    }
}

/// Sees the newtype that stands for an extension first, and the pair within it second.
struct StreamVisitor;

impl<'de> Visitor<'de> for StreamVisitor {
    type Value = StreamArgument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stream")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, pair: D) -> Result<StreamArgument, D::Error> {
        pair.deserialize_tuple(2, self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<StreamArgument, A::Error> {
        let tag = pair.next_element::<i8>()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let number = pair.next_element::<Number>()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        match (tag, number) {
            (TYPE, Number(Some(number))) => Ok(StreamArgument(number)),
            (TYPE, Number(None)) => Err(A::Error::custom("expected the number of a stream in one byte")),
            (tag, _) => {
                Err(A::Error::custom(format_args!("expected a stream, got an extension of type {tag}")))
            }
        }
    }
}

/// The byte of the extension, if it is one.
struct Number(Option<u8>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Number, E> {
                Ok(Number(match bytes {
                    [number] => Some(*number),
                    _ => None,
                }))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Payload, Shape, unmarshal};
    use super::*;

    #[test]
    fn it_is_an_extension_of_one_byte() {
        for number in [0, 1, 16] {
            let payload = Payload::marshal(&StreamArgument(number), Shape::Named).unwrap();
            assert_eq!(payload.as_slice(), [0xd4, 0x01, number]);
            assert_eq!(is_stream_reply(&payload), number == 0);
            assert_eq!(unmarshal::<StreamArgument>(&payload).unwrap(), StreamArgument(number));
        }
        let refused = |bytes: &[u8]| unmarshal::<StreamArgument>(bytes).unwrap_err().to_string();
        assert_eq!(refused(&[5]), "expected a stream, got the integer 5");
        assert_eq!(refused(&[0xd4, 0x02, 1]), "expected a stream, got an extension of type 2");
        assert_eq!(refused(&[0xd5, 0x01, 1, 1]), "expected the number of a stream in one byte");
    }
}
