//! Arrays, maps, tuples and structs under way.

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::serializer::Marshaller;
use super::writer::Writer;
use super::{Fault, Shape};

/// An array or a map under way.
pub(super) struct Compound<'a> {
    marshaller: &'a mut Marshaller,
    /// The length that its head says.
    declared: usize,
    /// How many elements or entries were written.
    written: usize,
    /// What was written before, if the length was not known then: the head goes between the two.
    outer: Option<Box<Writer>>,
    head: fn(&mut Writer, usize),
}

impl<'a> Compound<'a> {
    /// Begins an array or a map, whose head `head` writes if its length is known now.
    #[inline]
    pub(super) fn begin(
        marshaller: &'a mut Marshaller,
        len: Option<usize>,
        head: fn(&mut Writer, usize),
    ) -> Self {
        let outer = match len {
            Some(len) => {
                head(marshaller.writer(), len);
                None
            }
            None => Some(Box::new(std::mem::replace(marshaller.writer(), Writer::new()))),
        };
        Compound { marshaller, declared: len.unwrap_or(0), written: 0, outer, head }
    }

    #[inline]
    pub(super) fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.written += 1;
        self.marshaller.value(value)
    }

    #[inline]
    pub(super) fn finish(self) -> Result<(), Fault> {
        match self.outer {
            Some(outer) => {
                let inner = std::mem::replace(self.marshaller.writer(), *outer);
                (self.head)(self.marshaller.writer(), self.written);
                self.marshaller.writer().append_all(inner);
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
pub(super) struct Places<'a>(pub(super) &'a mut Marshaller);

macro_rules! elements {
    ($($trait:ident::$method:ident)+) => {
        $(
            impl $trait for Places<'_> {
                type Ok = ();
                type Error = Fault;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                    self.0.value(value)
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
                        self.0.writer().text(name);
                    }
                    self.0.value(value)
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
