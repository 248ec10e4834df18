//! What is served on a connection: services by name, and how their handlers are started.
//!
//! A dispatcher is erased once a service and connection, not once a call: its futures are of one type, so the
//! memory of one that has ended is used for the next.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::name_hash::BuildNameHasher;
use super::poll_time::{PollTime, moved};
use super::running_calls::RunningCalls;
use super::shelf::{self, Spare};
use super::turns::Turns;
use super::unsent::Unsent;
use crate::context::{Ambient, enter};
use crate::failure::{Failure, Reply, panic_text};
use crate::protocol::{Admitted, CallKey};
use crate::service::{Method, Request, Service};
use crate::{Code, Error};

/// A handler at work on one call.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// All that is served at an address, or by a client to the servers that it connects to.
#[derive(Default)]
pub(crate) struct Registry {
    services: Vec<Box<dyn AnyService>>,
    targets: Vec<Target>,
    names: HashMap<Box<[u8]>, TargetId, BuildNameHasher>,
    /// Names that two services or methods claim.
    clashes: Vec<String>,
    pub(crate) running: RunningCalls,
    pub(crate) unsent: Unsent,
    pub(crate) turns: Arc<Turns>,
}

/// Which method of a registry.
#[derive(Clone, Copy)]
pub(crate) struct TargetId(usize);

/// A method of a service.
pub(crate) struct Target {
    pub(crate) service: usize,
    pub(crate) service_name: &'static str,
    pub(crate) method: &'static Method,
    pub(crate) poll_time: PollTime,
    pub(crate) reply_size: ReplySize,
}

impl Registry {
    pub(crate) fn add<S: Service>(&mut self, service: S) {
        let index = self.services.len();
        if self.services.iter().any(|other| other.name() == S::NAME) {
            self.clashes.push(format!("two services are named {:?}", S::NAME));
            return;
        }
        self.describe::<S>(index);
        self.services.push(Box::new(Shared(service)));
    }

    /// Makes the methods of a service known, without the service.
    pub(crate) fn describe<S: Service>(&mut self, index: usize) {
        for method in S::METHODS {
            let id = TargetId(self.targets.len());
            self.targets.push(Target {
                service: index,
                service_name: S::NAME,
                method,
                poll_time: PollTime::new(method.polling),
                reply_size: ReplySize::default(),
            });
            for name in std::iter::once(&method.name).chain(method.aliases) {
                let name =
                    if S::NAME.is_empty() { (*name).to_owned() } else { format!("{}.{name}", S::NAME) };
                match self.names.entry(name.as_bytes().into()) {
                    hash_map::Entry::Vacant(entry) => {
                        entry.insert(id);
                    }
                    hash_map::Entry::Occupied(_) => {
                        self.clashes.push(format!("two methods are named {name:?}"));
                    }
                }
            }
        }
    }

