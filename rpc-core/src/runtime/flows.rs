//! The streams of a link's calls, as producers and consumers see them.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::task::coop;

use super::blocking::Home;
use super::clock::now;
use super::link::Link;
use crate::failure::{Ending, Failure};
use crate::marshal::{ItemWriter, Shape};
use crate::message::StreamName;
use crate::protocol::{Batch, BatchBytes, Caller, Leave, StreamKey, Taken};
use crate::stream::{CallStreams, Incoming, Inlet, Outlet, Producer, Pump};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::{Code, Error, Executed};

/// Batches from this size on are sent from where they lie; below, copying costs less than memory of their own.
const LARGE_BYTES: usize = 64 * 1024;

/// What comes over a link.
pub(crate) struct LinkInlet {
    link: Arc<Link>,
    key: StreamKey,
    /// How many bytes were given and are being consumed.
    given: usize,
    ended: bool,
}

impl LinkInlet {
    fn new(link: Arc<Link>, key: StreamKey) -> Self {
        LinkInlet { link, key, given: 0, ended: false }
    }

    /// The reply to a call that was made on the link.
    pub(crate) fn of_reply(link: Arc<Link>, call: u64) -> Self {
        LinkInlet::new(link, StreamKey::reply(Caller::Here, call))
    }
}

impl Inlet for LinkInlet {
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        // A producer that is always ahead must not keep its consumer's thread for itself.
        let restore = std::task::ready!(coop::poll_proceed(cx));
        let taken = self.link.take_items(self.key, std::mem::take(&mut self.given), cx.waker());
        Poll::Ready(match taken {
            Taken::Wait => return Poll::Pending,
            Taken::Items(chunk) => {
                restore.made_progress();
                self.given = chunk.bytes.len();
                Incoming::Items { count: chunk.count, bytes: chunk.bytes }
            }
            Taken::End(ending) => {
                restore.made_progress();
                self.ended = true;
                Incoming::End(ending)
            }
        })
    }
}

impl Drop for LinkInlet {
    fn drop(&mut self) {
        if !self.ended {
            self.link.leave_stream(self.key);
        }
    }
}

/// What goes over a link.
struct LinkOutlet {
    link: Arc<Link>,
    key: StreamKey,
}

impl LinkOutlet {
    fn new(link: Arc<Link>, key: StreamKey) -> Self {
        LinkOutlet { link, key }
    }
}

