//! Whoever calls: numbers its calls, and writes down that it makes them and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ledger::{Attempt, Ending, Event, Ledger, Method};

/// A process that calls.
#[derive(Debug)]
pub(super) struct Caller {
    number: u32,
    sequence: AtomicU64,
    pub(super) ledger: Arc<Ledger>,
}

impl Caller {
    pub(super) fn new(number: u32, ledger: Arc<Ledger>) -> Self {
        Caller { number, sequence: AtomicU64::new(0), ledger }
    }

    /// A number for the next call.
    pub(super) fn next(&self) -> Attempt {
        Attempt::first(self.number, self.sequence.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Writes down that an attempt is about to be made: with these hashes of its arguments, and of the reply that it must
    /// have.
    pub(super) fn intend(&self, attempt: Attempt, method: Method, arguments: u64, reply: u64) -> Open<'_> {
        self.ledger.append(attempt, method, Event::Intended { arguments, reply });
        Open { ledger: &self.ledger, attempt, method, ending: Ending::Dropped }
    }
}

/// An attempt that is being made. Its outcome is written when this is dropped, and if nobody has said what it is, it was
/// dropped itself: make this before the call, so that it is dropped after it.
#[derive(Debug)]
pub(super) struct Open<'a> {
    ledger: &'a Ledger,
    attempt: Attempt,
    method: Method,
    ending: Ending,
}

impl Open<'_> {
    /// It has ended so.
    pub(super) fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.ledger.append(self.attempt, self.method, Event::Ended(self.ending));
    }
}
