//! A large `Bytes` is marshalled and unmarshalled where it lies, and nobody can tell by the bytes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};

use super::{fewer, named, positional};
use crate::marshal::gathered::APART_BYTES;
use crate::marshal::{
    Arguments, Gather, Guard, ItemWriter, Payload, Shape, unmarshal_item, unmarshal_payload,
};
use crate::memory::{Caller, Held, Reserve};

const LARGE: usize = fewer::<3, 1>() * APART_BYTES;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    name: String,
    #[serde(default)]
    note: Option<Bytes>,
    data: Bytes,
    size: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Id(Bytes);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Part {
    Nothing,
    Whole(Bytes),
    Two(Bytes, u8),
    Named { at: u64, data: Bytes },
}

/// Takes what is handed over as it is.
#[derive(Default)]
struct Pieces {
    all: Vec<u8>,
    kept: Vec<Bytes>,
}

impl Gather for Pieces {
    fn copy(&mut self, bytes: &[u8]) {
        self.all.extend_from_slice(bytes);
    }

    fn keep(&mut self, bytes: Bytes) {
        self.all.extend_from_slice(&bytes);
        self.kept.push(bytes);
    }
}

fn pieces(payload: &Payload) -> Pieces {
    let mut pieces = Pieces::default();
    payload.hand_over(&mut pieces);
    pieces
}

fn data(byte: u8, len: usize) -> Bytes {
    Bytes::from(vec![byte; len])
}

/// Each of `shared` is in the payload as it is, and in the value that is read from it.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T, shared: &[&Bytes]) {
    let expected = [rmp_serde::to_vec_named(value).unwrap(), rmp_serde::to_vec(value).unwrap()];
    for (payload, expected) in [named(value), positional(value)].into_iter().zip(expected) {
        let pieces = pieces(&payload);
        assert!(pieces.all == expected, "handed over");
        assert_eq!(payload.len(), expected.len());
        for bytes in shared {
            assert!(pieces.kept.iter().any(|kept| kept.as_ptr() == bytes.as_ptr()), "{} bytes", bytes.len());
        }
        assert_eq!(&unmarshal_payload::<T>(&payload, Guard::default()).unwrap(), value);
        unmarshal_payload::<IgnoredAny>(&payload, Guard::default()).unwrap();
        assert!(payload.as_slice() == expected, "in one piece");
        assert!(payload.into_bytes() == expected, "in one piece");
    }
}

#[test]
fn wherever_it_stands_it_is_marshalled_where_it_lies() {
    let (first, second, small) = (data(1, LARGE), data(2, APART_BYTES), data(3, APART_BYTES - 1));
    check(&first, &[&first]);
    check(&(first.clone(),), &[&first]);
    check(&(7, first.clone(), "text".to_owned(), second.clone()), &[&first, &second]);
    check(&(first.clone(), first.clone()), &[&first]);
    check(&(first.clone(), "x".repeat(LARGE), 1), &[&first]);
    check(&vec![first.clone(), small.clone(), second.clone()], &[&first, &second]);
    check(&[first.clone(), second.clone()], &[&first, &second]);
    check(&Some(first.clone()), &[&first]);
    check(&Id(first.clone()), &[&first]);
    check(&BTreeMap::from([(1, first.clone()), (2, small.clone()), (3, second.clone())]), &[&first, &second]);
    let name = "name".to_owned();
    check(&File { name, note: Some(second.clone()), data: first.clone(), size: 9 }, &[&first, &second]);
    let parts = vec![
        Part::Nothing,
        Part::Whole(first.clone()),
        Part::Two(second.clone(), 2),
        Part::Named { at: 3, data: first.clone() },
        Part::Whole(small),
    ];
    check(&parts, &[&first, &second]);
}

#[test]
fn what_is_small_is_copied() {
    for len in [0, 1, 64, APART_BYTES - 1] {
        let bytes = data(1, len);
        check(&(bytes.clone(), 1), &[]);
        let kept = pieces(&named(&bytes)).kept;
        assert!(kept.iter().all(|kept| kept.as_ptr() != bytes.as_ptr()), "{len} bytes");
    }
}

#[test]
fn behind_a_collection_of_unknown_length_it_is_in_its_place() {
    struct Unknown(Vec<Bytes>);
    impl Serialize for Unknown {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut seq = serializer.serialize_seq(None)?;
            self.0.iter().try_for_each(|bytes| seq.serialize_element(bytes))?;
            seq.end()
        }
    }
    let all = vec![data(1, LARGE), data(2, 10), data(3, LARGE)];
    for before in [data(0, 0), data(0, 100), data(0, LARGE)] {
        let payload = named(&(before.clone(), Unknown(all.clone()), 5));
        assert!(pieces(&payload).kept.iter().any(|kept| kept.as_ptr() == all[2].as_ptr()));
        let read: (Bytes, Vec<Bytes>, u8) = unmarshal_payload(&payload, Guard::default()).unwrap();
        assert_eq!(read, (before, all.clone(), 5));
    }
}

