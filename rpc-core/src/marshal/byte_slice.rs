//! Slices of bytes become binaries.
//!
//! To serde a `Vec<u8>` is a sequence like any other, and Rust has no way to ask what its elements are. So the
//! elements of what looks like a slice are asked whether they are bytes, each as it comes.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{Error, Impossible, Serializer};

use super::Fault;
use super::serializer::Marshaller;

/// Whether an iterator may be one over a slice of bytes, by the size of it and of its items.
#[inline]
pub(super) fn might_be_bytes<I: Iterator>(_: &I) -> bool {
    // Those of sets and queues are larger, and their elements are no binary to their own `Deserialize`.
    let iterates_slice = size_of::<I>() <= size_of::<std::slice::Iter<'_, u8>>();
    iterates_slice && (size_of::<I::Item>() == size_of::<&u8>() || size_of::<I::Item>() == size_of::<u8>())
}

/// Marshals `len` items as a binary if all of them are bytes, else as an array.
#[inline]
pub(super) fn collect<I>(marshaller: &mut Marshaller, len: usize, mut items: I) -> Result<(), Fault>
where
    I: Iterator<Item: Serialize>,
{
    let Some(first) = items.next() else {
        // Nobody is left to ask. What a type is called is meant for people, but if it ever changes, all that
        // changes here is that empty bytes are an empty array, which is understood as well.
        return match std::any::type_name::<I::Item>() {
            "&u8" | "u8" => marshaller.serialize_bytes(&[]),
            _ => {
                marshaller.writer().array(0);
                Ok(())
            }
        };
    };
    let Ok(first_byte) = first.serialize(OnlyByte) else {
        let mut array = marshaller.serialize_seq(Some(len))?;
        array.element(&first)?;
        items.try_for_each(|item| array.element(&item))?;
        return array.finish();
    };

    let writer = marshaller.writer();
    let head = writer.place();
    // A binary's head alone is nothing that can be asked of rmp-serde, so it is asked of what that is made of.
    rmp::encode::write_bin_len(writer, len as u32)?;
    let body = writer.place();
    writer.append(&[first_byte]);
    // An untagged enum's items may be bytes and others. Where all are integers the second arm does not exist, and
    // what remains of this is a copy of memory.
    let (mut index, mut others) = (0, Vec::new());
    let rest = items.map(|item| {
        index += 1;
        item.serialize(OnlyByte).unwrap_or_else(|_| {
            others.push((index, item));
            0
        })
    });
    writer.extend(len - 1, rest);
    if others.is_empty() && writer.place() == body + len {
        return Ok(());
    }

    let bytes = writer.split_off(body);
    writer.split_off(head);
    let mut others = others.into_iter().peekable();
    let mut array = marshaller.serialize_seq(Some(len))?;
    for (index, byte) in bytes.iter().enumerate() {
        match others.next_if(|(other, _)| *other == index) {
            Some((_, item)) => array.element(&item)?,
            None => array.element(byte)?,
        }
    }
    array.finish()
}

/// Takes a byte and nothing else.
struct OnlyByte;

#[derive(Debug)]
struct NotAByte;

impl Display for NotAByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a byte")
    }
}

impl std::error::Error for NotAByte {}

impl Error for NotAByte {
    fn custom<T: Display>(_: T) -> Self {
        NotAByte
    }
}

macro_rules! refuse {
    ($($method:ident($($argument:ty),*) $(-> $compound:ty)?;)+) => {
        $(
            #[inline]
            fn $method(self, $(_: $argument),*) -> Result<refuse!(@ $($compound)?), NotAByte> {
                Err(NotAByte)
            }
        )+
    };
    (@) => { u8 };
    (@ $compound:ty) => { $compound };
}

type Refused = Impossible<u8, NotAByte>;

impl Serializer for OnlyByte {
    type Ok = u8;
    type Error = NotAByte;
    type SerializeSeq = Refused;
    type SerializeTuple = Refused;
    type SerializeTupleStruct = Refused;
    type SerializeTupleVariant = Refused;
    type SerializeMap = Refused;
    type SerializeStruct = Refused;
    type SerializeStructVariant = Refused;

    #[inline]
    fn serialize_u8(self, byte: u8) -> Result<u8, NotAByte> {
        Ok(byte)
    }

    refuse! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
        serialize_seq(Option<usize>) -> Refused;
        serialize_tuple(usize) -> Refused;
        serialize_tuple_struct(&'static str, usize) -> Refused;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Refused;
        serialize_map(Option<usize>) -> Refused;
        serialize_struct(&'static str, usize) -> Refused;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Refused;
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<u8, NotAByte> {
        Err(NotAByte)
    }

    // A newtype around a byte is no byte: its `Deserialize` may want an array.
    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<u8, NotAByte> {
        Err(NotAByte)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<u8, NotAByte> {
        Err(NotAByte)
    }

    // The provided method would format the value only to refuse the string.
    #[inline]
    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<u8, NotAByte> {
        Err(NotAByte)
    }
}
