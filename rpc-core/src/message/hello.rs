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

/// Large messages may come in fragments.
const FRAGMENTS: &str = "fragments";
/// Calls may have streams.
const STREAMS: &str = "streams";

const FRAME_BYTES: &str = "frame_bytes";
const CALLS: &str = "calls";
const MESSAGE_BYTES: &str = "message_bytes";
const OPEN_STREAMS: &str = "streams";
const STREAM_BYTES: &str = "stream_bytes";
const PINGS_PER_SECOND: &str = "pings_per_second";
const CANCELS: &str = "cancels";
const CANCELS_PER_SECOND: &str = "cancels_per_second";

/// What a side takes whose hello does not say: a part of the protocol, not a default of ours.
const UNSAID_FRAME_BYTES: usize = 4 * 1024 * 1024;
const UNSAID_CALLS: usize = 1_024;
const UNSAID_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
const UNSAID_STREAMS: usize = 1_024;
const UNSAID_STREAM_BYTES: usize = 64 * 1024;
const UNSAID_PINGS_PER_SECOND: u32 = 10;
const UNSAID_CANCELS: u32 = 1_000;
const UNSAID_CANCELS_PER_SECOND: u32 = 200;

/// What a side says of itself.
#[derive(Debug, PartialEq)]
pub(crate) struct Hello {
    pub(crate) versions: RangeInclusive<u64>,
    /// The largest frame that it takes.
    pub(crate) frame_bytes: usize,
    /// How many calls it runs at once.
    pub(crate) calls: usize,
    /// The largest message that it takes, if messages may come in fragments.
    pub(crate) message_bytes: usize,
    /// How many calls with streams it runs at once.
    pub(crate) streams: usize,
    /// The credit that each stream towards it begins with.
    pub(crate) stream_bytes: usize,
    /// How often it may be pinged.
    pub(crate) pings_per_second: u32,
    /// How many calls that have hardly begun may be cancelled at once, and in a second.
    pub(crate) cancels: u32,
    pub(crate) cancels_per_second: u32,
    /// Whether it puts fragments together, and whether it knows streams.
    pub(crate) has_fragments: bool,
    pub(crate) has_streams: bool,
}

impl Hello {
    /// What a side with these limits says of itself.
    pub(crate) fn new(limits: &Limits) -> Self {
        Hello {
            versions: VERSIONS,
            frame_bytes: limits.frame_bytes(),
            calls: limits.calls(),
            message_bytes: limits.message_bytes(),
            streams: limits.streams(),
            stream_bytes: limits.stream_bytes(),
            pings_per_second: limits.pings_per_second(),
            cancels: limits.cancels(),
            cancels_per_second: limits.cancels_per_second(),
            has_fragments: true,
            has_streams: true,
        }
    }

    /// What a side says that names no feature and no limit.
    fn unsaid(versions: RangeInclusive<u64>) -> Self {
        Hello {
            versions,
            frame_bytes: UNSAID_FRAME_BYTES,
            calls: UNSAID_CALLS,
            message_bytes: UNSAID_MESSAGE_BYTES,
            streams: UNSAID_STREAMS,
            stream_bytes: UNSAID_STREAM_BYTES,
            pings_per_second: UNSAID_PINGS_PER_SECOND,
            cancels: UNSAID_CANCELS,
            cancels_per_second: UNSAID_CANCELS_PER_SECOND,
            has_fragments: false,
            has_streams: false,
        }
    }
}

