//! What handlers do that take their time, the same for every contender.

use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, time::Duration};
use tokio::time::sleep;

/// The sum of two integers, wrapping around, after so many microseconds; with none it does not sleep.
pub(super) async fn add_after(a: i64, b: i64, micros: u64) -> i64 {
    if micros > 0 {
        sleep(Duration::from_micros(micros)).await;
    }
    a.wrapping_add(b)
}

/// Keeps this thread busy until it has used so many microseconds of CPU time, and returns them.
///
/// Time by the clock would not do: a thread that is made to wait for a core meanwhile would have done less.
pub(super) fn spin(micros: u64) -> u64 {
    let end = thread_cpu() + Duration::from_micros(micros);
    while thread_cpu() < end {
        // Some work between two looks, each of which is a system call.
        (0..100).for_each(|step| {
            black_box(step);
        });
    }
    micros
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_uses_the_cpu_for_as_long_as_it_says() {
        let before = thread_cpu();
        assert_eq!(spin(500), 500);
        assert!(thread_cpu() - before >= Duration::from_micros(500));
    }
}
