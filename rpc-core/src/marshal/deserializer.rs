//! The reader as serde sees it.
//!
//! Everything that recurses enters a level: arrays, maps and enums, and also options and newtypes, which take no
//! bytes and would otherwise recurse for ever in a type like `struct Nested(Option<Box<Nested>>)`.

use serde::Deserializer;
use serde::de::{Error, Expected, Unexpected, Visitor};

use super::access::{Binary, Elements, Entries, Extension, Places, UnitVariant, Variant};
use super::is_bytes::visited;
use super::reader::{Head, Loose, Reader, text};
use super::{EXTENSION, Fault};

impl<'de> Reader<'de> {
    /// Reads whatever comes; `places` says where elements go if it has them.
    fn any<V: Visitor<'de>>(&mut self, visitor: V, places: Places) -> Result<V::Value, Fault> {
        match self.head()? {
            Head::Nil => visitor.visit_unit(),
            Head::Bool(value) => visitor.visit_bool(value),
            Head::Unsigned(value) => visitor.visit_u64(value),
            Head::Signed(value) => visitor.visit_i64(value),
            Head::F32(value) => visitor.visit_f32(value),
            Head::F64(value) => visitor.visit_f64(value),
            Head::Str(bytes) => visitor.visit_borrowed_str(text(bytes)?),
            Head::Bin(bytes) => {
                let keeps_for_later = std::any::type_name::<V::Value>().contains("::content::Content");
                let as_elements = keeps_for_later != (self.loose == Loose::Reversed);
                if self.loose == Loose::None {
                    self.loose = Loose::Guessed;
                }
                if as_elements {
                    self.bytewise(visitor, bytes, places)
                } else {
                    visitor.visit_borrowed_bytes(bytes)
                }
            }
            Head::Array(len) => self.elements(visitor, len, places),
            Head::Map(len) => self.entries(visitor, len, places),
            Head::Ext(tag, bytes) => {
                self.nested(|_| visitor.visit_newtype_struct(Extension::new(tag, bytes)))
            }
        }
    }

    fn growing<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor, Places::Growing)
    }

    /// Like [`any`](Self::any) for visitors that want elements: they take those of a binary, too.
    #[inline]
    fn sequence<V: Visitor<'de>>(&mut self, visitor: V, places: Places) -> Result<V::Value, Fault> {
        match self.peek()? {
            0x90..=0x9f | 0xdc | 0xdd => {
                let len = self.array()?;
                self.elements(visitor, len, places)
            }
            0xc4..=0xc6 => {
                let bytes = self.binary()?;
                self.bytewise(visitor, bytes, places)
            }
            _ => self.any(visitor, places),
        }
    }

    /// Like [`any`](Self::any) for visitors that want entries.
    #[inline]
    fn mapping<V: Visitor<'de>>(&mut self, visitor: V, places: Places) -> Result<V::Value, Fault> {
        match self.peek()? {
            0x80..=0x8f | 0xde | 0xdf => {
                let len = self.map()?;
                self.entries(visitor, len, places)
            }
            _ => self.any(visitor, places),
        }
    }

    #[inline]
    fn bytewise<V: Visitor<'de>>(
        &mut self,
        visitor: V,
        bytes: &'de [u8],
        places: Places,
    ) -> Result<V::Value, Fault> {
        self.charge_own::<V::Value>()?;
        let mut binary = Binary::new(self, bytes, places);
        let value = visitor.visit_seq(&mut binary)?;
        binary.end()?;
        Ok(value)
    }

    #[inline]
    fn elements<V: Visitor<'de>>(
        &mut self,
        visitor: V,
        len: usize,
        places: Places,
    ) -> Result<V::Value, Fault> {
        self.charge_own::<V::Value>()?;
        self.nested(|reader| {
            let mut elements = Elements::new(reader, len, places);
            let value = visitor.visit_seq(&mut elements)?;
            elements.end()?;
            Ok(value)
        })
    }

    #[inline]
    fn entries<V: Visitor<'de>>(
        &mut self,
        visitor: V,
        len: usize,
        places: Places,
    ) -> Result<V::Value, Fault> {
        self.charge_own::<V::Value>()?;
        self.nested(|reader| {
            let mut entries = Entries::new(reader, len, places);
            let value = visitor.visit_map(&mut entries)?;
            entries.end()?;
            Ok(value)
        })
    }

    #[inline]
    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        // Most integers are small, and these two forms are the whole value.
        match self.peek()? {
            small @ 0x00..=0x7f => {
                self.step();
                visitor.visit_u64(small.into())
            }
            small @ 0xe0..=0xff => {
                self.step();
                visitor.visit_i64(i64::from(small as i8))
            }
            0xcc => visitor.visit_u64(u8::from_be_bytes(self.after_marker()?).into()),
            0xcd => visitor.visit_u64(u16::from_be_bytes(self.after_marker()?).into()),
            0xce => visitor.visit_u64(u32::from_be_bytes(self.after_marker()?).into()),
            0xcf => visitor.visit_u64(u64::from_be_bytes(self.after_marker()?)),
            0xd0 => visitor.visit_i64(i8::from_be_bytes(self.after_marker()?).into()),
            0xd1 => visitor.visit_i64(i16::from_be_bytes(self.after_marker()?).into()),
            0xd2 => visitor.visit_i64(i32::from_be_bytes(self.after_marker()?).into()),
            0xd3 => visitor.visit_i64(i64::from_be_bytes(self.after_marker()?)),
            0xca => visitor.visit_f32(f32::from_be_bytes(self.after_marker()?)),
            0xcb => visitor.visit_f64(f64::from_be_bytes(self.after_marker()?)),
            _ => Err(self.head()?.instead_of(&visitor)),
        }
    }

    #[inline]
    fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        if let short @ 0xa0..=0xbf = self.peek()? {
            self.step();
            return visitor.visit_borrowed_str(text(self.take(usize::from(short & 0x1f))?)?);
        }
        match self.head()? {
            Head::Str(bytes) => visitor.visit_borrowed_str(text(bytes)?),
            // serde's own visitors take text in a binary if it is UTF-8.
            Head::Bin(bytes) => visitor.visit_borrowed_bytes(bytes),
            Head::Unsigned(value) => visitor.visit_u64(value),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        match self.peek()? {
            0xc4..=0xc6 => {
                let bytes = self.binary()?;
                match visited::<V>(|| self.share(bytes)) {
                    Some(shared) => Ok(shared),
                    None => visitor.visit_borrowed_bytes(bytes),
                }
            }
            EMPTY_ARRAY => {
                // What a writer makes of empty bytes if it cannot tell them from an empty array.
                self.step();
                visitor.visit_borrowed_bytes(&[])
            }
            _ => self.growing(visitor),
        }
    }
}

