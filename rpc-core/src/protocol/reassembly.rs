//! Large messages as they come in: fragments, put together again.
//!
//! What is put together grows with the bytes that came, never with what was declared.

use std::time::Instant;

use super::connection::Violation;
use super::transfers::MAX_UNDER_WAY;
use crate::limits::Limits;
use crate::message::{Fragment, Reason};
use crate::pool::{self, LARGE_BYTES};

/// From so much of a large message on it is kept in memory of the pool: whoever wants to hoard that has to send.
const POOLED_BYTES: usize = 64 * 1024;

/// The messages of the other side of which the last fragment has not come.
#[derive(Debug)]
pub(crate) struct Reassembly {
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
    /// When it last went on.
    heard: Instant,
}

impl Reassembly {
    pub(crate) fn new(limits: &Limits) -> Self {
        Reassembly { limit: limits.message_bytes(), unfinished: Vec::new(), open: None }
    }

    /// Whether no message is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// Whether a fragment has begun and is not complete.
    pub(crate) fn is_partial(&self) -> bool {
        self.open.is_some()
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
        message.heard = now;
        message.grow(data.len());
        message.bytes.extend_from_slice(data);
        if data.len() < missing {
            self.open = Some((at, missing - data.len()));
            return (left, None);
        }
        self.open = None;
        let complete = message.bytes.len() == message.size;
        (left, complete.then(|| std::mem::take(&mut self.unfinished.swap_remove(at).bytes)))
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
        self.unfinished.push(Unfinished { number, size, bytes: Vec::new(), heard: now });
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
        if self.size >= LARGE_BYTES && come < POOLED_BYTES && come + more >= POOLED_BYTES {
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
