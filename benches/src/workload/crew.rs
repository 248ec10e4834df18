//! The tasks that keep a contender busy, for a time that is measured.

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

/// Callers at work.
#[derive(Debug)]
pub(super) struct Crew {
    over: Arc<AtomicBool>,
    callers: JoinSet<Result<Latencies>>,
    started: Instant,
    cpu_before: Duration,
}

/// What a caller knows of its crew.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    over: Arc<AtomicBool>,
    /// Which one it is.
    pub(super) number: usize,
}

impl Crew {
    /// Starts the clock.
    pub(super) fn new() -> Self {
        Self {
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
        let shift = Shift { over: self.over.clone(), number: self.callers.len() };
        self.callers.spawn(caller(shift));
    }

    /// Lets the callers work for so long, and each finish what it does last.
    pub(super) async fn work_for(mut self, duration: Duration) -> Result<Outcome> {
        time::sleep(duration).await;
        self.over.store(true, Ordering::Relaxed);
        let mut latencies = Latencies::one_in(1, 0);
        while let Some(caller) = self.callers.join_next().await {
            latencies.merge(caller??);
        }
        Ok(Outcome::new(latencies, self.started.elapsed(), process_cpu() - self.cpu_before))
    }
}

impl Shift {
    /// Whether to begin something new.
    pub(super) fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}
