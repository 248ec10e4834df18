//! serde's data model, there and back, in both shapes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};

use super::{fewer, named, positional};
use crate::marshal::unmarshal;

/// There and back in both shapes.
#[track_caller]
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    for marshalled in [named(&value), positional(&value)] {
        assert_eq!(unmarshal::<T>(&marshalled).unwrap(), value);
        // In something else, so that what follows must begin in the right place.
        let around = named(&(1u8, &value, "end"));
        let (one, inner, end): (u8, T, String) = unmarshal(&around).unwrap();
        assert_eq!((one, inner, end.as_str()), (1, value.clone_by_wire(), "end"));
    }
}

/// A copy for values that are not `Clone`, by the road under test.
trait CloneByWire: Sized {
    fn clone_by_wire(&self) -> Self;
}

impl<T: Serialize + DeserializeOwned> CloneByWire for T {
    fn clone_by_wire(&self) -> Self {
        unmarshal(&named(self)).unwrap()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Newtype(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i8, String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Struct {
    id: u64,
    r#type: Newtype,
    pair: Pair,
    unit: Unit,
    note: Option<String>,
    data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Enum {
    Unit,
    Newtype(u32),
    Struct { a: u8, b: Vec<Enum> },
    Tuple(u8, Box<Enum>),
    Optional(Option<Unit>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Empty,
    Upload { name: String, data: Vec<u8> },
    Nested { inside: Box<Internal>, wide: i64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "with")]
enum Adjacent {
    Empty,
    Tuple(u8, Vec<u8>),
    Struct { a: Option<u8> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Byte(u8),
    Text(String),
    Data(Vec<u8>),
    Point { x: f64, y: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u32,
    #[serde(flatten)]
    page: Page,
    #[serde(flatten)]
    rest: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    data: Vec<u8>,
    number: i32,
}

fn structure() -> Struct {
    Struct {
        id: u64::MAX,
        r#type: Newtype("café \u{1f980}".into()),
        pair: Pair(-128, String::new()),
        unit: Unit,
        note: None,
        data: (0..=255).collect(),
    }
}

#[test]
fn case_46_extremes_and_empties_are_exact() {
    for value in [0, 1, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        round_trip(value);
    }
    for value in [0, -1, -32, -33, -128, -129, -32_768, -32_769, i64::from(i32::MIN), i64::MIN, i64::MAX] {
        round_trip(value);
    }
    round_trip((i8::MIN, i16::MIN, i32::MIN, u8::MAX, u16::MAX, u32::MAX));
    round_trip((i128::MIN, i128::MAX, u128::MAX, 0u128, -1i128));
    for value in [0.0, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::EPSILON] {
        round_trip((value, value as f32));
    }
    for bits in [f64::NAN.to_bits(), 0x7ff0_0000_0000_0001, 0xfff8_1234_5678_9abc, (-0.0f64).to_bits()] {
        let marshalled = named(&f64::from_bits(bits));
        assert_eq!(unmarshal::<f64>(&marshalled).unwrap().to_bits(), bits);
    }
    let marshalled = named(&f32::from_bits(0x7fc0_1234));
    assert_eq!(unmarshal::<f32>(&marshalled).unwrap().to_bits(), 0x7fc0_1234);
    round_trip(String::new());
    round_trip(Vec::<u8>::new());
    round_trip(Vec::<String>::new());
    round_trip(BTreeMap::<String, u8>::new());
    round_trip(());
    round_trip(Unit);
    round_trip([0u8; 0]);
    round_trip(vec![(); 3]);
}

#[test]
fn lengths_at_every_border() {
    let lengths = [0, 1, 15, 16, 31, 32, 62, 63, 64, 65, 255, 256, 511, 512, 513, 65_535, 65_536];
    for len in lengths.into_iter().take(fewer::<17, 4>()) {
        round_trip("x".repeat(len));
        round_trip(vec![7u8; len]);
        round_trip(vec![-1i8; len]);
        round_trip((0..len as u32).map(|key| (key, ())).collect::<BTreeMap<_, _>>());
        round_trip(VecDeque::from(vec![1u8; len]));
    }
}

#[test]
fn structs_and_enums_of_every_kind() {
    round_trip(structure());
    round_trip(Struct { note: Some("x".into()), ..structure() });
    round_trip(vec![
        Enum::Unit,
        Enum::Newtype(u32::MAX),
        Enum::Struct { a: 1, b: vec![Enum::Unit, Enum::Tuple(1, Box::new(Enum::Unit))] },
        Enum::Optional(None),
        Enum::Optional(Some(Unit)),
    ]);
    round_trip(vec![
        Internal::Empty,
        Internal::Upload { name: "x".into(), data: vec![0, 255] },
        Internal::Nested {
            inside: Box::new(Internal::Upload { name: String::new(), data: vec![] }),
            wide: i64::MIN,
        },
    ]);
    round_trip(vec![Untagged::Text("x".into()), Untagged::Byte(7), Untagged::Data(vec![1, 255])]);
    round_trip(Flat {
        id: 1,
        page: Page { data: vec![0, 128, 255], number: -1 },
        rest: BTreeMap::from([("a".into(), i64::MAX), ("b".into(), -1)]),
    });
}

#[test]
fn enums_whose_struct_variants_serde_does_not_find_by_position() {
    let adjacent = vec![Adjacent::Empty, Adjacent::Tuple(1, vec![2, 200]), Adjacent::Struct { a: Some(1) }];
    assert_eq!(unmarshal::<Vec<Adjacent>>(&named(&adjacent)).unwrap(), adjacent);
    assert!(unmarshal::<Vec<Adjacent>>(&positional(&adjacent)).is_err());
    let untagged = vec![Untagged::Byte(1), Untagged::Point { x: 0.5, y: -0.5 }];
    assert_eq!(unmarshal::<Vec<Untagged>>(&named(&untagged)).unwrap(), untagged);
    assert!(unmarshal::<Vec<Untagged>>(&positional(&untagged)).is_err());
}

#[test]
fn a_struct_is_a_map_of_names_or_an_array() {
    assert_eq!(
        named(&Page { data: vec![9], number: 1 }).as_slice(),
        b"\x82\xa4data\xc4\x01\x09\xa6number\x01"
    );
    assert_eq!(positional(&Page { data: vec![9], number: 1 }).as_slice(), b"\x92\xc4\x01\x09\x01");
    assert_eq!(named(&Enum::Struct { a: 1, b: vec![] }).as_slice(), b"\x81\xa6Struct\x82\xa1a\x01\xa1b\x90");
    assert_eq!(named(&Enum::Unit).as_slice(), b"\xa4Unit");
    assert_eq!(unmarshal::<Enum>(b"\x81\xa4Unit\xc0").unwrap(), Enum::Unit);
}

#[test]
fn a_positional_struct_may_have_got_more_fields_and_a_tuple_may_not() {
    assert_eq!(
        unmarshal::<Page>(b"\x94\xc4\x01\x09\x01\x91\x02\xa1x").unwrap(),
        Page { data: vec![9], number: 1 }
    );
    assert!(unmarshal::<Page>(b"\x93\xc4\x01\x09\x01\xc1").is_err(), "what is left out must be well-formed");
    assert!(unmarshal::<Pair>(b"\x93\x01\xa1x\x01").is_err());
}

#[test]
fn a_field_left_out_of_a_map_is_its_default() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sparse {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        list: Vec<u32>,
        id: u8,
    }
    let sparse = Sparse { list: vec![], id: 1 };
    assert_eq!(named(&sparse).as_slice(), b"\x81\xa2id\x01");
    assert_eq!(unmarshal::<Sparse>(&named(&sparse)).unwrap(), sparse);
    // By position there is no telling which field was left out.
    assert!(unmarshal::<Sparse>(&positional(&sparse)).is_err());
}

#[test]
fn options_within_options() {
    round_trip(Some(Some(5u8)));
    round_trip(None::<Option<u8>>);
    round_trip(vec![Some("x".to_owned()), None]);
    // MessagePack has one nil, so this is lost, as it is in JSON.
    assert_eq!(unmarshal::<Option<Option<u8>>>(&named(&Some(None::<u8>))).unwrap(), None);
    round_trip(Some(Unit));
}

#[test]
fn collections_and_types_of_the_standard_library() {
    round_trip(HashMap::from([(Newtype("k".into()), vec![BTreeMap::from([(1u8, 'x')])])]));
    round_trip(BTreeMap::from([((1u8, true), [1u16, 2, 3])]));
    round_trip(BTreeSet::from([3u8, 1, 2]));
    round_trip(VecDeque::from([3u8, 1, 2]));
    round_trip(Duration::new(5, 999_999_999));
    round_trip(("127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse::<IpAddr>().unwrap()));
    round_trip('\u{10ffff}');
    round_trip([1u8, 2, 255]);
    round_trip(Ok::<u8, String>(1));
    round_trip(Err::<u8, String>("no".into()));
    round_trip(std::num::NonZeroI64::MIN);
    round_trip(0u8..5);
}

#[test]
fn bytes_are_a_binary_and_nothing_else_is() {
    assert_eq!(named(&vec![1u8, 2]).as_slice(), [0xc4, 2, 1, 2]);
    assert_eq!(named(&[1u8, 2][..]).as_slice(), [0xc4, 2, 1, 2]);
    assert_eq!(named(&Box::<[u8]>::from([1u8, 2])).as_slice(), [0xc4, 2, 1, 2]);
    assert_eq!(named(&(&b""[..],)).as_slice(), [0x91, 0xc4, 0]);
    assert_eq!(named(&Vec::<u8>::new()).as_slice(), [0xc4, 0]);
    // Arrays are tuples to serde, and newtypes are types of their own.
    assert_eq!(named(&[1u8, 2]).as_slice(), [0x92, 1, 2]);
    assert_eq!(named(&vec![true, false]).as_slice(), [0x92, 0xc3, 0xc2]);
    assert_eq!(named(&vec![1i8, 2]).as_slice(), [0x92, 1, 2]);
    assert_eq!(named(&vec![1u64, 2]).as_slice(), [0x92, 1, 2]);
    assert_eq!(named(&vec![Some(1u8)]).as_slice(), [0x91, 1]);
    assert_eq!(named(&Vec::<i8>::new()).as_slice(), [0x90]);
    assert_eq!(named(&BTreeSet::from([1u8])).as_slice(), [0x91, 1]);
}

#[test]
fn a_list_of_which_some_are_bytes_is_an_array() {
    let byte = Untagged::Byte;
    let text = |text: &str| Untagged::Text(text.into());
    assert_eq!(named(&vec![byte(1), text("x"), byte(200)]).as_slice(), b"\x93\x01\xa1x\xcc\xc8");
    round_trip(vec![byte(1), text("x"), byte(200), text("y")]);
    round_trip(vec![text("x"), byte(200)]);
    let many = fewer::<100_000, 45>();
    let mut long = vec![byte(1); many];
    long[many / 9 * 7] = text("x");
    long[many - 1] = text("y");
    round_trip(long);
    round_trip(vec![byte(1); fewer::<1_000, 100>()]);
}

#[test]
fn bytes_are_read_from_binaries_and_arrays_by_all_that_want_bytes() {
    for bytes in [&[0xc4, 3, 1, 2, 3][..], &[0x93, 1, 2, 3]] {
        assert_eq!(unmarshal::<Vec<u8>>(bytes).unwrap(), [1, 2, 3]);
        assert_eq!(unmarshal::<[u8; 3]>(bytes).unwrap(), [1, 2, 3]);
        assert_eq!(unmarshal::<Vec<u64>>(bytes).unwrap(), [1, 2, 3]);
        assert_eq!(unmarshal::<BTreeSet<u8>>(bytes).unwrap(), BTreeSet::from([1, 2, 3]));
        assert_eq!(unmarshal::<(u8, u16, u32)>(bytes).unwrap(), (1, 2, 3));
        assert_eq!(unmarshal::<Page>(&[&[0x92], bytes, &[0]].concat()).unwrap().data, [1, 2, 3]);
    }
    assert_eq!(unmarshal::<&[u8]>(&[0x90]).unwrap(), [0u8; 0]);
}

#[test]
fn bytes_where_anything_is_asked_for() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Data(Vec<u8>),
        More { of: Vec<Either> },
    }
    // Bytes that happen to be text are bytes all the same.
    round_trip(vec![Either::Data(vec![b'x'; 100]), Either::Text("x".into()), Either::Data(vec![])]);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind")]
    enum Borrowing<'a> {
        Of { bytes: &'a [u8] },
    }
    let marshalled = b"\x82\xa4kind\xa2Of\xa5bytes\xc4\x02\x01\x02";
    assert_eq!(unmarshal::<Borrowing<'_>>(marshalled).unwrap(), Borrowing::Of { bytes: &[1, 2] });

    /// Takes whatever it is given, as dynamic values of other crates do.
    #[derive(Debug, PartialEq)]
    struct Given(&'static str);

    impl<'de> Deserialize<'de> for Given {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct GivenVisitor;

            impl<'de> serde::de::Visitor<'de> for GivenVisitor {
                type Value = Given;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("anything")
                }

                fn visit_bytes<E>(self, _: &[u8]) -> Result<Given, E> {
                    Ok(Given("bytes"))
                }

                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<Given, A::Error> {
                    Ok(Given("elements"))
                }
            }

            deserializer.deserialize_any(GivenVisitor)
        }
    }
    assert_eq!(unmarshal::<Given>(&[0xc4, 1, 1]).unwrap(), Given("bytes"));
    assert_eq!(unmarshal::<(Given, Given)>(&[0x92, 0xc4, 1, 1, 0x90]).unwrap().1, Given("elements"));
}

#[test]
fn what_can_borrow_borrows() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Borrowed<'a> {
        text: &'a str,
        bytes: &'a [u8],
        #[serde(borrow)]
        cow: Cow<'a, str>,
    }
    let marshalled = named(&BTreeMap::from([("text", "a"), ("cow", "b")]));
    let mut marshalled = marshalled.to_vec();
    marshalled[0] = 0x83;
    marshalled.extend(b"\xa5bytes\xc4\x01c");
    let value: Borrowed<'_> = unmarshal(&marshalled).unwrap();
    assert_eq!((value.text, value.bytes), ("a", &b"c"[..]));
    assert!(matches!(value.cow, Cow::Borrowed("b")));
}

#[test]
fn a_length_that_is_not_known_before_is_found_out() {
    struct Unsized(Vec<u32>);

    impl Serialize for Unsized {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            for number in &self.0 {
                map.serialize_entry(number, &Filtered(self.0.clone(), *number))?;
            }
            map.end()
        }
    }

    struct Filtered(Vec<u32>, u32);

    impl Serialize for Filtered {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().filter(|number| **number < self.1))
        }
    }

    let many = fewer::<300, 20>();
    let last = many - 1;
    let marshalled = named(&("before", Unsized((0..many as u32).collect()), "after"));
    let (_, map, after): (String, BTreeMap<u32, Vec<u32>>, String) = unmarshal(&marshalled).unwrap();
    assert_eq!((map.len(), map[&(last as u32)].len(), after.as_str()), (many, last, "after"));
}

#[test]
fn a_length_that_is_a_lie_is_refused() {
    struct Lie;

    impl Serialize for Lie {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(Some(2))?;
            seq.serialize_element(&1)?;
            seq.end()
        }
    }

