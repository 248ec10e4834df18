//! Bytes that mean harm. Each test of a numbered case is named after it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{fewer, named};
use crate::marshal::unmarshal::unmarshal_within;
use crate::marshal::{Guard, unmarshal};

const TOO_DEEP: &str = "the value is nested too deeply";

/// Unmarshals on a stack of 2 MiB, where a task or a test would; gives what was said against it.
fn refusal<T: DeserializeOwned + Debug + Send + 'static>(bytes: Vec<u8>) -> String {
    let attempt = move || unmarshal::<T>(&bytes).expect_err("these bytes are no such value").to_string();
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(attempt).unwrap();
    thread.join().unwrap()
}

/// `prefix` so many times, and then `end`.
fn repeated(prefix: &[u8], times: usize, end: &[u8]) -> Vec<u8> {
    [&prefix.repeat(times), end].concat()
}

#[derive(Debug, Serialize, Deserialize)]
enum Expression {
    Number(i64),
    Negated(Box<Expression>),
    Sum(Box<Expression>, Box<Expression>),
    Named { of: Box<Expression> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, Serialize, Deserialize)]
struct Directory(BTreeMap<String, Directory>);

#[derive(Debug, Serialize, Deserialize)]
struct Nested(Option<Box<Nested>>);

#[derive(Debug, Serialize, Deserialize)]
struct List {
    next: Option<Box<List>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Known {
    known: u8,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
    List(Vec<Loose>),
    Map(BTreeMap<String, Loose>),
}

#[test]
fn case_30_an_array_or_map_of_u32_max_is_refused_unread() {
    /// Fails if it is ever asked to build something.
    #[derive(Debug)]
    struct Never;

    impl<'de> Deserialize<'de> for Never {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct NeverVisitor;

            impl<'de> Visitor<'de> for NeverVisitor {
                type Value = Never;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("nothing")
                }

                fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Never, A::Error> {
                    panic!("the elements cannot be there")
                }
            }

            deserializer.deserialize_seq(NeverVisitor)
        }
    }

    let expected = "expected 4294967295 elements, but what follows is 3 bytes";
    assert_eq!(refusal::<Never>(vec![0xdd, 255, 255, 255, 255, 1, 2, 3]), expected);
    assert_eq!(refusal::<Vec<u64>>(vec![0xdd, 255, 255, 255, 255, 1, 2, 3]), expected);
    assert_eq!(refusal::<IgnoredAny>(vec![0xdd, 255, 255, 255, 255, 1, 2, 3]), expected);
    let expected = "expected 4294967295 map entries, but what follows is 3 bytes";
    assert_eq!(refusal::<HashMap<u8, u8>>(vec![0xdf, 255, 255, 255, 255, 1, 2, 3]), expected);
    assert_eq!(refusal::<Known>(vec![0xdf, 255, 255, 255, 255, 1, 2, 3]), expected);
    assert_eq!(
        refusal::<Expression>(vec![0xdf, 255, 255, 255, 255, 1, 2, 3]),
        "expected 4294967295 map entries, but what follows is 3 bytes"
    );
}

#[test]
fn case_31_a_binary_or_string_of_u32_max_is_refused() {
    let expected = "expected 4294967295 bytes, but what follows is 1 byte";
    assert_eq!(refusal::<Vec<u8>>(vec![0xc6, 255, 255, 255, 255, 1]), expected);
    assert_eq!(refusal::<String>(vec![0xdb, 255, 255, 255, 255, b'x']), expected);
    assert_eq!(refusal::<IgnoredAny>(vec![0xdb, 255, 255, 255, 255, b'x']), expected);
    assert_eq!(refusal::<IgnoredAny>(vec![0xc9, 255, 255, 255, 255, 5, b'x']), expected);
}

#[test]
fn case_32_nested_arrays_are_refused() {
    let bytes = repeated(&[0x91], 100_000, &[0x90]);
    for said in [
        refusal::<Tree>(bytes.clone()),
        refusal::<Loose>(bytes.clone()),
        refusal::<IgnoredAny>(bytes.clone()),
        refusal::<Vec<IgnoredAny>>(bytes),
    ] {
        assert!(said.ends_with(TOO_DEEP), "{said}");
    }
}

#[test]
fn case_33_nested_maps_are_refused() {
    let bytes = repeated(&[0x81, 0xa1, b'x'], 100_000, &[0x80]);
    for said in [
        refusal::<Directory>(bytes.clone()),
        refusal::<Loose>(bytes.clone()),
        refusal::<IgnoredAny>(bytes),
        // As keys, too.
        refusal::<IgnoredAny>([repeated(&[0x81], 100_000, &[0x80]), vec![0; 100_000]].concat()),
    ] {
        assert!(said.ends_with(TOO_DEEP), "{said}");
    }
}

