//! Bytes on their way out: small frames side by side in one buffer, large payloads where they lie.

use std::io::IoSlice;

use bytes::Bytes;

use super::rare_queue::RareQueue;
use crate::frame::LENGTH_BYTES;
use crate::marshal::{APART_BYTES, Gather, Payload};

/// A buffer that a burst has blown up beyond this is given back to the allocator.
const KEEP_BYTES: usize = 64 * 1024;

/// A connection may keep a buffer of so many bytes for as long as it lives: it is enough for a small call...
const OWN_BYTES: usize = 128;

/// ...and one of so many while it has something to do.
const IDLE_BYTES: usize = 4 * 1024;

/// How many pieces one write gathers; Linux takes 1,024, and more than this gains nothing.
pub(crate) const MAX_SLICES: usize = 32;

/// Frames to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Large payloads, or parts of some, each with the place in `bytes` before which it stands.
    payloads: Vec<(usize, Bytes)>,
    len: usize,
    /// How much of it has been written, counted in whole payloads and bytes.
    written_bytes: usize,
    written_payloads: usize,
    /// How much of the first unwritten payload has been written.
    written_of_payload: usize,
    /// Frames that were taken back: where they began, counted as if none had been, and their sizes.
    taken_back: RareQueue<(usize, usize)>,
    /// How much of it, at its end, are fragments.
    fragments: usize,
}

impl Outbox {
    /// How many bytes are still to be written.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The same without the fragments of large messages.
    pub(crate) fn small_len(&self) -> usize {
        self.len.saturating_sub(self.fragments)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a frame: what `head` appends, then the payload.
    #[inline]
    pub(crate) fn push(&mut self, payload: &Payload, head: impl FnOnce(&mut Vec<u8>)) {
        self.push_frame(|outbox| {
            head(&mut outbox.bytes);
            payload.hand_over(outbox);
        });
    }

    /// Appends a frame of what `fill` appends, and gives its size.
    #[inline]
    fn push_frame(&mut self, fill: impl FnOnce(&mut Self)) -> usize {
        let (start, apart) = (self.bytes.len(), self.payloads.len());
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        fill(self);
        let apart: usize = self.payloads[apart..].iter().map(|(_, payload)| payload.len()).sum();
        let frame = self.bytes.len() - start + apart;
        // Senders check a frame against the other side's limit, which is below 4 GiB.
        let length = (frame - LENGTH_BYTES) as u32;
        self.bytes[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        self.len += frame;
        frame
    }

    /// Appends a frame whose payload is copied, however large it is.
    pub(crate) fn push_copied(&mut self, payload: &[u8], head: impl FnOnce(&mut Vec<u8>)) {
        self.push_message(|out| {
            head(out);
            out.extend_from_slice(payload);
        });
    }

    /// Appends a fragment: what `head` appends, then the slices. Gives its size. Nothing but fragments may follow.
    pub(crate) fn push_fragment(
        &mut self,
        slices: impl Iterator<Item = Bytes>,
        head: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let frame = self.push_frame(|outbox| {
            head(&mut outbox.bytes);
            for slice in slices {
                if slice.len() < APART_BYTES { outbox.copy(&slice) } else { outbox.keep(slice) }
            }
        });
        self.fragments += frame;
        frame
    }

    /// Appends a frame without a payload.
    #[inline]
    pub(crate) fn push_message(&mut self, message: impl FnOnce(&mut Vec<u8>)) {
        self.push(&Payload::from_slice(&[]), message);
    }

    /// Removes the frame at a place that [`push`](Self::push) appended it to: counted in bytes from the beginning,
    /// those of frames taken back before included. Nothing may be written yet.
    pub(crate) fn take_back(&mut self, place: usize) {
        let gone: usize = self.taken_back.iter().filter(|(at, _)| *at < place).map(|(_, frame)| frame).sum();
        let frame = self.remove(place - gone);
        self.taken_back.push_back((place, frame));
    }

    /// The same for many places, in time that their number does not multiply.
    pub(crate) fn take_all_back(&mut self, mut places: Vec<usize>) {
        places.sort_unstable();
        let mut taken_back: Vec<_> = self.taken_back.iter().copied().collect();
        taken_back.sort_unstable();
        let mut gone: usize = taken_back.iter().map(|(_, frame)| frame).sum();
        // The last ones first, so that those before them stay where they are.
        for place in places.into_iter().rev() {
            while let Some((_, frame)) = taken_back.pop_if(|(at, _)| *at > place) {
                gone -= frame;
            }
            let frame = self.remove(place - gone);
            self.taken_back.push_back((place, frame));
        }
    }

    /// Removes the frame that begins at a place, counted in the bytes that are there, and gives its size.
    fn remove(&mut self, mut start: usize) -> usize {
        let mut index = 0;
        while let Some((before, payload)) = self.payloads.get(index).filter(|(before, _)| *before < start) {
            debug_assert!(before + payload.len() <= start, "a frame does not begin within a payload");
            start -= payload.len();
            index += 1;
        }
        let Some(length) = self.bytes.get(start..).and_then(|bytes| bytes.first_chunk::<LENGTH_BYTES>())
        else {
            debug_assert!(false, "a frame begins there");
            return 0;
        };
        let frame = LENGTH_BYTES + u32::from_be_bytes(*length) as usize;
        // What stands apart is of this frame if it stands before the end of what does not.
        let mut rest = frame;
        let mut end = index;
        while let Some((before, payload)) = self.payloads.get(end) {
            match rest.checked_sub(payload.len()) {
                Some(without) if *before <= start + without => rest = without,
                _ => break,
            }
            end += 1;
        }
        self.payloads.drain(index..end);
        self.bytes.drain(start..start + rest);
        for (before, _) in &mut self.payloads[index..] {
            *before -= rest;
        }
        self.len -= frame;
        frame
    }

    /// Appends bytes that are no frame: the magic.
    pub(crate) fn push_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// All there is, where no large payload is among it.
    pub(crate) fn contiguous(&self) -> &[u8] {
        debug_assert!(self.payloads.is_empty(), "large payloads stand apart");
        &self.bytes
    }

    /// Moves all of `other`, of which nothing may be written yet, to the end of this.
    #[inline]
    pub(crate) fn append(&mut self, other: &mut Outbox) {
        debug_assert_eq!(
            other.written_bytes + other.written_payloads,
            0,
            "an outbox half written is never moved"
        );
        if self.is_empty() {
            std::mem::swap(self, other);
            // What was taken back here still counts for the places of what comes.
            std::mem::swap(&mut self.taken_back, &mut other.taken_back);
            other.clear();
            return;
        }
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.payloads.extend(other.payloads.drain(..).map(|(at, payload)| (base + at, payload)));
        self.len += other.len;
        other.clear();
    }

    /// Forgets everything, but keeps a buffer of ordinary size.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.payloads.clear();
        self.len = 0;
        self.written_bytes = 0;
        self.written_payloads = 0;
        self.written_of_payload = 0;
        self.taken_back.clear();
        self.fragments = 0;
    }

    /// Whether its buffers are larger than a connection may keep.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        self.bytes.capacity() > OWN_BYTES || self.payloads.capacity() > 0
    }

