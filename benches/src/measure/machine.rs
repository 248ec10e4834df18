//! The machine as the kernel describes it: what it is, and how busy it was with something else.

use crate::contender::Result;
use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// The CPU time the whole machine has used, as of one instant.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    at: Instant,
    busy: Duration,
    stolen: Duration,
}

/// How much of the machine something else took while a run was measured, as shares of all its CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbance {
    /// Taken by other processes.
    pub others: f64,
    /// Taken by other guests of the same host.
    pub stolen: f64,
}

impl Machine {
    /// Reads the kernel's counters.
    pub fn now() -> Result<Self> {
        let counters = fs::read_to_string("/proc/stat")?;
        let all = counters
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("cpu "))
            .ok_or("no CPU time in stat")?;
        let ticks = all.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen, ..] = ticks[..] else {
            return Err("too few kinds of CPU time in stat".into());
        };
        let time =
            |ticks| Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        let busy = time(user + nice + system + interrupts + soft_interrupts);
        Ok(Self { at: Instant::now(), busy, stolen: time(stolen) })
    }

    /// What others did since `self`, given what was used on purpose.
    pub fn disturbance_until(self, end: Self, measured: Duration) -> Disturbance {
        let capacity = (end.at - self.at).as_secs_f64() * cores() as f64;
        let others = (end.busy - self.busy).saturating_sub(measured);
        let stolen = end.stolen - self.stolen;
        Disturbance { others: others.as_secs_f64() / capacity, stolen: stolen.as_secs_f64() / capacity }
    }

    /// One line about the processor, the kernel and the compiler; nothing that says whose machine it is.
    pub fn description() -> String {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or("unknown processor", |(_, model)| model.trim());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = kernel.trim().split('-').next().unwrap_or_default();
        format!("{model}, {} cores, Linux {kernel}, {}", cores(), env!("RUSTC_VERSION"))
    }

    /// Today in UTC, as year, month and day.
    pub fn date() -> String {
        let output = Command::new("date").args(["-u", "+%F"]).output();
        output.map_or_else(
            |_| "undated".into(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    }
}

impl Disturbance {
    /// Whether so much was taken that the figures should not be trusted.
    pub fn is_serious(self) -> bool {
        self.others > 0.05 || self.stolen > 0.02
    }
}

/// The processors that may be used.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_was_done_by_others() {
        let start = Machine { at: Instant::now(), busy: Duration::ZERO, stolen: Duration::ZERO };
        let capacity = Duration::from_secs(cores() as u64);
        let end =
            Machine { at: start.at + Duration::from_secs(1), busy: capacity / 2, stolen: capacity / 10 };
        let disturbance = start.disturbance_until(end, capacity / 4);
        assert!((disturbance.others - 0.25).abs() < 1e-9 && (disturbance.stolen - 0.1).abs() < 1e-9);
        assert!(disturbance.is_serious());
        assert!(
            !start.disturbance_until(Machine { stolen: Duration::ZERO, ..end }, capacity / 2).is_serious()
        );
    }

    #[test]
    fn the_kernel_counts_in_words_we_know() {
        let machine = Machine::now().expect("Linux");
        assert!(machine.busy > Duration::ZERO);
    }
}
