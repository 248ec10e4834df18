//! Memory of large messages, kept for the next ones.
//!
//! The page faults of fresh memory cost more than copying what is put into it. Small messages need none of this.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Messages from this size on use memory of the pool.
pub(crate) const POOLED_BYTES: usize = 1 << SMALLEST;

/// How much memory the pool keeps, and how large a piece of it may be.
const POOL_BYTES: usize = 64 * 1024 * 1024;
const PIECE_BYTES: usize = 32 * 1024 * 1024;

/// A piece so many times larger than what is to be kept in it stays for something else.
const WASTE: usize = 2;

/// Pieces lie on shelves by their size, each beginning with a power of two: these are the smallest and the largest.
const SMALLEST: u32 = 15;
const LARGEST: u32 = PIECE_BYTES.ilog2();

/// So many pieces of a shelf are looked at, the last ones first: those are warm.
const LOOKS: usize = 8;

static POOL: Mutex<Pool> =
    Mutex::new(Pool { shelves: [const { Vec::new() }; (LARGEST - SMALLEST + 1) as usize], bytes: 0 });

struct Pool {
    shelves: [Vec<Vec<u8>>; (LARGEST - SMALLEST + 1) as usize],
    bytes: usize,
}

impl Pool {
    /// A piece for so many bytes, not too large for them.
    fn find(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let first = shelf(bytes)?;
        // Those that are not too large lie on two shelves at most.
        for shelf in self.shelves.iter_mut().skip(first).take(2) {
            let fits = |piece: &Vec<u8>| (bytes..=bytes * WASTE).contains(&piece.capacity());
            let looked_at = shelf.len().saturating_sub(LOOKS);
            if let Some(index) = shelf[looked_at..].iter().rposition(fits) {
                let piece = shelf.remove(looked_at + index);
                self.bytes -= piece.capacity();
                return Some(piece);
            }
        }
        None
    }
}

/// Where pieces of so many bytes lie.
fn shelf(bytes: usize) -> Option<usize> {
    (POOLED_BYTES..=PIECE_BYTES).contains(&bytes).then(|| (bytes.ilog2() - SMALLEST) as usize)
}

/// An empty buffer for so many bytes, with the memory of an earlier message if there is some: otherwise it has none yet.
pub(crate) fn take(bytes: usize) -> Vec<u8> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner).find(bytes).unwrap_or_default()
}

/// Takes back memory of a large message that is not needed any more.
pub(crate) fn give_back(mut piece: Vec<u8>) {
    let Some(shelf) = shelf(piece.capacity()) else { return };
    piece.clear();
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.bytes + piece.capacity() <= POOL_BYTES {
        pool.bytes += piece.capacity();
        pool.shelves[shelf].push(piece);
    }
}

/// Shares a complete message; large memory goes back to the pool when the last slice of it is dropped.
pub(crate) fn share(message: Vec<u8>) -> Bytes {
    if message.capacity() < POOLED_BYTES { Bytes::from(message) } else { Bytes::from_owner(Pooled(message)) }
}

/// A copy that can be shared.
pub(crate) fn copy(bytes: &[u8]) -> Bytes {
    if bytes.len() < POOLED_BYTES {
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
