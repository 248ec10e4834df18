//! Where a method's handlers are polled first: on the connection's task, or on a task of their own.
//!
//! The rule knows no clock: it is told how long first polls took. Later polls do not count, since a handler that has
//! waited is on a task of its own already and holds nobody up.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::service::Polling;

/// From this on a first poll costs the calls behind it more than a task of its own costs.
const LONG: Duration = Duration::from_micros(20);

/// Below this one is short. Between the two a method stays what it is, so that none goes to and fro.
const SHORT: Duration = Duration::from_micros(10);

/// A sample changes the average by this part of the difference...
const WEIGHT: u32 = 8;

/// ...and counts for so much at most, so that the average follows how often polls are long more than how long they
/// are.
const CLAMP: Duration = Duration::from_micros(80);

/// How long the first polls of a method's handlers take, and what follows from it.
///
/// A method is *heavy*, its handlers get tasks of their own, until it is known to be *light*. It becomes heavy when
/// the average of the samples is [`LONG`] and one more sample is, too; it becomes light again when the average is
/// [`SHORT`] and one more sample is, too. So one sample alone changes nothing, whatever its length: it can carry the
/// average over the line, but not confirm it. A thread that was preempted within a poll says nothing about the method.
#[derive(Debug)]
pub(crate) struct PollTime {
    state: AtomicU32,
}

/// All of it in one word, since it is looked at in every call: these flags, and above them the average in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct State(u32);

const HEAVY: u32 = 1;
/// The service's author has decided.
const FIXED: u32 = 2;
const AVERAGE: u32 = 2;

impl PollTime {
    pub(crate) fn new(polling: Polling) -> Self {
        let state = match polling {
            // What has not been measured is not light: it begins where a few short polls make it so.
            Polling::Measured => State::new(nanos(LONG), HEAVY),
            Polling::Inline => State::new(0, FIXED),
            Polling::Spawned => State::new(0, FIXED | HEAVY),
        };
        PollTime { state: AtomicU32::new(state.0) }
    }

    /// What to do with a call.
    #[inline]
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict(State(self.state.load(Ordering::Relaxed)))
    }

    /// Takes in how long a first poll took.
    pub(crate) fn record(&self, sample: Duration) {
        let state = State(self.state.load(Ordering::Relaxed));
        // Two who record at once lose one sample, which does not matter.
        if !state.is(FIXED) {
            self.state.store(state.after(sample).0, Ordering::Relaxed);
        }
    }
}

/// What is known of a method when a call comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict(State);

impl Verdict {
    /// Its first poll is short enough for the connection's task.
    #[inline]
    pub(crate) fn is_light(self) -> bool {
        !self.0.is(HEAVY)
    }

    /// It is not far from being heavy, so that the rule should learn soon: each call is to be timed that runs on the
    /// connection's task.
    #[inline]
    pub(crate) fn is_doubtful(self) -> bool {
        self.0.average() >= nanos(SHORT)
    }

    /// How long it takes matters.
    #[inline]
    pub(crate) fn is_measured(self) -> bool {
        !self.0.is(FIXED)
    }
}

impl State {
    const fn new(average: u32, flags: u32) -> Self {
        State(average << AVERAGE | flags)
    }

    const fn is(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    const fn average(self) -> u32 {
        self.0 >> AVERAGE
    }

    fn after(self, sample: Duration) -> Self {
        let (average, sample) = (self.average(), nanos(sample.min(CLAMP)));
        let heavy = if self.is(HEAVY) {
            average >= nanos(SHORT) || sample >= nanos(SHORT)
        } else {
            average >= nanos(LONG) && sample >= nanos(LONG)
        };
        State::new(moved(average, sample), if heavy { HEAVY } else { 0 })
    }
}

/// A running average after one more sample.
pub(super) const fn moved(average: u32, sample: u32) -> u32 {
    average - average / WEIGHT + sample / WEIGHT
}

/// Of a duration that is [`CLAMP`] at most.
const fn nanos(duration: Duration) -> u32 {
    duration.subsec_nanos()
}

/// Chooses the calls of a connection that are timed, since two looks at the clock cost as much as a good part of a
/// small call.
///
/// One in sixteen on average, at distances that differ: methods that are called in turn, as many programs do it,
/// would otherwise share the samples unevenly, and some might get none.
#[derive(Debug)]
pub(crate) struct Sampler {
    left: u8,
    random: u32,
}

/// The distances from one timed call to the next are 1 to 31.
const FARTHEST: u32 = 31;

impl Sampler {
    /// Whether the next call is to be timed.
    #[inline]
    pub(crate) fn is_chosen(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.draw();
        true
    }

