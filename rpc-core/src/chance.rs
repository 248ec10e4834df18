//! What is left to chance, and the one place that it comes from.
//!
//! It is the system's chance, unless the thread was given a seed: then all of it follows from that, so that what happens
//! on a thread can be made to happen again.

#[cfg(feature = "simulation")]
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// A number that nobody can foresee.
pub(crate) fn draw() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(number) = draw_seeded() {
        return number;
    }
    RandomState::new().hash_one(0)
}

#[cfg(feature = "simulation")]
thread_local! {
    /// Where in its sequence of numbers this thread is, if it has one.
    static SEEDED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Lets all that this thread leaves to chance from now on follow from a seed: the pauses between attempts to connect, the
/// order in which maps are gone through, and how long the polls of handlers are taken to have lasted, which decides where
/// the next ones run.
///
/// With a paused clock on a runtime of one thread, and a transport that leaves nothing to chance either, a run of clients
/// and servers can then be repeated exactly. `tests/simulation` does so. Numbers from a seed can be foreseen by whoever
/// knows it, so this is for tests alone.
#[cfg(feature = "simulation")]
pub fn seed_chance(seed: u64) {
    SEEDED.set(Some(seed));
}

/// The next number of this thread's sequence, if it was given a seed. Sebastiano Vigna's SplitMix64 ("Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
#[cfg(feature = "simulation")]
pub(crate) fn draw_seeded() -> Option<u64> {
    let state = SEEDED.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEEDED.set(Some(state));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Some(mixed ^ (mixed >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_differ() {
        assert_ne!(draw(), draw());
    }

    #[cfg(feature = "simulation")]
    #[test]
    fn a_seed_decides_all_that_follows() {
        let sequence = |seed| {
            seed_chance(seed);
            [draw(), draw(), draw()]
        };
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
    }
}