/// Appends a hello.
pub(crate) fn encode_hello(out: &mut Vec<u8>, hello: &Hello) {
    put_array(out, 5);
    put_uint(out, kind::HELLO);
    put_uint(out, *hello.versions.start());
    put_uint(out, *hello.versions.end());
    let features = [(FRAGMENTS, hello.has_fragments), (STREAMS, hello.has_streams)];
    put_array(out, features.iter().filter(|(_, has)| *has).count() as u8);
    features.iter().filter(|(_, has)| *has).for_each(|(name, _)| put_str(out, name));
    let limits = [
        (FRAME_BYTES, hello.frame_bytes),
        (CALLS, hello.calls),
        (MESSAGE_BYTES, hello.message_bytes),
        (OPEN_STREAMS, hello.streams),
        (STREAM_BYTES, hello.stream_bytes),
    ];
    // Most sides have nothing to say of these but what is understood.
    let rare = [
        (PINGS_PER_SECOND, hello.pings_per_second, UNSAID_PINGS_PER_SECOND),
        (CANCELS, hello.cancels, UNSAID_CANCELS),
        (CANCELS_PER_SECOND, hello.cancels_per_second, UNSAID_CANCELS_PER_SECOND),
    ];
    let rare = rare.into_iter().filter(|(_, limit, unsaid)| limit != unsaid);
    put_map(out, limits.len() + rare.clone().count());
    for (name, limit) in limits {
        put_str(out, name);
        put_uint(out, limit as u64);
    }
    for (name, limit, _) in rare {
        put_str(out, name);
        put_uint(out, limit.into());
    }
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
    let mut hello = Hello::unsaid(first..=last);
    for _ in 0..features {
        match reader.str("the name of a feature")? {
            FRAGMENTS => hello.has_fragments = true,
            STREAMS => hello.has_streams = true,
            // A feature that is not known here is one that will not be used.
            _ => {}
        }
    }
    for _ in 0..reader.map("the limits of a hello")? {
        let name = reader.str("the name of a limit")?;
        let value = reader.uint("a limit")?;
        // What the other side would take is no reason to send more than this machine can count.
        let clamped = usize::try_from(value).unwrap_or(usize::MAX).min(u32::MAX as usize);
        let rare = match name {
            PINGS_PER_SECOND => Some(&mut hello.pings_per_second),
            CANCELS => Some(&mut hello.cancels),
            CANCELS_PER_SECOND => Some(&mut hello.cancels_per_second),
            _ => None,
        };
        if let Some(place) = rare {
            if value == 0 {
                return Err(Malformed::new(format!("a limit of 0 {name}, at least 1")));
            }
            *place = clamped as u32;
            continue;
        }
        let (place, least, unit) = match name {
            FRAME_BYTES => (&mut hello.frame_bytes, MIN_FRAME_BYTES, "bytes a frame"),
            CALLS => (&mut hello.calls, 1, "calls"),
            MESSAGE_BYTES => (&mut hello.message_bytes, MIN_FRAME_BYTES, "bytes a message"),
            OPEN_STREAMS => (&mut hello.streams, 1, "calls with streams"),
            STREAM_BYTES => (&mut hello.stream_bytes, 1, "bytes a stream"),
            _ => continue,
        };
        if clamped < least {
            return Err(Malformed::new(format!("a limit of {value} {unit}, at least {least}")));
        }
        *place = clamped;
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
        for name in [PINGS_PER_SECOND, CANCELS, CANCELS_PER_SECOND] {
            let mut out = vec![0x95, 10, 1, 1, 0x90, 0x81];
            put_str(&mut out, name);
            put_uint(&mut out, 0);
            assert!(decode_hello(&out).is_err(), "{name}");
        }
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
        assert_eq!((hello.message_bytes, hello.streams, hello.stream_bytes), (64 << 20, 1_024, 65_536));
        assert!(!hello.has_fragments && !hello.has_streams);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        let limits = Limits::default().with_calls(5).with_streams(6).with_stream_bytes(7);
        let rare = limits.clone().with_pings_per_second(8).with_cancels(9).with_cancels_per_second(10);
        for limits in [limits, rare] {
            let written = Hello::new(&limits);
            out.clear();
            encode_hello(&mut out, &written);
            assert_eq!(decode_hello(&out).expect("a hello"), written);
        }
    }
}
