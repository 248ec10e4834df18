//! A pending call: where its caller waits, and where its outcome is put.
//!
//! It is apart from the connection, so that whoever takes an outcome touches nothing that other callers use: with two
//! threads, every cache line that both write wanders from core to core, at a price that exceeds that of the call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::protocol::Outcome;

/// Where one caller waits.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
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
    /// What has become of the call since this was last asked; if nothing has, whom to wake.
    pub(crate) fn poll(&self, waker: &Waker) -> Option<Progress> {
        let mut waiting = self.lock();
        let progress = waiting.progress.take();
        if !matches!(progress, Some(Progress::Ended(_))) {
            match &mut waiting.waker {
                Some(stored) => stored.clone_from(waker),
                None => waiting.waker = Some(waker.clone()),
            }
        }
        progress
    }

    /// Whether the call has ended, and nobody has asked how.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.lock().progress, Some(Progress::Ended(_)))
    }

    /// Tells the caller. Not under the lock of a connection, since a waker may be anybody's code.
    pub(crate) fn tell(&self, progress: Progress) {
        let mut waiting = self.lock();
        waiting.progress = Some(progress);
        let waker = waiting.waker.take();
        drop(waiting);
        waker.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What is done under it cannot panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many places a pool keeps: for as many calls at once over one handle nothing is allocated.
const KEPT: usize = 1024;

/// Places of calls that have ended, for the next ones.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Vec<Arc<Pending>>>);

impl Places {
    pub(crate) fn take(&self) -> Arc<Pending> {
        self.lock().pop().unwrap_or_default()
    }

    /// Takes one back whose outcome has been taken: nobody will tell it anything any more.
    pub(crate) fn give_back(&self, place: Arc<Pending>) {
        let mut places = self.lock();
        if places.len() < KEPT {
            places.push(place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Pending>>> {
        // As above.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
