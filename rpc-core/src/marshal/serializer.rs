//! The writer as serde sees it.

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::byte_slice::{self, might_be_bytes};
use super::payload::Payload;
use super::reader::{Head, Reader};
use super::writer::Writer;
use super::{EXTENSION, Fault, Guard, Shape};

/// Marshals values into a payload.
pub(super) struct Marshaller {
    pub(super) writer: Writer,
    shape: Shape,
}

impl Marshaller {
    #[inline]
    pub(super) fn new(shape: Shape) -> Self {
        Marshaller { writer: Writer::new(), shape }
    }

    #[inline]
    pub(super) fn finish(self) -> Payload {
        self.writer.finish()
    }

    /// Another of the same shape, for what must be marshalled before it is known what stands in front of it.
    pub(super) fn aside(&self) -> Self {
        Marshaller::new(self.shape)
    }

    /// Begins an array or a map, whose head `head` writes if its length is known now.
    #[inline]
    fn compound(
        &mut self,
        len: Option<usize>,
        head: fn(&mut Writer, usize) -> Result<(), Fault>,
    ) -> Result<Compound<'_>, Fault> {
        let outer = match len {
            Some(len) => {
                head(&mut self.writer, len)?;
                None
            }
            None => Some(Box::new(std::mem::replace(&mut self.writer, Writer::new()))),
        };
        Ok(Compound { marshaller: self, declared: len.unwrap_or(0), written: 0, outer, head })
    }

    #[inline]
    pub(super) fn array(&mut self, len: Option<usize>) -> Result<Compound<'_>, Fault> {
        self.compound(len, Writer::array_head)
    }

    #[inline]
    fn map(&mut self, len: Option<usize>) -> Result<Compound<'_>, Fault> {
        self.compound(len, Writer::map_head)
    }

    /// Begins a tuple, whose length its type says.
    #[inline]
    fn tuple(&mut self, len: usize) -> Result<Places<'_>, Fault> {
        self.writer.array_head(len)?;
        Ok(Places(self))
    }

    /// A variant with contents is a map from its name to them.
    #[inline]
    fn variant(&mut self, name: &str) -> Result<(), Fault> {
        self.writer.map_head(1)?;
        self.writer.str(name)
    }

    /// An extension reaches serde as a newtype around a pair of its type and its bytes.
    fn extension<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let mut pair = self.aside();
        value.serialize(&mut pair)?;
        let mut pair = Reader::new(pair.writer.as_slice(), Guard::default());
        let (Head::Array(2), tag, Head::Bin(bytes)) = (pair.head()?, pair.head()?, pair.head()?) else {
            return Err(not_an_extension());
        };
        let tag = match tag {
            Head::Unsigned(tag) => i8::try_from(tag),
            Head::Signed(tag) => i8::try_from(tag),
            _ => return Err(not_an_extension()),
        };
        self.writer.extension(tag.map_err(|_| not_an_extension())?, bytes)
    }
}

#[cold]
fn not_an_extension() -> Fault {
    Fault::new("an extension must be a pair of an i8 and bytes")
}

macro_rules! scalars {
    ($($method:ident($type:ty) => $write:ident;)+) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Fault> {
                self.writer.$write(value.into());
                Ok(())
            }
        )+
    };
}

