//! What callers, handlers and the connection's task share of one connection: the protocol under a lock, and the
//! right to write.
//!
//! A call takes the lock once, to enter; what becomes of it is told where it is pending, once the lock is released.
//! Who writes is decided under the lock: a lone caller writes its call through itself; among many, the first wakes the
//! connection's task, which lets the others add theirs before it flushes once for all.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use tokio::io::AsyncWrite;
use tokio::task::AbortHandle;

use super::buffers::leave_buffer;
use super::clock::now;
use super::dispatch::{Registry, guarded};
use super::held::{Held, Place};
use super::pending::{PendingCall, Progress};
use super::turns::Growth;
use crate::broken::{self, Flaw};
use crate::failure::Failure;
use crate::limits::Limits;
use crate::marshal::Payload;
use crate::memory::Memory;
use crate::protocol::{CallId, CallKey, Connection, Effects, Entry, MAX_SLICES, NewCall, Outbox};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::transport::SendHalf;
use crate::{Context as CallContext, Error, Metadata};

/// A handler that runs: how to stop it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) context: CallContext,
    /// None for a handler that runs to its end whatever happens.
    pub(crate) abort: Option<AbortHandle>,
}

/// Half a batch that is smaller than this is not worth a write of its own.
const HALF: usize = 16;

thread_local! {
    /// Which link last sent something on this thread.
    static LAST_SENDER: Cell<usize> = const { Cell::new(0) };
}

pub(crate) type LinkConnection = Connection<PendingCall, Waker, Running>;
pub(crate) type LinkEffects = Effects<PendingCall, Waker, Running>;

/// One connection, shared by all who use it.
pub(crate) struct Link {
    pub(crate) limits: Arc<Limits>,
    /// What is served on it.
    pub(crate) registry: Arc<Registry>,
    /// What it shares with all other connections of its server or client.
    pub(crate) memory: Arc<Memory>,
    pub(crate) growth: Growth,
    begun: Instant,
    /// New calls go to another link.
    replaced: AtomicBool,
    shared: Mutex<Shared>,
}

pub(crate) struct Shared {
    pub(crate) connection: LinkConnection,
    /// The right to write: here while nobody does.
    pub(crate) writer: Option<Writer>,
    /// Somebody wrote and it failed.
    pub(crate) write_error: Option<io::Error>,
    /// The connection's task, to be woken.
    pub(crate) task: Option<Waker>,
    /// When it will wake by itself at the latest.
    pub(crate) armed: Option<Instant>,
    /// Nothing is read until enough has been written, or enough one-way calls have ended.
    pub(crate) reading_waits: bool,
    /// One-way calls wait for those that run to end.
    pub(crate) has_parked: bool,
    /// How much of what waits to be sent is counted for all connections.
    pub(super) counted: usize,
    /// Handlers that start when enough has been written.
    pub(crate) held: Held,
    /// How many callers were told their outcomes together: so many are about to call again.
    pub(crate) told: usize,
    /// The connection lives on a runtime of one thread.
    pub(crate) one_thread: bool,
    /// The connection's task has gone: nobody writes any more.
    pub(super) over: bool,
    /// It has been woken to write.
    pub(crate) kicked: bool,
}