    /// Takes the buffers of another where they are larger, in exchange for its own. Both are empty.
    pub(crate) fn take_larger_buffer(&mut self, other: &mut Outbox) {
        debug_assert!(self.is_empty() && other.is_empty(), "what waits to go out is not exchanged");
        if other.bytes.capacity() > self.bytes.capacity() {
            std::mem::swap(&mut self.bytes, &mut other.bytes);
        }
        if other.payloads.capacity() > self.payloads.capacity() {
            std::mem::swap(&mut self.payloads, &mut other.payloads);
        }
    }

    /// Gives up buffers that nothing is worth keeping while nothing happens. It is empty.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() > IDLE_BYTES {
            self.bytes = Vec::new();
        }
        self.payloads = Vec::new();
        self.taken_back.shrink();
    }

    /// Fills `slices` with the next pieces to write and says how many there are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        let mut put = |piece: &'a [u8]| {
            if !piece.is_empty() && count < MAX_SLICES {
                slices[count] = IoSlice::new(piece);
                count += 1;
            }
        };
        let mut at = self.written_bytes;
        let mut skip = self.written_of_payload;
        for (before, payload) in self.payloads[self.written_payloads..].iter().take(MAX_SLICES) {
            put(&self.bytes[at..*before]);
            put(&payload[skip..]);
            at = *before;
            skip = 0;
        }
        // Only now is it sure that no payload stands before the rest.
        if self.payloads.len() - self.written_payloads <= MAX_SLICES {
            put(&self.bytes[at..]);
        }
        count
    }

    /// Marks the next `count` bytes as written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while count > 0 {
            let next = self.payloads.get(self.written_payloads);
            let small = next.map_or(self.bytes.len(), |(before, _)| *before) - self.written_bytes;
            let step = count.min(small);
            self.written_bytes += step;
            count -= step;
            if let (Some((_, payload)), true) = (next, step == small) {
                let step = count.min(payload.len() - self.written_of_payload);
                self.written_of_payload += step;
                count -= step;
                if self.written_of_payload == payload.len() {
                    // Written payloads are let go at once: they may be large.
                    self.payloads[self.written_payloads].1 = Bytes::new();
                    self.written_payloads += 1;
                    self.written_of_payload = 0;
                }
            }
        }
        if self.is_empty() {
            self.clear();
        }
    }
}