    /// George Marsaglia's xorshift ("Xorshift RNGs", Journal of Statistical Software 8, 2003): nobody gains by
    /// guessing it.
    fn draw(&mut self) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.left = 1 + (self.random % FARTHEST) as u8;
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler { left: 1, random: 0x9e37_79b9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(3600);

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// One whose polls have always taken so long.
    fn steady(light: bool, each: Duration) -> PollTime {
        let time = PollTime::new(Polling::Measured);
        let before = if light { Duration::ZERO } else { CLAMP };
        (0..100).for_each(|_| time.record(before));
        (0..1000).for_each(|_| time.record(each));
        time
    }

    /// How many samples it takes until it is what it was not.
    fn samples_until(time: &PollTime, light: bool, each: Duration) -> usize {
        let mut count = 0;
        while time.verdict().is_light() != light {
            time.record(each);
            count += 1;
            assert!(count < 1000, "{each:?} leave it as it is");
        }
        count
    }

    #[test]
    fn what_is_not_measured_is_heavy_until_a_few_polls_were_short() {
        let time = PollTime::new(Polling::Measured);
        assert_eq!(samples_until(&time, true, micros(1)), 7);
        let time = PollTime::new(Polling::Measured);
        time.record(LONGEST);
        assert_eq!(samples_until(&time, true, micros(1)), 10, "the first one may have been cold");
    }

    #[test]
    fn the_lengths_that_matter() {
        for each in 0..200 {
            let (was_light, was_heavy) = (steady(true, micros(each)), steady(false, micros(each)));
            assert_eq!(was_light.verdict().is_light(), each < 20, "{each} us");
            assert_eq!(was_heavy.verdict().is_light(), each < 10, "{each} us");
        }
    }

    #[test]
    fn one_sample_of_any_length_changes_nothing() {
        for light in [true, false] {
            for each in 0..200 {
                for outlier in [Duration::ZERO, SHORT, LONG, CLAMP, Duration::from_millis(4), LONGEST] {
                    let time = steady(light, micros(each));
                    let before = time.verdict().is_light();
                    time.record(outlier);
                    assert_eq!(time.verdict().is_light(), before, "{each} us, then {outlier:?}");
                    for _ in 0..100 {
                        time.record(micros(each));
                        assert_eq!(time.verdict().is_light(), before, "{each} us, after {outlier:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn outliers_that_come_one_by_one_change_nothing() {
        let time = steady(true, micros(1));
        for _ in 0..1000 {
            time.record(LONGEST);
            assert!(time.verdict().is_light());
            (0..4).for_each(|_| time.record(micros(1)));
            assert!(time.verdict().is_light());
        }
    }

    #[test]
    fn a_few_long_polls_make_it_heavy_and_some_short_ones_light_again() {
        let time = steady(true, micros(1));
        assert_eq!(samples_until(&time, false, LONGEST), 4);
        assert_eq!(samples_until(&time, true, micros(1)), 11);
        let time = steady(true, micros(15));
        assert_eq!(samples_until(&time, false, LONGEST), 2);
        let time = steady(false, LONGEST);
        assert_eq!(samples_until(&time, true, micros(1)), 18);
    }

    #[test]
    fn what_is_long_now_and_then_is_heavy() {
        // A cache that misses in one of so many calls.
        for (one_in, heavy) in [(2, true), (3, true), (20, false), (100, false)] {
            let time = steady(true, micros(1));
            let sampled = (0..1000).filter(|call| {
                time.record(if call % one_in == 0 { micros(100) } else { micros(1) });
                !time.verdict().is_light()
            });
            assert_eq!(sampled.count() > 900, heavy, "one in {one_in}");
        }
    }

    #[test]
    fn after_a_long_sample_it_is_measured_until_the_average_is_short_again() {
        let time = steady(true, micros(1));
        assert!(!time.verdict().is_doubtful());
        time.record(LONGEST);
        assert!(time.verdict().is_light() && time.verdict().is_doubtful());
        time.record(micros(1));
        assert!(time.verdict().is_light() && !time.verdict().is_doubtful());
        (0..2).for_each(|_| time.record(LONGEST));
        assert!(time.verdict().is_light() && time.verdict().is_doubtful());
    }

    #[test]
    fn what_is_fixed_stays() {
        for (polling, light) in [(Polling::Inline, true), (Polling::Spawned, false)] {
            let time = PollTime::new(polling);
            for each in [LONGEST, Duration::ZERO] {
                (0..100).for_each(|_| time.record(each));
                assert_eq!(time.verdict().is_light(), light);
                assert!(!time.verdict().is_doubtful());
            }
        }
    }

    #[test]
    fn one_in_sixteen_is_chosen_of_methods_that_are_called_in_turn() {
        for methods in 1..=64_usize {
            let mut sampler = Sampler::default();
            let mut chosen = vec![0_usize; methods];
            for call in 0..methods * 1600 {
                chosen[call % methods] += usize::from(sampler.is_chosen());
            }
            for count in chosen {
                assert!((50..=200).contains(&count), "{count} of 1600 calls with {methods} methods in turn");
            }
        }
    }
}
