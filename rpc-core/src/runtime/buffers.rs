//! Memory that a thread lends to the connection that it works for, for the time of a read.
//!
//! An idle connection owns no buffer.

use std::cell::Cell;
use std::ops::Range;

use super::driver::Incoming;
use super::link::LinkEffects;
use crate::protocol::Replies;

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
