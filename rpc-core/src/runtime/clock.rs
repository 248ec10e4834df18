//! The one clock: tokio's, so that tests can pause it. Only how long a poll took is measured by the machine's, on which
//! time passes within a poll.

use std::time::{Duration, Instant};

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Measures a poll.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[inline]
    pub(crate) fn start() -> Self {
        Stopwatch(Instant::now())
    }

    #[inline]
    pub(crate) fn elapsed(&self) -> Duration {
        #[cfg(feature = "simulation")]
        if let Some(number) = crate::chance::draw_seeded() {
            return Duration::from_nanos(number % SEEDED_NANOS);
        }
        self.0.elapsed()
    }
}

/// How long a poll may be taken to have lasted where that follows from a seed: about twice what counts as long, so that
/// methods go to and fro between the places where their handlers start.
#[cfg(feature = "simulation")]
const SEEDED_NANOS: u64 = 40_000;
