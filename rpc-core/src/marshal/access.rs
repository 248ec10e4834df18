//! What is inside arrays, maps, enums, binaries and extensions, handed to serde piece by piece.

use serde::de::value::{BorrowedBytesDeserializer, I8Deserializer, U8Deserializer};
use serde::de::{
    DeserializeSeed, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

use super::Fault;
use super::guard::GUARDED;
use super::reader::{Head, Reader};

/// Where the values in an array or a map go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Places {
    /// Into a collection that grows: each takes memory of its own.
    Growing,
    /// Into so many places inside the value itself, as those of a tuple.
    Tuple(usize),
    /// Into so many places inside the value itself, which may leave out what it does not know.
    Struct(usize),
}

/// Charges values before they are built: each by its size, for all that are still to come.
///
/// The sizes are those of the Rust types, and become known one by one, as each is asked for.
struct Toll(usize);

impl Toll {
    fn new(places: Places, values: usize) -> Self {
        match places {
            // What has its place inside another value was charged with that.
            Places::Tuple(places) | Places::Struct(places) if values <= places => Toll(usize::MAX),
            _ => Toll(0),
        }
    }

    #[inline]
    fn pay<T>(&mut self, reader: &mut Reader<'_>, left: usize) -> Result<(), Fault> {
        if !GUARDED {
            return Ok(());
        }
        if size_of::<T>() > self.0 {
            reader.charge((size_of::<T>() - self.0).saturating_mul(left))?;
            self.0 = size_of::<T>();
        }
        reader.room = size_of::<T>();
        Ok(())
    }
}

/// The elements of an array.
pub(super) struct Elements<'r, 'de> {
    reader: &'r mut Reader<'de>,
    len: usize,
    left: usize,
    places: Places,
    toll: Toll,
}

impl<'r, 'de> Elements<'r, 'de> {
    #[inline]
    pub(super) fn new(reader: &'r mut Reader<'de>, len: usize, places: Places) -> Self {
        Elements { reader, len, left: len, places, toll: Toll::new(places, len) }
    }

    /// Looks at the elements that the visitor did not take: a struct may leave out those that it does not know.
    #[inline]
    pub(super) fn end(self) -> Result<(), Fault> {
        if self.left == 0 { Ok(()) } else { self.surplus() }
    }

    #[cold]
    fn surplus(self) -> Result<(), Fault> {
        let Places::Struct(_) = self.places else {
            return Err(Fault::surplus(self.len - self.left, self.len));
        };
        (0..self.left).try_for_each(|_| self.reader.skip())
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.toll.pay::<T::Value>(self.reader, self.left)?;
        self.left -= 1;
        match seed.deserialize(&mut *self.reader) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => Err(fault.in_element(self.len - self.left - 1)),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Reader::size_hint(self.left)
    }
}

/// The entries of a map.
pub(super) struct Entries<'r, 'de> {
    reader: &'r mut Reader<'de>,
    len: usize,
    left: usize,
    /// The key that was read last, still marshalled.
    key: &'de [u8],
    keys: Toll,
    values: Toll,
}

/// What the smallest map allocates, in entries, when it holds one.
const SMALLEST_MAP: usize = 4;

impl<'r, 'de> Entries<'r, 'de> {
    #[inline]
    pub(super) fn new(reader: &'r mut Reader<'de>, len: usize, places: Places) -> Self {
        let (keys, values) = (Toll::new(places, len), Toll::new(places, len));
        Entries { reader, len, left: len, key: &[], keys, values }
    }

    #[inline]
    pub(super) fn end(self) -> Result<(), Fault> {
        if self.left == 0 { Ok(()) } else { Err(Fault::surplus(self.len - self.left, self.len)) }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.keys.pay::<K::Value>(self.reader, self.left.max(SMALLEST_MAP))?;
        self.key = self.reader.rest();
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        self.values.pay::<V::Value>(self.reader, (self.left + 1).max(SMALLEST_MAP))?;
        match seed.deserialize(&mut *self.reader) {
            Ok(value) => Ok(value),
            Err(fault) => Err(in_field(fault, self.key)),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Reader::size_hint(self.left)
    }
}

/// The bytes of a binary as elements, for `Vec<u8>`, arrays of integers and the like.
pub(super) struct Binary<'r, 'de> {
    reader: &'r mut Reader<'de>,
    len: usize,
    rest: std::slice::Iter<'de, u8>,
    toll: Toll,
}

impl<'r, 'de> Binary<'r, 'de> {
    #[inline]
    pub(super) fn new(reader: &'r mut Reader<'de>, bytes: &'de [u8], places: Places) -> Self {
        let toll = Toll::new(places, bytes.len());
        Binary { reader, len: bytes.len(), rest: bytes.iter(), toll }
    }