    let error = crate::marshal::Payload::marshal(&Lie, crate::marshal::Shape::Named).unwrap_err();
    assert!(error.message().ends_with("a collection was said to have 2 elements and has 1"), "{error}");

    /// Says of so many bytes that they are three.
    struct Three(std::vec::IntoIter<u8>);

    impl Iterator for Three {
        type Item = u8;

        fn next(&mut self) -> Option<u8> {
            self.0.next()
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (3, Some(3))
        }
    }

    struct LieOfBytes(Vec<u8>);

    impl Serialize for LieOfBytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let three = &mut Three(self.0.clone().into_iter());
            serializer.collect_seq(three)
        }
    }

    for len in [1, 2, 4, 200] {
        let lie = LieOfBytes(vec![7; len]);
        let error = crate::marshal::Payload::marshal(&lie, crate::marshal::Shape::Named).unwrap_err();
        let said = format!("a collection was said to have 3 elements and has {len}");
        assert!(error.message().ends_with(&said), "{error}");
    }
    assert_eq!(named(&LieOfBytes(vec![7; 3])).as_slice(), [0xc4, 3, 7, 7, 7]);
}

#[test]
fn a_value_that_refuses_or_panics_leaves_nothing_broken() {
    struct Refuses;

    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }

    struct Panics;

    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("in Serialize")
        }
    }

    let error = crate::marshal::Payload::marshal(&Refuses, crate::marshal::Shape::Named).unwrap_err();
    assert_eq!(error.message(), "the value cannot be marshalled: not today");
    assert!(std::panic::catch_unwind(|| named(&("x".repeat(1_000), Panics))).is_err());
    round_trip(structure());
}

#[test]
fn large_and_small_payloads_hold_the_same() {
    for len in fewer::<0, 58>()..fewer::<200, 68>() {
        let marshalled = named(&vec![1i8; len]);
        let expected = if len < 16 { 1 + len } else { 3 + len };
        assert_eq!(marshalled.len(), expected);
        assert_eq!(marshalled.bytes().is_some(), expected > 64);
        assert_eq!(marshalled.clone().into_bytes(), marshalled.as_slice());
        assert_eq!(
            crate::marshal::Payload::from(marshalled.clone().into_bytes()).as_slice(),
            marshalled.as_slice()
        );
        assert_eq!(format!("{marshalled:?}"), format!("Payload({expected} bytes)"));
    }
}
