//! Latencies of sampled calls or streams, and what one run of callers came to.

use crate::contender::{Error, Result};
use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

/// Counts what is done and times one call or stream in so many.
///
/// The samples are kept as they are: no histogram rounds them, and one in sixteen is few enough.
#[derive(Debug)]
pub struct Latencies {
    interval: usize,
    /// Calls until the next one that is timed.
    until_sample: usize,
    count: u64,
    nanoseconds: Vec<u32>,
}

impl Latencies {
    /// Times one call in `interval`; callers of different `phase` time different ones.
    pub fn one_in(interval: usize, phase: usize) -> Self {
        Self { interval, until_sample: phase % interval, count: 0, nanoseconds: Vec::new() }
    }

    /// A call or a stream begins; it is timed if there is an instant.
    pub fn begin(&mut self) -> Option<Instant> {
        if self.until_sample > 0 {
            self.until_sample -= 1;
            return None;
        }
        self.until_sample = self.interval - 1;
        Some(Instant::now())
    }

    /// What began with `began` has ended, and counts as so many.
    pub fn end(&mut self, began: Option<Instant>, count: u64) {
        self.count += count;
        if let Some(began) = began {
            self.nanoseconds.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }

    /// Takes in another caller's.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.nanoseconds.extend(other.nanoseconds);
    }

    /// The latency that so great a share of the samples do not exceed; zero without samples.
    fn quantile(&mut self, share: f64) -> Duration {
        let Some(last) = self.nanoseconds.len().checked_sub(1) else { return Duration::ZERO };
        let (_, value, _) = self.nanoseconds.select_nth_unstable((last as f64 * share) as usize);
        Duration::from_nanos((*value).into())
    }
}

/// What the client process found in one run, as it tells it to the process that orchestrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was completed, in units of the workload.
    pub count: u64,
    /// From the first beginning to the last end.
    pub elapsed: Duration,
    /// The median latency.
    pub p50: Duration,
    /// The latency that one in a hundred exceeds.
    pub p99: Duration,
    /// The client's CPU time.
    pub cpu: Duration,
    /// The bytes a second that went on beside it.
    pub beside: u64,
}

impl Outcome {
    /// Sums up one run.
    pub fn new(mut latencies: Latencies, elapsed: Duration, cpu: Duration) -> Self {
        let (p50, p99) = (latencies.quantile(0.5), latencies.quantile(0.99));
        Self { count: latencies.count, elapsed, p50, p99, cpu, beside: 0 }
    }

    /// How many a second.
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [elapsed, p50, p99, cpu] =
            [self.elapsed, self.p50, self.p99, self.cpu].map(|time| time.as_nanos());
        write!(formatter, "{} {} {elapsed} {p50} {p99} {cpu}", self.count, self.beside)
    }
}

impl FromStr for Outcome {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [count, beside, times @ ..] = &numbers[..] else { return Err("an empty outcome".into()) };
        let times = <[u64; 4]>::try_from(times)?;
        let [elapsed, p50, p99, cpu] = times.map(Duration::from_nanos);
        Ok(Self { count: *count, elapsed, p50, p99, cpu, beside: *beside })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_so_many_is_timed_and_all_are_counted() {
        let mut latencies = Latencies::one_in(16, 3);
        for _ in 0..64 {
            let began = latencies.begin();
            latencies.end(began, 2);
        }
        assert_eq!((latencies.count, latencies.nanoseconds.len()), (128, 4));
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_samples() {
        let mut latencies = Latencies::one_in(1, 0);
        latencies.nanoseconds = (1..=101).rev().collect();
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|share| latencies.quantile(share).as_nanos());
        assert_eq!(quantiles, [1, 51, 100, 101]);
    }

    #[test]
    fn an_outcome_survives_the_pipe() {
        let [elapsed, p50, p99, cpu] = [2, 3, 4, 5].map(Duration::from_nanos);
        let outcome = Outcome { count: 1, elapsed, p50, p99, cpu, beside: 6 };
        assert_eq!(outcome.to_string().parse::<Outcome>().expect("what was written can be read"), outcome);
    }
}