    #[inline]
    pub(super) fn end(self) -> Result<(), Fault> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Fault::surplus(self.len - left, self.len)),
        }
    }
}

impl<'de> SeqAccess<'de> for Binary<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let left = self.rest.len();
        let Some(byte) = self.rest.next() else {
            return Ok(None);
        };
        // Bytes take no more memory than they took in the message; for them this loop must be a tight one.
        if size_of::<T::Value>() > size_of::<u8>() {
            self.toll.pay::<T::Value>(self.reader, left)?;
        }
        match seed.deserialize(U8Deserializer::new(*byte)) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => Err(Fault::in_element(fault, self.len - left)),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        // These have arrived, and are as large as they look.
        Some(self.rest.len())
    }
}

/// A variant by its name alone.
pub(super) struct UnitVariant<'r, 'de>(pub(super) &'r mut Reader<'de>);

impl<'de> EnumAccess<'de> for UnitVariant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let variant = seed.deserialize(&mut *self.0)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'_, 'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Fault> {
        Err(bare())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        Err(bare())
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Fault> {
        Err(bare())
    }
}

/// A variant with its contents.
pub(super) struct Variant<'r, 'de> {
    reader: &'r mut Reader<'de>,
    /// The variant's name, still marshalled.
    name: &'de [u8],
}

impl<'r, 'de> Variant<'r, 'de> {
    pub(super) fn new(reader: &'r mut Reader<'de>) -> Self {
        let name = reader.rest();
        Variant { reader, name }
    }
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let variant = seed.deserialize(&mut *self.reader)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.reader.head()? {
            Head::Nil => Ok(()),
            _ => Err(in_field(Fault::new("expected nil: this variant has no contents"), self.name)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.reader.room = size_of::<T::Value>();
        seed.deserialize(self.reader).map_err(|fault| in_field(fault, self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.reader.room = size_of::<V::Value>();
        self.reader.deserialize_tuple(len, visitor).map_err(|fault| in_field(fault, self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.reader.room = size_of::<V::Value>();
        self.reader.deserialize_struct("", fields, visitor).map_err(|fault| in_field(fault, self.name))
    }
}

/// An extension as a pair of its type and its bytes.
pub(super) struct Extension<'de> {
    tag: Option<i8>,
    bytes: Option<&'de [u8]>,
}

impl<'de> Extension<'de> {
    pub(super) fn new(tag: i8, bytes: &'de [u8]) -> Self {
        Extension { tag: Some(tag), bytes: Some(bytes) }
    }
}

impl<'de> Deserializer<'de> for Extension<'de> {
    type Error = Fault;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Extension<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if let Some(tag) = self.tag.take() {
            let tag: I8Deserializer<Fault> = tag.into_deserializer();
            return seed.deserialize(tag).map(Some);
        }
        match self.bytes.take() {
            Some(bytes) => seed.deserialize(BorrowedBytesDeserializer::new(bytes)).map(Some),
            None => Ok(None),
        }
    }
}

#[cold]
fn bare() -> Fault {
    Fault::invalid_type(Unexpected::Other("its name alone"), &"a variant with its contents")
}

/// A fault as seen from the map whose value it is in; `key` begins with that value's key.
#[cold]
fn in_field(fault: Fault, key: &[u8]) -> Fault {
    match Reader::new(key, super::Guard::default()).head() {
        Ok(Head::Str(name)) => fault.in_field(name),
        Ok(Head::Unsigned(number)) => fault.in_field(number.to_string().as_bytes()),
        _ => fault.in_field(b"?"),
    }
}
