//! One direction of a connection in memory: bytes that are late, come in pieces, stop, or are gone.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::random::Random;
use crate::scenario::Wire;
use crate::services::hash;
use crate::trace::{Actor, Step};
use crate::world::World;

/// What both ends share.
#[derive(Debug)]
pub(crate) struct Pipe {
    world: Arc<World>,
    connection: u32,
    wire: Wire,
    flow: Mutex<Flow>,
}

#[derive(Debug)]
struct Flow {
    random: Random,
    /// What is on its way, each with when it is there.
    segments: VecDeque<(Instant, VecDeque<u8>)>,
    /// What was written and not flushed.
    unflushed: Vec<u8>,
    bytes: usize,
    last_arrival: Instant,
    /// Nothing arrives before this moment, or ever.
    silent: Silence,
    reset: bool,
    /// The end that writes, or that reads, has gone.
    closed: bool,
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Debug)]
enum Silence {
    Until(Instant),
    ForEver,
}

impl Pipe {
    pub(crate) fn new(world: &Arc<World>, connection: u32, wire: Wire, random: Random) -> Arc<Self> {
        let now = Instant::now();
        let flow = Flow {
            random,
            segments: VecDeque::new(),
            unflushed: Vec::new(),
            bytes: 0,
            last_arrival: now,
            silent: Silence::Until(now),
            reset: false,
            closed: false,
            abandoned: false,
            reader: None,
            writer: None,
        };
        Arc::new(Pipe { world: world.clone(), connection, wire, flow: Mutex::new(flow) })
    }

    pub(crate) fn reset(&self) {
        let mut flow = self.lock();
        flow.reset = true;
        flow.wake();
    }

    /// Nothing arrives for so long, or ever again.
    pub(crate) fn silence(&self, time: Option<Duration>) {
        let mut flow = self.lock();
        flow.silent = match (time, flow.silent) {
            (Some(time), Silence::Until(until)) => Silence::Until(until.max(Instant::now() + time)),
            _ => Silence::ForEver,
        };
        // So that it looks at the clock again.
        flow.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn send(&mut self, wire: &Wire, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let delay = Duration::from_millis(self.random.within(0..=wire.delay));
        // What was sent earlier comes earlier.
        let arrival = (Instant::now() + delay).max(self.last_arrival);
        self.last_arrival = arrival;
        self.segments.push_back((arrival, bytes.iter().copied().collect()));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn flush(&mut self, wire: &Wire) {
        let unflushed = std::mem::take(&mut self.unflushed);
        self.send(wire, &unflushed);
    }

    /// Whether to say that it does not work now, though it would.
    fn hesitates(&mut self, wire: &Wire, cx: &Context<'_>) -> bool {
        let hesitates = wire.slices && self.random.one_in(12);
        if hesitates {
            cx.waker().wake_by_ref();
        }
        hesitates
    }

    fn piece(&mut self, wire: &Wire, most: usize) -> usize {
        if wire.slices && self.random.one_in(2) { self.random.within(1..=most as u64) as usize } else { most }
    }
}

fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection was reset")
}

/// The end that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) pipe: Arc<Pipe>,
    pub(crate) sleep: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pipe = self.pipe.clone();
        let mut flow = pipe.lock();
        loop {
            if flow.reset {
                return Poll::Ready(Err(reset()));
            }
            flow.reader = Some(cx.waker().clone());
            let Silence::Until(silent) = flow.silent else { return Poll::Pending };
            let there = match flow.segments.front() {
                Some((arrival, _)) => (*arrival).max(silent),
                None if flow.closed => silent,
                None => return Poll::Pending,
            };
            if there > Instant::now() {
                let mut sleep = Box::pin(sleep_until(there));
                if sleep.as_mut().poll(cx).is_pending() {
                    self.sleep = Some(sleep);
                    return Poll::Pending;
                }
                continue;
            }
            if flow.hesitates(&pipe.wire, cx) {
                return Poll::Pending;
            }
            let Some((_, segment)) = flow.segments.front() else { return Poll::Ready(Ok(())) };
            let most = segment.len().min(buf.remaining());
            let count = flow.piece(&pipe.wire, most);
            let mut taken = Vec::with_capacity(count);
            if let Some((_, segment)) = flow.segments.front_mut() {
                taken.extend(segment.drain(..count));
                if segment.is_empty() {
                    flow.segments.pop_front();
                }
            }
            flow.bytes -= count;
            if let Some(writer) = flow.writer.take() {
                writer.wake();
            }
            drop(flow);
            pipe.world.trace(Actor::World, Step::Moves { connection: pipe.connection, bytes: hash(&taken) });
            buf.put_slice(&taken);
            return Poll::Ready(Ok(()));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut flow = self.pipe.lock();
        flow.abandoned = true;
        flow.wake();
    }
}

/// The end that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) pipe: Arc<Pipe>,
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.pipe.wire;
        let mut flow = self.pipe.lock();
        if flow.reset {
            return Poll::Ready(Err(reset()));
        }
        if flow.abandoned || flow.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = wire.capacity - flow.bytes;
        if room == 0 {
            // Nobody could read what only waits to be flushed.
            flow.flush(&wire);
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if flow.hesitates(&wire, cx) {
            return Poll::Pending;
        }
        let count = flow.piece(&wire, room.min(bytes.len()));
        flow.bytes += count;
        if wire.buffered {
            flow.unflushed.extend_from_slice(&bytes[..count]);
        } else {
            flow.send(&wire, &bytes[..count]);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.pipe.wire;
        let mut flow = self.pipe.lock();
        if flow.reset {
            return Poll::Ready(Err(reset()));
        }
        if flow.hesitates(&wire, cx) {
            return Poll::Pending;
        }
        flow.flush(&wire);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut flow = self.pipe.lock();
        flow.flush(&self.pipe.wire);
        flow.closed = true;
        flow.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What was not flushed is lost, as with any buffer.
        let mut flow = self.pipe.lock();
        flow.closed = true;
        flow.wake();
    }
}
