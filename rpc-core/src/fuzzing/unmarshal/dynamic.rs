//! A value that can be anything, read by rmpv as well: both take the same and mean the same, but for what is here
//! written down as stricter.

use rmp::Marker;
use rmpv::Value;

use crate::Limits;
use crate::marshal::{Guard, Payload, unmarshal_payload};

pub(super) fn check(bytes: &[u8], limits: &Limits) {
    let ours = unmarshal_payload::<Value>(&Payload::from_slice(bytes), Guard::from(limits));
    let mut rest = bytes;
    // Deeper than any guard here; it counts each level twice.
    let theirs = rmpv::decode::read_value_with_max_depth(&mut rest, 200).ok().filter(|value| {
        let budget = limits.unmarshal_budget() + bytes.len();
        // Nothing follows it; its texts are UTF-8; the byte that means nothing is not in it (which rmpv takes for
        // nil); it is within the guard.
        rest.is_empty()
            && is_utf8(value)
            && !has_reserved(bytes)
            && depth(value) <= limits.unmarshal_depth()
            && cost(value) <= budget
    });
    match (ours, theirs) {
        (Ok(ours), Some(theirs)) => assert!(same(&ours, &theirs), "{ours:?} is not {theirs:?}"),
        (Err(_), None) => {}
        (ours, theirs) => panic!("{ours:?}, where rmpv has {theirs:?}"),
    }
}

fn is_utf8(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_str(),
        Value::Array(values) => values.iter().all(is_utf8),
        Value::Map(entries) => entries.iter().all(|(key, value)| is_utf8(key) && is_utf8(value)),
        _ => true,
    }
}

fn depth(value: &Value) -> u32 {
    let deepest = |values: &mut dyn Iterator<Item = &Value>| values.map(depth).max().unwrap_or_default();
    match value {
        Value::Array(values) => 1 + deepest(&mut values.iter()),
        Value::Map(entries) => 1 + deepest(&mut entries.iter().flat_map(|(key, value)| [key, value])),
        Value::Ext(..) => 1,
        _ => 0,
    }
}

/// What a value is charged: the size of each that is in another, and of a map as if it had four entries at least.
fn cost(value: &Value) -> usize {
    const EACH: usize = size_of::<Value>();
    match value {
        Value::Array(values) => EACH * values.len() + values.iter().map(cost).sum::<usize>(),
        Value::Map(entries) if !entries.is_empty() => {
            let inside: usize = entries.iter().map(|(key, value)| cost(key) + cost(value)).sum();
            2 * EACH * entries.len().max(4) + inside
        }
        _ => 0,
    }
}

/// Equal to the bit, which of floats is more than equal.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::F32(one), Value::F32(other)) => one.to_bits() == other.to_bits(),
        (Value::F64(one), Value::F64(other)) => one.to_bits() == other.to_bits(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Map(one), Value::Map(other)) => {
            let entries = one.iter().zip(other);
            one.len() == other.len()
                && entries.into_iter().all(|(one, other)| same(&one.0, &other.0) && same(&one.1, &other.1))
        }
        _ => one == other,
    }
}

/// Whether the byte that means nothing stands where a value begins, in a value that is whole otherwise.
fn has_reserved(mut bytes: &[u8]) -> bool {
    let mut values = 1u64;
    while let (1.., Some((first, rest))) = (values, bytes.split_first()) {
        let number =
            |width: usize| rest.iter().take(width).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        // How many bytes belong to the head, how many values follow and how many bytes before them.
        let (head, inside, contents) = match Marker::from_u8(*first) {
            Marker::Reserved => return true,
            Marker::FixArray(len) => (0, u64::from(len), 0),
            Marker::Array16 => (2, number(2), 0),
            Marker::Array32 => (4, number(4), 0),
            Marker::FixMap(len) => (0, 2 * u64::from(len), 0),
            Marker::Map16 => (2, 2 * number(2), 0),
            Marker::Map32 => (4, 2 * number(4), 0),
            Marker::FixStr(len) => (0, 0, u64::from(len)),
            Marker::Str8 | Marker::Bin8 => (1, 0, number(1)),
            Marker::Str16 | Marker::Bin16 => (2, 0, number(2)),
            Marker::Str32 | Marker::Bin32 => (4, 0, number(4)),
            Marker::Ext8 => (2, 0, number(1)),
            Marker::Ext16 => (3, 0, number(2)),
            Marker::Ext32 => (5, 0, number(4)),
            Marker::FixExt1 => (1, 0, 1),
            Marker::FixExt2 => (1, 0, 2),
            Marker::FixExt4 => (1, 0, 4),
            Marker::FixExt8 => (1, 0, 8),
            Marker::FixExt16 => (1, 0, 16),
            Marker::U8 | Marker::I8 => (1, 0, 0),
            Marker::U16 | Marker::I16 => (2, 0, 0),
            Marker::U32 | Marker::I32 | Marker::F32 => (4, 0, 0),
            Marker::U64 | Marker::I64 | Marker::F64 => (8, 0, 0),
            Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => (0, 0, 0),
        };
        values = values - 1 + inside;
        bytes = rest.get(head + contents as usize..).unwrap_or_default();
    }
    false
}
