//! Fragments: the pieces of a message that is too large to go at once.

use super::wire::{NIL, Reader, put_array, put_bin_head, put_uint};
use super::{Malformed, kind};

/// What the head of a fragment takes at most.
pub(crate) const FRAGMENT_HEAD_BYTES: usize = 32;

/// From so many bytes of a fragment on its head is among them, however its sender writes numbers.
pub(crate) const FRAGMENT_BEGUN_BYTES: usize = 40;

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    /// Which of the messages that are under way it belongs to.
    pub(crate) number: u64,
    /// How many bytes of the message follow after this piece; none: the message is given up.
    pub(crate) rest: Option<u64>,
    /// How many bytes this piece has, and those of them that are here.
    pub(crate) length: usize,
    pub(crate) data: &'a [u8],
}

/// Appends all of a fragment but its data, of this length, which are to follow.
pub(crate) fn encode_fragment(out: &mut Vec<u8>, number: u64, rest: Option<u64>, length: usize) {
    put_array(out, 4);
    put_uint(out, kind::FRAGMENT);
    put_uint(out, number);
    match rest {
        Some(rest) => put_uint(out, rest),
        None => out.push(NIL),
    }
    put_bin_head(out, length);
}

/// The fragment in a frame of this length, if it is one: fragments are put together before anybody asks what they
/// mean. At least [`FRAGMENT_BEGUN_BYTES`] of the frame are here, or all of it.
///
/// # Errors
/// It is one, and not sound.
#[inline]
pub(crate) fn decode_fragment(begun: &[u8], length: usize) -> Option<Result<Fragment<'_>, Malformed>> {
    // Most messages are told by two bytes.
    match begun {
        [0x90..=0x9f, kind @ 0..=0x7f, ..] if u64::from(*kind) != kind::FRAGMENT => None,
        _ => decode_if_fragment(begun, length),
    }
}

fn decode_if_fragment(begun: &[u8], length: usize) -> Option<Result<Fragment<'_>, Malformed>> {
    let mut reader = Reader::new(begun);
    let elements = reader.array("a message").ok()?;
    let kind = reader.uint("the kind of a message").ok()?;
    (kind == kind::FRAGMENT).then(|| decode(elements, reader, length - begun.len()))
}

fn decode(elements: u32, mut reader: Reader<'_>, missing: usize) -> Result<Fragment<'_>, Malformed> {
    if elements != 4 {
        return Err(Malformed::new(format!("a fragment has 4 elements, this one {elements}")));
    }
    let number = reader.uint("the number of a fragment")?;
    let rest = reader.optional_uint("the rest of a fragment")?;
    let length = reader.bin_head("the data of a fragment")?;
    let data = reader.rest();
    if length != data.len() + missing {
        let text = format!("{} bytes in place of a fragment's data of {length}", data.len() + missing);
        return Err(Malformed::new(text));
    }
    Ok(Fragment { number, rest, length, data })
}

/// What is to be said of a fragment where they are not in use.
pub(crate) fn unknown_fragment() -> Malformed {
    super::unknown(kind::FRAGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_survive_and_other_messages_are_none() {
        for (rest, length) in [(Some(0), 0), (Some(70_000), 255), (Some(1 << 33), 65_536), (None, 0)] {
            let data = vec![7; length];
            let mut frame = Vec::new();
            encode_fragment(&mut frame, 1 << 40, rest, length);
            assert!(frame.len() <= FRAGMENT_HEAD_BYTES, "{} bytes of head", frame.len());
            frame.extend_from_slice(&data);
            let decoded = decode_fragment(&frame, frame.len()).expect("a fragment").expect("a sound one");
            assert_eq!(decoded, Fragment { number: 1 << 40, rest, length, data: &data });
            for end in 0..frame.len().min(100) {
                let cut = decode_fragment(&frame[..end], end);
                assert!(cut.is_none_or(|fragment| fragment.is_err()), "{end} bytes");
            }
        }
        assert!(decode_fragment(&[0x92, 6, 1], 3).is_none());
        assert!(decode_fragment(&[], 0).is_none());
        assert!(decode_fragment(&[0x93, 14, 1, 0], 4).is_some_and(|fragment| fragment.is_err()));
    }

    #[test]
    fn a_fragment_is_known_by_its_beginning() {
        let mut frame = Vec::new();
        encode_fragment(&mut frame, 3, Some(70_000), 1_000);
        frame.resize(frame.len() + 1_000, 7);
        // Miri is slow.
        for end in (FRAGMENT_BEGUN_BYTES..frame.len()).step_by(if cfg!(miri) { 50 } else { 1 }) {
            let begun =
                decode_fragment(&frame[..end], frame.len()).expect("a fragment").expect("a sound one");
            assert_eq!((begun.number, begun.rest, begun.length), (3, Some(70_000), 1_000));
            assert_eq!(begun.data.len(), 1_000 - (frame.len() - end));
        }
        // One whose frame is longer than its data says so before the rest has come.
        assert!(decode_fragment(&frame[..100], frame.len() + 1).is_some_and(|fragment| fragment.is_err()));
    }

    #[test]
    fn the_longest_forms_of_numbers_are_taken_and_fit_what_must_be_here() {
        let mut frame = vec![0xdd, 0, 0, 0, 4];
        for number in [14u64, 3, 9] {
            frame.push(0xcf);
            frame.extend_from_slice(&number.to_be_bytes());
        }
        frame.extend_from_slice(&[0xc6, 0, 0, 0, 1]);
        assert!(frame.len() < FRAGMENT_BEGUN_BYTES, "{} bytes", frame.len());
        frame.push(7);
        let decoded = decode_fragment(&frame, frame.len()).expect("a fragment").expect("a sound one");
        assert_eq!(decoded, Fragment { number: 3, rest: Some(9), length: 1, data: &[7] });
    }
}
