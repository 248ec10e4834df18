//! rmp-serde's serializer, with what it does badly seen to: slices of bytes, and lengths that are not true.
//!
//! Everything is written by rmp-serde, except for the contents of binaries. But what is inside an array or a map is
//! serialized here again, not by what rmp-serde gives for it, so that bytes are found wherever they are. That is
//! possible because rmp-serde writes a head where an array or a map of known length begins, and nothing at its end;
//! the tests compare all bytes with what it writes alone.
//!
//! rmp-serde cuts lengths to 32 bits. What is longer than that is longer than a frame, and never sent.

use serde::Serialize;
use serde::ser::Serializer;

use super::byte_slice::{self, might_be_bytes};
use super::compound::{Compound, Places};
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

    /// The beginning of an array of `len` values, which must follow.
    #[inline]
    pub(super) fn array_head(&mut self, len: usize) -> Result<(), Fault> {
        // Of all that rmp-serde writes as an array it prepares the least for this.
        self.inner.serialize_tuple_struct("", len)?;
        Ok(())
    }

    /// The beginning of a map of `len` keys and values, which must follow in turn.
    #[inline]
    pub(super) fn map_head(&mut self, len: usize) -> Result<(), Fault> {
        self.inner.serialize_map(Some(len))?;
        Ok(())
    }

    /// A variant with contents is a map from its name to them.
    #[inline]
    fn variant(&mut self, name: &str) -> Result<(), Fault> {
        self.map_head(1)?;
        self.inner.serialize_str(name)?;
        Ok(())
    }

    /// Begins a tuple, whose length its type says.
    #[inline]
    fn tuple(&mut self, len: usize) -> Result<Places<'_>, Fault> {
        self.array_head(len)?;
        Ok(Places(self))
    }
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

    hand_on! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        if name != EXTENSION {
            return value.serialize(self);
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
        self.variant(variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a>, Fault> {
        Compound::begin(self, len, Marshaller::array_head)
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
        Compound::begin(self, len, Marshaller::map_head)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Places<'a>, Fault> {
        match self.shape {
            Shape::Named => self.map_head(len)?,
            Shape::Positional => self.array_head(len)?,
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
