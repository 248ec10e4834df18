//! Memory that is lent: to each read for its time, and to large frames for theirs.
//!
//! An idle connection owns no buffer. What a read needs belongs to the thread; large frames come from a pool of the
//! process, because the page faults of fresh memory cost more than the bytes in it.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::driver::Incoming;
use super::link::LinkEffects;
use crate::protocol::Outbox;

/// How much one read takes at most.
const READ_BYTES: usize = 256 * 1024;

/// A frame from this size on is assembled in memory of the pool.
pub(crate) const LARGE_BYTES: usize = 128 * 1024;

/// How much memory the pool keeps, and how large a piece of it may be.
const POOL_BYTES: usize = 32 * 1024 * 1024;
const POOL_PIECE_BYTES: usize = 8 * 1024 * 1024;

/// What a thread lends to the connection that it works for.
pub(crate) struct Scratch {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) frames: Vec<Range<usize>>,
    pub(crate) incoming: Vec<Incoming>,
    pub(crate) replies: Outbox,
    pub(crate) effects: LinkEffects,
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Scratch {
            bytes: vec![0; READ_BYTES].into_boxed_slice(),
            frames: Vec::new(),
            incoming: Vec::new(),
            replies: Outbox::default(),
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

static POOL: Mutex<Pool> = Mutex::new(Pool { pieces: Vec::new(), bytes: 0 });

struct Pool {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

/// An empty buffer, with the memory of an earlier large frame if there is some.
pub(crate) fn take_large() -> Vec<u8> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let piece = pool.pieces.pop().unwrap_or_default();
    pool.bytes -= piece.capacity();
    piece
}

/// A complete frame, whose memory goes back to the pool when the last slice of it is dropped.
pub(crate) fn share(frame: Vec<u8>) -> Bytes {
    if frame.capacity() < LARGE_BYTES { Bytes::from(frame) } else { Bytes::from_owner(Pooled(frame)) }
}

struct Pooled(Vec<u8>);

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut piece = std::mem::take(&mut self.0);
        piece.clear();
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if piece.capacity() <= POOL_PIECE_BYTES && pool.bytes + piece.capacity() <= POOL_BYTES {
            pool.bytes += piece.capacity();
            pool.pieces.push(piece);
        }
    }
}
