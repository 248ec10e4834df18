//! rmp-serde as a second opinion: what is written is what it writes alone, and what is read is what it reads.

use std::collections::BTreeMap;
use std::fmt::Debug;

use rmp_serde::config::BytesMode;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{fewer, named, positional};
use crate::marshal::unmarshal;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Value {
    Nil,
    Flag(bool),
    Number(i64),
    Large(u64),
    Real(f64),
    Text(String),
    Data(Vec<u8>),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    Pair(Box<Value>, Option<Box<Value>>),
    Record { a: i8, b: Option<char>, c: (u16, f32) },
    Huge(u128),
}

/// The same numbers in the same order for a seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // The constants of Knuth's MMIX generator; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn value(&mut self, depth: u32) -> Value {
        let kinds = if depth == 0 { 7 } else { 12 };
        let magnitude = self.below(64) as u32;
        match self.below(kinds) {
            0 => Value::Nil,
            1 => Value::Flag(self.below(2) == 0),
            2 => Value::Number((self.next() << 16) as i64 >> magnitude),
            3 => Value::Large((self.next() << 16) >> magnitude),
            4 => Value::Real(self.next() as f64 / 3.0),
            5 => Value::Text("é".repeat(self.below(40))),
            // Empty ones are the one thing that rmp-serde alone would write otherwise.
            6 => Value::Data(vec![self.next() as u8; self.below(300) + 1]),
            7 => Value::List((0..self.below(20)).map(|_| self.value(depth - 1)).collect()),
            8 => {
                Value::Map((0..self.below(20)).map(|key| (key.to_string(), self.value(depth - 1))).collect())
            }
            9 => {
                let other = (self.below(2) == 0).then(|| Box::new(self.value(depth - 1)));
                Value::Pair(Box::new(self.value(depth - 1)), other)
            }
            10 => Value::Record {
                a: self.next() as i8,
                b: char::from_u32(self.next() as u32 % 0x11_0000),
                c: (self.next() as u16, self.next() as f32),
            },
            _ => Value::Huge(u128::from(self.next()) << magnitude),
        }
    }
}

fn theirs<T: Serialize>(value: &T, is_named: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let serializer = rmp_serde::Serializer::new(&mut bytes).with_bytes(BytesMode::ForceIterables);
    if is_named {
        value.serialize(&mut serializer.with_struct_map()).unwrap();
    } else {
        value.serialize(&mut serializer.with_struct_tuple()).unwrap();
    }
    bytes
}

#[track_caller]
fn agree<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    for (ours, theirs) in [(named(value), theirs(value, true)), (positional(value), theirs(value, false))] {
        assert!(ours.as_slice() == theirs, "{value:?} became\n{:02x?}, not\n{theirs:02x?}", ours.as_slice());
        assert_eq!(&unmarshal::<T>(&ours).unwrap(), value);
    }
}

#[test]
fn random_values_are_written_as_they_are_by_rmp_serde() {
    for seed in 0..fewer::<500, 3>() as u64 {
        agree(&Random(seed).value(4));
    }
}

#[test]
fn heads_of_every_size_are_written_as_they_are_by_rmp_serde() {
    for len in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536].into_iter().take(fewer::<10, 4>()) {
        agree(&"x".repeat(len));
        agree(&vec![1u8; len + 1]);
        agree(&vec![-1i8; len]);
        agree(&(0..len as u32).map(|key| (key, ())).collect::<BTreeMap<_, _>>());
    }
}

/// Every form of every scalar begins and ends at a power of two.
#[test]
fn scalars_of_every_size_are_written_as_they_are_by_rmp_serde() {
    for shift in (0..=64).step_by(fewer::<1, 32>()) {
        for off in -1..=1 {
            let number = (1i128 << shift) + off;
            agree(&(number as i64, -number as i64, number as u64));
            agree(&(number as i32, -number as i32, number as u32));
            agree(&(number as i16, -number as i16, number as u16));
            agree(&(number as i8, -number as i8, number as u8));
            agree(&(number as f32, -number as f64));
            // The last places before the bytes do not fit inline any more, and the first behind.
            agree(&("x".repeat(shift), number as i64, -number as f32, number as u16, shift % 2 == 0));
            agree(&("x".repeat(shift), None::<u8>, Value::Nil, "é".repeat(shift), 'é'));
        }
    }
}

/// Whatever bytes come, nothing panics; and what is taken is taken by the other side, too, and is the same.
#[test]
fn damaged_bytes_are_refused_or_mean_the_same_to_both() {
    let mut taken = 0;
    for seed in 0..fewer::<3_000, 15>() as u64 {
        let mut random = Random(seed);
        let mut bytes = named(&random.value(fewer::<3, 1>() as u32)).to_vec();
        for _ in 0..=random.below(3) {
            match random.below(3) {
                0 => {
                    let at = random.below(bytes.len());
                    bytes[at] = random.next() as u8;
                }
                1 => bytes.truncate(random.below(bytes.len()) + 1),
                _ => bytes.insert(random.below(bytes.len()), random.next() as u8),
            }
        }
        let _ = unmarshal::<IgnoredAny>(&bytes);
        if let Ok(value) = unmarshal::<Value>(&bytes) {
            taken += 1;
            let theirs = rmp_serde::from_slice::<Value>(&bytes);
            // Compared as text, because NaN equals nothing.
            assert_eq!(format!("{:?}", theirs.unwrap()), format!("{value:?}"), "seed {seed}: {bytes:02x?}");
        }
    }
    // Under Miri they are too few to say more than that nothing is read that should not be.
    assert!(
        taken > 150 || cfg!(miri),
        "only {taken} of the damaged values were taken, so this compares too little"
    );
}
