//! Memory of large messages, kept for the next ones.
//!
//! The page faults of fresh memory cost more than copying what is put into it. Small messages need none of this.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Messages from this size on use memory of the pool.
pub(crate) const LARGE_BYTES: usize = 128 * 1024;

/// How much memory the pool keeps, and how large a piece of it may be.
const POOL_BYTES: usize = 64 * 1024 * 1024;
const PIECE_BYTES: usize = 32 * 1024 * 1024;

/// A piece so many times larger than what is to be kept in it stays for something else.
const WASTE: usize = 8;

static POOL: Mutex<Pool> = Mutex::new(Pool { pieces: Vec::new(), bytes: 0 });

struct Pool {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// The smallest piece that has so many bytes, else the largest one.
    fn find(&self, bytes: usize) -> Option<usize> {
        let capacity = |piece: &Vec<u8>| piece.capacity();
        let pieces = self.pieces.iter().enumerate();
        let fits =
            |(_, piece): &(usize, &Vec<u8>)| (bytes..=bytes.saturating_mul(WASTE)).contains(&capacity(piece));
        let fitting = pieces.clone().filter(fits).min_by_key(|(_, piece)| capacity(piece));
        let smaller =
            || pieces.filter(|(_, piece)| capacity(piece) < bytes).max_by_key(|(_, piece)| capacity(piece));
        fitting.or_else(smaller).map(|(index, _)| index)
    }
}

/// An empty buffer for so many bytes, with the memory of an earlier large message if there is some: it may have to
/// grow.
pub(crate) fn take(bytes: usize) -> Vec<u8> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(index) = pool.find(bytes) else { return Vec::new() };
    let piece = pool.pieces.swap_remove(index);
    pool.bytes -= piece.capacity();
    piece
}

/// Takes back memory of a large message that is not needed any more.
pub(crate) fn give_back(mut piece: Vec<u8>) {
    if !(LARGE_BYTES..=PIECE_BYTES).contains(&piece.capacity()) {
        return;
    }
    piece.clear();
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.bytes + piece.capacity() <= POOL_BYTES {
        pool.bytes += piece.capacity();
        pool.pieces.push(piece);
    }
}

/// Shares a complete message; large memory goes back to the pool when the last slice of it is dropped.
pub(crate) fn share(message: Vec<u8>) -> Bytes {
    if message.capacity() < LARGE_BYTES { Bytes::from(message) } else { Bytes::from_owner(Pooled(message)) }
}

/// A copy that can be shared.
pub(crate) fn copy(bytes: &[u8]) -> Bytes {
    if bytes.len() < LARGE_BYTES {
        return Bytes::copy_from_slice(bytes);
    }
    let mut copy = take(bytes.len());
    copy.reserve_exact(bytes.len());
    copy.extend_from_slice(bytes);
    share(copy)
}

struct Pooled(Vec<u8>);

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0));
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
            assert!(take(MARK).capacity() != MARK, "a slice of it is still there");
            drop(slice);
            let piece = take(MARK);
            piece.is_empty() && piece.capacity() == MARK
        };
        assert!((0..100).any(|_| comes_again()));
    }
}
