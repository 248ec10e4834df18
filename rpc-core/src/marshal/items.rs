//! Items of a stream: marshalled one after the other, unmarshalled one by one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::payload::Payload;
use super::reader::Reader;
use super::serializer::Marshaller;
use super::{Fault, Guard, Shape};
use crate::error::{Code, Error, Executed};
use crate::limits::BATCH_BYTES;

/// Marshals items side by side, into memory that is used again.
pub(crate) struct ItemWriter {
    marshaller: Marshaller,
    count: u32,
    /// Where the whole items end: beyond is one that panicked while it was marshalled.
    whole: usize,
    /// All of the items, once they are in memory of their own; then no more are added.
    sealed: Option<Payload>,
    /// How many bytes of items may go together.
    limit: usize,
    /// An item that did not fit beside those before it, and begins the next ones.
    next: Option<Vec<u8>>,
}

impl ItemWriter {
    /// Marshals up to `limit` bytes of items at a time.
    pub(crate) fn new(shape: Shape, limit: usize) -> Self {
        ItemWriter { marshaller: Marshaller::new(shape), count: 0, whole: 0, sealed: None, limit, next: None }
    }

    /// Appends an item. One that cannot be marshalled leaves no trace.
    ///
    /// # Errors
    /// [`Code::Internal`] if the item's `Serialize` refuses, [`Code::ResourceExhausted`] if it is above the limit by
    /// itself.
    #[inline]
    pub(crate) fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        debug_assert!(self.sealed.is_none(), "sealed items are cleared before the next ones");
        let before = self.marshaller.inner.get_ref().place();
        match self.marshaller.value(item) {
            Ok(()) => {
                if self.len() > self.limit {
                    return self.exceeded(before);
                }
                self.count += 1;
                self.whole = self.marshaller.inner.get_ref().place();
                Ok(())
            }
            Err(fault) => {
                self.marshaller.writer().split_off(before);
                Err(Error::new(Code::Internal, format!("an item cannot be marshalled: {fault}")))
            }
        }
    }

    /// The last item goes beyond the limit: it waits for the next ones, unless it is too large for any.
    #[cold]
    fn exceeded(&mut self, before: usize) -> Result<(), Error> {
        let item = self.marshaller.writer().split_off(before);
        if item.len() > self.limit {
            let (size, limit) = (item.len(), self.limit);
            let message =
                format!("an item of {size} bytes, the other side takes messages of {limit} bytes at most");
            return Err(Error::new(Code::ResourceExhausted, message).with_executed(Executed::Yes));
        }
        self.next = Some(item);
        Ok(())
    }

    /// Whether there are enough items for once, or they are on their way already.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= BATCH_BYTES || self.next.is_some() || self.sealed.is_some()
    }

    /// How many bytes the items take.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.sealed {
            Some(sealed) => sealed.len(),
            None => self.marshaller.inner.get_ref().len(),
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The items, if they are in one piece.
    #[inline]
    pub(crate) fn as_slice(&self) -> Option<&[u8]> {
        match &self.sealed {
            Some(sealed) => Some(sealed),
            None => self.marshaller.inner.get_ref().as_slice(),
        }
    }

    /// Forgets the items that went together, and keeps their memory.
    pub(crate) fn clear(&mut self) {
        self.marshaller.writer().clear();
        self.count = 0;
        self.sealed = None;
        if let Some(next) = self.next.take() {
            self.marshaller.writer().append(&next);
            self.count = 1;
        }
        self.whole = self.marshaller.inner.get_ref().place();
    }

    /// Forgets what an item has left that panicked while it was marshalled.
    pub(crate) fn recover(&mut self) {
        let whole = self.whole;
        self.marshaller.writer().split_off(whole);
    }

    /// Lets go of memory, when none is needed for a while: an idle stream keeps none.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.marshaller.writer().release();
        }
    }

    /// The items in memory of their own, where they stay until they are [cleared](Self::clear).
    pub(crate) fn seal(&mut self) -> &Payload {
        let ItemWriter { marshaller, sealed, .. } = self;
        sealed.get_or_insert_with(|| {
            let shape = marshaller.shape;
            std::mem::replace(marshaller, Marshaller::new(shape)).finish()
        })
    }

    /// Takes the items, in memory of their own.
    pub(crate) fn take(&mut self) -> Payload {
        let payload = self.seal().clone();
        self.clear();
        payload
    }
}

