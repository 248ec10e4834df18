//! Frames: however the bytes come, they are cut alike, and memory follows what has come.

use bytes::BufMut;

use super::Input;
use crate::frame::{Assembler, BadLength, LENGTH_BYTES};

/// How much an unfinished frame may have in memory beyond what has come.
const STEP: usize = 64 * 1024;

/// More bytes than this tell nothing new.
const MOST_BYTES: usize = 1 << 20;

/// What the other side sent, as far as it could be read, and whether that was to the end.
type Cut = (Vec<Vec<u8>>, bool);

/// Reads a limit, the sizes of the pieces in which bytes come, and the bytes.
pub fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = 1 + usize::from(input.u16()) * usize::from(input.byte());
    let in_place = input.flag();
    let sizes: Vec<usize> = (0..input.below(8)).map(|_| usize::from(input.u16()) + 1).collect();
    let bytes = stream(&mut input);
    let expected = in_one(&bytes, limit);
    assert_eq!(in_pieces(&bytes, limit, &sizes, in_place), expected);
    assert_eq!(in_pieces(&bytes, limit, &[bytes.len().max(1)], false), expected);
}

/// Bytes as they are, and runs of one, so that a short input makes a long frame.
fn stream(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !input.is_empty() && bytes.len() < MOST_BYTES {
        match input.byte() {
            count @ 0..128 => bytes.extend_from_slice(input.bytes(usize::from(count) + 1)),
            // So many times 512.
            count => bytes.resize(bytes.len() + 512 * usize::from(count - 127), input.byte()),
        }
    }
    bytes
}

/// What a frame is, said in the fewest words.
fn in_one(mut bytes: &[u8], limit: usize) -> Cut {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > limit {
            return (frames, false);
        }
        let Some((frame, rest)) = rest.split_at_checked(length) else { break };
        frames.push(frame.to_vec());
        bytes = rest;
    }
    (frames, true)
}

fn in_pieces(mut bytes: &[u8], limit: usize, sizes: &[usize], in_place: bool) -> Cut {
    let mut assembler = Assembler::new(limit);
    let mut frames = Vec::new();
    let mut came = 0;
    for size in sizes.iter().copied().cycle().chain([usize::MAX]) {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        bytes = rest;
        if take(&mut assembler, piece, in_place, &mut frames, &mut came).is_err() {
            return (frames, false);
        }
        assert!(assembler.held() <= (2 * came).max(came + STEP), "{} bytes for {came}", assembler.held());
    }
    (frames, true)
}

/// What a connection does with each read; of a frame that is not complete `came` says how much has come.
fn take(
    assembler: &mut Assembler,
    mut bytes: &[u8],
    in_place: bool,
    frames: &mut Vec<Vec<u8>>,
    came: &mut usize,
) -> Result<(), BadLength> {
    while assembler.is_partial() && !bytes.is_empty() {
        let before = bytes.len();
        match assembler.missing() {
            Some(missing) if in_place => {
                let (room, step) = assembler.room();
                assert!(0 < step && step <= missing && step <= room.capacity() - room.len());
                let (here, rest) = bytes.split_at(step.min(bytes.len()));
                room.put_slice(here);
                bytes = rest;
            }
            _ => bytes = assembler.fill(bytes)?,
        }
        *came += before - bytes.len();
        if let Some(frame) = assembler.take_complete() {
            frames.push(frame[LENGTH_BYTES..].to_vec());
            *came = 0;
        }
    }
    if !assembler.is_partial() {
        let end = assembler.cut(bytes, |range| frames.push(bytes[range].to_vec()))?;
        assembler.keep(&bytes[end..], |_| Vec::new());
        *came = bytes.len() - end;
    }
    Ok(())
}
