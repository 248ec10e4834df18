//! What is done, how often at once and over how many connections.
//!
//! Each kind of client has a module that keeps it busy: every caller is a task that does one thing after another. Each
//! result is checked, since a framework that mixes up replies must not look fast.

mod calls;
mod crew;
mod downloads;
mod handlers;
mod streams;

pub use calls::Calling;
pub use crew::Stint;
pub use downloads::Downloading;
pub use handlers::{BUSY, Handling};
pub use streams::Streaming;

use crate::{
    contender::{Error, Result},
    measure::Outcome,
};
use bytes::Bytes;
use calls::Call;
use handlers::Mix;
use std::{fmt, future::Future, str::FromStr, sync::LazyLock, time::Duration};
use streams::Flow;

/// One row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The name on the command line.
    pub name: &'static str,
    /// The name in the table.
    pub title: &'static str,
    /// The table.
    pub section: Section,
    /// What is counted.
    pub unit: Unit,
    /// Connections from the one client process.
    pub connections: usize,
    /// Callers on each connection.
    pub in_flight: usize,
    /// What each of them does.
    pub task: Task,
}

/// What a caller does over and over, by the kind of client that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Calls.
    Calls(Call),
    /// Streams of small items.
    Streams(Flow),
    /// Calls whose handlers take their time, and others among them.
    Handlers(Mix),
    /// A stream of so many large items, of so many bytes each.
    Download(u64, usize),
}

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Plain calls.
    Calls,
    /// Streams.
    Streams,
    /// Small calls beside large ones.
    Neighbours,
    /// Small calls beside those whose handlers sleep or are busy.
    Handlers,
    /// Instructions and allocations of a call.
    Counts,
    /// Marshalling alone.
    Marshal,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Calls.
    Calls,
    /// Calls of a handler that is busy.
    BusyCalls,
    /// Items of a stream.
    Items,
    /// Items that were sent and answered.
    RoundTrips,
    /// Streams from their opening to their end.
    Streams,
    /// Bytes, a million of them at a time.
    Megabytes,
}

/// The kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Those that make [calls](crate::contender::Calls).
    Calls,
    /// Those that have [streams](crate::contender::Streams).
    Streams,
    /// Those that have [large items](crate::contender::Downloads).
    Downloads,
    /// Those that call [handlers that take their time](crate::contender::Handlers).
    Handlers,
}

/// How one kind of client is put to work.
pub trait Work<C> {
    /// What is kept of a client that does nothing.
    type Idle;

    /// Checks that a connection gives right results, at the edges too and for what `workload` will do.
    fn verify(workload: &Workload, client: &mut C) -> impl Future<Output = Result<()>> + Send;

    /// Keeps every caller of `workload` busy for its stint.
    fn run(workload: &Workload, clients: &[C], stint: Stint) -> impl Future<Output = Result<Outcome>> + Send;

    /// Uses a client once and leaves open what it may leave open.
    fn idle(client: C) -> impl Future<Output = Result<Self::Idle>> + Send;
}

/// Open streams on each connection whose streams do nothing.
pub const IDLE_STREAMS_A_CONNECTION: usize = 1000;

/// All workloads, in the order of the tables.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "1x1",
        title: "one call at a time",
        section: Section::Calls,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 1,
        task: Task::Calls(Call::Add),
    },
    Workload {
        name: "1x64",
        title: "64 in flight",
        section: Section::Calls,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 64,
        task: Task::Calls(Call::Add),
    },
    Workload {
        name: "1x512",
        title: "512 in flight",
        section: Section::Calls,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 512,
        task: Task::Calls(Call::Add),
    },
    Workload {
        name: "8x64",
        title: "8 connections x 64",
        section: Section::Calls,
        unit: Unit::Calls,
        connections: 8,
        in_flight: 64,
        task: Task::Calls(Call::Add),
    },
    Workload {
        name: "64x1",
        title: "64 connections x 1",
        section: Section::Calls,
        unit: Unit::Calls,
        connections: 64,
        in_flight: 1,
        task: Task::Calls(Call::Add),
    },
    Workload {
        name: "64KiBx8",
        title: "echo 64 KiB x 8",
        section: Section::Calls,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 8,
        task: Task::Calls(Call::Echo(64 << 10)),
    },
    Workload {
        name: "1MiBx4",
        title: "echo 1 MiB x 4",
        section: Section::Calls,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 4,
        task: Task::Calls(Call::Echo(1 << 20)),
    },
    Workload {
        name: "items",
        title: "100,000 items to the client",
        section: Section::Streams,
        unit: Unit::Items,
        connections: 1,
        in_flight: 1,
        task: Task::Streams(Flow::Down(100_000)),
    },
    Workload {
        name: "upload",
        title: "100,000 items to the server",
        section: Section::Streams,
        unit: Unit::Items,
        connections: 1,
        in_flight: 1,
        task: Task::Streams(Flow::Up(100_000)),
    },
    Workload {
        name: "lone-item",
        title: "a lone item and its answer",
        section: Section::Streams,
        unit: Unit::RoundTrips,
        connections: 1,
        in_flight: 1,
        task: Task::Streams(Flow::BackAndForth),
    },
    Workload {
        name: "open-close",
        title: "open, one item, end",
        section: Section::Streams,
        unit: Unit::Streams,
        connections: 1,
        in_flight: 1,
        task: Task::Streams(Flow::OpenAndEnd),
    },
    Workload {
        name: "open-close-x64",
        title: "open, one item, end x 64",
        section: Section::Streams,
        unit: Unit::Streams,
        connections: 1,
        in_flight: 64,
        task: Task::Streams(Flow::OpenAndEnd),
    },
    Workload {
        name: "1MiB-items",
        title: "1 MiB items to the client",
        section: Section::Streams,
        unit: Unit::Megabytes,
        connections: 1,
        in_flight: 1,
        task: Task::Download(64, 1 << 20),
    },
    Workload {
        name: "transfers",
        title: "four transfers alone",
        section: Section::Neighbours,
        unit: Unit::Megabytes,
        connections: 1,
        in_flight: calls::TRANSFERS,
        task: Task::Calls(Call::Transfer),
    },
    Workload {
        name: "beside-1",
        title: "one small call at a time beside",
        section: Section::Neighbours,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 1,
        task: Task::Calls(Call::AddBesideTransfers),
    },
    Workload {
        name: "beside-8",
        title: "eight small calls at a time beside",
        section: Section::Neighbours,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 8,
        task: Task::Calls(Call::AddBesideTransfers),
    },
    Workload {
        name: "awake",
        title: "64 callers, none asleep",
        section: Section::Handlers,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 64,
        task: Task::Handlers(Mix::Sleepers(Duration::ZERO)),
    },
    Workload {
        name: "sleepers",
        title: "1 % of the calls asleep for 10 ms",
        section: Section::Handlers,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 64,
        task: Task::Handlers(Mix::Sleepers(Duration::from_millis(10))),
    },
    Workload {
        name: "busy",
        title: "16 callers of a busy handler",
        section: Section::Handlers,
        unit: Unit::BusyCalls,
        connections: 1,
        in_flight: handlers::BUSY_CALLERS,
        task: Task::Handlers(Mix::Busy),
    },
    Workload {
        name: "beside-busy",
        title: "four light calls at a time beside",
        section: Section::Handlers,
        unit: Unit::Calls,
        connections: 1,
        in_flight: 4,
        task: Task::Handlers(Mix::AddBesideBusy),
    },
];

