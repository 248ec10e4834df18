//! Another process: this program again, which plays a part, told by lines what to do and answering each with one.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::Result;

/// The word before a part.
pub(crate) const ROLE: &str = "as";

/// A process that ends when this is dropped.
pub(crate) struct Child {
    part: String,
    process: Process,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a process holds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The most that ever was.
    pub(crate) peak: u64,
}

impl Child {
    pub(crate) fn start(part: &str, arguments: &[&str]) -> Result<Self> {
        Child::start_as(Command::new(env::current_exe()?), part, arguments)
    }

    /// Starts one that gets what CPU time the others leave.
    pub(crate) fn start_nice(part: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(env::current_exe()?);
        Child::start_as(command, part, arguments)
    }

    fn start_as(mut command: Command, part: &str, arguments: &[&str]) -> Result<Self> {
        command.args(["load", ROLE, part]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let questions = process.stdin.take().ok_or("a process without standard input")?;
        let answers = BufReader::new(process.stdout.take().ok_or("a process without standard output")?);
        Ok(Child { part: part.to_owned(), process, questions, answers })
    }

    /// Tells it something.
    pub(crate) fn tell(&mut self, question: &str) -> Result<()> {
        Ok(writeln!(self.questions, "{question}")?)
    }

    /// Waits for a line.
    pub(crate) fn hear(&mut self) -> Result<String> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim_end() {
            "" => Err(format!("the {} ended without an answer", self.part).into()),
            answer => Ok(answer.to_owned()),
        }
    }

    /// Waits for a line of numbers.
    pub(crate) fn numbers<const N: usize>(&mut self) -> Result<[u64; N]> {
        let line = self.hear()?;
        let numbers: Vec<u64> = line
            .split(' ')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| line.clone())?;
        numbers.try_into().map_err(|_| format!("the {} said {line:?}", self.part).into())
    }

    /// How much CPU time it has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_time(&fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?, 2)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no memory in status")?;
            let kibibytes = line.trim_start_matches(':').trim().trim_end_matches(" kB");
            Ok(kibibytes.parse::<u64>()? << 10)
        };
        Ok(Memory { resident: field("VmRSS")?, peak: field("VmHWM")? })
    }
}

/// CPU time out of what the kernel says of a process: its own, out of the kernel and in it, and then that of the children it
/// has waited for; as many `kinds` of these four as are wanted. It counts in hundredths of a second, whatever it uses
/// itself.
pub(crate) fn cpu_time(stat: &str, kinds: usize) -> Result<Duration> {
    // The name of the program may hold anything, and stands in brackets.
    let fields = stat.rsplit_once(')').ok_or("no name in what the kernel says of a process")?.1;
    let ticks = fields.split_whitespace().skip(11).take(kinds).map(str::parse::<u64>);
    Ok(Duration::from_millis(10 * ticks.sum::<std::result::Result<u64, _>>()?))
}

impl Drop for Child {
    fn drop(&mut self) {
        // Either fails only if it has ended by itself, and then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
