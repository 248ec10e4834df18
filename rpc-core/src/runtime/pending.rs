//! A pending call: where its caller waits, and where its outcome is put.
//!
//! It is apart from the connection, so that whoever takes an outcome touches nothing that other callers use: with two
//! threads, every cache line that both write wanders from core to core, at a price that exceeds that of the call.

use std::sync::{Arc, PoisonError};
use std::task::Waker;

use super::client::Lease;
use crate::protocol::Outcome;
use crate::sync::{Mutex, MutexGuard};

/// Where callers wait, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Which call it is that waits, as counted here: what comes for an earlier one comes too late.
    turn: u64,
    is_taken: bool,
    waker: Option<Waker>,
    progress: Option<Progress>,
}

/// What has become of a call.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It has its place, and can be entered again.
    Granted,
    Ended(Outcome),
}

impl Pending {
    /// Takes the place for a call, and says whom to wake and which turn it is; not if another call has it.
    #[inline]
    pub(super) fn take(&self, waker: &Waker) -> Option<u64> {
        let mut waiting = self.lock();
        if std::mem::replace(&mut waiting.is_taken, true) {
            return None;
        }
        waiting.turn += 1;
        waiting.waker = Some(waker.clone());
        Some(waiting.turn)
    }

    /// What has become of the call since this was last asked; if nothing has, whom to wake. Once it has ended the place
    /// is free.
    #[inline]
    pub(super) fn poll(&self, waker: &Waker) -> Option<Progress> {
        let mut waiting = self.lock();
        let progress = waiting.progress.take();
        if let Some(Progress::Ended(_)) = progress {
            waiting.is_taken = false;
            // That it was granted its place may be told only now, and is not for the next call.
            waiting.turn += 1;
        } else {
            match &mut waiting.waker {
                Some(stored) => stored.clone_from(waker),
                None => waiting.waker = Some(waker.clone()),
            }
        }
        progress
    }

    /// Gives the place up, and says whether the call had ended.
    #[inline]
    pub(super) fn leave(&self) -> bool {
        let mut waiting = self.lock();
        waiting.is_taken = false;
        // What may still come for it is told to nobody.
        waiting.turn += 1;
        waiting.waker = None;
        matches!(waiting.progress.take(), Some(Progress::Ended(_)))
    }

    #[inline]
    pub(super) fn tell(&self, turn: u64, progress: Progress) {
        let mut waiting = self.lock();
        // Each is told after the lock of the connection is released, so the end of a call that was granted its place may
        // come first, and is the last word.
        if waiting.turn != turn || matches!(waiting.progress, Some(Progress::Ended(_))) {
            return;
        }
        waiting.progress = Some(progress);
        let waker = waiting.waker.take();
        drop(waiting);
        waker.into_iter().for_each(Waker::wake);
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What is done under it leaves it sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits at one: what its caller looks at, and what a connection has to tell it by.
#[derive(Clone, Debug)]
pub(crate) struct PendingCall {
    at: At,
    turn: u64,
}

#[derive(Clone, Debug)]
enum At {
    /// The one that each handle has: no memory, and next to what a call touches anyway.
    Lease(Arc<Lease>),
    /// One more, for those who call several times at once.
    More(Arc<Pending>),
}

impl PendingCall {
    /// A place for a call that is made with this lease.
    #[inline]
    pub(crate) fn of(lease: &Arc<Lease>, waker: &Waker) -> Self {
        match lease.pending.take(waker) {
            Some(turn) => PendingCall { at: At::Lease(lease.clone()), turn },
            None => PendingCall::at(lease.more.take(), waker),
        }
    }

    /// A place for a call that is made without one.
    pub(crate) fn apart(waker: &Waker) -> Self {
        PendingCall::at(Arc::default(), waker)
    }

    fn at(pending: Arc<Pending>, waker: &Waker) -> Self {
        // No other call has it: it is new, or was given back when it was free.
        let turn = pending.take(waker).unwrap_or_default();
        PendingCall { at: At::More(pending), turn }
    }

    /// What has become of the call since this was last asked; if nothing has, whom to wake.
    #[inline]
    pub(crate) fn poll(&self, waker: &Waker) -> Option<Progress> {
        self.pending().poll(waker)
    }

    /// Nobody waits any more: says whether the call had ended.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        self.pending().leave()
    }

    /// Tells the caller. Not under the lock of a connection, since a waker may be anybody's code.
    #[inline]
    pub(crate) fn tell(&self, progress: Progress) {
        self.pending().tell(self.turn, progress);
    }

    /// Keeps the memory of a place that is free again.
    #[inline]
    pub(crate) fn give_back(self, lease: &Lease) {
        if let At::More(pending) = self.at {
            lease.more.give_back(pending);
        }
    }

    #[inline]
    fn pending(&self) -> &Pending {
        match &self.at {
            At::Lease(lease) => &lease.pending,
            At::More(pending) => pending,
        }
    }
}

/// How many more places a handle keeps: for as many calls at once nothing is allocated.
const KEPT: usize = 1024;

/// Places of calls that have ended, for the next ones.
#[derive(Debug, Default)]
pub(crate) struct More(Mutex<Vec<Arc<Pending>>>);

impl More {
    #[inline]
    fn take(&self) -> Arc<Pending> {
        self.lock().pop().unwrap_or_default()
    }

    #[inline]
    fn give_back(&self, place: Arc<Pending>) {
        let mut places = self.lock();
        if places.len() < KEPT {
            places.push(place);
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Pending>>> {
        // As above.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CallFailure;

    fn ended() -> Progress {
        Progress::Ended(Outcome::moved())
    }

    fn has_ended(progress: Option<&Progress>) -> bool {
        matches!(progress, Some(Progress::Ended(Outcome { result: Err(CallFailure::Moved), .. })))
    }

    #[test]
    fn what_comes_after_the_end_neither_replaces_it_nor_reaches_the_next_call() {
        let (pending, waker) = (Pending::default(), Waker::noop());
        let first = pending.take(waker).expect("it is free");
        pending.tell(first, ended());
        pending.tell(first, Progress::Granted);
        assert!(has_ended(pending.poll(waker).as_ref()));
        pending.tell(first, Progress::Granted);
        let second = pending.take(waker).expect("it is free again");
        pending.tell(first, Progress::Granted);
        assert!(pending.poll(waker).is_none());
        pending.tell(second, Progress::Granted);
        assert!(matches!(pending.poll(waker), Some(Progress::Granted)));
        pending.tell(second, ended());
        assert!(has_ended(pending.poll(waker).as_ref()));
    }

    #[test]
    fn the_end_of_a_call_that_is_not_awaited_any_more_is_told_to_nobody() {
        let (pending, waker) = (Pending::default(), Waker::noop());
        let first = pending.take(waker).expect("it is free");
        assert!(pending.take(waker).is_none(), "it is taken");
        assert!(!pending.leave());
        pending.tell(first, ended());
        let second = pending.take(waker).expect("it is free again");
        pending.tell(first, ended());
        assert!(pending.poll(waker).is_none());
        pending.tell(second, ended());
        assert!(pending.leave(), "it has ended");
        pending.take(waker).expect("it is free again");
        assert!(pending.poll(waker).is_none());
    }
}
