//! Fragments: the pieces of a message that is too large to go at once.

use super::wire::{NIL, Reader, put_array, put_bin_head, put_uint};
use super::{Malformed, kind};

/// What the head of a fragment takes at most.
pub(crate) const FRAGMENT_HEAD_BYTES: usize = 32;

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    /// Which of the messages that are under way it belongs to.
    pub(crate) number: u64,
    /// How many bytes of the message follow after this piece; none: the message is given up.
    pub(crate) rest: Option<u64>,
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

/// The fragment in a frame, if it is one: fragments are put together before anybody asks what they mean.
///
/// # Errors
/// It is one, and not sound.
pub(crate) fn decode_fragment(frame: &[u8]) -> Option<Result<Fragment<'_>, Malformed>> {
    let mut reader = Reader::new(frame);
    let elements = reader.array("a message").ok()?;
    let kind = reader.uint("the kind of a message").ok()?;
    (kind == kind::FRAGMENT).then(|| decode(elements, reader))
}

fn decode(elements: u32, mut reader: Reader<'_>) -> Result<Fragment<'_>, Malformed> {
    if elements != 4 {
        return Err(Malformed::new(format!("a fragment has 4 elements, this one {elements}")));
    }
    let number = reader.uint("the number of a fragment")?;
    let rest = reader.optional_uint("the rest of a fragment")?;
    let data = reader.bin("the data of a fragment")?;
    if !reader.is_empty() {
        return Err(Malformed::new("bytes follow the data of a fragment"));
    }
    Ok(Fragment { number, rest, data })
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
            let decoded = decode_fragment(&frame).expect("a fragment").expect("a sound one");
            assert_eq!(decoded, Fragment { number: 1 << 40, rest, data: &data });
            assert!(decode_fragment(&frame[..frame.len() - 1]).is_none_or(|fragment| fragment.is_err()));
        }
        assert!(decode_fragment(&[0x92, 6, 1]).is_none());
        assert!(decode_fragment(&[]).is_none());
        assert!(decode_fragment(&[0x93, 14, 1, 0]).is_some_and(|fragment| fragment.is_err()));
    }
}
