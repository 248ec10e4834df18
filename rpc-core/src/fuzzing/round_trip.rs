//! Values there and back, in both shapes: to the last bit what they were.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Input;
use crate::Timestamp;
use crate::marshal::{Guard, ItemWriter, Payload, Shape, unmarshal_item, unmarshal_payload};

/// How deep values nest: with all the levels that each takes still within the default guard.
const DEPTH: u32 = 8;

/// Reads some values, which go alone, one after the other as items of a stream, and together.
pub fn round_trip(data: &[u8]) {
    let mut input = Input::new(data);
    let mut values = Vec::new();
    while !input.is_empty() && values.len() < 20 {
        values.push(value(&mut input, DEPTH));
    }
    for shape in [Shape::Named, Shape::Positional] {
        values.iter().for_each(|value| alone(value, shape));
        one_after_the_other(&values, shape);
        let both = (values.clone(), Summary { count: values.len(), last: values.last().cloned() });
        let marshalled = Payload::marshal(&both, shape).expect("it can be marshalled");
        let back: (Vec<Rich>, Summary) =
            unmarshal_payload(&marshalled, Guard::default()).expect("what was written can be read");
        assert_eq!(back, both);
    }
}

fn alone(value: &Rich, shape: Shape) {
    let marshalled = Payload::marshal(value, shape).expect("it can be marshalled");
    let back: Rich = unmarshal_payload(&marshalled, Guard::default()).expect("what was written can be read");
    assert_eq!(back, *value);
    // As it comes: all of its bytes in one piece.
    let came = Payload::from(marshalled.clone().into_bytes());
    let back: Rich = unmarshal_payload(&came, Guard::default()).expect("what was written can be read");
    assert_eq!(back, *value);
    // Without its last byte it is no value, with one more it is not one.
    let bytes = marshalled.as_slice();
    let short = Payload::from_slice(&bytes[..bytes.len() - 1]);
    assert!(unmarshal_payload::<Rich>(&short, Guard::default()).is_err());
    let long = Payload::from_slice(&[bytes, &[0xc0]].concat());
    assert!(unmarshal_payload::<Rich>(&long, Guard::default()).is_err());
}

fn one_after_the_other(values: &[Rich], shape: Shape) {
    let mut items = ItemWriter::new(shape, usize::MAX);
    values.iter().for_each(|value| items.push(value).expect("it can be marshalled"));
    assert_eq!(items.count() as usize, values.len());
    let items = items.take();
    let mut at = 0;
    for value in values {
        let back: Rich = unmarshal_item(&items, &mut at, Guard::default()).expect("the next item");
        assert_eq!(back, *value);
    }
    assert_eq!(at, items.body().len());
}

/// Everything that serde knows, in itself and beside itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Rich {
    Nothing,
    Flag(bool),
    Small(i8, u8),
    Middle(i16, u16, i32),
    Signed(i64),
    Unsigned(u64),
    Huge(i128, u128),
    Single(Bits<f32>),
    Double(Bits<f64>),
    Letter(char),
    Text(String),
    Data(Vec<u8>),
    Shared(Bytes),
    Numbers(Vec<i8>),
    Moment(Timestamp),
    Fixed([u16; 3], ()),
    Maybe(Option<Box<Rich>>),
    Outcome(Result<Box<Rich>, String>),
    List(Vec<Rich>),
    Named(BTreeMap<String, Rich>),
    Keyed(BTreeMap<(i16, bool), Rich>),
    Record { number: i32, wrapped: Newtype, rest: Box<Rich>, unit: Unit, note: Option<String> },
    Inside(Box<Tagged>),
    Loose(Vec<Loose>),
}

/// A float that is equal if it is so to the bit, also where it is not a number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Bits<F>(F);

