//! Decisions drawn from a seed: `SplitMix64`, of which a run, a process and a connection have one each.
//!
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// A seed for a run that was not given one.
    pub(crate) fn seed_of_now() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Random::new(since.as_nanos() as u64).next()
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range, which is not empty.
    pub(crate) fn between(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// A place in something of this length, which is not 0.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.between(0..length as u64) as usize
    }

    /// So many milliseconds.
    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    /// True in so many of a million.
    pub(crate) fn in_a_million(&mut self, chances: u64) -> bool {
        self.between(0..1_000_000) < chances
    }

    /// True once in so many.
    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.between(0..many) == 0
    }

    /// One of several, each as likely as its weight says; there is one with a weight.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let all = choices.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.between(0..all);
        for &(weight, choice) in choices {
            match drawn.checked_sub(weight) {
                Some(rest) => drawn = rest,
                None => return choice,
            }
        }
        unreachable!("what is drawn is less than the sum of the weights")
    }
}
