//! The table: what was measured, what it should be, and whether it is.

use std::fs;
use std::time::Instant;

use super::Result;
use super::child::cpu_time;

/// Rows, and how busy the machine was with something else meanwhile.
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
    failed: bool,
    begun: Instant,
    cpu: Cpu,
}

/// CPU time in ticks: of the whole machine, of what this process and those that it waited for have used, stolen by the host.
struct Cpu {
    busy: u64,
    own: u64,
    stolen: u64,
}

/// A hundredth of a second, which is what Linux tells user space whatever it uses itself.
const TICKS_PER_SECOND: f64 = 100.0;

impl Table {
    pub(crate) fn begin() -> Result<Self> {
        Ok(Table { rows: Vec::new(), failed: false, begun: Instant::now(), cpu: Cpu::now()? })
    }

    /// A row that passes or fails.
    pub(crate) fn judge(
        &mut self,
        what: impl Into<String>,
        measured: impl Into<String>,
        target: &str,
        passed: bool,
    ) {
        self.failed |= !passed;
        self.row(what.into(), measured.into(), target, if passed { "passed" } else { "FAILED" });
    }

    /// A row that stands beside the others so that they can be understood.
    pub(crate) fn note(&mut self, what: impl Into<String>, measured: impl Into<String>) {
        self.row(what.into(), measured.into(), "", "");
    }

    fn row(&mut self, what: String, measured: String, target: &str, verdict: &str) {
        eprintln!("  {what}: {measured} {verdict}");
        self.rows.push([what, measured, target.to_owned(), verdict.to_owned()]);
    }

    /// Prints it all, and says whether all passed.
    pub(crate) fn print(mut self) -> Result<bool> {
        self.rows.insert(0, ["what", "measured", "target", "verdict"].map(str::to_owned));
        let widths = [0, 1, 2, 3]
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
        let line = |row: &[String; 4]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        println!("{}", line(&self.rows[0]));
        println!("{}", line(&widths.map(|width| "-".repeat(width))));
        self.rows[1..].iter().for_each(|row| println!("{}", line(row)));
        self.print_disturbance()?;
        Ok(!self.failed)
    }

    fn print_disturbance(&self) -> Result<()> {
        let now = Cpu::now()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let capacity = self.begun.elapsed().as_secs_f64() * TICKS_PER_SECOND * cores;
        let own = now.own - self.cpu.own;
        let others = (now.busy - self.cpu.busy).saturating_sub(own) as f64 / capacity;
        let stolen = (now.stolen - self.cpu.stolen) as f64 / capacity;
        println!(
            "\nOf the CPU time of {cores} cores other processes took {:.0} %, other guests of the host {:.0} %.",
            100.0 * others,
            100.0 * stolen
        );
        if others > 0.05 || stolen > 0.02 {
            println!("So the machine was disturbed: rates and latencies are what was left over.");
        }
        Ok(())
    }
}

impl Cpu {
    fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let all: Vec<u64> = stat
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("cpu "))
            .ok_or("no CPU time in /proc/stat")?
            .split_whitespace()
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?;
        let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen, ..] = all[..] else {
            return Err("too few kinds of CPU time in /proc/stat".into());
        };
        let own = cpu_time(&fs::read_to_string("/proc/self/stat")?, 4)?.as_millis() as u64 / 10;
        Ok(Cpu { busy: user + nice + system + interrupts + soft_interrupts, own, stolen })
    }
}

/// Bytes, as people read them.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / (1 << 20) as f64)
}

/// A share, as people read it.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
