//! What models are made of: threads that wait, a transport of memory, and the words of the other side.

use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread::JoinHandle;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

use super::super::blocking::Home;
use super::super::clock::now;
use super::super::dispatch::Registry;
use super::super::driver::{Driver, Side};
use super::super::handler::{HandlerTask, Start};
use super::super::link::{Link, LinkEffects, Running};
use super::super::peer_link::PeerLink;
use crate::failure::Reply;
use crate::frame::{LENGTH_BYTES, length};
use crate::limits::Limits;
use crate::marshal::Payload;
use crate::memory::Memory;
use crate::message::{
    GoAway, Hello, Message, Reason, RequestHead, decode, encode_goaway, encode_request, encode_value,
};
use crate::protocol::{Admitted, CallKey, Handled};
use crate::service::{Method, Request, Service};
use crate::{Address, Channel};

/// Of the threads of a model: the driver's futures do not fit loom's default.
const STACK_WORDS: usize = 32 * 1024;

/// Beyond so many steps something goes round in circles.
const MOST_STEPS: usize = 10_000;

/// Runs a scene in every order that has at most so many preemptions, or more if `LOOM_MAX_PREEMPTIONS` says so.
pub(super) fn model(preemptions: usize, scene: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.max(Some(preemptions));
    builder.max_branches = MOST_STEPS;
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = orders.clone();
    // Its timers are armed and never fire. It is never dropped, which would ring the bells of a scene that has failed.
    let runtime = ManuallyDrop::new(runtime());
    let _entered = runtime.enter();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        join(spawn(scene));
    });
    println!("{} orders", orders.load(Ordering::Relaxed));
}

/// A runtime that nobody runs, and whose clock stands still.
pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O")
}

pub(super) fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    loom::thread::Builder::new().stack_size(STACK_WORDS).spawn(run).expect("a thread of the model")
}

pub(super) fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("no panic")
}

/// Wakes a thread of the model.
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Bell { rung: Mutex::new(false), changed: Condvar::new() })
    }

    /// Waits until it has been rung since the last time.
    pub(super) fn wait(&self) {
        let mut rung = self.rung.lock().expect("no panic");
        while !std::mem::take(&mut *rung) {
            rung = self.changed.wait(rung).expect("no panic");
        }
    }

    /// Whether it has been rung since the last time.
    pub(super) fn has_rung(&self) -> bool {
        std::mem::take(&mut *self.rung.lock().expect("no panic"))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.rung.lock().expect("no panic") = true;
        self.changed.notify_one();
    }
}

/// Polls a future whenever it is woken, and only then.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let bell = Bell::new();
    let waker = Waker::from(bell.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        bell.wait();
    }
}

/// Polls a future that is not ready yet; whoever wakes it is not heard, so it must be polled again by other means.
pub(super) fn begin(future: &mut (impl Future<Output: std::fmt::Debug> + Unpin)) {
    let polled = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "{polled:?}");
}

/// A connection that is open, and the transport under it.
pub(super) struct Open {
    pub(super) link: Arc<Link>,
    /// The connection's task, if the model wants it to run; the connection is over when it is dropped.
    pub(super) driver: Driver,
    pub(super) wire: Arc<Wire>,
    /// What calls over it.
    pub(super) channel: Channel,
}

impl Open {
    /// One that was opened from here, to a side with these limits.
    pub(super) fn new(theirs: &Limits) -> Self {
        Open::with_limits(Limits::default(), theirs)
    }

    pub(super) fn with_limits(ours: Limits, theirs: &Limits) -> Self {
        Open::over(link(ours, Registry::default()), Wire::new(), theirs, Side::Opened)
    }

    /// One that was accepted, where handlers run.
    pub(super) fn serving(ours: Limits, theirs: &Limits) -> Self {
        let mut registry = Registry::default();
        registry.add(Handlers);
        Open::over(link(ours, registry), Wire::new(), theirs, Side::Accepted)
    }

    /// The same for a link that is there.
    pub(super) fn over(link: Arc<Link>, wire: Arc<Wire>, theirs: &Limits, side: Side) -> Self {
        let home = Home::current().expect("the model's runtime");
        let peer = PeerLink::peer(Address::new("mem://model"), &link, home);
        let (recv, send) = (Box::new(Half(wire.clone())), Box::new(Half(wire.clone())));
        let driver = Driver::new(link.clone(), &Hello::new(theirs), recv, send, peer.clone(), side);
        Open { link, driver, wire, channel: peer.client() }
    }

    /// Lets a call of the other side come, with streams or without, and keeps it.
    pub(super) fn admit(&self, id: u64, streams: Option<u8>) -> CallKey {
        let mut message = Vec::new();
        let head = RequestHead { id: Some(id), method: "m", timeout: None, metadata: None, streams };
        encode_request(&mut message, &head);
        message.push(NO_ARGUMENTS);
        let mut shared = self.link.lock();
        let mut effects = LinkEffects::default();
        match shared.connection.handle(&message, now(), Payload::from_slice, &mut effects) {
            Ok(Handled::Call { admitted: Admitted { key, .. }, .. }) => {
                shared.connection.keep(key, Running { context: Default::default(), abort: None }, None);
                key
            }
            other => panic!("expected a call to be admitted, got {other:?}"),
        }
    }

    /// The task of a handler, of a call that comes; if its reply may be `large`, it waits to start while much waits to
    /// be sent.
    pub(super) fn handler(
        &self,
        id: u64,
        large: bool,
        handler: impl Future<Output = ()> + Send + 'static,
    ) -> HandlerTask {
        self.link.registry.running.enter();
        HandlerTask {
            link: self.link.clone(),
            key: self.admit(id, None),
            ambient: None,
            future: Some(Box::pin(async {
                handler.await;
                Ok(Payload::from_slice(&[1]))
            })),
            target: self.link.registry.find(b"m").expect("a method"),
            timed: false,
            takes_long: false,
            start: if large { Start::Held { bytes: 1, place: None } } else { Start::Ready },
        }
    }
}

