//! Data that follows from the number of its call, so that either side knows what it must be.

use bytes::Bytes;

use crate::ledger::Attempt;
use crate::random::Random;

/// Which data of a call it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Arguments,
    Reply,
    Item(u32),
}

/// So much data of a call.
pub(super) fn payload(attempt: Attempt, part: Part, bytes: u32) -> Bytes {
    let part = match part {
        Part::Arguments => 1 << 32,
        Part::Reply => 2 << 32,
        Part::Item(index) => u64::from(index),
    };
    let mut random = Random::new(attempt.call ^ part.rotate_left(24));
    let bytes = bytes as usize;
    let mut data = Vec::with_capacity(bytes + 8);
    while data.len() < bytes {
        data.extend_from_slice(&random.next().to_le_bytes());
    }
    data.truncate(bytes);
    Bytes::from(data)
}

/// A hash of what came, in order. Each step can be undone, so any one thing that differs makes it another; it is never 0,
/// which the ledger has for what is not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) fn of(data: &[u8]) -> u64 {
        let mut hash = Hash::default();
        hash.add(data);
        hash.value()
    }

    pub(super) fn add(&mut self, data: &[u8]) {
        let (words, rest) = data.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let rest = rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        self.mix(rest);
        self.mix(data.len() as u64);
    }

    pub(super) fn value(self) -> u64 {
        self.0.max(1)
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_follows_from_its_call_and_the_hash_notices_any_byte() {
        let attempt = Attempt::first(3, 4);
        let data = payload(attempt, Part::Reply, 1_003);
        assert_eq!(data.len(), 1_003);
        assert_eq!(data, payload(attempt, Part::Reply, 1_003));
        assert_ne!(data, payload(attempt, Part::Arguments, 1_003));
        assert_ne!(data, payload(Attempt::first(3, 5), Part::Reply, 1_003));
        for place in 0..data.len() {
            let mut other = data.to_vec();
            other[place] ^= 1;
            assert_ne!(Hash::of(&data), Hash::of(&other), "byte {place}");
        }
        assert_ne!(Hash::of(&[]), Hash::of(&[0]));
    }
}
