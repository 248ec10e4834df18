//! What is read off the clock and the kernel: latencies, CPU time, memory, and who else was using the machine.

mod latencies;
mod machine;

pub use latencies::{Latencies, Outcome};
pub use machine::{Disturbance, Machine};

use crate::contender::Result;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use std::{fs, time::Duration};

/// The CPU time that this process has used so far, in user and kernel mode, over all of its threads.
pub fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The memory of this process that is resident, in bytes. Socket buffers belong to the kernel and are not in it.
pub fn resident_memory() -> Result<u64> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let resident: u64 = pages.split_whitespace().nth(1).ok_or("no resident size in statm")?.parse()?;
    Ok(resident * rustix::param::page_size() as u64)
}

/// Lets this process open as many descriptors as it may, and says how many that is.
pub fn raise_descriptor_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
