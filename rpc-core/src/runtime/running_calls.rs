//! How many calls go on, over all connections on which the same is served.
//!
//! A call that ends with its first poll is never among them: it costs no count that all threads would have to hand to
//! one another, and nothing while it waits, for it does not.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::{Code, Error};

/// On a cache line of its own, since what lies beside it is read with every call.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct RunningCalls(AtomicUsize);

impl RunningCalls {
    /// Whether one more may start. Nothing is promised by it: threads that ask at the same moment may each start one.
    #[inline]
    pub(crate) fn has_room(&self, limit: usize) -> bool {
        self.0.load(Ordering::Relaxed) < limit
    }

    /// A call goes on.
    pub(crate) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A call that has entered ends.
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a call is refused where there is no room for it.
#[cold]
pub(crate) fn no_room(limit: usize) -> Error {
    Error::not_executed(Code::ResourceExhausted, format!("{limit} calls run on this server, the limit"))
}
