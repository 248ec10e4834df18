//! Slices of bytes become binaries.
//!
//! To serde a `Vec<u8>` is a sequence like any other, and Rust has no way to ask what its elements are. So the
//! elements of what looks like a slice are asked whether they are bytes, each as it comes.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{Error, Impossible, Serializer};

use super::Fault;
use super::serializer::Marshaller;
use super::writer::Writer;

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
            "&u8" | "u8" => marshaller.writer.bin(&[]),
            _ => marshaller.writer.array_head(0),
        };
    };
    let Ok(first_byte) = first.serialize(OnlyByte) else {
        let mut array = marshaller.array(Some(len))?;
        array.element(&first)?;
        items.try_for_each(|item| array.element(&item))?;
        return array.finish();
    };

    let head = marshaller.writer.position();
    marshaller.writer.bin_head(len)?;
    let body = marshaller.writer.position();
    marshaller.writer.append(&[first_byte]);
    let (mut index, mut others) = (0, Others::new(marshaller));
    // The second arm does not exist for integers; what remains for them is a copy of memory.
    let rest = items.map(|item| {
        index += 1;
        item.serialize(OnlyByte).unwrap_or_else(|_| others.add(index, &item))
    });
    marshaller.writer.extend(len - 1, rest);
    if marshaller.writer.position() != body + len {
        return Err(Fault::new(format!("a collection was said to have {len} elements and has others")));
    }
    if others.list.is_empty() {
        return Ok(());
    }
    let body = marshaller.writer.split_off(body);
    marshaller.writer.split_off(head);
    others.merge(&body, &mut marshaller.writer)
}

/// The items that are no bytes, if the first was one: an untagged enum's may be.
struct Others {
    marshalled: Marshaller,
    /// For each its index among all items, and where it ends in `marshalled`.
    list: Vec<(usize, usize)>,
    fault: Option<Fault>,
}

impl Others {
    #[inline]
    fn new(marshaller: &Marshaller) -> Self {
        Others { marshalled: marshaller.aside(), list: Vec::new(), fault: None }
    }

    /// Marshals an item; gives a byte that stands in its place until the binary is taken back.
    #[cold]
    fn add<T: Serialize>(&mut self, index: usize, item: &T) -> u8 {
        if self.fault.is_none() {
            self.fault = item.serialize(&mut self.marshalled).err();
        }
        self.list.push((index, self.marshalled.writer.position()));
        0
    }

    /// Writes an array of the bytes and, in their places, of these.
    fn merge(self, bytes: &[u8], writer: &mut Writer) -> Result<(), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let marshalled = self.marshalled.finish();
        let (mut list, mut from) = (self.list.into_iter().peekable(), 0);
        writer.array_head(bytes.len())?;
        for (index, byte) in bytes.iter().enumerate() {
            match list.next_if(|(other, _)| *other == index) {
                Some((_, end)) => {
                    writer.append(&marshalled[from..end]);
                    from = end;
                }
                None => writer.unsigned((*byte).into()),
            }
        }
        Ok(())
    }
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
