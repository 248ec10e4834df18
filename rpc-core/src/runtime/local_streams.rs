//! The streams of a call that stays in this process: whoever takes items runs what gives them.

use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop;

use super::dispatch::guarded;
use super::flows::{Argument, Arguments};
use crate::Metadata;
use crate::context::enter;
use crate::failure::Ending;
use crate::marshal::{ItemWriter, Shape};
use crate::protocol::call_over;
use crate::stream::{CallStreams, Fill, Incoming, Inlet, Outlet, fill};
use crate::sync::{Mutex, MutexGuard};

/// What a call in this process and its handler share of the call's streams.
pub(crate) struct LocalStreams {
    arguments: Vec<Mutex<LocalProducer>>,
    shape: Shape,
    reply: Mutex<LocalReply>,
}

/// A stream among the arguments.
struct LocalProducer {
    /// Gone while it is polled, and once it has ended, or its call has.
    producer: Option<Argument>,
    taken: bool,
    /// Its call has ended.
    over: bool,
    waiter: Option<Waker>,
}

/// The reply, if it is a stream: at most one batch of items lies here.
#[derive(Default)]
struct LocalReply {
    /// Its metadata, until the caller has been told.
    opened: Option<Option<Box<Metadata>>>,
    items: Option<Incoming>,
    ending: Option<Ending>,
    /// Nobody takes items any more.
    unwanted: bool,
}

impl LocalStreams {
    pub(crate) fn new(arguments: Arguments, shape: Shape) -> Arc<Self> {
        let arguments = arguments.into_iter().map(|argument| {
            Mutex::new(LocalProducer { producer: Some(argument), taken: false, over: false, waiter: None })
        });
        Arc::new(LocalStreams { arguments: arguments.collect(), shape, reply: Mutex::default() })
    }

    /// The metadata of a reply that is a stream, once it is there.
    pub(crate) fn take_opened(&self) -> Option<Option<Box<Metadata>>> {
        lock(&self.reply).opened.take()
    }

    /// What lies there for whoever takes the reply.
    pub(crate) fn take_incoming(&self) -> Option<Incoming> {
        let mut reply = lock(&self.reply);
        reply.items.take().or_else(|| reply.ending.take().map(Incoming::End))
    }

    pub(crate) fn end_reply(&self, ending: Ending) {
        lock(&self.reply).ending = Some(ending);
    }

    /// Nobody takes the reply any more.
    pub(crate) fn leave_reply(&self) {
        lock(&self.reply).unwanted = true;
    }

    /// The call has ended, and with it the streams among its arguments, whoever holds them.
    pub(crate) fn end_arguments(&self) {
        for argument in &self.arguments {
            let mut shared = lock(argument);
            shared.over = true;
            let (producer, waiter) = (shared.producer.take(), shared.waiter.take());
            drop(shared);
            drop_producer(producer);
            // A waker may be anybody's code, and the other streams are to end, too.
            guarded("a waker", || waiter.into_iter().for_each(Waker::wake));
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops a caller's stream where a handler runs; a panic in its `Drop` goes no further.
fn drop_producer(producer: Option<Argument>) {
    guarded("a stream that was dropped", || drop(producer));
}

impl CallStreams for Arc<LocalStreams> {
    fn argument(&self, number: u8) -> Option<Box<dyn Inlet>> {
        let index = usize::from(number).checked_sub(1)?;
        let taken = std::mem::replace(&mut lock(self.arguments.get(index)?).taken, true);
        (!taken).then(|| -> Box<dyn Inlet> {
            let items = ItemWriter::new(self.shape, usize::MAX);
            Box::new(LocalArgument { streams: self.clone(), index, items, ending: None })
        })
    }

    fn reply(&self) -> Option<Box<dyn Outlet>> {
        lock(&self.reply).opened = Some(crate::Context::current().take_reply_metadata());
        Some(Box::new(LocalOutlet(self.clone())))
    }
}

/// The handler's end of its reply. Whoever takes the items polls the handler, so nobody has to be woken.
struct LocalOutlet(Arc<LocalStreams>);

impl Outlet for LocalOutlet {
    fn limit(&self) -> usize {
        usize::MAX
    }

    fn poll_send(&mut self, _: &mut Context<'_>, items: &mut ItemWriter, _: bool) -> Poll<bool> {
        let mut reply = lock(&self.0.reply);
        if reply.unwanted {
            return Poll::Ready(false);
        }
        if reply.items.is_some() {
            return Poll::Pending;
        }
        let count = items.count();
        reply.items = Some(Incoming::Items { count, bytes: items.take() });
        Poll::Ready(true)
    }

    fn poll_over(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if lock(&self.0.reply).unwanted { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The handler's end of an argument: runs the caller's stream as far as its items are wanted.
struct LocalArgument {
    streams: Arc<LocalStreams>,
    index: usize,
    items: ItemWriter,
    ending: Option<Ending>,
}

impl LocalArgument {
    fn shared(&self) -> MutexGuard<'_, LocalProducer> {
        lock(&self.streams.arguments[self.index])
    }

    /// Polls the caller's stream: not under the lock, outside of the handler's context, and so that a panic ends the
    /// stream and not the handler.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Fill {
        let mut shared = self.shared();
        let Some(mut producer) = shared.producer.take() else { return Fill::End(Err(call_over())) };
        shared.waiter = Some(cx.waker().clone());
        drop(shared);
        let items = &mut self.items;
        let fill = enter(&mut None, || fill(producer.as_mut(), cx, items));
        let mut shared = self.shared();
        let fill = if shared.over { Fill::End(Err(call_over())) } else { fill };
        if matches!(fill, Fill::End(_)) {
            drop(shared);
            drop_producer(Some(producer));
        } else {
            shared.producer = Some(producer);
        }
        fill
    }
}

impl Inlet for LocalArgument {
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if let Some(ending) = self.ending.take() {
            return Poll::Ready(Incoming::End(ending));
        }
        // A stream that is always ready must not keep the handler's thread for itself.
        let restore = ready!(coop::poll_proceed(cx));
        match self.poll_fill(cx) {
            Fill::Pending if self.items.is_empty() => return Poll::Pending,
            Fill::End(ending) if self.items.is_empty() => return Poll::Ready(Incoming::End(ending)),
            Fill::End(ending) => self.ending = Some(ending),
            Fill::Pending | Fill::Full => {}
        }
        restore.made_progress();
        let count = self.items.count();
        Poll::Ready(Incoming::Items { count, bytes: self.items.take() })
    }
}

impl Drop for LocalArgument {
    fn drop(&mut self) {
        let producer = self.shared().producer.take();
        drop_producer(producer);
    }
}