    /// The registry as connections share it.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] if a name is claimed twice.
    pub(crate) fn finish(self) -> Result<Arc<Self>, Error> {
        match self.clashes.first() {
            Some(clash) => Err(Error::not_executed(Code::InvalidArgument, clash.clone())),
            None => Ok(Arc::new(self)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The method of a name on the wire.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<TargetId> {
        self.names.get(name).copied()
    }

    /// Whether a method has streams, and the call to it none.
    pub(crate) fn lacks_streams(&self, id: TargetId, call: &Admitted) -> bool {
        self.target(id).method.streaming && !matches!(call.key, CallKey::Stream(_))
    }

    #[inline]
    pub(crate) fn target(&self, id: TargetId) -> &Target {
        &self.targets[id.0]
    }

    /// A dispatcher for one connection.
    pub(crate) fn open(&self, service: usize) -> Box<dyn Dispatcher> {
        self.services[service].open()
    }

    pub(crate) fn len(&self) -> usize {
        self.services.len()
    }
}

trait AnyService: Send + Sync {
    fn name(&self) -> &'static str;
    fn open(&self) -> Box<dyn Dispatcher>;
}

struct Shared<S>(S);

impl<S: Service> AnyService for Shared<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn open(&self) -> Box<dyn Dispatcher> {
        // A count of its own for each connection: one that all share would wander between the cores.
        let service = Arc::new(self.0.clone());
        let start = move |request| {
            let service = service.clone();
            async move { service.dispatch(&request).await }
        };
        Box::new(Typed { start, spare: None, shelved: None })
    }
}

/// Runs the handlers of one service for one connection.
pub(crate) trait Dispatcher: Send {
    /// Starts a handler and polls it once.
    fn run(&mut self, request: Request, ambient: &mut Option<Ambient>) -> Started;

    /// Starts a handler without polling it.
    fn start(&mut self, request: Request) -> HandlerFuture;

    /// Nothing is started for now: leaves its memory to the thread, for whichever connection is next.
    fn rest(&mut self);
}

/// What became of a handler's first poll.
pub(crate) enum Started {
    Ended(Reply),
    Pending(HandlerFuture),
}

struct Typed<M, F> {
    start: M,
    /// The memory of a handler that has ended, the thread's while this rests.
    spare: Option<Pin<Box<Slot<F>>>>,
    /// What it was borrowed in.
    shelved: Option<Box<Spare<F>>>,
}

#[cold]
fn borrow<F: 'static>(shelved: &mut Option<Box<Spare<F>>>) -> Pin<Box<Slot<F>>> {
    shelved.get_or_insert_with(shelf::take).take().unwrap_or_else(|| Box::pin(Slot::empty()))
}

impl<M, F> Dispatcher for Typed<M, F>
where
    M: Fn(Request) -> F + Send,
    F: Future<Output = Reply> + Send + 'static,
{
    fn run(&mut self, request: Request, ambient: &mut Option<Ambient>) -> Started {
        let mut slot = self.spare.take().unwrap_or_else(|| borrow(&mut self.shelved));
        slot.as_mut().fill((self.start)(request));
        // Nobody to wake: one that is not ready at once is polled again by a task of its own.
        let mut polled = Poll::Pending;
        poll_handler(slot.as_mut(), ambient, &mut Context::from_waker(Waker::noop()), &mut polled);
        match polled {
            Poll::Ready(reply) => {
                slot.as_mut().clear();
                self.spare = Some(slot);
                Started::Ended(reply)
            }
            Poll::Pending => Started::Pending(slot),
        }
    }

    fn start(&mut self, request: Request) -> HandlerFuture {
        Box::pin((self.start)(request))
    }

    fn rest(&mut self) {
        if let Some(mut shelved) = self.shelved.take() {
            *shelved = self.spare.take();
            shelf::put(shelved);
        }
    }
}

pin_project! {
    /// Memory for a handler, which may be empty.
    pub(super) struct Slot<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F> Slot<F> {
    pub(super) fn empty() -> Self {
        Slot { future: None }
    }

    #[inline]
    pub(super) fn fill(self: Pin<&mut Self>, future: F) {
        self.project().future.set(Some(future));
    }

    #[inline]
    pub(super) fn clear(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }
}

impl<F: Future<Output = Reply>> Future for Slot<F> {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        match self.project().future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Polls a handler in its context. A panic ends the call, and only the call; its text stays here.
///
/// The result goes where it is to stay: as a value it would be copied at each return on its way.
#[inline]
pub(crate) fn poll_handler<F: Future<Output = Reply> + ?Sized>(
    future: Pin<&mut F>,
    ambient: &mut Option<Ambient>,
    cx: &mut Context<'_>,
    polled: &mut Poll<Reply>,
) {
    let ran = catch_unwind(AssertUnwindSafe(|| enter(ambient, || *polled = future.poll(cx))));
    if let Err(panic) = ran {
        *polled = Poll::Ready(panicked(&*panic));
    }
}

/// The same, with a handler that is dropped here if it has ended; a panic in its `Drop` goes no further either.
#[inline]
pub(super) fn poll_and_clear<F: Future<Output = Reply>>(
    mut slot: Pin<&mut Slot<F>>,
    ambient: &mut Option<Ambient>,
    cx: &mut Context<'_>,
    mut ended: impl FnMut(Reply),
) -> Poll<()> {
    let mut polled = Poll::Pending;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        if let Poll::Ready(reply) = enter(ambient, || slot.as_mut().poll(cx)) {
            ended(reply);
            polled = Poll::Ready(());
            slot.as_mut().clear();
        }
    }));
    if let Err(panic) = ran {
        if polled.is_ready() {
            tracing::error!(panic = panic_text(&*panic), "a handler panicked while it was dropped");
        } else {
            ended(panicked(&*panic));
            polled = Poll::Ready(());
        }
        guarded("a handler that had panicked", || slot.clear());
    }
    polled
}

