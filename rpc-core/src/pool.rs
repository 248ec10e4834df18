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

/// A shelf holds so much, or so many pieces if that is more: after thousands of messages that came at once, most of
/// the memory of small ones goes back to the system.
const SHELF_BYTES: usize = 4 * 1024 * 1024;
const SHELF_PIECES: usize = 8;

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

struct Pool {
    shelves: [Shelf; (LARGEST - SMALLEST + 1) as usize],
    bytes: usize,
}

struct Shelf {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Shelf {
    const fn new() -> Self {
        Shelf { pieces: Vec::new(), bytes: 0 }
    }

    fn take(&mut self, fits: impl Fn(&Vec<u8>) -> bool) -> Option<Vec<u8>> {
        let looked_at = self.pieces.len().saturating_sub(LOOKS);
        let index = self.pieces[looked_at..].iter().rposition(fits)?;
        let piece = self.pieces.remove(looked_at + index);
        self.bytes -= piece.capacity();
        Some(piece)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= SHELF_BYTES || self.pieces.len() < SHELF_PIECES
    }
}

impl Pool {
    const fn new() -> Self {
        Pool { shelves: [const { Shelf::new() }; (LARGEST - SMALLEST + 1) as usize], bytes: 0 }
    }

    /// A piece for so many bytes, not too large for them.
    fn find(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let first = shelf(bytes)?;
        // Those that are not too large lie on two shelves at most.
        let mut shelves = self.shelves.iter_mut().skip(first).take(2);
        let fits = |piece: &Vec<u8>| (bytes..=bytes * WASTE).contains(&piece.capacity());
        let piece = shelves.find_map(|shelf| shelf.take(fits))?;
        self.bytes -= piece.capacity();
        Some(piece)
    }

    /// Gives back what there is no room for.
    fn put(&mut self, shelf: usize, piece: Vec<u8>) -> Option<Vec<u8>> {
        let (shelf, bytes) = (&mut self.shelves[shelf], piece.capacity());
        if self.bytes + bytes > POOL_BYTES || !shelf.has_room(bytes) {
            return Some(piece);
        }
        self.bytes += bytes;
        shelf.bytes += bytes;
        shelf.pieces.push(piece);
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

/// The same, with room for all of them.
pub(crate) fn take_whole(bytes: usize) -> Vec<u8> {
    let mut piece = take(bytes);
    piece.reserve_exact(bytes);
    piece
}

/// How much memory of large messages this process keeps for the next ones, in bytes; at most 64 MiB.
///
/// For whoever counts what a process takes: this part of it belongs to no connection.
pub fn kept_bytes() -> usize {
    POOL.lock().unwrap_or_else(PoisonError::into_inner).bytes
}

/// Takes back memory of a large message that is not needed any more.
pub(crate) fn give_back(mut piece: Vec<u8>) {
    let Some(shelf) = shelf(piece.capacity()) else { return };
    piece.clear();
    let too_much = POOL.lock().unwrap_or_else(PoisonError::into_inner).put(shelf, piece);
    // The system takes its time to take memory back, and nobody is to wait for the lock meanwhile.
    drop(too_much);
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
    let mut copy = take_whole(bytes.len());
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

    fn put(pool: &mut Pool, bytes: usize) {
        pool.put(shelf(bytes).expect("it is pooled"), Vec::with_capacity(bytes));
    }

    #[test]
    fn a_piece_is_at_most_twice_what_is_asked_for() {
        let mut pool = Pool::new();
        [40_000, 60_000, 70_000, 150_000].into_iter().for_each(|bytes| put(&mut pool, bytes));
        let mut find = |bytes| pool.find(bytes).map(|piece| piece.capacity());
        assert_eq!(find(POOLED_BYTES - 1), None, "too small for the pool");
        assert_eq!(find(150_001), None, "larger than all of them");
        assert_eq!(find(74_999), None, "more than half of it would lie idle");
        assert_eq!(find(75_000), Some(150_000));
        assert_eq!(find(50_000), Some(60_000));
        assert_eq!(find(50_000), Some(70_000));
        assert_eq!(find(40_000), Some(40_000));
        assert_eq!(find(40_000), None);
        assert_eq!(find(PIECE_BYTES + 1), None);
        assert_eq!(pool.bytes, 0);
        assert!(pool.shelves.iter().all(|shelf| shelf.bytes == 0));
    }

    #[test]
    fn what_is_kept_is_bounded_on_each_shelf_and_together() {
        let mut pool = Pool::new();
        (0..1_000).for_each(|_| put(&mut pool, 50_000));
        assert!((SHELF_BYTES - 50_000..=SHELF_BYTES).contains(&pool.bytes), "{}", pool.bytes);
        (0..1_000).for_each(|_| put(&mut pool, 1_000_000));
        assert_eq!(pool.bytes / 1_000_000, 4 + SHELF_PIECES);
        let mut pool = Pool::new();
        (0..10).for_each(|_| put(&mut pool, 16 << 20));
        assert_eq!(pool.bytes, POOL_BYTES);
        // There is no room for a small one either, until a large one has gone.
        put(&mut pool, 50_000);
        assert_eq!(pool.bytes, POOL_BYTES);
        pool.find(16 << 20).expect("there are four");
        put(&mut pool, 50_000);
        assert_eq!(pool.bytes, POOL_BYTES - (16 << 20) + 50_000);
    }

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