impl Gather for Outbox {
    #[inline]
    fn copy(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    #[inline]
    fn keep(&mut self, bytes: Bytes) {
        self.payloads.push((self.bytes.len(), bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marshal::Shape;

    fn filled() -> (Outbox, Vec<u8>) {
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for (index, size) in [3, APART_BYTES, 0, APART_BYTES + 1, APART_BYTES + 2, 90].into_iter().enumerate()
        {
            let body = vec![index as u8; size];
            outbox.push(&Payload::from(Bytes::from(body.clone())), |out| out.push(0xee));
            expected.extend_from_slice(&(size as u32 + 1).to_be_bytes());
            expected.push(0xee);
            expected.extend_from_slice(&body);
        }
        (outbox, expected)
    }

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outbox.slices(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            let took = step.min(all.len());
            written.extend_from_slice(&all[..took]);
            outbox.advance(took);
        }
        written
    }

    #[test]
    fn case_70_short_writes_give_the_same_bytes() {
        for step in [1, 2, 5, 4_095, 4_096, 4_097, 5_000, 1 << 20] {
            let (mut outbox, expected) = filled();
            assert_eq!(outbox.len(), expected.len());
            assert_eq!(drain(&mut outbox, step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn more_payloads_than_one_write_gathers_keep_their_order() {
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for index in 0..3 * MAX_SLICES {
            let body = vec![index as u8; APART_BYTES];
            outbox.push(&Payload::from(Bytes::from(body.clone())), |_| {});
            expected.extend_from_slice(&(APART_BYTES as u32).to_be_bytes());
            expected.extend_from_slice(&body);
        }
        assert_eq!(drain(&mut outbox, usize::MAX), expected);
    }

    #[test]
    fn frames_taken_back_leave_the_others_as_they_are() {
        let sizes = [3, APART_BYTES, 0, APART_BYTES + 1, APART_BYTES + 2, 90];
        // All orders of taking three of the six back, the large ones among them.
        for first in 0..sizes.len() {
            for second in (0..sizes.len()).filter(|second| *second != first) {
                let third = (0..sizes.len()).find(|third| *third != first && *third != second).expect("six");
                let mut outbox = Outbox::default();
                let mut places = Vec::new();
                let mut place = 0;
                for (index, size) in sizes.into_iter().enumerate() {
                    places.push(place);
                    let body = Bytes::from(vec![index as u8; size]);
                    outbox.push(&Payload::from(body), |out| out.push(0xee));
                    place += LENGTH_BYTES + 1 + size;
                }
                let gone = [first, second, third];
                // One by one, all at once, and some so and the others so.
                let (alone, together) = gone.split_at((first + second) % 4);
                alone.iter().for_each(|index| outbox.take_back(places[*index]));
                outbox.take_all_back(together.iter().map(|index| places[*index]).collect());
                let mut expected = Vec::new();
                for (index, size) in sizes.into_iter().enumerate().filter(|(index, _)| !gone.contains(index))
                {
                    expected.extend_from_slice(&(size as u32 + 1).to_be_bytes());
                    expected.push(0xee);
                    expected.resize(expected.len() + size, index as u8);
                }
                assert_eq!(outbox.len(), expected.len());
                assert_eq!(drain(&mut outbox, usize::MAX), expected, "without {gone:?}");
            }
        }
    }

    #[test]
    fn frames_of_several_pieces_are_written_and_taken_back_whole() {
        let large = |byte: u8| Bytes::from(vec![byte; APART_BYTES]);
        let payloads = [
            Payload::marshal(&(large(1), 1, large(2)), Shape::Named),
            Payload::marshal(&(7, large(3), large(4), large(5), "end"), Shape::Named),
            Payload::marshal(&(8,), Shape::Named),
            Payload::marshal(&large(6), Shape::Named),
        ]
        .map(|payload| payload.expect("it can be marshalled"));
        for gone in 0..1 << payloads.len() {
            let mut outbox = Outbox::default();
            let (mut expected, mut places, mut place) = (Vec::new(), Vec::new(), 0);
            for (index, payload) in payloads.iter().enumerate() {
                outbox.push(payload, |out| out.push(0xee));
                if gone & 1 << index == 0 {
                    expected.extend_from_slice(&(payload.len() as u32 + 1).to_be_bytes());
                    expected.push(0xee);
                    expected.extend_from_slice(payload);
                } else {
                    places.push(place);
                }
                place += LENGTH_BYTES + 1 + payload.len();
            }
            // In this order and in the other.
            places.rotate_left(gone % 2);
            if gone & 2 == 0 {
                places.into_iter().for_each(|place| outbox.take_back(place));
            } else {
                outbox.take_all_back(places);
            }
            assert_eq!(outbox.len(), expected.len());
            assert!(drain(&mut outbox, 5_000) == expected, "without {gone:b}");
        }
    }

    #[test]
    fn appended_outboxes_keep_their_order() {
        let (mut first, mut expected) = filled();
        let (mut second, more) = filled();
        expected.extend_from_slice(&more);
        first.append(&mut second);
        assert!(second.is_empty());
        assert_eq!(drain(&mut first, 1_000), expected);
    }
}