impl Outlet for LinkOutlet {
    fn limit(&self) -> usize {
        self.link.lock().connection.largest_batch()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, items: &mut ItemWriter, more: bool) -> Poll<bool> {
        let count = items.count();
        let small = items.len() < LARGE_BYTES && items.as_slice().is_some();
        let bytes = match items.as_slice() {
            Some(bytes) if small => BatchBytes::Small(bytes),
            _ => BatchBytes::Large(items.seal()),
        };
        let batch = Batch { count, bytes };
        match self.link.send_items(self.key, batch, more, cx.waker()) {
            Leave::Given => {
                items.clear();
                Poll::Ready(true)
            }
            Leave::Wait | Leave::Blocked => Poll::Pending,
            Leave::Over => Poll::Ready(false),
        }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.link.is_stream_over(self.key, cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The streams of a call that a handler serves.
pub(crate) struct Served {
    link: Arc<Link>,
    call: u64,
    /// Which arguments were taken, a bit each.
    taken: AtomicU32,
    arguments: u8,
}

impl Served {
    pub(crate) fn new(link: Arc<Link>, call: u64, arguments: u8) -> Self {
        Served { link, call, taken: AtomicU32::new(0), arguments }
    }
}

impl CallStreams for Served {
    fn argument(&self, number: u8) -> Option<Box<dyn Inlet>> {
        if number == 0 || number > self.arguments {
            return None;
        }
        let bit = 1 << number;
        let taken = self.taken.fetch_or(bit, Ordering::Relaxed) & bit != 0;
        let key = StreamKey::argument(Caller::There, self.call, number);
        (!taken).then(|| -> Box<dyn Inlet> { Box::new(LinkInlet::new(self.link.clone(), key)) })
    }

    fn reply(&self) -> Option<Box<dyn Outlet>> {
        let metadata = crate::Context::current().take_reply_metadata();
        let key = StreamKey::reply(Caller::There, self.call);
        self.link
            .open_reply(self.call, metadata.as_deref())
            .then(|| -> Box<dyn Outlet> { Box::new(LinkOutlet::new(self.link.clone(), key)) })
    }
}

/// The arguments of a call that are streams, not begun yet.
pub(crate) type Arguments = Vec<Argument>;

/// One argument that is a stream.
pub(crate) type Argument = std::pin::Pin<Box<dyn Producer + Send>>;

/// Sends the arguments of a call that was made on a link, each on a task of its own. For a caller without async that is
/// a thread: its streams may well block.
///
/// # Errors
/// [`Code::ResourceExhausted`] if the system gives no thread.
pub(crate) fn send_arguments(
    link: &Arc<Link>,
    call: u64,
    arguments: Arguments,
    shape: Shape,
    home: &Home,
) -> Result<(), Error> {
    for (index, producer) in arguments.into_iter().enumerate() {
        let name = StreamName { call, stream: index as u8 + 1 };
        let key = StreamKey { caller: Caller::Here, name };
        let outlet = Box::new(LinkOutlet::new(link.clone(), key));
        let sending = Sending { link: link.clone(), key, ended: false };
        home.spawn_that_may_block(sending.run(Pump::new(producer, outlet, shape)))?;
    }
    Ok(())
}

/// An argument on its way; however that ends, the other side learns of it.
struct Sending {
    link: Arc<Link>,
    key: StreamKey,
    ended: bool,
}

impl Sending {
    async fn run(mut self, pump: Pump<Argument>) {
        // Not wanted any more it ends as well, for the other side counts on it.
        let ending = pump.await.unwrap_or(Ok(()));
        self.end(&ending);
    }

    fn end(&mut self, ending: &Ending) {
        self.ended = true;
        self.link.end_argument(self.key, ending);
    }
}

/// What a handler is told of an argument whose stream has panicked, or whose runtime has gone.
pub(crate) fn broken_off() -> Error {
    Error::new(Code::Internal, "the stream was dropped before its end").with_executed(Executed::Maybe)
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.ended {
            self.end(&Err(Failure::Rpc(broken_off())));
        }
    }
}

impl Link {
    fn take_items(&self, key: StreamKey, consumed: usize, waker: &Waker) -> Taken {
        let mut shared = self.lock();
        let taken = shared.connection.take_items(key, consumed, |waiter| store(waiter, waker));
        self.write_or_kick(shared, false, false);
        taken
    }

    fn leave_stream(&self, key: StreamKey) {
        let now = now();
        self.change(|connection, effects| connection.leave_stream(key, now, effects));
    }

    fn send_items(&self, key: StreamKey, batch: Batch<'_>, more: bool, waker: &Waker) -> Leave {
        let mut shared = self.lock();
        let leave = shared.connection.send_items(key, batch, |waiter| store(waiter, waker));
        // An item that is alone is not to wait for the connection's task.
        self.write_or_kick(shared, !more, false);
        leave
    }

    fn is_stream_over(&self, key: StreamKey, waker: &Waker) -> bool {
        self.lock().connection.is_stream_over(key, |waiter| store(waiter, waker))
    }

    fn open_reply(&self, call: u64, metadata: Option<&crate::Metadata>) -> bool {
        let mut shared = self.lock();
        let wanted = shared.connection.open_reply(call, metadata);
        // Its first items may be there already, and then go along.
        shared.kick_for_output();
        wanted
    }

    fn end_argument(&self, key: StreamKey, ending: &Ending) {
        self.change(|connection, _| connection.end_argument(key, ending));
    }
}

fn store(waiter: &mut Option<Waker>, waker: &Waker) {
    match waiter {
        Some(waiter) => waiter.clone_from(waker),
        None => *waiter = Some(waker.clone()),
    }
}