impl Link {
    pub(crate) fn new(limits: Arc<Limits>, registry: Arc<Registry>, memory: Arc<Memory>) -> Arc<Self> {
        let begun = now();
        let shared = Shared {
            connection: Connection::new(limits.clone(), begun),
            writer: None,
            write_error: None,
            task: None,
            armed: None,
            reading_waits: false,
            has_parked: false,
            counted: 0,
            held: Held::default(),
            told: 0,
            one_thread: false,
            over: false,
            kicked: false,
        };
        Arc::new(Link {
            limits,
            registry,
            memory,
            growth: Growth::new(),
            begun,
            replaced: AtomicBool::new(false),
            shared: Mutex::new(shared),
        })
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        // No user code runs under the lock, and what the runtime does there leaves it sound.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// New calls go to another link from now on.
    pub(crate) fn replace(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// Enters a call, or goes on with one that was granted its place. What becomes of it is told where it is pending.
    #[inline]
    pub(crate) fn enter(&self, granted: Option<CallId>, call: &NewCall<'_>, pending: &PendingCall) -> Entry {
        // The clock is asked only by a call that has a deadline to be compared with it.
        let now = call.deadline.map_or(self.begun, |_| now());
        let mut shared = self.lock();
        let entry = match granted {
            None => shared.connection.enter(call, now, || pending.clone()),
            Some(id) => {
                let mut effects = LinkEffects::default();
                let entry = shared.connection.resume(id, call, now, || pending.clone(), &mut effects);
                drop(shared);
                effects.run();
                shared = self.lock();
                entry
            }
        };
        if matches!(entry, Entry::Entered(_) | Entry::Waiting(_) | Entry::Queued) {
            let at_once = matches!(entry, Entry::Entered(_)) && shared.sends_at_once();
            let timer = shared.is_earlier(call.deadline);
            self.write_or_kick(shared, at_once, timer);
        }
        entry
    }

    /// A caller has gone.
    pub(crate) fn drop_call(&self, id: CallId) {
        let now = now();
        self.change(|connection, effects| connection.drop_call(id, now, effects));
    }

    /// Changes something about the connection, and sees to it that what this says goes out.
    pub(crate) fn change(&self, change: impl FnOnce(&mut LinkConnection, &mut LinkEffects)) {
        let mut effects = LinkEffects::default();
        let mut shared = self.lock();
        change(&mut shared.connection, &mut effects);
        let timer = shared.is_earlier(shared.connection.cancels_due());
        self.write_or_kick(shared, false, timer);
        // Outside of the lock: a waker may be anybody's code.
        effects.run();
    }

    /// A handler that was kept has ended: with a reply, or without one because it was stopped.
    pub(crate) fn handler_ended(
        &self,
        key: CallKey,
        reply: Option<(&Result<Payload, Failure>, Option<&Metadata>)>,
    ) {
        let mut effects = LinkEffects::default();
        let mut shared = self.lock();
        shared.connection.ended(key, reply, &mut effects);
        let finished = shared.connection.is_ending() && shared.connection.is_finished(now());
        let wanted = finished || shared.reading_waits || shared.has_parked;
        let made_room = self.count_unsent(&mut shared);
        self.write_or_kick(shared, false, wanted);
        effects.run();
        if made_room {
            self.let_others_in();
        }
    }

    /// Whether a handler whose reply may be large may start. If not it is woken in its turn.
    pub(crate) fn poll_start(
        self: &Arc<Self>,
        place: &mut Option<Place>,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut shared = self.lock();
        if shared.over {
            return Poll::Ready(());
        }
        let crowded = self.is_crowded(&shared) || self.is_server_crowded();
        let polled = shared.held.poll_start(place, crowded, bytes, cx.waker());
        if polled.is_pending() {
            // There may have been room since.
            self.let_in(shared);
        }
        polled
    }

    /// One that had to wait has started, or never will: it is the next one's turn if there is room.
    pub(crate) fn start_next(self: &Arc<Self>, place: Place) {
        let mut shared = self.lock();
        shared.held.leave(place);
        // What waits to start may be why nothing is read.
        if shared.reading_waits {
            shared.kick();
        }
        self.let_in(shared);
        self.let_others_in();
    }

    /// Whether so much waits to be sent that what may be large is not even begun.
    pub(crate) fn is_crowded(&self, shared: &Shared) -> bool {
        shared.unsent_bytes() > self.limits.send_queue_bytes()
    }

    /// Takes no more calls from the other side and ends when those that run have ended.
    pub(crate) fn start_drain(&self) {
        let mut shared = self.lock();
        shared.connection.start_drain(now());
        shared.kick();
    }

    /// Nobody will call on this link any more.
    pub(crate) fn retire(&self) {
        let mut shared = self.lock();
        shared.connection.retire(now(), !self.registry.is_empty());
        shared.kick();
    }

    /// It is over: every call ends, and the half that sends is closed, however long the link itself is kept.
    pub(crate) fn close(&self, error: Error) {
        let mut effects = LinkEffects::default();
        let mut shared = self.lock();
        shared.connection.close(error, &mut effects);
        shared.over = true;
        effects.wake.extend(shared.held.let_all_in());
        let writer = shared.writer.take();
        let made_room = self.count_unsent(&mut shared);
        drop(shared);
        drop(writer);
        effects.run();
        if made_room {
            self.let_others_in();
        }
    }

    /// Whether its connection has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Sees to it that what waits goes out: the caller writes it `at_once`, or the connection's task is
    /// woken, also for a `timer` that is due earlier than it knows.
    #[inline]
    pub(crate) fn write_or_kick(&self, mut shared: MutexGuard<'_, Shared>, at_once: bool, timer: bool) {
        if timer {
            shared.kick();
            return;
        }
        if !shared.connection.has_output() || shared.kicked && !at_once {
            return;
        }
        // Whoever has the writer looks for more when it comes back.
        let Some(mut writer) = shared.writer.take_if(|writer| at_once && writer.is_idle()) else {
            if shared.writer.is_some() {
                shared.kick();
            }
            return;
        };
        let mut effects = LinkEffects::default();
        shared.load(&mut writer, &mut effects);
        drop(shared);
        effects.run();
        // With nobody to wake: if the transport does not take it all now, the connection's task goes on with it.
        let result = writer.poll_write(&mut Context::from_waker(Waker::noop()));
        self.lock().put_back(writer, result);
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Shared {
    /// The connection's task is the one to wake.
    pub(crate) fn register(&mut self, waker: &Waker) {
        match &mut self.task {
            Some(task) => task.clone_from(waker),
            None => self.task = Some(waker.clone()),
        }
    }

    /// Whether the connection's task would be too late for a deadline.
    #[inline]
    fn is_earlier(&self, deadline: Option<Instant>) -> bool {
        let keeps = self.armed.is_some() && broken::has(Flaw::KeepsTimer);
        !keeps && deadline.is_some_and(|deadline| self.armed.is_none_or(|armed| deadline < armed))
    }

    #[inline]
    pub(crate) fn kick(&mut self) {
        if !self.kicked {
            self.kicked = true;
            if let Some(task) = &self.task {
                task.wake_by_ref();
            }
        }
    }

    /// Wakes the connection's task if there is something to write and nobody does.
    pub(crate) fn kick_for_output(&mut self) {
        if self.connection.has_output() && self.writer.is_some() {
            self.kick();
        }
    }

    /// Whether a caller sends what it has entered, and all that waits: if it is alone; and among many as soon as half of
    /// them wait, where one thread runs them all, so that the other side works on one half while this side prepares
    /// the other. Where other connections send on the same thread, it has enough to do meanwhile; and more threads
    /// work side by side as it is.
    #[inline]
    fn sends_at_once(&self) -> bool {
        let (unsent, calls) = (self.connection.unsent_calls(), self.connection.calls());
        if calls == 1 {
            return self.told <= 1;
        }
        self.one_thread && unsent >= HALF && 2 * unsent >= calls && LAST_SENDER.get() == self.sender()
    }

    fn sender(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Gives an idle writer all that waits.
    pub(crate) fn load(&mut self, writer: &mut Writer, effects: &mut LinkEffects) {
        LAST_SENDER.set(self.sender());
        self.connection.take_output(&mut writer.outbox, effects);
    }

    /// Takes the writer back from a caller who wrote.
    fn put_back(&mut self, writer: Writer, result: Poll<io::Result<()>>) {
        match result {
            Poll::Ready(Ok(())) => {
                // Where the connection has ended meanwhile, its task waits for the writer to shut it down.
                let ended = !self.connection.is_open();
                let counts = self.reading_waits || self.counted > 0 || !self.held.is_empty();
                if ended || counts || self.connection.has_output() {
                    self.kick();
                }
            }
            Poll::Ready(Err(error)) => {
                self.write_error = Some(error);
                self.kick();
            }
            Poll::Pending => self.kick(),
        }
        if !self.over {
            self.writer = Some(writer);
        }
    }

    /// After a write by the connection's task: large buffers are the thread's, which lends them to whom it works for,
    /// so that a connection that is idle from now on does not keep them.
    pub(crate) fn leave_buffers(&mut self, writer: &mut Writer) {
        if writer.is_idle() && writer.outbox.is_large() {
            let is_idle = self.connection.is_idle();
            leave_buffer(&mut writer.outbox, is_idle);
            if is_idle {
                self.connection.leave_output(|outbox| leave_buffer(outbox, is_idle));
            }
        }
    }
}

impl LinkEffects {
    /// Tells, wakes and stops whom it concerns; not under the lock, since a waker may be anybody's code.
    pub(crate) fn run(&mut self) {
        each(&mut self.ended, |(call, outcome)| call.tell(Progress::Ended(outcome)));
        each(&mut self.granted, |call| call.tell(Progress::Granted));
        each(&mut self.wake, Waker::wake);
        each(&mut self.stop, |running| {
            guarded("a waker", || running.context.cancel());
            if let Some(abort) = running.abort.filter(|_| !broken::has(Flaw::LeavesHandlers)) {
                abort.abort();
            }
        });
        self.cancelled.clear();
    }
}

/// Tells each of them what it is to know. A waker that panics keeps nobody else from that.
#[inline]
fn each<T>(told: &mut Vec<T>, mut tell: impl FnMut(T)) {
    if told.is_empty() {
        return;
    }
    let mut told = told.drain(..);
    while guarded("a waker", || told.by_ref().for_each(&mut tell)).is_none() {}
}

/// The right to write, and what is being written.
pub(crate) struct Writer {
    half: SendHalf,
    outbox: Outbox,
    unflushed: bool,
    /// Bytes were taken since somebody last asked.
    progress: bool,
}

impl Writer {
    pub(crate) fn new(half: SendHalf) -> Self {
        Writer { half, outbox: Outbox::default(), unflushed: false, progress: false }
    }

    /// Whether nothing is left of an earlier write.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.is_empty() && !self.unflushed
    }

    /// How many bytes are left of an earlier write, fragments of large messages apart.
    pub(crate) fn unwritten(&self) -> usize {
        self.outbox.small_len()
    }

    /// Whether bytes were taken since the last time this was asked.
    pub(crate) fn took_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// Writes all it has and flushes.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = self.outbox.slices(&mut slices);
            let written = match &slices[..count] {
                [slice] => ready!(Pin::new(&mut self.half).poll_write(cx, slice))?,
                slices => ready!(Pin::new(&mut self.half).poll_write_vectored(cx, slices))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.progress = true;
            self.unflushed = true;
            self.outbox.advance(written);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.half).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;
    use crate::protocol::Outcome;

    /// Counts how often it is woken, after which it panics if it is told to.
    struct Counting {
        woken: AtomicUsize,
        panics: bool,
    }

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.woken.fetch_add(1, Ordering::Relaxed);
            assert!(!self.panics, "on purpose");
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_from_being_told() {
        let wakers = [true, false, true, false]
            .map(|panics| Arc::new(Counting { woken: AtomicUsize::new(0), panics }));
        let calls = wakers.clone().map(|waker| PendingCall::apart(&Waker::from(waker)));
        let mut effects = LinkEffects::default();
        effects.ended.extend(calls[..3].iter().map(|call| (call.clone(), Outcome::moved())));
        effects.granted.push(calls[3].clone());
        effects.wake.extend(wakers.clone().map(Waker::from));
        effects.run();
        for (waker, call) in wakers.iter().zip(&calls) {
            assert_eq!(waker.woken.load(Ordering::Relaxed), 2, "as a caller, and at a stream");
            assert!(call.poll(Waker::noop()).is_some());
        }
    }
}