impl Workload {
    /// The workload called `name`.
    pub fn named(name: &str) -> Result<&'static Self> {
        let known = WORKLOADS.iter().find(|workload| workload.name == name);
        known.ok_or_else(|| format!("no workload is called {name:?}").into())
    }

    /// The kind of client that it takes.
    pub fn kind(&self) -> Kind {
        match self.task {
            Task::Calls(_) => Kind::Calls,
            Task::Streams(_) => Kind::Streams,
            Task::Download(..) => Kind::Downloads,
            Task::Handlers(_) => Kind::Handlers,
        }
    }

    /// Whether only one thing is done at a time, so that its latency is that of an idle connection.
    pub fn is_alone(&self) -> bool {
        self.connections * self.in_flight == 1
    }

    fn other_kind(&self) -> Error {
        format!("{} is for another kind of client", self.name).into()
    }
}

impl Section {
    /// All of them, in the order of the report.
    pub const ALL: &'static [Self] =
        &[Self::Calls, Self::Streams, Self::Neighbours, Self::Handlers, Self::Counts, Self::Marshal];

    /// Whether it is made of workloads, on either kind of runtime.
    pub fn has_workloads(self) -> bool {
        !matches!(self, Self::Counts | Self::Marshal)
    }

    /// The name on the command line and in the marks of the page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Streams => "streams",
            Self::Neighbours => "neighbours",
            Self::Handlers => "handlers",
            Self::Counts => "counts",
            Self::Marshal => "marshal",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Section {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.iter().copied().find(|section| section.as_str() == text);
        known.ok_or_else(|| format!("no table is called {text:?}").into())
    }
}

impl Unit {
    /// Its name after a figure a second, and how many of what is counted it is.
    pub fn a_second(self) -> (&'static str, f64) {
        match self {
            Self::Calls => ("calls/s", 1.0),
            Self::BusyCalls => ("busy calls/s", 1.0),
            Self::Items => ("items/s", 1.0),
            Self::RoundTrips => ("answers/s", 1.0),
            Self::Streams => ("streams/s", 1.0),
            Self::Megabytes => ("MB/s", 1e6),
        }
    }

    /// Whether one of it has a latency of its own.
    pub fn has_latency(self) -> bool {
        matches!(self, Self::Calls | Self::RoundTrips | Self::Streams)
    }
}

impl Kind {
    /// All of them, in the order of measuring.
    pub const ALL: &'static [Self] = &[Self::Calls, Self::Streams, Self::Downloads, Self::Handlers];

    /// The name that client processes are told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Streams => "streams",
            Self::Downloads => "downloads",
            Self::Handlers => "handlers",
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.iter().copied().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| format!("no kind of client is called {text:?}").into())
    }
}

/// What large payloads are made of: bytes that repeat with a period that divides no buffer's size.
pub static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    // By copying, since every process needs it and under valgrind each instruction takes its time.
    let mut pattern = (0..251).collect::<Vec<u8>>().repeat(calls::TRANSFER.div_ceil(251));
    pattern.truncate(calls::TRANSFER);
    pattern.into()
});

fn wrong(what: String) -> Error {
    format!("wrong result: {what}").into()
}
