//! Calls in process: a handler that is ready at once costs no memory, whatever else its thread is in the middle of.
//!
//! Each thread keeps the memory of handlers for those that come next. Here handlers nest, take turns, wait, panic and
//! are dropped, so that what is kept is taken in every order; afterwards all is as it was.
#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use rpc::{Code, Executed, service};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[service]
trait Sums {
    async fn add(&self, a: i64, b: i64) -> i64;
    /// The sum of all numbers up to this one, by a call of itself for each.
    async fn sum_to(&self, n: u32) -> u32;
    /// Ready at its second poll.
    async fn later(&self, a: i64) -> i64;
    async fn panics(&self) -> i64;
    async fn length(&self, text: &str) -> Result<usize, bool>;
}

/// Has dispatchers of another type.
#[service]
trait Other {
    async fn add(&self, a: u8, b: u8) -> u8;
}

struct Here {
    /// How it calls itself.
    client: std::sync::OnceLock<SumsClient>,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Sums for Here {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    async fn sum_to(&self, n: u32) -> u32 {
        match (n, self.client.get()) {
            (0, _) | (_, None) => n,
            (_, Some(client)) => n + client.sum_to(n - 1).await.unwrap(),
        }
    }
    async fn later(&self, a: i64) -> i64 {
        let mut polled = false;
        poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        a
    }
    async fn panics(&self) -> i64 {
        panic!("on purpose")
    }
    async fn length(&self, text: &str) -> Result<usize, bool> {
        if text.is_empty() { Err(true) } else { Ok(text.len()) }
    }
}

impl Other for () {
    async fn add(&self, a: u8, b: u8) -> u8 {
        a + b
    }
}

fn sums() -> (SumsClient, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let here = Arc::new(Here { client: std::sync::OnceLock::new(), dropped: dropped.clone() });
    (SumsClient::in_process(SumsServer::new(here)), dropped)
}

/// Polls a call that must be ready at once.
fn at_once<F: Future>(call: F) -> F::Output {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is not ready at once"),
    }
}

/// What a thread with everything in its memory does: nothing of it allocates.
fn ready_calls(client: &SumsClient, other: &OtherClient) {
    for number in 0..100 {
        assert_eq!(at_once(client.add(number, -1)).unwrap(), number - 1);
        assert_eq!(at_once(other.add(1, 2)).unwrap(), 3);
        assert_eq!(at_once(client.length("a borrowed text")).unwrap(), 15);
        assert_eq!(at_once(client.length("")).unwrap_err().app(), Some(&true));
        assert_eq!(at_once(client.sum_to(0)).unwrap(), 0);
    }
}

/// One test, because all of a process is counted.
#[test]
fn ready_handlers_cost_no_memory_in_any_order() {
    let (client, dropped) = sums();
    let other = OtherClient::in_process(OtherServer::new(()));
    let counted = |what: &str| {
        let round = || {
            let region = Region::new(ALLOCATOR);
            ready_calls(&client, &other);
            let change = region.change();
            change.allocations + change.reallocations
        };
        // The test harness has a thread of its own, which may take memory now and then; a call would in each round.
        let least = (0..10).map(|_| round()).min();
        assert_eq!(least, Some(0), "{what}");
    };
    ready_calls(&client, &other);
    counted("calls that take turns");

    // Dropped at its first await, and finished at its second poll.
    drop(pin!(client.later(1)).poll(&mut Context::from_waker(Waker::noop())));
    let mut later = pin!(client.later(2));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(later.as_mut().poll(&mut cx).is_pending());
    ready_calls(&client, &other);
    assert!(matches!(later.as_mut().poll(&mut cx), Poll::Ready(Ok(2))));
    ready_calls(&client, &other);
    counted("after calls that were not ready");

    std::panic::set_hook(Box::new(|_| ()));
    let error = at_once(client.panics()).unwrap_err();
    assert_eq!((error.code(), error.executed()), (Code::Internal, Executed::Yes));
    let _ = std::panic::take_hook();
    ready_calls(&client, &other);
    counted("after a panic");

    // A handler within a handler of its own type, deeper than a thread keeps memory for.
    let here = Arc::new(Here { client: std::sync::OnceLock::new(), dropped: dropped.clone() });
    let nesting = SumsClient::in_process(SumsServer::new(here.clone()));
    here.client.set(nesting.clone()).unwrap();
    for depth in [1, 5, 40] {
        assert_eq!(at_once(nesting.sum_to(depth)).unwrap(), depth * (depth + 1) / 2);
    }
    ready_calls(&client, &other);
    counted("after calls within calls");
    let nested = (0..10).map(|_| {
        let region = Region::new(ALLOCATOR);
        assert_eq!(at_once(nesting.sum_to(5)).unwrap(), 15);
        region.change().allocations
    });
    // Each call within another inherits its context, which is made and waited for.
    assert!(nested.min().is_some_and(|least| least <= 4 * 6));

    // A service lives as long as its last client or call, not as long as memory that is kept.
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    let mut last = Box::pin(client.later(3));
    assert!(last.as_mut().poll(&mut cx).is_pending());
    drop(client);
    assert_eq!(dropped.load(Ordering::Relaxed), 0, "a call runs in it");
    assert!(matches!(last.as_mut().poll(&mut cx), Poll::Ready(Ok(3))));
    drop(last);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);

    // A call may be finished by another thread than the one that began it, and by one that ends with it.
    let (client, _) = sums();
    let mut begun = Box::pin(client.later(4));
    assert!(begun.as_mut().poll(&mut cx).is_pending());
    let there = std::thread::spawn(move || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(begun.as_mut().poll(&mut cx), Poll::Ready(Ok(4))));
        at_once(client.add(2, 3)).unwrap()
    });
    assert_eq!(there.join().unwrap(), 5);
}