fn link(limits: Limits, registry: Registry) -> Arc<Link> {
    let memory = Memory::new(limits.memory_bytes());
    Link::new(Arc::new(limits), Arc::new(registry), memory)
}

/// A service of one method; what its handlers do is the models' business.
#[derive(Clone)]
struct Handlers;

impl Service for Handlers {
    const NAME: &'static str = "";
    const METHODS: &'static [Method] = &[Method::new("m", &[])];

    async fn dispatch(&self, _: &Request) -> Reply {
        std::future::pending().await
    }
}

/// An empty array.
const NO_ARGUMENTS: u8 = 0x90;

/// A transport of memory: keeps what is sent, and gives what the model lets come.
pub(super) struct Wire {
    sent: std::sync::Mutex<Vec<u8>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What has come and is not read yet, and whether that is all.
    inbox: Vec<u8>,
    ended: bool,
    reader: Option<Waker>,
    /// Nothing is taken for now, or never again.
    full: bool,
    broken: bool,
    writer: Option<Waker>,
    /// Calls are answered with 1 as soon as so many have been sent, and these have; none if it is none.
    answers: usize,
    unanswered: Vec<u64>,
    /// The other side goes as soon as this one says that it does.
    leaves: bool,
}

impl Wire {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Wire { sent: std::sync::Mutex::default(), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Lets a message come.
    pub(super) fn come(&self, message: &[u8]) {
        self.change(|state| state.comes(message));
    }

    /// Lets a message come, but for its last byte.
    pub(super) fn come_in_part(&self, message: &[u8]) {
        self.change(|state| {
            state.comes(message);
            state.inbox.pop();
        });
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Calls are answered from now on, so many together.
    pub(super) fn answer(&self, together: usize) {
        self.lock().answers = together;
    }

    /// The other side goes from now on when this one does.
    pub(super) fn follow(&self) {
        self.lock().leaves = true;
    }

    /// Nothing can be written from now on.
    pub(super) fn break_off(&self) {
        self.lock().broken = true;
    }

    /// Nothing is taken from now on, until it has room again.
    pub(super) fn fill(&self) {
        self.lock().full = true;
    }

    pub(super) fn make_room(&self) {
        let mut state = self.lock();
        state.full = false;
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }

    /// What has been sent so far, message by message.
    pub(super) fn sent<T>(&self, each: impl FnMut(Message<'_>) -> Option<T>) -> Vec<T> {
        messages(&self.sent.lock().expect("no panic")).into_iter().filter_map(each).collect()
    }

    /// The ids of the calls that have been sent.
    pub(super) fn calls(&self) -> Vec<u64> {
        self.sent(call_id)
    }

    /// The ids of the calls that have been answered.
    pub(super) fn replies(&self) -> Vec<u64> {
        self.sent(|message| match message {
            Message::Response(response) => Some(response.id),
            _ => None,
        })
    }
}

impl State {
    fn comes(&mut self, message: &[u8]) {
        self.inbox.extend_from_slice(&(message.len() as u32).to_be_bytes());
        self.inbox.extend_from_slice(message);
    }
}

fn messages(bytes: &[u8]) -> Vec<Message<'_>> {
    let (mut rest, mut messages) = (bytes, Vec::new());
    while let Some(length) = length(rest) {
        let (frame, after) = rest[LENGTH_BYTES..].split_at(length);
        messages.push(decode(frame, 1024, true).expect("a sound message"));
        rest = after;
    }
    messages
}

fn call_id(message: Message<'_>) -> Option<u64> {
    match message {
        Message::Request(request, _) => request.id,
        _ => None,
    }
}

/// Either half of a wire.
struct Half(Arc<Wire>);

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.inbox.is_empty() && !state.ended {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let fits = state.inbox.len().min(buffer.remaining());
        buffer.put_slice(&state.inbox[..fits]);
        state.inbox.drain(..fits);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if state.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.full {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.0.sent.lock().expect("no panic").extend_from_slice(bytes);
        for message in messages(bytes) {
            if let (Message::GoAway(_), true) = (&message, state.leaves) {
                state.comes(&farewell());
                state.ended = true;
            }
            state.unanswered.extend(call_id(message));
        }
        if state.answers > 0 && state.unanswered.len() >= state.answers {
            for id in std::mem::take(&mut state.unanswered) {
                state.comes(&reply(id, 1));
            }
        }
        let has_come = !state.inbox.is_empty() || state.ended;
        let reader = state.reader.take_if(|_| has_come);
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The other side goes, too.
        self.0.end();
        Poll::Ready(Ok(()))
    }
}

/// Lets a link take a message, as the connection's task does: under one lock, and what it causes behind that.
pub(super) fn receive(link: &Link, message: &[u8]) {
    link.change(|connection, effects| {
        let handled = connection.handle(message, now(), Payload::from_slice, effects);
        handled.expect("an honest peer");
    });
}

/// Sends what waits, as a caller or the connection's task does.
pub(super) fn flush(link: &Link) {
    link.write_or_kick(link.lock(), true, false);
}

/// What a side says that goes.
fn farewell() -> Vec<u8> {
    let mut message = Vec::new();
    encode_goaway(&mut message, &GoAway { last_id: 0, reason: Reason::Drain, message: "" });
    message
}

/// The reply to a call: a small number.
pub(super) fn reply(id: u64, value: u8) -> Vec<u8> {
    let mut message = Vec::new();
    encode_value(&mut message, id, None);
    message.push(value);
    message
}
