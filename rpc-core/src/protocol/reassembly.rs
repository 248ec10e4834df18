//! Large messages as they come in: fragments, put together again.
//!
//! What is put together grows with the bytes that came, never with what was declared.

use std::time::Instant;

use super::connection::Violation;
use super::transfers::MAX_UNDER_WAY;
use crate::limits::Limits;
use crate::message::{Fragment, Hello, Reason, unknown_fragment};
use crate::pool;

/// From so much of a large message on it is kept in memory of the pool: whoever wants to hoard that has to send.
const EARNED_BYTES: usize = 64 * 1024;

/// Memory for a message grows at least by this.
const STEP: usize = 32 * 1024;

/// The messages of the other side of which the last fragment has not come.
#[derive(Debug)]
pub(crate) struct Reassembly {
    /// Both sides have said that they know fragments.
    in_use: bool,
    /// How large they may be, all together.
    limit: usize,
    unfinished: Vec<Unfinished>,
    /// The one of the fragment that has begun and is not complete, and how many bytes are missing.
    open: Option<(usize, usize)>,
}

#[derive(Debug)]
struct Unfinished {
    number: u64,
    size: usize,
    /// What has come.
    bytes: Vec<u8>,
    begun: Instant,
    /// When it last went on.
    heard: Instant,
}

impl Reassembly {
    /// Puts together what comes from a side that says this of itself.
    pub(crate) fn new(limits: &Limits, peer: &Hello) -> Self {
        let (in_use, limit) = (peer.has_fragments, limits.message_bytes());
        Reassembly { in_use, limit, unfinished: Vec::new(), open: None }
    }

    /// Nothing more is wanted of those under way.
    pub(crate) fn clear(&mut self) {
        self.unfinished.clear();
        self.open = None;
    }

    /// Whether no message is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// How much memory those under way have, all together.
    pub(crate) fn held(&self) -> usize {
        self.unfinished.iter().map(|message| message.bytes.capacity()).sum()
    }

