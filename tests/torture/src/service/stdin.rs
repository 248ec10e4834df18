//! The questions of the process that started this one, and the state that it asks for.

use std::fmt;
use std::str::FromStr;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::heap::{self, Floor};
use crate::options::Failure;

/// The lines that come on standard input; none any more when it ends, as it does with whoever writes to it.
pub(super) fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What a process says of itself, in words that can be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Tasks of its runtime.
    pub(crate) tasks: usize,
    /// The bytes that it holds now, without what is kept for large messages.
    pub(crate) held: u64,
    /// The least of them since it was last asked.
    pub(crate) floor: u64,
}

impl State {
    pub(super) fn now(floor: &Floor) -> Self {
        let tasks = Handle::current().metrics().num_alive_tasks();
        State { tasks, held: heap::held(), floor: floor.take() }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.tasks, self.held, self.floor)
    }
}

impl FromStr for State {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [tasks, held, floor] = numbers[..] else { return Err(format!("{line:?} is no state").into()) };
        Ok(State { tasks: tasks as usize, held, floor })
    }
}