#[test]
fn case_34_nested_enums_are_refused() {
    let prefix = [&[0x81, 0xa7][..], b"Negated"].concat();
    let said = refusal::<Expression>(repeated(&prefix, 100_000, &[0x01]));
    assert!(said.ends_with(TOO_DEEP), "{said}");
    let prefix = [&[0x81, 0xa3][..], b"Sum", &[0x92]].concat();
    let said = refusal::<Expression>(repeated(&prefix, 100_000, &[0x01]));
    assert!(said.ends_with(TOO_DEEP), "{said}");
    let prefix = [&[0x81, 0xa5][..], b"Named", &[0x81, 0xa2], b"of"].concat();
    let said = refusal::<Expression>(repeated(&prefix, 100_000, &[0x01]));
    assert!(said.ends_with(TOO_DEEP), "{said}");
}

#[test]
fn case_35_options_and_newtypes_that_take_no_bytes_are_refused() {
    // Each level of these takes the same byte for the beginning of the next.
    assert_eq!(refusal::<Nested>(vec![0x01]), TOO_DEEP);
    assert_eq!(refusal::<Nested>(repeated(&[0x91], 100_000, &[0x90])), TOO_DEEP);
    let said = refusal::<List>(repeated(&[0x81, 0xa4, b'n', b'e', b'x', b't'], 100_000, &[0xc0]));
    assert!(said.ends_with(TOO_DEEP), "{said}");
    assert!(unmarshal::<Nested>(&[0xc0]).is_ok());
}

#[test]
fn case_36_a_deep_unknown_field_is_refused() {
    let start = [&[0x82, 0xa5][..], b"known", &[1, 0xa7], b"unknown"].concat();
    let said = refusal::<Known>([&start[..], &repeated(&[0x91], 100_000, &[0x90])].concat());
    assert_eq!(said, format!("at `unknown`: {TOO_DEEP}"));
    assert!(unmarshal::<Known>(&[&start[..], &repeated(&[0x91], 60, &[0x90])].concat()).is_ok());
}