#[cold]
fn panicked(panic: &(dyn Any + Send)) -> Reply {
    tracing::error!(panic = panic_text(panic), "a handler panicked");
    Err(Failure::Rpc(Error::new(Code::Internal, "the handler panicked")))
}

/// Runs code of a user's; a panic in it goes no further.
pub(crate) fn guarded<T>(what: &str, run: impl FnOnce() -> T) -> Option<T> {
    let ran = catch_unwind(AssertUnwindSafe(run));
    ran.inspect_err(|panic| tracing::error!(panic = panic_text(&**panic), "{what} panicked")).ok()
}

/// Drops a handler; a panic in its `Drop` goes no further.
pub(crate) fn drop_handler(future: Option<HandlerFuture>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
        tracing::error!(panic = panic_text(&*panic), "a handler panicked while it was dropped");
    }
}

/// How large a method's replies are: a running average, from which follows whether its handlers may start while much
/// waits to be sent.
#[derive(Debug, Default)]
pub(crate) struct ReplySize {
    /// In bytes; 0 if there has been none.
    average: AtomicU32,
}

/// Below this as many replies as a connection may have calls are no burden.
const SMALL_REPLY_BYTES: u32 = 16 * 1024;

impl ReplySize {
    /// Whether they are known to be small. What has not been measured is not.
    pub(crate) fn is_small(&self) -> bool {
        let average = self.average.load(Ordering::Relaxed);
        average != 0 && average < SMALL_REPLY_BYTES
    }

    /// One large reply after many small ones makes them large, for so much would be at stake.
    pub(crate) fn record(&self, bytes: usize) {
        let sample = u32::try_from(bytes).unwrap_or(u32::MAX);
        let average = self.average.load(Ordering::Relaxed);
        let next = match average {
            0 => sample,
            _ => moved(average, sample),
        };
        self.average.store(next.max(1), Ordering::Relaxed);
    }

    /// Records a reply if it says something: one of many samples, or one that is not small.
    #[inline]
    pub(crate) fn note(&self, bytes: usize, sampled: bool) {
        if sampled || bytes >= SMALL_REPLY_BYTES as usize {
            self.record(bytes);
        }
    }
}

/// How much a reply carries.
pub(crate) fn reply_bytes(reply: &Reply) -> usize {
    match reply {
        Ok(value) => value.len(),
        Err(failure) => failure.bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_reply_among_small_ones_is_noticed_and_forgotten() {
        let size = ReplySize::default();
        assert!(!size.is_small(), "what is not measured is not small");
        (0..20).for_each(|_| size.record(9));
        assert!(size.is_small());
        size.note(SMALL_REPLY_BYTES as usize - 1, false);
        assert!(size.is_small());
        size.note(1 << 20, false);
        assert!(!size.is_small());
        size.record(usize::MAX);
        assert!(!size.is_small());
        (0..200).for_each(|_| size.record(0));
        assert!(size.is_small());
    }
}