/// Unmarshals the item at a place in the [body](Payload::body) of `items`, and goes on to the next one.
///
/// # Errors
/// As [`unmarshal_within`](super::unmarshal_within).
#[inline]
pub(crate) fn unmarshal_item<T: DeserializeOwned>(
    items: &Payload,
    at: &mut usize,
    guard: Guard,
) -> Result<T, Fault> {
    let mut reader = Reader::within(items, *at, guard);
    let item = reader.value()?;
    *at = items.body().len() - reader.rest().len();
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_survive_and_one_that_refuses_leaves_no_trace() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::{Error, SerializeTuple};
                let mut half = serializer.serialize_tuple(2)?;
                half.serialize_element("half of it")?;
                Err(S::Error::custom("no"))
            }
        }
        // Miri is slow.
        const MANY: u64 = if cfg!(miri) { 20 } else { 100 };
        let mut items = ItemWriter::new(Shape::Named, usize::MAX);
        for round in 0..2 {
            for number in 0..MANY {
                items.push(&(number << 30)).unwrap();
                assert!(items.push(&Refuses).is_err());
            }
            assert_eq!(items.count(), MANY as u32);
            let bytes = Payload::from_slice(items.as_slice().unwrap());
            let mut at = 0;
            for number in 0..MANY {
                let item = unmarshal_item::<u64>(&bytes, &mut at, Guard::default()).unwrap();
                assert_eq!(item, number << 30, "round {round}");
            }
            assert_eq!(at, bytes.len());
            items.clear();
            assert_eq!((items.is_empty(), items.len()), (true, 0));
        }
        items.push("text").unwrap();
        assert_eq!(items.take().as_slice(), b"\xa4text");
        assert!(items.is_empty());
        items.push("more").unwrap();
        assert_eq!(items.seal().as_slice(), b"\xa4more");
        assert_eq!((items.count(), items.len(), items.as_slice()), (1, 5, Some(&b"\xa4more"[..])));
        assert!(items.is_full(), "few as they are, no more may be added");
        items.clear();
        assert_eq!((items.is_empty(), items.len()), (true, 0));
    }

    #[test]
    fn an_item_that_panics_leaves_those_before_it() {
        struct Panics;
        impl Serialize for Panics {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTuple;
                serializer.serialize_tuple(2)?.serialize_element("half of it")?;
                panic!("on purpose")
            }
        }
        for before in [1, 100] {
            let mut items = ItemWriter::new(Shape::Named, usize::MAX);
            (0..before).for_each(|_| items.push(&7).unwrap());
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| items.push(&Panics)));
            assert!(panicked.is_err());
            items.recover();
            assert_eq!((items.count(), items.as_slice()), (before, Some(&vec![7; before as usize][..])));
        }
    }

    #[test]
    fn what_does_not_fit_goes_next_and_what_never_fits_is_refused() {
        let mut items = ItemWriter::new(Shape::Named, 10);
        for text in ["1234", "5678", "9"] {
            assert!(!items.is_full());
            items.push(text).unwrap();
        }
        assert!(items.is_full(), "the last one was too much");
        assert_eq!((items.count(), items.as_slice()), (2, Some(&b"\xa41234\xa45678"[..])));
        items.clear();
        assert_eq!((items.count(), items.as_slice()), (1, Some(&b"\xa19"[..])));
        let error = items.push("1234567890").unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        let message = "an item of 11 bytes, the other side takes messages of 10 bytes at most";
        assert_eq!(error.message(), message);
        assert_eq!((items.count(), items.as_slice()), (1, Some(&b"\xa19"[..])), "it left no trace");
    }
}
