//! What this process has asked its allocator for and not given back.
//!
//! The resident memory of a process only tells how much it once needed at the same time, and how the allocator cut that
//! up. The live heap tells what is held now; its floor, the least of some seconds, what is held beside the calls that
//! come and go.

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many bytes this process holds.
pub(crate) fn live() -> u64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated) as u64
}

/// The same without memory that is kept for large messages: that has a bound of its own, and fills up to it for as long
/// as an hour.
pub(crate) fn held() -> u64 {
    // They are not read at one moment, so the difference may be off by what happens in between.
    live().saturating_sub(rpc_core::kept_bytes() as u64)
}

/// The least that was [held](held) at any look since it was last asked for.
#[derive(Clone, Debug)]
pub(crate) struct Floor(Arc<AtomicU64>);

impl Floor {
    /// Begins to look, on a thread of its own that ends with the process.
    pub(crate) fn watch() -> Self {
        let floor = Floor(Arc::new(AtomicU64::new(held())));
        let watched = floor.clone();
        thread::spawn(move || {
            loop {
                watched.0.fetch_min(held(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        floor
    }

    /// The least since the last question, which begins anew.
    pub(crate) fn take(&self) -> u64 {
        let now = held();
        self.0.swap(now, Ordering::Relaxed).min(now)
    }
}