#[test]
fn the_depth_is_exact_for_every_kind_of_nesting() {
    fn depth_of<T: DeserializeOwned>(bytes: &[u8]) -> u32 {
        let fits = |depth: &u32| unmarshal_within::<T>(bytes, Guard::default().with_depth(*depth)).is_ok();
        (0..100).find(fits).unwrap()
    }
    assert_eq!(depth_of::<u8>(&[1]), 0);
    assert_eq!(depth_of::<Vec<u8>>(&[0x90]), 1);
    assert_eq!(depth_of::<Vec<u8>>(&[0xc4, 1, 1]), 0);
    assert_eq!(depth_of::<Option<u8>>(&[1]), 1);
    assert_eq!(depth_of::<Option<Option<u8>>>(&[1]), 2);
    assert_eq!(depth_of::<Known>(&named(&Known { known: 1 })), 1);
    assert_eq!(depth_of::<Expression>(&named(&Expression::Number(1))), 1);
    let sum = Expression::Sum(Box::new(Expression::Number(1)), Box::new(Expression::Number(1)));
    assert_eq!(depth_of::<Expression>(&named(&sum)), 3);
    assert_eq!(depth_of::<Tree>(&[0x91, 0x90]), 4);
    assert_eq!(depth_of::<IgnoredAny>(&[0x91, 0x81, 0x90, 0x90]), 3);
    assert_eq!(depth_of::<Loose>(&[0x91, 0x81, 0xa0, 0x90]), 3);
    // Siblings do not add up.
    assert_eq!(depth_of::<Vec<Vec<u8>>>(&[0x93, 0x90, 0x90, 0x90]), 2);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has a stack of its own")]
fn sixty_four_levels_of_anything_fit_a_small_stack() {
    let deep = repeated(&[0x91], 31, &[0x90]);
    let loose = repeated(&[0x91], 63, &[0x90]);
    let list = repeated(&[0x81, 0xa4, b'n', b'e', b'x', b't'], 32, &[0xc0]);
    let list = list[..list.len()].to_vec();
    let attempt = move || {
        unmarshal::<Tree>(&deep).unwrap();
        unmarshal::<Loose>(&loose).unwrap();
        unmarshal::<IgnoredAny>(&loose).unwrap();
        unmarshal::<List>(&list).unwrap();
    };
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(attempt).unwrap().join().unwrap();
}

#[test]
fn case_39_a_byte_after_the_value_is_refused() {
    assert_eq!(refusal::<u8>(vec![1, 0]), "expected the end, got 1 byte more");
    assert_eq!(refusal::<Vec<u8>>(vec![0x91, 1, 0xc0]), "expected the end, got 1 byte more");
    for cut in 0..7 {
        let whole = named(&("a", 1u32 << 20));
        assert!(unmarshal::<(String, u32)>(&whole[..cut]).is_err(), "{cut} bytes");
    }
    assert_eq!(refusal::<u8>(vec![]), "the bytes end before the value does");
    assert_eq!(refusal::<u32>(vec![0xce, 1, 2, 3]), "the bytes end before the value does");
}

#[test]
fn case_40_the_byte_that_means_nothing_is_refused() {
    let expected = "byte 0xc1 is not MessagePack";
    assert_eq!(refusal::<u8>(vec![0xc1]), expected);
    assert_eq!(refusal::<String>(vec![0xc1]), expected);
    assert_eq!(refusal::<Option<u8>>(vec![0xc1]), expected);
    assert_eq!(refusal::<()>(vec![0xc1]), expected);
    assert_eq!(refusal::<Expression>(vec![0xc1]), expected);
    assert_eq!(refusal::<IgnoredAny>(vec![0xc1]), expected);
    assert_eq!(refusal::<Vec<u8>>(vec![0x92, 1, 0xc1]), format!("at `[1]`: {expected}"));
}

#[test]
fn case_41_a_string_that_is_not_utf_8_is_refused() {
    let expected = "a string is not UTF-8 from its byte 1 on";
    let bytes = vec![0xa2, b'x', 0xff];
    assert_eq!(refusal::<String>(bytes.clone()), expected);
    assert_eq!(refusal::<char>(bytes.clone()), expected);
    assert_eq!(refusal::<Loose>(bytes.clone()), expected);
    assert_eq!(refusal::<IgnoredAny>(bytes.clone()), expected);
    assert_eq!(refusal::<Expression>(bytes.clone()), expected);
    assert_eq!(refusal::<Known>([&[0x81][..], &bytes, &[1]].concat()), expected);
    assert_eq!(unmarshal::<&str>(&bytes).unwrap_err().to_string(), expected);
    assert_eq!(unmarshal::<&[u8]>(&bytes).unwrap_err().to_string(), expected);
    // The text of a binary is checked by whoever takes it for text.
    assert!(unmarshal::<String>(&[0xc4, 1, 0xff]).is_err());
}

#[test]
fn case_42_an_integer_out_of_range_is_refused() {
    assert_eq!(refusal::<u8>(vec![0xcd, 1, 0]), "expected u8, got the integer 256");
    assert_eq!(refusal::<i8>(vec![0xcc, 128]), "expected i8, got the integer 128");
    assert_eq!(refusal::<u64>(vec![0xff]), "expected u64, got the integer -1");
    assert_eq!(
        refusal::<i64>(named(&u64::MAX).to_vec()),
        format!("expected i64, got the integer {}", u64::MAX)
    );
    assert_eq!(refusal::<u128>(vec![0xff]), "expected u128, got the integer -1");
    assert_eq!(refusal::<usize>(named(&1.5f64).to_vec()), "expected usize, got the float 1.5");
    assert_eq!(refusal::<std::num::NonZeroU8>(vec![0]), "expected a nonzero u8, got the integer 0");
}

#[test]
fn case_43_a_duplicate_field_is_refused() {
    let bytes = [&[0x82, 0xa5][..], b"known", &[1, 0xa5], b"known", &[2]].concat();
    assert_eq!(refusal::<Known>(bytes), "duplicate field `known`");
    // An index is a name, too.
    let bytes = [&[0x82, 0xa5][..], b"known", &[1, 0x00, 2]].concat();
    assert_eq!(refusal::<Known>(bytes), "duplicate field `known`");
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(refusal::<Known>(vec![0x80]), "missing field `known`");
    assert_eq!(refusal::<Known>(vec![0x07]), "expected struct Known, got the integer 7");
    assert_eq!(refusal::<Known>(vec![0xc0]), "expected struct Known, got nil");
    assert_eq!(refusal::<bool>(vec![0xa1, b'x']), "expected a boolean, got the string \"x\"");
    assert_eq!(refusal::<String>(vec![0x91, 1]), "expected a string, got an array");
    assert_eq!(refusal::<i64>(vec![0xd6, 5, 0, 0, 0, 0]), "expected i64, got an extension");
    assert_eq!(refusal::<()>(vec![0x01]), "expected unit, got the integer 1");
    assert_eq!(refusal::<(u8, u8)>(vec![0x93, 1, 2, 3]), "expected 2 elements, got 3");
    assert_eq!(refusal::<(u8, u8)>(vec![0x91, 1]), "expected a tuple of size 2, got 1 element");
    assert_eq!(refusal::<[u8; 2]>(vec![0xc4, 3, 1, 2, 3]), "expected 2 elements, got 3");
    assert_eq!(refusal::<Vec<u8>>(vec![0x80]), "expected a sequence, got a map");
    assert_eq!(
        refusal::<Expression>(vec![0xa1, b'X']),
        "unknown variant `X`, expected one of `Number`, `Negated`, `Sum`, `Named`"
    );
    assert_eq!(
        refusal::<Expression>([&[0x81, 0xa6][..], b"Number", &[0xc0]].concat()),
        "at `Number`: expected i64, got nil"
    );
    assert_eq!(
        refusal::<Expression>([&[0xa6][..], b"Number"].concat()),
        "expected a variant with its contents, got its name alone"
    );
    assert_eq!(refusal::<Expression>(vec![0x90]), "expected enum Expression, got an array");
    assert_eq!(
        refusal::<Expression>(vec![0x80]),
        "expected a map of a variant's name to its contents, got 0 elements"
    );
}

#[test]
fn case_45_adversarial_keys_are_a_hash_map_like_any_other() {
    // The standard map hashes with a key of its own, so no choice of keys can make them collide; what remains
    // is that a hundred thousand entries cost what they cost. (The time itself is for a benchmark to hold.)
    let many = fewer::<100_000, 50>();
    let keys: BTreeMap<u64, ()> = (0..many as u64).map(|index| (index << 44, ())).collect();
    let bytes = named(&keys);
    let map: HashMap<u64, ()> = unmarshal(&bytes).unwrap();
    assert_eq!(map.len(), many);
}

#[test]
#[cfg_attr(miri, ignore = "it takes thousands of elements, for which Miri is too slow")]
fn nobody_is_told_to_expect_much() {
    struct Told(usize);

    impl<'de> Deserialize<'de> for Told {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct ToldVisitor;

            impl<'de> Visitor<'de> for ToldVisitor {
                type Value = Told;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a sequence")
                }

                fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Told, A::Error> {
                    let told = elements.size_hint().unwrap();
                    while elements.next_element::<u8>()?.is_some() {}
                    Ok(Told(told))
                }
            }

            deserializer.deserialize_seq(ToldVisitor)
        }
    }

    assert_eq!(unmarshal::<Told>(&[0x92, 1, 2]).unwrap().0, 2);
    assert_eq!(unmarshal::<Told>(&named(&vec![1u16; 1_000_000])).unwrap().0, 4_096);
}

