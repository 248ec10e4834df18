//! The hello: what each side says of itself before anything else.

use std::ops::RangeInclusive;

use super::wire::{Reader, put_array, put_map, put_str, put_uint};
use super::{Malformed, kind};
use crate::limits::{Limits, MIN_FRAME_BYTES};

/// What a connection begins with, each way. `0xc1` is the one byte that MessagePack never uses, so no
/// MessagePack-RPC peer begins with it, nor do HTTP and TLS.
pub(crate) const MAGIC: [u8; 4] = [0xc1, b'R', b'P', b'C'];

/// The protocol versions that this side speaks.
pub(crate) const VERSIONS: RangeInclusive<u64> = 1..=1;

/// More features than this are nobody's honest hello.
const MAX_FEATURES: u32 = 64;

const FRAME_BYTES: &str = "frame_bytes";
const CALLS: &str = "calls";

/// What a side takes whose hello does not say: a part of the protocol, not a default of ours.
const UNSAID_FRAME_BYTES: usize = 4 * 1024 * 1024;
const UNSAID_CALLS: usize = 1_024;

/// What the other side said of itself.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) versions: RangeInclusive<u64>,
    /// The largest frame that it takes.
    pub(crate) frame_bytes: usize,
    /// How many calls it runs at once.
    pub(crate) calls: usize,
}

/// Appends the hello of a side with these limits.
pub(crate) fn encode_hello(out: &mut Vec<u8>, versions: RangeInclusive<u64>, limits: &Limits) {
    put_array(out, 5);
    put_uint(out, kind::HELLO);
    put_uint(out, *versions.start());
    put_uint(out, *versions.end());
    // No optional features yet.
    put_array(out, 0);
    put_map(out, 2);
    put_str(out, FRAME_BYTES);
    put_uint(out, limits.frame_bytes() as u64);
    put_str(out, CALLS);
    put_uint(out, limits.calls() as u64);
}

pub(super) fn decode(elements: u32, mut reader: Reader<'_>) -> Result<Hello, Malformed> {
    if elements < 5 {
        return Err(Malformed::new(format!("a hello has at least 5 elements, this one {elements}")));
    }
    let first = reader.uint("the first version of a hello")?;
    let last = reader.uint("the last version of a hello")?;
    if first > last {
        return Err(Malformed::new(format!("versions {first} to {last} in a hello")));
    }
    let features = reader.array("the features of a hello")?;
    if features > MAX_FEATURES {
        return Err(Malformed::new(format!("{features} features in a hello, at most {MAX_FEATURES}")));
    }
    for _ in 0..features {
        // A feature that is not known here is one that will not be used.
        reader.str("the name of a feature")?;
    }
    let mut hello = Hello { versions: first..=last, frame_bytes: UNSAID_FRAME_BYTES, calls: UNSAID_CALLS };
    for _ in 0..reader.map("the limits of a hello")? {
        let name = reader.str("the name of a limit")?;
        let value = reader.uint("a limit")?;
        // What the other side would take is no reason to send more than this machine can count.
        let clamped = usize::try_from(value).unwrap_or(usize::MAX).min(u32::MAX as usize);
        match name {
            FRAME_BYTES if clamped < MIN_FRAME_BYTES => {
                return Err(Malformed::new(format!(
                    "a limit of {value} bytes a frame, at least {MIN_FRAME_BYTES}"
                )));
            }
            FRAME_BYTES => hello.frame_bytes = clamped,
            CALLS if clamped == 0 => return Err(Malformed::new("a limit of 0 calls, at least 1")),
            CALLS => hello.calls = clamped,
            _ => {}
        }
    }
    Ok(hello)
}

#[cfg(test)]
mod tests {
    use super::super::decode_hello;
    use super::*;

    fn hello(frame_bytes: u64, calls: u64, features: &[&str]) -> Result<Hello, Malformed> {
        let mut out = Vec::new();
        put_array(&mut out, 5);
        put_uint(&mut out, kind::HELLO);
        put_uint(&mut out, 1);
        put_uint(&mut out, 3);
        put_array(&mut out, features.len() as u8);
        features.iter().for_each(|name| put_str(&mut out, name));
        put_map(&mut out, 3);
        for (name, value) in [(FRAME_BYTES, frame_bytes), ("from the future", 9), (CALLS, calls)] {
            put_str(&mut out, name);
            put_uint(&mut out, value);
        }
        decode_hello(&out)
    }

    #[test]
    fn case_10_unknown_features_are_ignored() {
        let hello = hello(65_536, 7, &["teleport", "zstd"]).expect("a hello");
        assert_eq!((hello.frame_bytes, hello.calls, hello.versions), (65_536, 7, 1..=3));
    }

    #[test]
    fn case_14_limits_of_zero_are_refused_and_huge_ones_clamped() {
        assert!(hello(0, 7, &[]).is_err());
        assert!(hello(65_536, 0, &[]).is_err());
        let clamped = hello(u64::MAX, u64::MAX, &[]).expect("a hello");
        assert_eq!((clamped.frame_bytes, clamped.calls), (u32::MAX as usize, u32::MAX as usize));
    }

    #[test]
    fn versions_the_wrong_way_round_are_refused() {
        // Else a hello of 3 to 1 would have a version in common with a side that speaks 1 to 3.
        assert!(decode_hello(&[0x95, 10, 3, 1, 0x90, 0x80]).is_err());
    }

    #[test]
    fn what_is_not_said_has_a_value() {
        let hello = decode_hello(&[0x95, 10, 1, 1, 0x90, 0x80]).expect("a hello");
        assert_eq!((hello.frame_bytes, hello.calls), (4 * 1024 * 1024, 1_024));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        encode_hello(&mut out, VERSIONS, &Limits::default().with_calls(5));
        let hello = decode_hello(&out).expect("a hello");
        assert_eq!((hello.versions, hello.calls, hello.frame_bytes), (VERSIONS, 5, 4 * 1024 * 1024));
    }
}
