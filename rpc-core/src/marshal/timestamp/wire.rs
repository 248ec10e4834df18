//! The three forms of a timestamp extension: 32 bits of seconds, 34 bits with 30 of nanoseconds, 64 bits with 32.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::Timestamp;
use crate::marshal::EXTENSION;

/// The extension's type.
const TYPE: i8 = -1;

/// What the form of 64 bits leaves to the seconds.
const SECONDS_BITS: u32 = 34;

/// The longest form.
const LONGEST: usize = 12;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let mut form = [0; LONGEST];
        let len = write(*self, &mut form);
        serializer.serialize_newtype_struct(EXTENSION, &Extension(&form[..len]))
    }
}

/// Writes the smallest form that holds an instant; gives its length.
fn write(instant: Timestamp, form: &mut [u8; LONGEST]) -> usize {
    let nanoseconds = instant.nanoseconds();
    match u64::try_from(instant.seconds()) {
        Ok(seconds) if nanoseconds == 0 && u32::try_from(seconds).is_ok() => {
            form[..4].copy_from_slice(&(seconds as u32).to_be_bytes());
            4
        }
        Ok(seconds) if seconds >> SECONDS_BITS == 0 => {
            let packed = u64::from(nanoseconds) << SECONDS_BITS | seconds;
            form[..8].copy_from_slice(&packed.to_be_bytes());
            8
        }
        _ => {
            form[..4].copy_from_slice(&nanoseconds.to_be_bytes());
            form[4..].copy_from_slice(&instant.seconds().to_be_bytes());
            12
        }
    }
}

/// Reads any of the forms; `None` if it is none, or a second of nanoseconds or more.
fn read(form: &[u8]) -> Option<Timestamp> {
    if let Ok(seconds) = form.try_into() {
        return Timestamp::new(u32::from_be_bytes(seconds).into(), 0);
    }
    if let Ok(packed) = form.try_into() {
        let packed = u64::from_be_bytes(packed);
        let seconds = packed & ((1 << SECONDS_BITS) - 1);
        return Timestamp::new(i64::try_from(seconds).ok()?, u32::try_from(packed >> SECONDS_BITS).ok()?);
    }
    let (nanoseconds, seconds) = form.split_first_chunk()?;
    Timestamp::new(i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanoseconds))
}

/// The pair that serde is given for an extension.
struct Extension<'a>(&'a [u8]);

impl Serialize for Extension<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&TYPE)?;
        pair.serialize_element(&Bytes(self.0))?;
        pair.end()
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            // Not `deserialize_str`: where serde keeps values for later it says that they are for people,
            // wherever they came from.
            deserializer.deserialize_any(TimestampVisitor)
        } else {
            deserializer.deserialize_newtype_struct(EXTENSION, TimestampVisitor)
        }
    }
}

/// Sees text; or the newtype that stands for an extension first, and the pair within it second.
struct TimestampVisitor;

impl<'de> Visitor<'de> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a timestamp")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Timestamp, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Timestamp, A::Error> {
        let tag = pair.next_element::<i8>()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let form = pair.next_element::<Form>()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        if tag != TYPE {
            return Err(A::Error::custom(format_args!(
                "expected a timestamp, got an extension of type {tag}"
            )));
        }
        form.0.ok_or_else(|| A::Error::custom("a timestamp is malformed"))
    }
}

/// The bytes of the extension, read if they are an instant.
struct Form(Option<Timestamp>);

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FormVisitor;

        impl Visitor<'_> for FormVisitor {
            type Value = Form;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, form: &[u8]) -> Result<Form, E> {
                Ok(Form(read(form)))
            }
        }

        deserializer.deserialize_bytes(FormVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marshal::{Payload, Shape, unmarshal};

    fn marshalled(instant: Timestamp) -> Payload {
        Payload::marshal(&instant, Shape::Named).unwrap()
    }

    fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp::new(seconds, nanoseconds).unwrap()
    }

    #[test]
    fn the_smallest_form_is_written_and_read_back() {
        for (instant, expected) in [
            (at(0, 0), &[0xd6, 0xff, 0, 0, 0, 0][..]),
            (at((1 << 32) - 1, 0), &[0xd6, 0xff, 255, 255, 255, 255]),
            (at(1 << 32, 0), &[0xd7, 0xff, 0, 0, 0, 1, 0, 0, 0, 0]),
            (at(0, 1), &[0xd7, 0xff, 0, 0, 0, 4, 0, 0, 0, 0]),
            (at((1 << 34) - 1, 999_999_999), &[0xd7, 0xff, 0xee, 0x6b, 0x27, 0xff, 255, 255, 255, 255]),
            (at(1 << 34, 0), &[0xc7, 12, 0xff, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]),
            (at(-1, 0), &[0xc7, 12, 0xff, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
            (Timestamp::MIN, &[0xc7, 12, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (
                Timestamp::MAX,
                &[0xc7, 12, 0xff, 0x3b, 0x9a, 0xc9, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            ),
        ] {
            let marshalled = marshalled(instant);
            assert_eq!(marshalled.as_slice(), expected);
            assert_eq!(unmarshal::<Timestamp>(&marshalled).unwrap(), instant);
            assert_eq!(unmarshal::<Option<Timestamp>>(&marshalled).unwrap(), Some(instant));
            assert_eq!(rmp_serde::from_slice::<Timestamp>(&marshalled).unwrap(), instant);
            assert_eq!(rmp_serde::to_vec(&instant).unwrap(), marshalled.as_slice());
        }
    }

    #[test]
    fn a_longer_form_than_needed_is_read() {
        let long = [0xc7, 12, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(unmarshal::<Timestamp>(&long).unwrap(), at(7, 0));
        let long = [0xd7, 0xff, 0, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(unmarshal::<Timestamp>(&long).unwrap(), at(7, 0));
        // The length in a byte of its own, where the short form has none.
        assert_eq!(unmarshal::<Timestamp>(&[0xc7, 4, 0xff, 0, 0, 0, 7]).unwrap(), at(7, 0));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        let nanoseconds = [0xd7, 0xff, 0xee, 0x6b, 0x28, 0x00, 0, 0, 0, 0];
        let nanoseconds_96 = [0xc7, 12, 0xff, 0x3b, 0x9a, 0xca, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (wrong, message) in [
            (&nanoseconds[..], "a timestamp is malformed"),
            (&nanoseconds_96, "a timestamp is malformed"),
            (&[0xd5, 0xff, 0, 0], "a timestamp is malformed"),
            (&[0xc7, 0, 0xff], "a timestamp is malformed"),
            (&[0xd6, 0x01, 0, 0, 0, 0], "expected a timestamp, got an extension of type 1"),
            (&[0x07], "expected a timestamp, got the integer 7"),
            (&[0xc0], "expected a timestamp, got nil"),
        ] {
            assert_eq!(unmarshal::<Timestamp>(wrong).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn it_survives_where_serde_keeps_values_for_later() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind")]
        enum Event {
            Born { at: Timestamp },
        }
        let event = Event::Born { at: at(-5, 6) };
        let marshalled = Payload::marshal(&event, Shape::Named).unwrap();
        assert_eq!(unmarshal::<Event>(&marshalled).unwrap(), event);
    }
}