    /// When the one that is under way for the longest time began.
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.unfinished.iter().map(|message| message.begun).min()
    }

    /// Whether a fragment has begun and is not complete.
    pub(crate) fn is_partial(&self) -> bool {
        self.open.is_some()
    }

    /// How many bytes are missing of the fragment that has begun.
    pub(crate) fn missing(&self) -> usize {
        self.open.map_or(0, |(_, missing)| missing)
    }

    /// Where the next bytes of the fragment that has begun belong, for a transport to read into, and how many of
    /// them there is room for.
    pub(crate) fn room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let (at, missing) = self.open?;
        let message = &mut self.unfinished[at];
        let step = missing.min(message.bytes.len().max(STEP));
        message.grow(step);
        Some((&mut message.bytes, step))
    }

    /// Takes a fragment, or its beginning, and gives the message if this is the end of it.
    ///
    /// # Errors
    /// It must not come, or not so.
    pub(crate) fn take(
        &mut self,
        fragment: Fragment<'_>,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, Violation> {
        if !self.in_use {
            return Err(violation(Reason::Protocol, unknown_fragment()));
        }
        let Fragment { number, rest, length, data } = fragment;
        let known = self.unfinished.iter().position(|message| message.number == number);
        let Some(rest) = rest else {
            self.give_up(known, &fragment)?;
            return Ok(None);
        };
        if length == 0 && rest > 0 {
            return Err(violation(Reason::Protocol, "a fragment without data that is not the last one"));
        }
        // What does not fit is above any limit, which is a usize.
        let follow = usize::try_from(rest).ok().and_then(|rest| rest.checked_add(length));
        let at = match known {
            Some(at) => {
                let message = &self.unfinished[at];
                let left = message.size - message.bytes.len();
                if follow != Some(left) {
                    let text = format!(
                        "a fragment of {length} bytes and {rest} to follow, where {left} were left of message {number}"
                    );
                    return Err(violation(Reason::Protocol, text));
                }
                at
            }
            None => self.start(number, follow.unwrap_or(usize::MAX), now)?,
        };
        self.open = Some((at, length));
        Ok(self.put(data, now).1)
    }

    /// Takes what has come of the fragment that has begun. Gives what is left of the bytes, and the message if it
    /// is complete.
    pub(crate) fn put<'b>(&mut self, bytes: &'b [u8], now: Instant) -> (&'b [u8], Option<Vec<u8>>) {
        let Some((at, missing)) = self.open else { return (bytes, None) };
        let (data, left) = bytes.split_at(missing.min(bytes.len()));
        let message = &mut self.unfinished[at];
        message.grow(data.len());
        message.bytes.extend_from_slice(data);
        (left, self.came(data.len(), now))
    }

    /// So many bytes more have come of the fragment that has begun, and are in their place. Gives the message if it is
    /// complete.
    pub(crate) fn came(&mut self, count: usize, now: Instant) -> Option<Vec<u8>> {
        let (at, missing) = self.open?;
        let message = &mut self.unfinished[at];
        message.heard = now;
        if count < missing {
            self.open = Some((at, missing - count));
            return None;
        }
        self.open = None;
        let complete = message.bytes.len() == message.size;
        complete.then(|| std::mem::take(&mut self.unfinished.swap_remove(at).bytes))
    }

    /// When the message that has waited longest for its next bytes last went on.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.unfinished.iter().map(|message| message.heard).min()
    }

    /// Nothing is read for the moment, so that nothing can go on.
    pub(crate) fn not_reading(&mut self, now: Instant) {
        self.unfinished.iter_mut().for_each(|message| message.heard = now);
    }

    /// Lets a message begin, and says where it is kept.
    fn start(&mut self, number: u64, size: usize, now: Instant) -> Result<usize, Violation> {
        if self.unfinished.len() == MAX_UNDER_WAY {
            let text = format!("more than {MAX_UNDER_WAY} messages in fragments at once");
            return Err(violation(Reason::Frame, text));
        }
        let under_way: usize = self.unfinished.iter().map(|message| message.size).sum();
        if size > self.limit - under_way {
            let text = match under_way {
                0 => format!("a message of {size} bytes, expected at most {}", self.limit),
                _ => format!(
                    "a message of {size} bytes beside others of {under_way}, expected at most {} together",
                    self.limit
                ),
            };
            return Err(violation(Reason::Frame, text));
        }
        self.unfinished.push(Unfinished { number, size, bytes: Vec::new(), begun: now, heard: now });
        Ok(self.unfinished.len() - 1)
    }

    /// The other side gives a message up.
    fn give_up(&mut self, known: Option<usize>, fragment: &Fragment<'_>) -> Result<(), Violation> {
        match known {
            Some(at) if fragment.length == 0 => {
                self.unfinished.swap_remove(at);
                Ok(())
            }
            Some(_) => Err(violation(Reason::Protocol, "a message is given up in a fragment with data")),
            None => {
                let text = format!("message {} is given up and was not under way", fragment.number);
                Err(violation(Reason::Protocol, text))
            }
        }
    }
}

impl Unfinished {
    /// Makes room for more bytes: as much again as has come, so that a declared size alone costs nothing.
    fn grow(&mut self, more: usize) {
        let come = self.bytes.len();
        if self.bytes.capacity() - come >= more {
            return;
        }
        if self.size >= 2 * EARNED_BYTES && come < EARNED_BYTES && come + more >= EARNED_BYTES {
            let mut piece = pool::take(self.size);
            piece.extend_from_slice(&self.bytes);
            self.bytes = piece;
        }
        let left = self.size - come;
        self.bytes.reserve_exact(left.min(more.max(come)));
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        pool::give_back(std::mem::take(&mut self.bytes));
    }
}

