//! What a connection holds of messages that have not come whole, as part of what all connections hold.

use std::task::Waker;

use super::super::clock::now;
use super::{Driver, End};
use crate::frame::Assembler;
use crate::memory::Exhausted;
use crate::message::Reason;
use crate::protocol::Violation;

impl Driver {
    /// Whether what it holds has been taken back, for others.
    ///
    /// # Errors
    /// It has: the connection ends.
    pub(super) fn look_at_memory(&self) -> Result<(), End> {
        match &self.unfinished {
            Some(place) if self.link.memory.has_taken_back(place) => Err(self.exhausted(Exhausted)),
            _ => Ok(()),
        }
    }

    /// Accounts for what it holds now.
    ///
    /// # Errors
    /// There is no room for it: the connection ends.
    pub(super) fn hold(&mut self) -> Result<(), End> {
        let bytes = self.assembler.held() + self.reassembly.held();
        if bytes == 0 && self.unfinished.is_none() {
            return Ok(());
        }
        let frame = self.assembler.is_partial().then(|| match &self.unfinished {
            // Of one that is large nothing comes before the next one is begun.
            Some(place) => place.since(),
            None => now(),
        });
        let since = frame.into_iter().chain(self.reassembly.begun()).min().unwrap_or_else(now);
        // It is woken under the name by which it was polled last.
        let task = || self.link.lock().task.clone().unwrap_or_else(|| Waker::noop().clone());
        let held = self.link.memory.hold(&mut self.unfinished, bytes, since, task);
        held.map_err(|exhausted| self.exhausted(exhausted))
    }

    /// Lets go of all that has not come whole: nobody waits for the rest of it.
    pub(super) fn let_go(&mut self) {
        self.assembler = Assembler::new(self.link.limits.frame_bytes());
        self.reassembly.clear();
        self.reader = None;
        // What is nothing has room.
        let _ = self.link.memory.hold(&mut self.unfinished, 0, now(), || Waker::noop().clone());
    }

    fn exhausted(&self, Exhausted: Exhausted) -> End {
        let limit = self.link.memory.limit();
        let message = format!(
            "messages that have not come whole take more than {limit} bytes, and the oldest was here"
        );
        End::Violation(Violation::new(Reason::Exhausted, message))
    }
}
