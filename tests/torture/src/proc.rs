//! What the kernel says of a process, in `/proc`.

use std::fs;
use std::time::Duration;

use crate::options::Failure;

/// Memory, descriptors and time of a process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
    /// The most that was ever resident, in bytes.
    pub(crate) peak: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// Processor time, of user and system together.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Asks for it.
    ///
    /// # Errors
    /// There is no such process, or this is not Linux.
    pub(crate) fn of(process: u32) -> Result<Usage, Failure> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?.count();
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        Ok(Usage {
            resident: kilobytes(&status, "VmRSS:")? * 1024,
            peak: kilobytes(&status, "VmHWM:")? * 1024,
            descriptors,
            cpu: processor_time(&stat)?,
        })
    }
}

fn kilobytes(status: &str, name: &str) -> Result<u64, Failure> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.ok_or_else(|| format!("no {name} in the status of a process"))?;
    Ok(words.trim().trim_end_matches(" kB").parse()?)
}

fn processor_time(stat: &str) -> Result<Duration, Failure> {
    // The name of the program, in parentheses, may hold anything; user and system time are the 12th and 13th word
    // behind it, in hundredths of a second on every Linux that there is.
    let (_, words) = stat.rsplit_once(") ").ok_or("no name in the stat of a process")?;
    let mut times = words.split(' ').skip(11);
    let mut hundredths = || times.next().ok_or("no times in the stat of a process");
    let (user, system): (u64, u64) = (hundredths()?.parse()?, hundredths()?.parse()?);
    Ok(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let usage = Usage::of(std::process::id()).expect("Linux");
        assert!(usage.resident > 0 && usage.peak >= usage.resident && usage.descriptors >= 3, "{usage:?}");
    }

    #[test]
    fn a_name_with_parentheses_is_no_trouble() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(processor_time(stat).expect("times"), Duration::from_secs(2));
    }
}