fn violation(reason: Reason, text: impl std::fmt::Display) -> Violation {
    Violation::new(reason, text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fragment(number: u64, rest: u64, data: &[u8]) -> Fragment<'_> {
        Fragment { number, rest: Some(rest), length: data.len(), data }
    }

    fn given_up(number: u64) -> Fragment<'static> {
        Fragment { number, rest: None, length: 0, data: &[] }
    }

    /// Takes messages of up to 1 KiB together.
    fn small() -> (Reassembly, Instant) {
        (with_limit(1_024), Instant::now())
    }

    fn with_limit(bytes: usize) -> Reassembly {
        Reassembly::new(&Limits::default().with_message_bytes(bytes), &Hello::new(&Limits::default()))
    }

    #[test]
    fn interleaved_messages_are_put_together_in_the_order_of_their_ends() {
        let (mut reassembly, now) = small();
        let mut take = |fragment| reassembly.take(fragment, now).expect("a sound fragment");
        assert_eq!(take(fragment(7, 5, b"abc")), None);
        assert_eq!(take(fragment(0, 2, b"xy")), None);
        assert_eq!(take(fragment(7, 1, b"defg")), None);
        assert_eq!(take(fragment(0, 0, b"zz")), Some(b"xyzz".to_vec()));
        // Its number is free again.
        assert_eq!(take(fragment(0, 0, b"another")), Some(b"another".to_vec()));
        assert_eq!(take(fragment(7, 0, b"h")), Some(b"abcdefgh".to_vec()));
        assert!(reassembly.is_empty());
    }

    #[test]
    fn a_fragment_that_comes_piece_by_piece_goes_where_its_message_is() {
        let (mut reassembly, now) = small();
        let begun = Fragment { number: 1, rest: Some(3), length: 5, data: b"ab" };
        assert_eq!(reassembly.take(begun, now).expect("a beginning"), None);
        assert!(reassembly.is_partial());
        assert_eq!(reassembly.put(b"c", now), (&[][..], None));
        assert_eq!(reassembly.put(b"deNEXT", now), (&b"NEXT"[..], None));
        assert!(!reassembly.is_partial());
        let begun = Fragment { number: 1, rest: Some(0), length: 3, data: b"" };
        assert_eq!(reassembly.take(begun, now).expect("a beginning"), None);
        assert_eq!(reassembly.put(b"fghNEXT", now), (&b"NEXT"[..], Some(b"abcdefgh".to_vec())));
    }

    #[test]
    fn what_does_not_fit_ends_the_connection() {
        let data = Fragment { number: 1, rest: None, length: 1, data: b"x" };
        for (bad, reason) in [
            (fragment(1, 5, b"abc"), Reason::Protocol),
            (fragment(1, 0, b"abc"), Reason::Protocol),
            (fragment(1, 6, b""), Reason::Protocol),
            (fragment(1, 5, b""), Reason::Protocol),
            (fragment(1, 0, b""), Reason::Protocol),
            (fragment(1, 0, b"abcdef"), Reason::Protocol),
            (fragment(1, u64::MAX, b"abcde"), Reason::Protocol),
            (fragment(2, 5, b""), Reason::Protocol),
            (data, Reason::Protocol),
            (given_up(2), Reason::Protocol),
            (fragment(2, 1_017, b""), Reason::Protocol),
            (fragment(2, 1_016, b"x"), Reason::Frame),
            (fragment(2, u64::MAX, b"x"), Reason::Frame),
        ] {
            let (mut reassembly, now) = small();
            reassembly.take(fragment(1, 5, b"abc"), now).expect("a sound fragment");
            let violation = reassembly.take(bad, now).expect_err("it does not fit");
            assert_eq!(violation.reason, reason, "{bad:?}: {}", violation.message);
        }
    }

    #[test]
    fn a_side_that_did_not_name_the_feature_sends_none() {
        let mut hello = Hello::new(&Limits::default());
        hello.has_fragments = false;
        let mut reassembly = Reassembly::new(&Limits::default(), &hello);
        let violation = reassembly.take(fragment(1, 0, b"a"), Instant::now()).expect_err("not in use");
        assert_eq!(violation.reason, Reason::Protocol);
    }

    #[test]
    fn all_together_are_no_longer_than_one_may_be() {
        let (mut reassembly, now) = small();
        reassembly.take(fragment(1, 1_023, b"a"), now).expect("exactly the limit");
        assert_eq!(reassembly.take(fragment(2, 0, b"b"), now).expect_err("too much").reason, Reason::Frame);
        let (mut reassembly, now) = small();
        assert_eq!(
            reassembly.take(fragment(1, 1_024, b"a"), now).expect_err("too much").reason,
            Reason::Frame
        );
        let (mut reassembly, now) = small();
        reassembly.take(fragment(1, 1_000, b"a"), now).expect("a sound fragment");
        reassembly.take(given_up(1), now).expect("it is under way");
        reassembly.take(fragment(2, 1_023, b"a"), now).expect("there is room again");
    }

    #[test]
    fn one_more_than_may_be_under_way_ends_the_connection() {
        let (mut reassembly, now) = small();
        for number in 0..MAX_UNDER_WAY as u64 {
            reassembly.take(fragment(number << 40, 1, b"a"), now).expect("a sound fragment");
        }
        assert_eq!(reassembly.take(fragment(5, 0, b"a"), now).expect_err("too many").reason, Reason::Frame);
        reassembly.take(given_up(3 << 40), now).expect("it is under way");
        assert!(reassembly.take(fragment(5, 0, b"a"), now).expect("there is room again").is_some());
    }

    #[test]
    #[cfg_attr(miri, ignore = "it takes megabytes, for which Miri is too slow")]
    fn a_declared_size_costs_nothing() {
        let mut reassembly = with_limit(usize::MAX);
        let now = Instant::now();
        let size = 1 << 31;
        reassembly.take(fragment(1, size - 1, b"a"), now).expect("a sound fragment");
        let mut come = 1;
        let mut grown = 0;
        let mut capacity = 0;
        // Byte by byte, then in larger pieces.
        for length in std::iter::repeat_n(1, 2_000).chain(std::iter::repeat_n(65_536, 40)) {
            come += length;
            let data = vec![7; length as usize];
            reassembly.take(fragment(1, size - come, &data), now).expect("a sound fragment");
            let now_has = reassembly.unfinished[0].bytes.capacity() as u64;
            grown += u32::from(now_has != capacity);
            capacity = now_has;
            // A piece of the pool may be larger: it was there before, and not for a few bytes.
            let pooled = come >= 65_536 && capacity <= 32 << 20;
            assert!(capacity <= 2 * come || pooled, "{capacity} bytes for {come} that came");
        }
        assert!(grown <= 24, "it was moved {grown} times");
    }

    #[test]
    #[cfg_attr(miri, ignore = "it takes megabytes, for which Miri is too slow")]
    fn a_fragment_that_has_only_begun_gets_one_step_and_nothing_of_the_pool() {
        let mut reassembly = with_limit(usize::MAX);
        let now = Instant::now();
        let length = 3_000_000;
        let begun = Fragment { number: 1, rest: Some(0), length, data: b"a" };
        reassembly.take(begun, now).expect("a sound beginning");
        let mut come = 1;
        let mut message = None;
        while message.is_none() {
            let (room, step) = reassembly.room().expect("it is not complete");
            let pooled = come >= EARNED_BYTES / 2 && room.capacity() <= 32 << 20;
            assert!(room.capacity() <= 2 * come + STEP || pooled, "{} for {come}", room.capacity());
            assert!(step <= room.capacity() - room.len());
            let count = step.min(1 + come / 3);
            room.resize(room.len() + count, 7);
            come += count;
            message = reassembly.came(count, now);
        }
        assert_eq!(message.map(|message| message.len()), Some(length));
        assert!(reassembly.room().is_none() && reassembly.is_empty());
    }

    #[test]
    fn the_one_that_waits_longest_is_not_hidden_by_others() {
        let (mut reassembly, now) = small();
        let second = Duration::from_secs(1);
        assert_eq!(reassembly.oldest(), None);
        reassembly.take(fragment(1, 9, b"a"), now).expect("a sound fragment");
        reassembly.take(fragment(2, 9, b"a"), now + second).expect("a sound fragment");
        reassembly.take(fragment(2, 8, b"a"), now + 2 * second).expect("a sound fragment");
        assert_eq!(reassembly.oldest(), Some(now));
        reassembly.take(fragment(1, 8, b"a"), now + 3 * second).expect("a sound fragment");
        assert_eq!(reassembly.oldest(), Some(now + 2 * second));
        reassembly.not_reading(now + 9 * second);
        assert_eq!(reassembly.oldest(), Some(now + 9 * second));
        reassembly.take(given_up(1), now).expect("it is under way");
        reassembly.take(given_up(2), now).expect("it is under way");
        assert_eq!(reassembly.oldest(), None);
    }
}
