//! The command line.

use crate::{
    contender::{Name, Result},
    workload::{Kind, Section, WORKLOADS, Workload},
};
use lexopt::{Arg, Parser, ValueExt};
use std::{fmt, io, net::SocketAddr, time::Duration};
use tokio::runtime::{Builder, Runtime};

/// What `--help` prints.
pub const HELP: &str = "\
Measures the framework beside hand-written frames (raw, raw2), tarpc, tonic and bytes without frames (tcp).

  --quick           three short rounds
  --smoke           one round of a few milliseconds each: do all contenders work?
  --only NAMES      only these contenders, tables, workloads or extras, separated by commas:
                    tcp raw raw2 rpc rpc-inline rpc-spawn tarpc tarpc-inline tonic,
                    calls: 1x1 1x64 1x512 8x64 64x1 64KiBx8 1MiBx4 in-process idle,
                    streams: items upload lone-item open-close open-close-x64 1MiB-items idle-streams,
                    neighbours: transfers beside-1 beside-8,
                    handlers: awake sleepers busy beside-busy,
                    counts (of instructions and allocations; needs valgrind), marshal
  --multi-thread    only with two worker threads in each process
  --current-thread  only with one thread in each process
  --rounds N        so many rounds (5)
  --millis N        so long each contender at each workload in each round (800)
  --patience N      wait up to so many seconds before each measurement until nothing else is at work (0)
  --write           put the tables into docs/performance.md too, each of them whole, and draw the plots beside it";

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
    Call(Kind, Name, Flavour, SocketAddr),
    /// Measure calls that leave no process.
    InProcess(Duration),
    /// Measure marshalling, for about so long.
    Marshal(Duration),
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
    /// The runtimes in the measured processes, one after the other.
    pub flavours: Vec<Flavour>,
    /// Who takes part.
    pub contenders: Vec<Name>,
    /// The tables that are made.
    pub sections: Vec<Section>,
    /// What the contenders do.
    pub workloads: Vec<&'static Workload>,
    /// Whether the call inside one process is measured.
    pub in_process: bool,
    /// Idle connections to measure the memory of; none to leave that out.
    pub idle_connections: usize,
    /// Idle streams to measure the memory of; none to leave that out.
    pub idle_streams: usize,
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
    /// All kinds.
    pub const ALL: &'static [Self] = &[Self::MultiThread, Self::CurrentThread];

    /// The option that asks for it.
    pub fn option(self) -> &'static str {
        match self {
            Self::MultiThread => "--multi-thread",
            Self::CurrentThread => "--current-thread",
        }
    }

    /// It in words.
    pub fn description(self) -> &'static str {
        match self {
            Self::MultiThread => "two worker threads in each process",
            Self::CurrentThread => "one thread in each process",
        }
    }

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
        flavours: Vec::new(),
        contenders: Name::ALL.to_vec(),
        sections: Section::ALL.to_vec(),
        workloads: WORKLOADS.iter().collect(),
        in_process: true,
        idle_connections: 10_000,
        idle_streams: 10_000,
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
                options.idle_streams = 1000;
                options.smoke = true;
                partial = true;
            }
            Arg::Long("only") => partial |= options.select(&parser.value()?.string()?)?,
            Arg::Long("multi-thread") => options.flavours.push(Flavour::MultiThread),
            Arg::Long("current-thread") => options.flavours.push(Flavour::CurrentThread),
            Arg::Long("rounds") => options.rounds = parser.value()?.parse::<usize>()?.max(1),
            Arg::Long("millis") => options.measured = Duration::from_millis(parser.value()?.parse()?),
            Arg::Long("patience") => options.patience = Duration::from_secs(parser.value()?.parse()?),
            Arg::Long("write") => options.write = true,
            Arg::Value(word) => words.push(word.string()?),
            unknown => return Err(unknown.unexpected().into()),
        }
    }
    if options.write && partial {
        return Err(
            "--write replaces whole tables, so it goes with no part of one and not with --smoke".into()
        );
    }
    if options.flavours.is_empty() {
        options.flavours = Flavour::ALL.to_vec();
    }
    let flavour = options.flavours[0];
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(Command::Compare(options)),
        ["serve", contender] => Ok(Command::Serve(contender.parse()?, flavour)),
        ["call", kind, contender, server] => {
            Ok(Command::Call(kind.parse()?, contender.parse()?, flavour, server.parse()?))
        }
        ["in-process"] => Ok(Command::InProcess(options.measured)),
        ["marshal"] => Ok(Command::Marshal(options.measured)),
        _ => Err(format!("{words:?} is no subcommand; see --help").into()),
    }
}

impl Options {
    fn shorten(&mut self, rounds: usize, measured: Duration) {
        self.rounds = rounds;
        self.measured = measured;
        self.warm_up = measured / 4;
    }

    /// Narrows contenders to those named, if any is, and likewise what is measured. Says whether any table becomes
    /// less than whole by it.
    fn select(&mut self, names: &str) -> Result<bool> {
        let mut partial = false;
        let mut contenders = Vec::new();
        let mut wanted = Vec::new();
        for name in names.split(',') {
            if let Ok(section) = name.parse::<Section>() {
                wanted.extend(section.parts());
                continue;
            }
            partial = true;
            match name.parse() {
                Ok(contender) => contenders.push(contender),
                Err(_) => wanted.push(Part::named(name)?),
            }
        }
        if !contenders.is_empty() {
            self.contenders = contenders;
        }
        if !wanted.is_empty() {
            self.sections.retain(|&section| wanted.iter().any(|part| part.section() == section));
            self.workloads.retain(|workload| wanted.contains(&Part::Workload(workload)));
            self.in_process = wanted.contains(&Part::InProcess);
            self.idle_connections *= usize::from(wanted.contains(&Part::IdleConnections));
            self.idle_streams *= usize::from(wanted.contains(&Part::IdleStreams));
        }
        Ok(partial)
    }
}

/// What a table is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Workload(&'static Workload),
    InProcess,
    IdleConnections,
    IdleStreams,
    Counts,
    Marshal,
}

impl Part {
    fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "in-process" => Self::InProcess,
            "idle" => Self::IdleConnections,
            "idle-streams" => Self::IdleStreams,
            "counts" => Self::Counts,
            "marshal" => Self::Marshal,
            _ => Self::Workload(Workload::named(name)?),
        })
    }

    fn section(self) -> Section {
        match self {
            Self::Workload(workload) => workload.section,
            Self::InProcess | Self::IdleConnections => Section::Calls,
            Self::IdleStreams => Section::Streams,
            Self::Counts => Section::Counts,
            Self::Marshal => Section::Marshal,
        }
    }
}

impl Section {
    fn parts(self) -> impl Iterator<Item = Part> {
        let workloads = WORKLOADS.iter().map(Part::Workload);
        let extras = [Part::InProcess, Part::IdleConnections, Part::IdleStreams, Part::Counts, Part::Marshal];
        workloads.chain(extras).filter(move |part| part.section() == self)
    }
}