#[test]
fn what_stays_in_the_process_is_never_copied() {
    let file = File { name: "a".into(), note: None, data: data(1, LARGE), size: 1 };
    let read: File = unmarshal_payload(&named(&file), Guard::default()).unwrap();
    assert_eq!(read.data.as_ptr(), file.data.as_ptr());
    // Not even borrowed, nor as what is not asked for.
    let payload = named(&(file.data.clone(), file.data.clone(), 3));
    let held = Held::default();
    let reserve = Reserve::new(&held, Guard::default().reserve(), Caller::NOBODY);
    let mut arguments = Arguments::new(&payload, &["a", "b"], Guard::default(), reserve).unwrap();
    assert_eq!(arguments.next::<&[u8]>().unwrap().as_ptr(), file.data.as_ptr());
    assert_eq!(arguments.next::<Bytes>().unwrap().as_ptr(), file.data.as_ptr());
}

#[test]
fn what_was_received_is_shared_and_not_for_little_of_it() {
    let received = |value: &(Bytes, Bytes)| Payload::from_slice(&named(value));
    let sizes = [(LARGE, LARGE), (APART_BYTES, APART_BYTES), (100 * LARGE, 40 * LARGE)];
    for (first, second) in sizes.into_iter().take(fewer::<3, 2>()) {
        let value = (data(1, first), data(2, second));
        let payload = received(&value);
        let read: (Bytes, Bytes) = unmarshal_payload(&payload, Guard::default()).unwrap();
        assert_eq!(read, value);
        for bytes in [&read.0, &read.1] {
            assert!(payload.as_ptr_range().contains(&bytes.as_ptr()), "{first} and {second}");
        }
    }
    let value = (data(1, LARGE), data(2, 10 * LARGE));
    let payload = received(&value);
    let read: (Bytes, Bytes) = unmarshal_payload(&payload, Guard::default()).unwrap();
    assert_eq!(read, value);
    assert!(!payload.as_ptr_range().contains(&read.0.as_ptr()), "it would keep ten times its size");
    assert!(payload.as_ptr_range().contains(&read.1.as_ptr()));
    // What a visitor of another kind makes of bytes is its own business.
    let read: (Vec<u8>, Bytes) = unmarshal_payload(&payload, Guard::default()).unwrap();
    assert_eq!((Bytes::from(read.0), read.1), value);
}

#[test]
fn items_stand_apart_and_are_taken_back_whole() {
    struct Refuses(Bytes, bool);
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{Error, SerializeTuple};
            let mut half = serializer.serialize_tuple(2)?;
            half.serialize_element(&self.0)?;
            assert!(!self.1, "on purpose");
            Err(S::Error::custom("no"))
        }
    }
    let large = data(1, LARGE);
    let mut items = ItemWriter::new(Shape::Named, 4 * LARGE);
    for _ in 0..2 {
        items.push(&large).unwrap();
        items.push(&data(2, 5)).unwrap();
        assert!(items.push(&Refuses(large.clone(), false)).is_err());
        let panics = || items.push(&Refuses(large.clone(), true));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        items.recover();
        items.push(&large).unwrap();
        assert_eq!((items.count(), items.as_slice()), (3, None));
        let expected = 2 * (LARGE + 3) + 7;
        assert_eq!(items.len(), expected);
        // One that does not fit beside them goes next, and one that never fits goes nowhere.
        items.push(&data(3, 3 * LARGE)).unwrap();
        let payload = items.take();
        assert_eq!((payload.len(), items.count(), items.len()), (expected, 1, 3 * LARGE + 3));
        items.push(&data(3, 5 * LARGE)).unwrap_err();
        let mut at = 0;
        for len in [LARGE, 5, LARGE] {
            let item = unmarshal_item::<Bytes>(&payload, &mut at, Guard::default()).unwrap();
            assert_eq!((item.len(), item.as_ptr() == large.as_ptr()), (len, len == LARGE));
        }
        assert_eq!(at, payload.body().len());
        let mut at = 0;
        let next = unmarshal_item::<Bytes>(&items.take(), &mut at, Guard::default()).unwrap();
        assert_eq!(next, data(3, 3 * LARGE));
        assert!(items.is_empty());
    }
}
