//! How methods are found by name: a hash that costs less than what it saves.
//!
//! The standard library's hash costs more than all else that is done to find a method. It is made for tables that an
//! attacker fills. Here only the program's own names are in the table; what a peer can choose is the name that is
//! looked for, and the longest search is that among names which this program has put there.

use std::hash::{BuildHasherDefault, Hasher};

pub(super) type BuildNameHasher = BuildHasherDefault<NameHasher>;

/// Multiplies words of eight bytes, and folds the high half of each product into the low one.
#[derive(Default)]
pub(super) struct NameHasher(u64);

/// An odd number without a pattern: the fraction of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl NameHasher {
    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(u128::from(FACTOR));
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for NameHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        // So that names of zeros differ by their length.
        self.0 = self.0.wrapping_add(bytes.len() as u64);
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        // The last word may overlap the one before it, which is cheaper than to put the rest together.
        match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(last), ..) => self.mix(u64::from_le_bytes(*last)),
            (None, Some(first), Some(last)) => {
                let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
                self.mix(u64::from(first) << 32 | u64::from(last));
            }
            _ => bytes.iter().for_each(|byte| self.mix(u64::from(*byte))),
        }
    }

    /// The length that a slice begins with is among what is mixed anyway.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    fn hash(name: &str) -> u64 {
        BuildNameHasher::default().hash_one(name)
    }

    #[test]
    fn names_that_differ_little_are_far_apart() {
        let mut names: Vec<String> = (0..1000).map(|n| format!("Service.method_{n}")).collect();
        names.extend((0..64).map(|len| "a".repeat(len)));
        names.extend((0..64).map(|len| "\0".repeat(len)));
        // The table looks at the low bits for the place and at the highest seven for what lies there.
        let distinct = |part: fn(u64) -> u64| -> usize {
            names.iter().map(|name| part(hash(name))).collect::<HashSet<_>>().len()
        };
        // "" is among them twice.
        assert_eq!(distinct(|hash| hash), names.len() - 1);
        // As many as chance would leave, or nearly: n names in m places fill m * (1 - exp(-n / m)) of them.
        let low = distinct(|hash| hash & 0x7ff);
        assert!(low > 800, "{low} of 2048 places are taken");
        assert_eq!(distinct(|hash| hash >> 57), 128);
    }

    #[test]
    fn any_byte_changes_it() {
        for len in 1..40 {
            let name = "m".repeat(len);
            for at in 0..len {
                let mut other = name.clone();
                other.replace_range(at..=at, "n");
                assert_ne!(hash(&name), hash(&other), "{other}");
            }
        }
    }
}
