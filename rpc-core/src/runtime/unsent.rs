//! What waits to be sent on all connections on which the same is served.
//!
//! Each connection has bounds of its own, which a thousand peers that read nothing take a thousand times. So from
//! [`COUNTED_BYTES`] on what waits on a connection is counted for all of them. Where that exceeds the limit, no handler
//! starts whose reply may be large, and no more is read of a peer that has so much to read itself. Connections that have
//! such handlers stand in line, and each that is let in lets in the next one once it is known what its reply takes. A peer
//! that has read nothing for a while, when others stand in line, is sent away.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::link::{Link, Shared, Writer};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// What is less than this on a connection is not counted.
pub(crate) const COUNTED_BYTES: usize = 64 * 1024;

/// How long, as a part of the stall timeout, a peer may read nothing while others wait for what it takes.
const PATIENCE: u32 = 10;

/// Seldom written where nothing large is under way, and read with calls that may be.
///
/// Who stands in line looks once more for room, and who makes room then looks for somebody in line: so that one of them
/// sees the other, all threads agree on the order (`SeqCst`).
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    bytes: AtomicUsize,
    /// Somebody stands in line.
    is_wanted: AtomicBool,
    line: Mutex<VecDeque<Weak<Link>>>,
}

impl Unsent {
    /// Whether as much waits as may, or more.
    pub(crate) fn is_full(&self, limit: usize) -> bool {
        self.bytes.load(Ordering::SeqCst) >= limit
    }

    fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::SeqCst)
    }

    fn change(&self, from: usize, to: usize) {
        // Both at once could go below zero in between.
        if to > from {
            self.bytes.fetch_add(to - from, Ordering::SeqCst);
        } else {
            self.bytes.fetch_sub(from - to, Ordering::SeqCst);
        }
    }

    fn stand_in_line(&self, link: Weak<Link>) {
        let mut line = self.line();
        line.push_back(link);
        self.is_wanted.store(true, Ordering::SeqCst);
    }

    /// The connection whose turn it is.
    fn next(&self) -> Option<Arc<Link>> {
        let mut line = self.line();
        let next = std::iter::from_fn(|| line.pop_front()).find_map(|link| link.upgrade());
        self.is_wanted.store(!line.is_empty(), Ordering::SeqCst);
        next
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Weak<Link>>> {
        // What is done under it leaves it sound.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Whether so much waits on all connections that what may be large is not even begun.
    pub(crate) fn is_server_crowded(&self) -> bool {
        self.registry.unsent.is_full(self.limits.unsent_bytes())
    }

    /// Whether what waits on all connections is so much that no more is read of who has a part in it: well before the
    /// limit, since what has been read already adds to it.
    pub(crate) fn is_server_pressed(&self) -> bool {
        self.registry.unsent.is_full(self.limits.unsent_bytes() / 4)
    }

    /// Counts anew what waits to be sent. True if somebody may have been waiting for that: then
    /// [`let_others_in`](Self::let_others_in), not under the lock.
    #[must_use]
    pub(crate) fn count_unsent(&self, shared: &mut Shared) -> bool {
        let waits = shared.unsent_bytes();
        let counted = if waits < COUNTED_BYTES || shared.over { 0 } else { waits };
        // Who has the writer knows how much of that is left, and counts when it is back.
        if counted == shared.counted || shared.writer.is_none() && !shared.over && counted < shared.counted {
            return false;
        }
        let before = std::mem::replace(&mut shared.counted, counted);
        self.registry.unsent.change(before, counted);
        counted < before && self.registry.unsent.is_wanted()
    }

    /// Lets in the next connection that waits for room on all of them.
    pub(crate) fn let_others_in(&self) {
        while !self.is_server_crowded() {
            let Some(link) = self.registry.unsent.next() else { return };
            let mut shared = link.lock();
            shared.held.stands_in_line(false);
            if link.is_crowded(&shared) {
                // It lets in its own when it has room, and stands in line again if there is none on the others.
                continue;
            }
            let waker = shared.held.let_in();
            drop(shared);
            if let Some(waker) = waker {
                // The next one follows when it is known what this one takes.
                return waker.wake();
            }
        }
    }

    /// Lets a handler start that waits for it, in the turn of its connection, if there is room.
    pub(crate) fn let_in(self: &Arc<Self>, mut shared: MutexGuard<'_, Shared>) {
        if shared.held.is_empty() || self.is_crowded(&shared) {
            return;
        }
        if self.is_server_crowded() || self.registry.unsent.is_wanted() {
            self.stand_in_line(&mut shared);
            drop(shared);
            // There may have been room since.
            return self.let_others_in();
        }
        let waker = shared.held.let_in();
        drop(shared);
        waker.into_iter().for_each(Waker::wake);
    }

    fn stand_in_line(self: &Arc<Self>, shared: &mut Shared) {
        if shared.held.stands_in_line(true) {
            self.registry.unsent.stand_in_line(Arc::downgrade(self));
        }
    }

    /// When to look next whether the other side, which has read nothing for a while, [is in the way](Self::is_in_the_way).
    pub(crate) fn next_look(&self, shared: &Shared, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let since = shared.unread_since()?;
        let now = now();
        if self.is_in_the_way(shared, now) {
            return Some(now);
        }
        let looks = now.saturating_duration_since(since).as_nanos() / self.patience().as_nanos();
        // Few, since it is sent away in any case after so many parts of the time.
        Some(since + self.patience() * (looks as u32 + 1))
    }

    /// Whether the other side is to be sent away for others, whom it keeps waiting by reading nothing.
    pub(crate) fn is_in_the_way(&self, shared: &Shared, now: Instant) -> bool {
        shared.unread_since().is_some_and(|since| now >= since + self.patience())
            && self.registry.unsent.is_wanted()
    }

    fn patience(&self) -> Duration {
        (self.limits.stall_timeout() / PATIENCE).max(Duration::from_millis(1))
    }
}

impl Shared {
    /// How many bytes wait to be sent, as far as they are known here.
    pub(crate) fn unsent_bytes(&self) -> usize {
        let unwritten = self.writer.as_ref().map_or(0, Writer::unwritten);
        self.connection.output_bytes() + self.connection.large_bytes() + unwritten
    }

    /// Since when the other side has read nothing, where that is counted.
    fn unread_since(&self) -> Option<Instant> {
        if self.counted > 0 { self.connection.unread_since() } else { None }
    }
}
