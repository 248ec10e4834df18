//! The command line.

use crate::{
    contender::{Name, Result},
    workload::{WORKLOADS, Workload},
};
use lexopt::{Arg, Parser, ValueExt};
use std::{fmt, io, net::SocketAddr, time::Duration};
use tokio::runtime::{Builder, Runtime};

/// What `--help` prints.
pub const HELP: &str = "\
Measures the framework beside hand-written frames (raw, raw2), tarpc and tonic.

  --quick           three short rounds
  --smoke           one round of a few milliseconds each: do all contenders work?
  --only NAMES      only these contenders, workloads or extras, separated by commas:
                    raw raw2 rpc tarpc tarpc-inline tonic, 1x1 1x64 1x512 8x64 64KiBx8 1MiBx4,
                    in-process idle
  --current-thread  single-threaded runtimes instead of two workers in each process
  --rounds N        so many rounds (5)
  --millis N        so long each contender at each workload in each round (800)
  --patience N      wait up to so many seconds before each measurement until nothing else is at work (0)
  --write           put the tables into docs/performance.md too (all of them or none)";

/// What the program is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Measure and report.
    Compare(Options),
    /// Be the server process of a contender.
    Serve(Name, Flavour),
    /// Be the client process of a contender.
    Call(Name, Flavour, SocketAddr),
    /// Measure calls that leave no process.
    InProcess(Duration),
}

/// What to measure and how long.
#[derive(Debug)]
pub struct Options {
    /// Times that everything is measured.
    pub rounds: usize,
    /// Time before each measurement in which caches, pools and branch predictors fill.
    pub warm_up: Duration,
    /// Time that is measured.
    pub measured: Duration,
    /// How long to wait for a quiet machine before each measurement.
    pub patience: Duration,
    /// The runtime in both processes.
    pub flavour: Flavour,
    /// Who takes part.
    pub contenders: Vec<Name>,
    /// What they do.
    pub workloads: Vec<&'static Workload>,
    /// Whether the call inside one process is measured.
    pub in_process: bool,
    /// Idle connections to measure the memory of; none to leave that out.
    pub idle_connections: usize,
    /// Whether the report also goes into the documentation.
    pub write: bool,
    /// Whether only correctness matters.
    pub smoke: bool,
}

/// The kind of runtime in the measured processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Two worker threads.
    MultiThread,
    /// One thread.
    CurrentThread,
}

impl Flavour {
    /// A runtime of this kind.
    pub fn runtime(self) -> io::Result<Runtime> {
        match self {
            Self::MultiThread => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
            Self::CurrentThread => Builder::new_current_thread().enable_all().build(),
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::MultiThread => "multi-thread",
            Self::CurrentThread => "current-thread",
        })
    }
}

/// Reads the command line.
pub fn parse() -> Result<Command> {
    let mut parser = Parser::from_env();
    let mut options = Options {
        rounds: 5,
        warm_up: Duration::from_millis(200),
        measured: Duration::from_millis(800),
        patience: Duration::ZERO,
        flavour: Flavour::MultiThread,
        contenders: Name::ALL.to_vec(),
        workloads: WORKLOADS.iter().collect(),
        in_process: true,
        idle_connections: 10_000,
        write: false,
        smoke: false,
    };
    let mut words = Vec::new();
    let mut partial = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Long("quick") => options.shorten(3, Duration::from_millis(200)),
            Arg::Long("smoke") => {
                options.shorten(1, Duration::from_millis(10));
                options.idle_connections = 100;
                options.smoke = true;
                partial = true;
            }
            Arg::Long("only") => {
                options.select(&parser.value()?.string()?)?;
                partial = true;
            }
            Arg::Long("current-thread") => options.flavour = Flavour::CurrentThread,
            Arg::Long("rounds") => options.rounds = parser.value()?.parse::<usize>()?.max(1),
            Arg::Long("millis") => options.measured = Duration::from_millis(parser.value()?.parse()?),
            Arg::Long("patience") => options.patience = Duration::from_secs(parser.value()?.parse()?),
            Arg::Long("write") => options.write = true,
            Arg::Value(word) => words.push(word.string()?),
            unknown => return Err(unknown.unexpected().into()),
        }
    }
    if options.write && partial {
        return Err("--write replaces all tables, so it goes with neither --only nor --smoke".into());
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(Command::Compare(options)),
        ["serve", contender] => Ok(Command::Serve(contender.parse()?, options.flavour)),
        ["call", contender, server] => {
            Ok(Command::Call(contender.parse()?, options.flavour, server.parse()?))
        }
        ["in-process"] => Ok(Command::InProcess(options.measured)),
        _ => Err(format!("{words:?} is no subcommand; see --help").into()),
    }
}

impl Options {
    fn shorten(&mut self, rounds: usize, measured: Duration) {
        self.rounds = rounds;
        self.measured = measured;
        self.warm_up = measured / 4;
    }

    /// Narrows contenders to those named, if any is, and likewise what is measured.
    fn select(&mut self, names: &str) -> Result<()> {
        let mut contenders = Vec::new();
        let mut workloads = Vec::new();
        let (mut in_process, mut idle) = (false, false);
        for name in names.split(',') {
            match name {
                "in-process" => in_process = true,
                "idle" => idle = true,
                _ => match name.parse() {
                    Ok(contender) => contenders.push(contender),
                    Err(_) => workloads.push(Workload::named(name)?),
                },
            }
        }
        if !contenders.is_empty() {
            self.contenders = contenders;
        }
        if in_process || idle || !workloads.is_empty() {
            self.workloads = workloads;
            self.in_process = in_process;
            self.idle_connections *= usize::from(idle);
        }
        Ok(())
    }
}
