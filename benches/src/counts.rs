//! Instructions and allocations of a call, counted by valgrind, which needs no hardware counters.
//!
//! Client and server run under callgrind, and again under dhat, for a few calls and for many; the difference belongs to
//! the calls alone. The runtimes have one thread, since valgrind lets one run at a time anyhow: with more, what is
//! counted would be how it switches between them. What the kernel does is not counted.

use crate::{
    compare::contenders,
    contender::{Name, Result},
    options::{Flavour, Options},
    peer::Peer,
    workload::{Kind, Workload},
};
use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command, Stdio},
};

/// What one contender's call costs at one workload, on the client and on the server.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// What was done.
    pub workload: &'static Workload,
    /// By whom.
    pub contender: Name,
    /// Instructions a call.
    pub instructions: [f64; 2],
    /// Allocations a call.
    pub allocations: [f64; 2],
}

/// The workloads that are counted, and how often each caller calls: fewer times, and more.
const COUNTED: [(&str, [u64; 2]); 3] = [("1x1", [500, 2500]), ("1x64", [20, 100]), ("64KiBx8", [8, 40])];

/// The same where only correctness matters.
const TRIED: [(&str, [u64; 2]); 1] = [("1x64", [1, 3])];

/// Counts for everyone who makes calls, in a trial for us alone: starting under valgrind takes a second each time.
/// `None` without valgrind.
pub fn count(options: &Options) -> Result<Option<Vec<Count>>> {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let mut counts = Vec::new();
    for &(workload, times) in if options.smoke { &TRIED[..] } else { &COUNTED } {
        let workload = Workload::named(workload)?;
        for contender in contenders(Kind::Calls, options) {
            if options.smoke && contender != Name::Rpc {
                continue;
            }
            eprintln!("what {contender} costs at {}", workload.name);
            let a_call = |tool| a_call(tool, contender, workload, times);
            let [instructions, allocations] = [a_call(Tool::Callgrind)?, a_call(Tool::Dhat)?];
            counts.push(Count { workload, contender, instructions, allocations });
        }
    }
    Ok(Some(counts))
}

fn a_call(tool: Tool, contender: Name, workload: &Workload, [fewer, more]: [u64; 2]) -> Result<[f64; 2]> {
    let before = run(tool, contender, workload, fewer)?;
    let after = run(tool, contender, workload, more)?;
    let calls = (workload.connections * workload.in_flight) as u64 * (more - fewer);
    Ok([0, 1].map(|side| (after[side] as f64 - before[side] as f64) / calls as f64))
}

/// What client and server count from their start to their end, with so many calls of each caller in between.
fn run(tool: Tool, contender: Name, workload: &Workload, times: u64) -> Result<[u64; 2]> {
    let [client_log, server_log] = [Log::new("client"), Log::new("server")];
    let mut server = tool.start(&server_log, &["serve", contender.as_str()])?;
    let address = server.listen()?;
    let words = ["call", Kind::Calls.as_str(), contender.as_str(), &address];
    let mut client = tool.start(&client_log, &words)?;
    client.ask(&format!("open {}", workload.name))?;
    let made: u64 = client.ask(&format!("count {times}"))?.parse()?;
    if made != (workload.connections * workload.in_flight) as u64 * times {
        return Err(format!("{contender} made {made} calls, not {times} each").into());
    }
    client.ask("close")?;
    client.finish()?;
    server.finish()?;
    Ok([tool.total(&client_log.read()?)?, tool.total(&server_log.read()?)?])
}

/// A tool of valgrind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    /// Counts instructions.
    Callgrind,
    /// Counts allocations.
    Dhat,
}

impl Tool {
    fn start(self, log: &Log, words: &[&str]) -> Result<Peer> {
        let mut command = Command::new("valgrind");
        // What it writes beside the log is for looking at, and nobody does.
        command.args(match self {
            Self::Callgrind => ["--tool=callgrind", "--callgrind-out-file=/dev/null"],
            Self::Dhat => ["--tool=dhat", "--dhat-out-file=/dev/null"],
        });
        // Nor does anyone ask which functions were inlined where, which takes time to read.
        command.arg("--read-inline-info=no").arg(format!("--log-file={}", log.0.display()));
        command.arg(env::current_exe()?);
        // The processor's instruction that copies memory would count as one a byte, and not every processor has it.
        command.env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS");
        Peer::start_as(command, words, Flavour::CurrentThread)
    }

    /// The total at the end of a log.
    fn total(self, log: &str) -> Result<u64> {
        let number = |text: &str| text.trim().replace(',', "").parse().ok();
        let total = log.lines().find_map(|line| match self {
            Self::Callgrind => number(line.split_once("Collected :")?.1),
            Self::Dhat => {
                let (_, blocks) = line.split_once("Total:")?.1.split_once(" bytes in ")?;
                number(blocks.strip_suffix(" blocks")?)
            }
        });
        total.ok_or_else(|| format!("no total in what valgrind says:\n{log}").into())
    }
}

/// A file that valgrind writes, which goes when this is dropped.
#[derive(Debug)]
struct Log(PathBuf);

impl Log {
    fn new(side: &str) -> Self {
        Self(env::temp_dir().join(format!("rpc-bench-{}-{side}.log", process::id())))
    }

    fn read(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.0)?)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Without a log there is nothing to take away, and whoever misses it says so.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found_in_what_valgrind_says() {
        let callgrind =
            "==7== Events    : Ir\n==7== Collected : 529319\n==7== \n==7== I   refs:      529,319\n";
        assert_eq!(Tool::Callgrind.total(callgrind).expect("a total"), 529_319);
        let dhat = "==7== Total:     57,372 bytes in 1,234 blocks\n==7== At t-gmax: 1 bytes in 1 blocks\n";
        assert_eq!(Tool::Dhat.total(dhat).expect("a total"), 1234);
        assert!(Tool::Dhat.total(callgrind).is_err() && Tool::Callgrind.total(dhat).is_err());
    }

    #[test]
    fn what_is_counted_are_workloads_of_calls_with_a_difference() {
        for (name, [fewer, more]) in COUNTED.into_iter().chain(TRIED) {
            assert_eq!(Workload::named(name).expect("a workload").kind(), Kind::Calls);
            assert!(fewer < more);
        }
    }
}
