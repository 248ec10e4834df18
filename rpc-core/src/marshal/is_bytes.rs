//! Whether a value that serde hands over is a [`Bytes`], and the way between the two.
//!
//! To serde a [`Bytes`] is a slice of bytes on its way out and a copy of some on its way in: neither shows that it
//! could be shared. So types are compared: by `TypeId`, and since the standard library gives that only for types that
//! hold no references, which values may do, by the one that the crate `typeid` gives for them. This is the framework's
//! only unsafe code. What it buys is a copy of every large [`Bytes`] at each marshalling and unmarshalling.

#![expect(unsafe_code, reason = "serde says of no value what it is, and copies cost more than all else")]

use std::any::TypeId;
use std::fmt::{self, Display};
use std::mem::{self, ManuallyDrop};
use std::ptr;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

/// The value as what it is, if that is a [`Bytes`] or a reference to one.
#[inline]
pub(super) fn as_bytes<T: ?Sized>(value: &T) -> Option<&Bytes> {
    let id = typeid::of::<T>();
    if id == TypeId::of::<Bytes>() {
        // SAFETY: `T` is `Bytes`: there is no other type of that id, whatever the lifetimes, since it has none.
        return Some(unsafe { &*ptr::from_ref(value).cast::<Bytes>() });
    }
    if id == TypeId::of::<&Bytes>() {
        // SAFETY: `T` is a `&Bytes`, and its lifetime is not shorter than that of `value`, which refers to it.
        return Some(unsafe { *ptr::from_ref(value).cast::<&Bytes>() });
    }
    None
}

/// What a [`Visitor`] makes of bytes, if it is the one of [`Bytes`] itself: these bytes, as they are. Others of the same
/// value may have something else in mind.
///
/// `bytes` is asked only if it is.
#[inline]
pub(super) fn visited<'de, V: Visitor<'de>>(bytes: impl FnOnce() -> Option<Bytes>) -> Option<V::Value> {
    if typeid::of::<V::Value>() != TypeId::of::<Bytes>() || Some(typeid::of::<V>()) != own_visitor() {
        return None;
    }
    let bytes = ManuallyDrop::new(bytes()?);
    // SAFETY: `V::Value` is `Bytes`, and only one of the two is ever dropped.
    Some(unsafe { mem::transmute_copy::<Bytes, V::Value>(&bytes) })
}

/// The visitor with which [`Bytes`] unmarshals itself: it is private, and told by asking for one.
#[inline]
fn own_visitor() -> Option<TypeId> {
    Bytes::deserialize(Ask).err().and_then(|asked| asked.0)
}

/// A deserializer that only says who asks.
struct Ask;

#[derive(Debug)]
struct Asked(Option<TypeId>);

impl<'de> Deserializer<'de> for Ask {
    type Error = Asked;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked(Some(typeid::of::<V>())))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this deserializer gives nothing")
    }
}

impl std::error::Error for Asked {}

impl Error for Asked {
    fn custom<T: Display>(_: T) -> Self {
        Asked(None)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    /// A visitor of somebody else's that makes `Bytes`.
    struct Reversed;

    impl Visitor<'_> for Reversed {
        type Value = Bytes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
    }

    /// Gives the visitor that comes what `Bytes` gives its own.
    struct Give(Bytes);

    impl<'de> Deserializer<'de> for Give {
        type Error = Asked;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
            visited::<V>(|| Some(self.0)).ok_or(Asked(None))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }

    #[test]
    fn bytes_are_told_from_all_else() {
        let bytes = Bytes::from(vec![7; 100]);
        let is_it = |found: Option<&Bytes>| found.is_some_and(|found| found.as_ptr() == bytes.as_ptr());
        assert!(is_it(as_bytes(&bytes)));
        assert!(is_it(as_bytes(&&bytes)));
        let borrowed: &&Bytes = &&bytes;
        assert!(is_it(as_bytes(borrowed)));
        assert!(as_bytes(&vec![7; 100]).is_none());
        assert!(as_bytes(&bytes[..]).is_none());
        assert!(as_bytes("text").is_none());
        assert!(as_bytes(&Some(bytes.clone())).is_none());
        assert!(as_bytes(&Cow::Borrowed(&bytes[..])).is_none());
        assert!(as_bytes(&bytes::BytesMut::new()).is_none());
        assert!(as_bytes(&&&bytes).is_none());
    }

    #[test]
    fn a_reference_outlives_the_one_to_it() {
        let bytes = Bytes::from_static(b"stays");
        let found = {
            let reference: &Bytes = &bytes;
            as_bytes(&reference).cloned()
        };
        assert_eq!(found.as_deref(), Some(&b"stays"[..]));
    }

    #[test]
    fn bytes_visit_themselves_and_nothing_else_does() {
        let bytes = Bytes::from(vec![7; 100]);
        let at = bytes.as_ptr();
        let visited_bytes = Bytes::deserialize(Give(bytes.clone())).expect("its own visitor");
        assert_eq!((visited_bytes.as_ptr(), visited_bytes.len()), (at, 100));
        drop(bytes);
        assert_eq!(visited_bytes, [7; 100][..]);
        assert!(visited_bytes.is_unique(), "it was counted once");
        assert!(visited::<Reversed>(|| unreachable!("not asked")).is_none());
        assert!(Vec::<u8>::deserialize(Give(visited_bytes.clone())).is_err());
        assert!(bytes::BytesMut::deserialize(Give(visited_bytes.clone())).is_err());
        assert!(visited_bytes.is_unique(), "what was not taken was dropped");
    }
}
