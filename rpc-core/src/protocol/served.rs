//! The calls of the other side that run here.
//!
//! A call that ends the moment it is started leaves no trace but a count; one that goes on is kept with a handle
//! `H` by which it can be stopped.

use std::time::{Duration, Instant};

use super::rare_map::RareMap;

/// The name of a running call: the other side's id, or a number of our own where no reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CallKey {
    Call(u64),
    /// A call with streams.
    Stream(u64),
    OneWay(u64),
}

impl CallKey {
    /// Under which names a call of this id may run.
    fn of(id: u64) -> [Self; 2] {
        [CallKey::Call(id), CallKey::Stream(id)]
    }

    /// The id that a reply carries, if one is awaited.
    pub(crate) fn reply_id(self) -> Option<u64> {
        match self {
            CallKey::Call(id) | CallKey::Stream(id) => Some(id),
            CallKey::OneWay(_) => None,
        }
    }
}

/// All calls of the other side that have been admitted and have not ended.
#[derive(Debug)]
pub(crate) struct Served<H> {
    begun: Instant,
    /// All admitted calls, also those that are about to run and have not been kept.
    admitted: Counts,
    kept: RareMap<CallKey, Kept<H>>,
    /// How many one-way calls there have been.
    oneways: u64,
    last_id: u64,
    /// No deadline of a kept call is earlier than this.
    earliest: Option<Instant>,
}

/// How many calls there are: those with streams apart, which may be open for long, and one-way ones, since their
/// caller cannot wait for a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: usize,
    pub(crate) streams: usize,
    pub(crate) oneways: usize,
}

impl Counts {
    /// One call.
    pub(crate) fn of(key: CallKey) -> Self {
        let mut counts = Counts::default();
        *counts.count(key) = 1;
        counts
    }

    #[inline]
    pub(crate) fn count(&mut self, key: CallKey) -> &mut usize {
        match key {
            CallKey::Call(_) => &mut self.calls,
            CallKey::Stream(_) => &mut self.streams,
            CallKey::OneWay(_) => &mut self.oneways,
        }
    }
}

/// A moment in four bytes: it lies in each call that goes on, and of an age that comes round after weeks nothing hangs.
#[derive(Clone, Copy, Debug)]
struct Came {
    milliseconds: u32,
}

impl Came {
    fn at(now: Instant, begun: Instant) -> Self {
        Came { milliseconds: now.saturating_duration_since(begun).as_millis() as u32 }
    }

    /// To a millisecond.
    fn age(self, now: Instant, begun: Instant) -> Duration {
        Duration::from_millis(Came::at(now, begun).milliseconds.wrapping_sub(self.milliseconds).into())
    }
}

#[derive(Debug)]
struct Kept<H> {
    /// Gone once it has been used.
    handle: Option<H>,
    deadline: Option<Instant>,
    came: Came,
    /// Its caller has gone or has been told: whatever comes now is not sent.
    silent: bool,
}

impl<H> Served<H> {
    /// Of a connection that begins now.
    pub(crate) fn new(begun: Instant) -> Self {
        Served {
            begun,
            admitted: Counts::default(),
            kept: RareMap::default(),
            oneways: 0,
            last_id: 0,
            earliest: None,
        }
    }

    /// How many calls are admitted and have not ended, cancelled ones that still run included.
    pub(crate) fn admitted(&self) -> Counts {
        self.admitted
    }

    /// The highest id that has been taken.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Gives up memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        self.kept.shrink();
    }

    pub(crate) fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Whether a call of this id is running.
    #[inline]
    pub(crate) fn is_live(&self, id: u64) -> bool {
        !self.kept.is_empty() && CallKey::of(id).iter().any(|key| self.kept.contains_key(key))
    }

    #[inline]
    pub(crate) fn admit(&mut self, id: Option<u64>, has_streams: bool) -> CallKey {
        let key = match id {
            Some(id) => {
                self.last_id = self.last_id.max(id);
                if has_streams { CallKey::Stream(id) } else { CallKey::Call(id) }
            }
            None => {
                self.oneways += 1;
                CallKey::OneWay(self.oneways)
            }
        };
        *self.admitted.count(key) += 1;
        key
    }

    /// Keeps an admitted call that goes on, and came at some time.
    pub(crate) fn keep(&mut self, key: CallKey, handle: H, deadline: Option<Instant>, since: Instant) {
        if let Some(deadline) = deadline {
            self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        }
        self.kept.insert(
            key,
            Kept { handle: Some(handle), deadline, came: Came::at(since, self.begun), silent: false },
        );
    }

    /// Changes the handle of a kept call; false if it has been stopped meanwhile.
    pub(crate) fn update(&mut self, key: CallKey, change: impl FnOnce(&mut H)) -> bool {
        match self.kept.get_mut(&key) {
            Some(kept) => kept.handle.as_mut().map(change).is_some(),
            // It has ended by itself.
            None => true,
        }
    }

    /// Counts out calls that ended the moment they were started.
    #[inline]
    pub(crate) fn ended_at_once(&mut self, ended: Counts) {
        self.admitted.calls -= ended.calls;
        self.admitted.streams -= ended.streams;
        self.admitted.oneways -= ended.oneways;
    }

    /// Forgets a kept call that has ended, and says whether its caller still waits for the reply.
    pub(crate) fn ended(&mut self, key: CallKey) -> bool {
        match self.kept.remove(&key) {
            Some(kept) => {
                *self.admitted.count(key) -= 1;
                !kept.silent
            }
            None => false,
        }
    }

    /// The caller has gone: gives the handle to stop the call by, and for how long it has been here. It counts until it has
    /// really ended.
    pub(crate) fn cancel(&mut self, id: u64, now: Instant) -> Option<(H, Duration)> {
        let key = CallKey::of(id).into_iter().find(|key| self.kept.contains_key(key))?;
        let kept = self.kept.get_mut(&key)?;
        kept.silent = true;
        let age = kept.came.age(now, self.begun);
        kept.handle.take().map(|handle| (handle, age))
    }

    /// Gives the keys and handles of calls whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant, mut expired: impl FnMut(CallKey, H)) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.earliest = None;
        for (key, kept) in self.kept.iter_mut() {
            let Some(deadline) = kept.deadline else { continue };
            if deadline > now {
                self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
            } else if let (false, Some(handle)) = (kept.silent, kept.handle.take()) {
                kept.silent = true;
                kept.deadline = None;
                expired(*key, handle);
            }
        }
    }

    /// Nobody waits for anything any more: gives the handles of all running calls.
    pub(crate) fn cancel_all(&mut self, mut cancelled: impl FnMut(H)) {
        for kept in self.kept.values_mut() {
            kept.silent = true;
            if let Some(handle) = kept.handle.take() {
                cancelled(handle);
            }
        }
    }
}