impl<'a> Serializer for &'a mut Marshaller {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Places<'a>;
    type SerializeTupleStruct = Places<'a>;
    type SerializeTupleVariant = Places<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Places<'a>;
    type SerializeStructVariant = Places<'a>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    scalars! {
        serialize_bool(bool) => bool;
        serialize_i8(i8) => signed;
        serialize_i16(i16) => signed;
        serialize_i32(i32) => signed;
        serialize_i64(i64) => signed;
        serialize_u8(u8) => unsigned;
        serialize_u16(u16) => unsigned;
        serialize_u32(u32) => unsigned;
        serialize_u64(u64) => unsigned;
        serialize_f32(f32) => f32;
        serialize_f64(f64) => f64;
    }

    // MessagePack has no integers of 128 bits; rmp-serde writes them so, too.
    fn serialize_i128(self, value: i128) -> Result<(), Fault> {
        self.writer.bin(&value.to_be_bytes())
    }

    fn serialize_u128(self, value: u128) -> Result<(), Fault> {
        self.writer.bin(&value.to_be_bytes())
    }

    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.writer.str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.writer.str(value)
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Fault> {
        self.writer.bin(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Fault> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Fault> {
        self.writer.nil();
        Ok(())
    }

    /// An empty array, so that `Some` of one is not `None`.
    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        self.writer.array_head(0)
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Fault> {
        self.writer.str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        if name == EXTENSION { self.extension(value) } else { value.serialize(self) }
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.variant(variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a>, Fault> {
        self.array(len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Places<'a>, Fault> {
        self.tuple(len)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Places<'a>, Fault> {
        self.tuple(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Places<'a>, Fault> {
        self.variant(variant)?;
        self.tuple(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'a>, Fault> {
        self.map(len)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Places<'a>, Fault> {
        match self.shape {
            Shape::Named => self.writer.map_head(len)?,
            Shape::Positional => self.writer.array_head(len)?,
        }
        Ok(Places(self))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Places<'a>, Fault> {
        self.variant(variant)?;
        self.serialize_struct(name, len)
    }

    #[inline]
    fn collect_seq<I>(self, items: I) -> Result<(), Fault>
    where
        I: IntoIterator<Item: Serialize>,
    {
        let items = items.into_iter();
        let len = match items.size_hint() {
            (least, Some(most)) if least == most => Some(most),
            _ => None,
        };
        if let (Some(len), true) = (len, might_be_bytes(&items)) {
            return byte_slice::collect(self, len, items);
        }
        let mut array = self.array(len)?;
        for item in items {
            array.element(&item)?;
        }
        array.finish()
    }
}

/// An array or a map under way.
pub(super) struct Compound<'a> {
    marshaller: &'a mut Marshaller,
    /// The length that its head says.
    declared: usize,
    /// How many elements or entries were written.
    written: usize,
    /// What was written before, if the length was not known then: the head goes between the two.
    outer: Option<Box<Writer>>,
    head: fn(&mut Writer, usize) -> Result<(), Fault>,
}

impl Compound<'_> {
    #[inline]
    pub(super) fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.written += 1;
        value.serialize(&mut *self.marshaller)
    }

    #[inline]
    pub(super) fn finish(self) -> Result<(), Fault> {
        match self.outer {
            Some(outer) => {
                let inner = std::mem::replace(&mut self.marshaller.writer, *outer);
                (self.head)(&mut self.marshaller.writer, self.written)?;
                self.marshaller.writer.append(inner.as_slice());
                Ok(())
            }
            None if self.written == self.declared => Ok(()),
            // Whoever reads it would take what follows for part of it.
            None => Err(Fault::new(format!(
                "a collection was said to have {} elements and has {}",
                self.declared, self.written
            ))),
        }
    }
}

impl SerializeSeq for Compound<'_> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        key.serialize(&mut *self.marshaller)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

/// A tuple or a struct under way.
pub(super) struct Places<'a>(&'a mut Marshaller);

macro_rules! elements {
    ($($trait:ident::$method:ident)+) => {
        $(
            impl $trait for Places<'_> {
                type Ok = ();
                type Error = Fault;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                    value.serialize(&mut *self.0)
                }

                #[inline]
                fn end(self) -> Result<(), Fault> {
                    Ok(())
                }
            }
        )+
    };
}

macro_rules! fields {
    ($($trait:ident)+) => {
        $(
            impl $trait for Places<'_> {
                type Ok = ();
                type Error = Fault;

                #[inline]
                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), Fault> {
                    if self.0.shape == Shape::Named {
                        self.0.writer.str(name)?;
                    }
                    value.serialize(&mut *self.0)
                }

                #[inline]
                fn end(self) -> Result<(), Fault> {
                    Ok(())
                }
            }
        )+
    };
}

elements!(SerializeTuple::serialize_element SerializeTupleStruct::serialize_field);
elements!(SerializeTupleVariant::serialize_field);
fields!(SerializeStruct SerializeStructVariant);