const EMPTY_ARRAY: u8 = 0x90;

/// Methods that read alike.
macro_rules! deserialize {
    ($read:ident: $($method:ident)+) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
                self.$read(visitor)
            }
        )+
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    deserialize!(number: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    deserialize!(number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    deserialize!(number: deserialize_f32 deserialize_f64);
    deserialize!(string: deserialize_str deserialize_string deserialize_char deserialize_identifier);
    deserialize!(growing: deserialize_any deserialize_bool deserialize_unit);

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.mapping(visitor, Places::Growing)
    }

    deserialize!(bytes: deserialize_bytes deserialize_byte_buf);

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.sequence(visitor, Places::Growing)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.head()? {
            Head::Bin(bytes) => match bytes.try_into() {
                Ok(bytes) => visitor.visit_i128(i128::from_be_bytes(bytes)),
                Err(_) => Err(Fault::invalid_type(Unexpected::Bytes(bytes), &visitor)),
            },
            Head::Unsigned(value) => visitor.visit_i128(value.into()),
            Head::Signed(value) => visitor.visit_i128(value.into()),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.head()? {
            Head::Bin(bytes) => match bytes.try_into() {
                Ok(bytes) => visitor.visit_u128(u128::from_be_bytes(bytes)),
                Err(_) => Err(Fault::invalid_type(Unexpected::Bytes(bytes), &visitor)),
            },
            Head::Unsigned(value) => visitor.visit_u128(value.into()),
            Head::Signed(value) => match value.try_into() {
                Ok(value) => visitor.visit_u128(value),
                Err(_) => Err(Fault::invalid_type(Unexpected::Signed(value), &visitor)),
            },
            other => Err(other.instead_of(&visitor)),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.peek()? == 0xc0 {
            self.step();
            return visitor.visit_none();
        }
        self.charge_own::<V::Value>()?;
        self.nested(|reader| visitor.visit_some(reader))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.sequence(visitor, Places::Tuple(len))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.sequence(visitor, Places::Tuple(len))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.mapping(visitor, Places::Struct(fields.len()))
    }

    /// Nil, or the empty array that rmp-serde writes.
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.head()? {
            Head::Nil | Head::Array(0) => visitor.visit_unit(),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.charge_own::<V::Value>()?;
        if name != EXTENSION {
            return self.nested(|reader| visitor.visit_newtype_struct(reader));
        }
        match self.head()? {
            Head::Ext(tag, bytes) => visitor.visit_newtype_struct(Extension::new(tag, bytes)),
            other => Err(other.instead_of(&visitor)),
        }
    }

    /// An enum in serde's external form: the name of a variant without contents, or a map from it to them.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.peek()? {
            // A name, or its index.
            0x00..=0x7f | 0xa0..=0xbf | 0xcc..=0xcf | 0xd9..=0xdb => {
                self.charge_own::<V::Value>()?;
                visitor.visit_enum(UnitVariant(self))
            }
            0x80..=0x8f | 0xde | 0xdf => match self.map()? {
                1 => {
                    self.charge_own::<V::Value>()?;
                    self.nested(|reader| visitor.visit_enum(Variant::new(reader)))
                }
                len => Err(Fault::invalid_length(len, &"a map of a variant's name to its contents")),
            },
            _ => Err(self.head()?.instead_of(&visitor)),
        }
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.skip()?;
        visitor.visit_unit()
    }
}

impl Head<'_> {
    /// What to say if this came where something else was expected.
    #[cold]
    pub(super) fn instead_of(self, expected: &dyn Expected) -> Fault {
        let came = match self {
            Head::Nil => Unexpected::Unit,
            Head::Bool(value) => Unexpected::Bool(value),
            Head::Unsigned(value) => Unexpected::Unsigned(value),
            Head::Signed(value) => Unexpected::Signed(value),
            Head::F32(value) => Unexpected::Float(value.into()),
            Head::F64(value) => Unexpected::Float(value),
            Head::Str(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Unexpected::Str(text),
                Err(_) => Unexpected::Other("a string that is not UTF-8"),
            },
            Head::Bin(bytes) => Unexpected::Bytes(bytes),
            Head::Array(_) => Unexpected::Seq,
            Head::Map(_) => Unexpected::Map,
            Head::Ext(..) => Unexpected::NewtypeStruct,
        };
        Fault::invalid_type(came, expected)
    }
}
