//! The tasks that keep a contender busy, for a time that is measured or a number of times.

use crate::{
    contender::Result,
    measure::{Latencies, Outcome, process_cpu},
};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time};

/// How long callers go on.
#[derive(Clone, Copy, Debug)]
pub enum Stint {
    /// For a time; then each finishes what it does last.
    Time(Duration),
    /// So many times each, however long that takes.
    Times(u64),
}

/// Callers at work.
#[derive(Debug)]
pub(super) struct Crew {
    stint: Stint,
    over: Arc<AtomicBool>,
    callers: JoinSet<Result<Latencies>>,
    started: Instant,
    cpu_before: Duration,
}

/// What a caller knows of its crew.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    over: Arc<AtomicBool>,
    /// How often it may still begin something.
    left: u64,
    /// Which one it is.
    pub(super) number: usize,
}

impl Crew {
    /// Starts the clock.
    pub(super) fn new(stint: Stint) -> Self {
        Self {
            stint,
            over: Arc::default(),
            callers: JoinSet::new(),
            started: Instant::now(),
            cpu_before: process_cpu(),
        }
    }

    /// Starts a caller, which begins nothing new when its shift is over.
    pub(super) fn employ<F>(&mut self, caller: impl FnOnce(Shift) -> F)
    where
        F: Future<Output = Result<Latencies>> + Send + 'static,
    {
        let left = match self.stint {
            Stint::Time(_) => u64::MAX,
            Stint::Times(times) => times,
        };
        let shift = Shift { over: self.over.clone(), left, number: self.callers.len() };
        self.callers.spawn(caller(shift));
    }

    /// Lets the callers work to the end of their stint.
    pub(super) async fn work(mut self) -> Result<Outcome> {
        if let Stint::Time(duration) = self.stint {
            time::sleep(duration).await;
            self.over.store(true, Ordering::Relaxed);
        }
        let mut latencies = Latencies::one_in(1, 0);
        while let Some(caller) = self.callers.join_next().await {
            latencies.merge(caller??);
        }
        Ok(Outcome::new(latencies, self.started.elapsed(), process_cpu() - self.cpu_before))
    }
}

impl Shift {
    /// Whether to begin something new.
    pub(super) fn goes_on(&mut self) -> bool {
        let goes_on = self.left > 0 && !self.over.load(Ordering::Relaxed);
        self.left -= u64::from(goes_on);
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    #[test]
    fn a_stint_of_times_is_exact_and_waits_for_no_clock() {
        // Without a timer in the runtime, sleeping would panic.
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let outcome = runtime.block_on(async {
            let mut crew = Crew::new(Stint::Times(7));
            for _ in 0..3 {
                crew.employ(|mut shift| async move {
                    let mut latencies = Latencies::one_in(1, 0);
                    while shift.goes_on() {
                        latencies.end(None, 1);
                    }
                    Ok(latencies)
                });
            }
            crew.work().await
        });
        assert_eq!(outcome.expect("no caller failed").count, 21);
    }
}
