//! serde's data model as MessagePack, in the form that rmp-serde gives it.
//!
//! What occurs in most calls is written here: scalars, texts, heads. What is rare (128-bit integers, extensions) is
//! rmp-serde's. What is inside an array or a map is always serialized here again, so that bytes are found wherever
//! they are, and so that lengths are true. The tests compare all bytes with what rmp-serde writes alone.

use bytes::Bytes;
use serde::Serialize;
use serde::ser::Serializer;

use super::byte_slice::{self, might_be_bytes};
use super::compound::{Compound, Places};
use super::gathered::APART_BYTES;
use super::is_bytes::as_bytes;
use super::payload::Payload;
use super::writer::Writer;
use super::{EXTENSION, Fault, Shape};

/// Marshals values into a payload.
pub(super) struct Marshaller {
    pub(super) inner: rmp_serde::Serializer<Writer>,
    pub(super) shape: Shape,
}

impl Marshaller {
    #[inline]
    pub(super) fn new(shape: Shape) -> Self {
        Marshaller { inner: rmp_serde::Serializer::new(Writer::new()), shape }
    }

    #[inline]
    pub(super) fn finish(self) -> Payload {
        self.inner.into_inner().finish()
    }

    #[inline]
    pub(super) fn writer(&mut self) -> &mut Writer {
        self.inner.get_mut()
    }

    /// Marshals a value, whole or part of another: a large [`Bytes`] as it is, and what is to be a slice of bytes to
    /// serde, by copying it.
    #[inline]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        match as_bytes(value) {
            Some(bytes) if bytes.len() >= APART_BYTES => self.keep(bytes),
            _ => value.serialize(self),
        }
    }

    /// A binary whose contents stay where they are.
    #[cold]
    fn keep(&mut self, bytes: &Bytes) -> Result<(), Fault> {
        let writer = self.writer();
        rmp::encode::write_bin_len(writer, bytes.len() as u32)?;
        writer.keep(bytes.clone());
        Ok(())
    }

    /// A variant with contents is a map from its name to them.
    #[inline]
    fn variant(&mut self, name: &str) {
        self.writer().map(1);
        self.writer().text(name);
    }

    /// Begins a tuple, whose length its type says.
    #[inline]
    fn tuple(&mut self, len: usize) -> Places<'_> {
        self.writer().array(len);
        Places(self)
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty => $write:ident;)+) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Fault> {
                self.writer().$write(value.into());
                Ok(())
            }
        )+
    };
}

macro_rules! hand_on {
    ($($method:ident($($argument:ident: $type:ty),*);)+) => {
        $(
            #[inline]
            fn $method(self, $($argument: $type),*) -> Result<(), Fault> {
                self.inner.$method($($argument),*)?;
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
        serialize_bool: bool => boolean;
        serialize_i8: i8 => signed;
        serialize_i16: i16 => signed;
        serialize_i32: i32 => signed;
        serialize_i64: i64 => signed;
        serialize_u8: u8 => unsigned;
        serialize_u16: u16 => unsigned;
        serialize_u32: u32 => unsigned;
        serialize_u64: u64 => unsigned;
        serialize_f32: f32 => float32;
        serialize_f64: f64 => float64;
        serialize_str: &str => text;
    }

    hand_on! {
        serialize_i128(value: i128);
        serialize_u128(value: u128);
        serialize_char(value: char);
        serialize_bytes(value: &[u8]);
        serialize_unit_struct(name: &'static str);
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Fault> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Fault> {
        self.writer().nil();
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Fault> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.value(value)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        if name != EXTENSION {
            return self.value(value);
        }
        self.inner.serialize_newtype_struct(name, value)?;
        Ok(())
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.variant(variant);
        self.value(value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a>, Fault> {
        Ok(Compound::begin(self, len, Writer::array))
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Places<'a>, Fault> {
        Ok(self.tuple(len))
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Places<'a>, Fault> {
        Ok(self.tuple(len))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Places<'a>, Fault> {
        self.variant(variant);
        Ok(self.tuple(len))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'a>, Fault> {
        Ok(Compound::begin(self, len, Writer::map))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Places<'a>, Fault> {
        match self.shape {
            Shape::Named => self.writer().map(len),
            Shape::Positional => self.writer().array(len),
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
        self.variant(variant);
        self.serialize_struct(name, len)
    }

    #[inline]
    fn collect_seq<I>(self, items: I) -> Result<(), Fault>
    where
        I: IntoIterator<Item: Serialize>,
    {
        let mut items = items.into_iter();
        let len = match items.size_hint() {
            (least, Some(most)) if least == most => Some(most),
            _ => None,
        };
        if let (Some(len), true) = (len, might_be_bytes(&items)) {
            return byte_slice::collect(self, len, items);
        }
        let mut array = self.serialize_seq(len)?;
        items.try_for_each(|item| array.element(&item))?;
        array.finish()
    }
}
