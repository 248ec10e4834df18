//! Memory that a thread lends to the connection that it works for, for the time of a read.
//!
//! An idle connection owns no buffer.

use std::cell::Cell;
use std::ops::Range;

use super::driver::Incoming;
use super::link::LinkEffects;
use crate::protocol::{Outbox, Replies};

/// How much one read takes at most.
const READ_BYTES: usize = 256 * 1024;

/// What a thread lends to the connection that it works for.
pub(crate) struct Scratch {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) frames: Vec<Range<usize>>,
    pub(crate) incoming: Vec<Incoming>,
    pub(crate) replies: Replies,
    pub(crate) effects: LinkEffects,
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Scratch {
            bytes: vec![0; READ_BYTES].into_boxed_slice(),
            frames: Vec::new(),
            incoming: Vec::new(),
            replies: Replies::default(),
            effects: LinkEffects::default(),
        })
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Lends the thread's scratch. A nested use (a handler that runs a runtime of its own) gets another one.
pub(crate) fn with_scratch<T>(function: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_else(Scratch::new);
    let result = function(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// Leaves the larger of two buffers to the thread: its own, and that of an outbox which is empty. A connection that has
/// nothing more to write for now (`is_idle`) does not keep a large one either way.
pub(crate) fn leave_buffer(outbox: &mut Outbox, is_idle: bool) {
    // Where the thread's is in use, it is not the connection's task that runs.
    if let Some(mut scratch) = SCRATCH.take() {
        scratch.replies.take_larger_buffer(outbox);
        SCRATCH.set(Some(scratch));
    }
    if is_idle {
        outbox.shrink();
    }
}
