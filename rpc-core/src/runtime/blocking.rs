//! Callers without a runtime: the library's own thread for their connections, and waiting without `async`.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Builder, Handle, RuntimeFlavor};
use tokio::task::coop;

use crate::{Code, Error};

/// The runtime that a connection lives on.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) handle: Handle,
    /// Whether its thread may be the one that wants to block.
    shares_thread: bool,
    /// Whether it is the library's: then whoever uses it has none of their own.
    is_library: bool,
}

impl Home {
    /// The runtime of the caller.
    ///
    /// # Errors
    /// [`Code::FailedPrecondition`] outside of one.
    pub(crate) fn current() -> Result<Home, Error> {
        let handle = Handle::try_current().map_err(|_| {
            Error::not_executed(
                Code::FailedPrecondition,
                "there is no tokio runtime here: use `.blocking()`, or await this inside one",
            )
        })?;
        let shares_thread = handle.runtime_flavor() == RuntimeFlavor::CurrentThread;
        Ok(Home { handle, shares_thread, is_library: false })
    }

    /// Runs a future that may block its thread if it is that of a caller without async: such a caller has no other way
    /// to wait. On the library's thread it would hold up all connections there.
    ///
    /// # Errors
    /// [`Code::ResourceExhausted`] if the system gives no thread.
    pub(crate) fn spawn_that_may_block(
        &self,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        if !self.is_library {
            self.handle.spawn(future);
            return Ok(());
        }
        let handle = self.handle.clone();
        let run = move || {
            // For timers in it, which the library's runtime keeps.
            let _entered = handle.enter();
            park_on(future);
        };
        thread::Builder::new().name("rpc stream".to_owned()).spawn(run).map(drop).map_err(no_thread)
    }

    /// The library's own thread, started when it is first needed.
    ///
    /// # Errors
    /// [`Code::ResourceExhausted`] if the system gives no thread.
    pub(crate) fn library() -> Result<Home, Error> {
        static HOME: OnceLock<Handle> = OnceLock::new();
        if let Some(handle) = HOME.get() {
            return Ok(Home { handle: handle.clone(), shares_thread: false, is_library: true });
        }
        let runtime = Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let handle = runtime.handle().clone();
        // Another thread may be as far as this one; then its runtime is the one, and this one ends with its thread.
        if HOME.set(handle).is_ok() {
            thread::Builder::new()
                .name("rpc".to_owned())
                .spawn(move || runtime.block_on(std::future::pending::<()>()))
                .map_err(no_thread)?;
        }
        Home::library()
    }
}

fn no_thread(error: std::io::Error) -> Error {
    Error::not_executed(Code::ResourceExhausted, "the system gives no thread").with_source(error)
}

/// Waits for a future on this thread.
///
/// # Errors
/// [`Code::FailedPrecondition`] where blocking would stop a runtime: inside an async task, or for a connection that
/// lives on a current-thread runtime.
pub(crate) fn block_on<F: Future>(home: Option<&Home>, future: F) -> Result<F::Output, Error> {
    if in_async_task() {
        return Err(Error::not_executed(
            Code::FailedPrecondition,
            "`.blocking()` inside an async task would block its runtime: `.await` the call, or move the blocking \
             code into `tokio::task::spawn_blocking`",
        ));
    }
    if home.is_some_and(|home| home.shares_thread) {
        return Err(Error::not_executed(
            Code::FailedPrecondition,
            "this client was opened on a current-thread runtime, which `.blocking()` could stop: open it with \
             `connect(...).blocking()`, or `.await` the call",
        ));
    }
    // Timers of handlers that run in process, and of calls, need a runtime wherever this thread comes from.
    let library = if Handle::try_current().is_err() { Some(Home::library()?) } else { None };
    let _entered = library.as_ref().map(|home| home.handle.enter());
    Ok(park_on(future))
}

fn park_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Whether this thread is polling an async task.
///
/// Tokio limits what a task may do in one poll, and limits nothing in `spawn_blocking`, in `block_in_place` and
/// outside of a runtime: so whether the budget ends tells where this is. What was taken is given back.
fn in_async_task() -> bool {
    /// Above the budget of any tokio version (128 so far).
    const ENOUGH: usize = 512;
    if Handle::try_current().is_err() {
        return false;
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut taken = Vec::new();
    let limited = loop {
        match coop::poll_proceed(&mut cx) {
            Poll::Pending => break true,
            Poll::Ready(_) if taken.len() == ENOUGH => break false,
            Poll::Ready(restore) => taken.push(restore),
        }
    };
    // The last first: each restores what it found.
    while taken.pop().is_some() {}
    limited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_told_from_a_thread_that_may_block() {
        assert!(!in_async_task());
        for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            let runtime = builder.enable_all().build().expect("a runtime");
            runtime.block_on(async {
                assert!(in_async_task());
                assert!(coop::has_budget_remaining(), "what was taken is given back");
                assert!(tokio::spawn(async { in_async_task() }).await.expect("no panic"));
                let blocking = tokio::task::spawn_blocking(in_async_task).await;
                assert!(!blocking.expect("no panic"));
            });
            let _entered = runtime.enter();
            assert!(!in_async_task());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn block_in_place_may_block() {
        assert!(!tokio::task::block_in_place(in_async_task));
    }

    #[test]
    fn waiting_returns_what_another_thread_gives() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || send.send(7));
        assert_eq!(block_on(None, receive).expect("may block"), Ok(7));
        thread.join().expect("no panic").expect("received");
    }
}
