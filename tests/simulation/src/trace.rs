//! What happened, in order: the last of it to be read, all of it in one number.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use rpc::{Code, Executed};

use crate::services::Number;

/// How much of it is kept to be read.
const KEPT: usize = 120;

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Actor {
    Server(usize),
    Client(usize),
    World,
}

/// What somebody does.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Step {
    Calls {
        number: Number,
        method: &'static str,
        server: usize,
        timeout: Option<Duration>,
        patient: bool,
    },
    CallsBack {
        number: Number,
        by: Number,
        timeout: Option<Duration>,
    },
    Begins {
        number: Number,
        connection: u32,
    },
    Stops {
        number: Number,
    },
    Replies {
        number: Number,
    },
    Ends {
        number: Number,
        outcome: Outcome,
    },
    Leaves {
        number: Number,
    },
    Starts,
    Drains,
    Drained,
    Connects {
        connection: u32,
    },
    /// Bytes, by their hash, for the number alone.
    Moves {
        connection: u32,
        bytes: u64,
    },
    Suffers {
        event: String,
    },
    Enters {
        phase: &'static str,
    },
    Violates {
        what: String,
    },
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Ok,
    App,
    Rpc { code: Code, executed: Executed },
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: VecDeque<(Duration, Actor, Step)>,
    hash: Fnv,
    /// All of it is printed as it happens.
    aloud: bool,
    unheard: bool,
}

impl Trace {
    pub(crate) fn new(aloud: bool) -> Self {
        Trace { aloud, ..Trace::default() }
    }

    pub(crate) fn push(&mut self, at: Duration, actor: Actor, step: Step) {
        if self.unheard {
            return;
        }
        (at, actor, &step).hash(&mut self.hash);
        if let Step::Moves { .. } = step {
            return;
        }
        if self.aloud {
            eprintln!("{}", Line(&at, &actor, &step));
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back((at, actor, step));
    }

    /// Takes nothing for now: what happens while a process or the world is taken apart is no part of its history.
    pub(crate) fn hush(&mut self, unheard: bool) {
        self.unheard = unheard;
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().map(|(at, actor, step)| Line(at, actor, step).to_string()).collect()
    }
}

struct Line<'a>(&'a Duration, &'a Actor, &'a Step);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line(at, actor, step) = self;
        write!(f, "{:>9.3} ms  {:<10} {step:?}", at.as_secs_f64() * 1_000.0, format!("{actor:?}"))
    }
}

/// Fowler, Noll and Vo's hash: the same in every process, as the standard library's is not.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
