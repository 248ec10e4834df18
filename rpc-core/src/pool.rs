//! Memory of large messages, kept for the next ones.
//!
//! The page faults of fresh memory cost more than copying what is put into it. Small messages need none of this.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Messages from this size on use memory of the pool.
pub(crate) const LARGE_BYTES: usize = 128 * 1024;

/// How much memory the pool keeps, and how large a piece of it may be.
const POOL_BYTES: usize = 32 * 1024 * 1024;
const PIECE_BYTES: usize = 8 * 1024 * 1024;

static POOL: Mutex<Pool> = Mutex::new(Pool { pieces: Vec::new(), bytes: 0 });

struct Pool {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

/// An empty buffer, with the memory of an earlier large message if there is some.
pub(crate) fn take() -> Vec<u8> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let piece = pool.pieces.pop().unwrap_or_default();
    pool.bytes -= piece.capacity();
    piece
}

/// Shares a complete message; large memory goes back to the pool when the last slice of it is dropped.
pub(crate) fn share(message: Vec<u8>) -> Bytes {
    if message.capacity() < LARGE_BYTES { Bytes::from(message) } else { Bytes::from_owner(Pooled(message)) }
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
        if piece.capacity() <= PIECE_BYTES && pool.bytes + piece.capacity() <= POOL_BYTES {
            pool.bytes += piece.capacity();
            pool.pieces.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_memory_comes_again_when_its_last_slice_is_gone() {
        // Other tests use the pool at the same time, so a piece is told by its size, and any may have taken it.
        const MARK: usize = PIECE_BYTES - 4_097;
        let comes_again = || {
            let mut message = Vec::with_capacity(MARK);
            message.extend_from_slice(b"large");
            let shared = share(message);
            let slice = shared.slice(1..3);
            drop(shared);
            assert_eq!(slice, "ar");
            assert!(take().capacity() != MARK, "a slice of it is still there");
            drop(slice);
            let piece = take();
            piece.is_empty() && piece.capacity() == MARK
        };
        assert!((0..100).any(|_| comes_again()));
    }
}