impl PartialEq for Bits<f32> {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl PartialEq for Bits<f64> {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Newtype(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Summary {
    count: usize,
    last: Option<Rich>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Empty,
    Upload { name: String, data: Vec<u8> },
    Nested { inside: Box<Tagged>, wide: i64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Text(String),
    Data(Vec<u8>),
}

fn value(input: &mut Input<'_>, depth: u32) -> Rich {
    let boxed = |input: &mut Input<'_>| Box::new(value(input, depth - 1));
    // What is deepest holds none of its kind.
    match input.below(if depth == 0 { 16 } else { 24 }) {
        0 => Rich::Nothing,
        1 => Rich::Flag(input.flag()),
        2 => Rich::Small(input.byte() as i8, input.byte()),
        3 => Rich::Middle(input.u16() as i16, input.u16(), number(input) as i32),
        4 => Rich::Signed(number(input) as i64),
        5 => Rich::Unsigned(number(input)),
        6 => {
            let large = u128::from(number(input)) << 64 | u128::from(number(input));
            Rich::Huge(large as i128, large.rotate_right(u32::from(input.byte())))
        }
        7 => Rich::Single(Bits(f32::from_bits(number(input) as u32))),
        8 => Rich::Double(Bits(f64::from_bits(number(input)))),
        9 => Rich::Letter(char::from_u32(number(input) as u32 % 0x11_0000).unwrap_or('\u{fffd}')),
        10 => Rich::Text(text(input)),
        11 => Rich::Data(data(input)),
        12 => Rich::Shared(data(input).into()),
        13 => Rich::Numbers(input.counted().iter().map(|byte| *byte as i8).collect()),
        14 => {
            let nanoseconds = number(input) as u32 % 1_000_000_000;
            Rich::Moment(Timestamp::new(number(input) as i64, nanoseconds).unwrap_or(Timestamp::MAX))
        }
        15 => Rich::Fixed([input.u16(), input.u16(), input.u16()], ()),
        16 => Rich::Maybe(input.flag().then(|| boxed(input))),
        17 => Rich::Outcome(if input.flag() { Ok(boxed(input)) } else { Err(text(input)) }),
        18 => Rich::List((0..input.below(40)).map(|_| value(input, depth - 1)).collect()),
        19 => Rich::Named((0..input.below(20)).map(|_| (text(input), value(input, depth - 1))).collect()),
        20 => {
            let entries = (0..input.below(20)).map(|_| {
                let key = (input.u16() as i16, input.flag());
                (key, value(input, depth - 1))
            });
            Rich::Keyed(entries.collect())
        }
        21 => Rich::Record {
            number: number(input) as i32,
            wrapped: Newtype(text(input)),
            rest: boxed(input),
            unit: Unit,
            note: input.flag().then(|| text(input)),
        },
        22 => Rich::Inside(Box::new(tagged(input, depth))),
        _ => Rich::Loose((0..input.below(20)).map(|_| loose(input)).collect()),
    }
}

fn tagged(input: &mut Input<'_>, depth: u32) -> Tagged {
    match input.below(if depth == 0 { 2 } else { 3 }) {
        0 => Tagged::Empty,
        1 => Tagged::Upload { name: text(input), data: data(input) },
        _ => Tagged::Nested { inside: Box::new(tagged(input, depth - 1)), wide: number(input) as i64 },
    }
}

fn loose(input: &mut Input<'_>) -> Loose {
    match input.below(3) {
        0 => Loose::Number(number(input) as i64),
        1 => Loose::Text(text(input)),
        _ => Loose::Data(data(input)),
    }
}

/// Of any size, often at the border of one.
fn number(input: &mut Input<'_>) -> u64 {
    let shift = u32::from(input.byte());
    match shift {
        0..64 => (1u64 << shift).wrapping_sub(1),
        64..128 => 1 << (shift - 64),
        128..192 => input.u64() >> (shift - 128),
        _ => (u64::from(input.byte()) << (shift - 192)).wrapping_neg(),
    }
}

fn text(input: &mut Input<'_>) -> String {
    String::from_utf8_lossy(&data(input)).into_owned()
}

/// A few bytes as they are, or many of one.
fn data(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        count @ 0..224 => input.bytes(usize::from(count)).to_vec(),
        // Up to what is kept apart from a payload's other bytes.
        count => vec![input.byte(); 256 * usize::from(count - 223) + usize::from(input.byte())],
    }
}