#[test]
fn a_guard_of_nothing_refuses_all_that_takes_something() {
    let none = Guard::default().with_depth(0).with_budget(0);
    assert_eq!(unmarshal_within::<u8>(&[7], none).unwrap(), 7);
    assert!(unmarshal_within::<Vec<u8>>(&[0x90], none).is_err());
    let flat = Guard::default().with_budget(0);
    // The message's own size is always there: a binary fits, and so do bytes one by one.
    assert_eq!(unmarshal_within::<Vec<u8>>(&[0x93, 1, 2, 3], flat).unwrap(), [1, 2, 3]);
    assert!(unmarshal_within::<Vec<u64>>(&[0x93, 1, 2, 3], flat).is_err());
}

#[test]
fn values_as_large_as_their_message_need_no_budget() {
    let none = Guard::default().with_budget(0);
    let many = fewer::<100_000, 100>();
    let numbers = vec![0.5f64; many];
    assert_eq!(unmarshal_within::<Vec<f64>>(&named(&numbers), none).unwrap(), numbers);
    let bytes = vec![7u8; many];
    assert_eq!(unmarshal_within::<Vec<u8>>(&named(&bytes), none).unwrap(), bytes);
    let text = "x".repeat(many);
    assert_eq!(unmarshal_within::<String>(&named(&text), none).unwrap(), text);
    // What is smaller on the wire than in memory is charged for the difference.
    assert!(unmarshal_within::<Vec<u64>>(&named(&vec![1u64; many]), none).is_err());
}
