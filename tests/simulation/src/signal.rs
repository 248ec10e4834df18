//! A value that everybody may wait for. Whoever waits is woken in the order in which they came: tokio's channel of this
//! kind leaves that to chance.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

#[derive(Debug)]
pub(crate) struct Signal<T>(Mutex<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    value: T,
    waiting: Vec<Waker>,
}

impl<T: Copy> Signal<T> {
    pub(crate) fn new(value: T) -> Self {
        Signal(Mutex::new(Shared { value, waiting: Vec::new() }))
    }

    pub(crate) fn value(&self) -> T {
        self.lock().value
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        let waiting = {
            let mut shared = self.lock();
            change(&mut shared.value);
            std::mem::take(&mut shared.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, is_so: impl Fn(T) -> bool) -> T {
        poll_fn(|cx| {
            let mut shared = self.lock();
            if is_so(shared.value) {
                return Poll::Ready(shared.value);
            }
            if !shared.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
                shared.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Shared<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
