//! Two connections joined by queues of bytes, and a clock that stands still until it is told to move: what tests
//! drive connections with, and fuzz targets.

#![cfg_attr(not(test), allow(dead_code, reason = "fuzz targets need a part of it"))]

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::{
    Batch, BatchBytes, CallFailure, CallId, CallKey, Caller, Connection, Effects, Entry, Handled, Leave,
    MAX_SLICES, NewCall, Outbox, Outcome, Reassembly, StreamKey, Taken, Violation,
};
use crate::failure::{Ending, Failure};
use crate::frame::{Assembler, LENGTH_BYTES};
use crate::limits::Limits;
use crate::marshal::Payload;
use crate::message::{Hello, Reason, decode_fragment};
use crate::{Code, Error, Executed};

/// Who waits for something to happen to a stream: whoever sends its items, or consumes them.
pub(crate) const PRODUCER: u32 = 1_000_000;
pub(crate) const CONSUMER: u32 = 2_000_000;

/// A client, a server, and the time it is for both.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Side,
    pub(crate) server: Side,
}

/// One connection, and all that it has caused so far. Who waits is a number, what stops a call is its key.
pub(crate) struct Side {
    pub(crate) connection: Connection<Waiter, u32, CallKey>,
    /// The calls that were entered here, until their outcome is taken.
    waiting: HashMap<CallId, Waiter>,
    limits: Limits,
    /// The time as this side knows it.
    now: Instant,
    assembler: Assembler,
    pub(crate) reassembly: Reassembly,
    /// Bytes on their way to this side.
    pub(crate) inbox: Vec<u8>,
    /// Who was woken, in order.
    pub(crate) woken: Vec<u32>,
    /// Calls that came and were admitted.
    pub(crate) arrived: Vec<Arrived>,
    /// Running calls that were told to stop.
    pub(crate) stopped: Vec<CallKey>,
    /// Ids that were cancelled without a call that runs.
    pub(crate) cancelled: Vec<u64>,
}

/// Who waits for a call, and what has become of it.
#[derive(Clone)]
pub(crate) struct Waiter {
    number: u32,
    next: Rc<RefCell<Next>>,
}

/// What there is to say of an entered call.
#[derive(Debug)]
pub(crate) enum Next {
    Pending,
    /// It may be entered again.
    Granted,
    Done(Outcome),
}

impl Waiter {
    fn new(number: u32) -> Self {
        Waiter { number, next: Rc::new(RefCell::new(Next::Pending)) }
    }
}

/// A call of the other side, copied out of its frame.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) key: CallKey,
    pub(crate) method: String,
    pub(crate) params: Vec<u8>,
    pub(crate) deadline: Option<Instant>,
}

impl Pair {
    /// Both connections are open.
    pub(crate) fn new() -> Self {
        Pair::with_limits(Limits::default(), Limits::default())
    }

    pub(crate) fn with_limits(client: Limits, server: Limits) -> Self {
        let mut pair = Pair::connecting(client, server);
        pair.open();
        pair
    }

    /// The hellos have not been exchanged.
    pub(crate) fn connecting(client: Limits, server: Limits) -> Self {
        let now = Instant::now();
        Pair { now, client: Side::new(client, now), server: Side::new(server, now) }
    }

    /// Exchanges the hellos.
    pub(crate) fn open(&mut self) {
        self.open_with(|_| {});
    }

    /// Exchanges the hellos, of which the server's is not what its limits would say.
    pub(crate) fn open_with(&mut self, change: impl FnOnce(&mut Hello)) {
        let (of_client, mut of_server) = (self.client.hello(), self.server.hello());
        change(&mut of_server);
        self.client.open(&of_server, self.now);
        self.server.open(&of_client, self.now);
    }

    /// Carries bytes to and fro until there are none left, and keeps each call that arrives.
    pub(crate) fn settle(&mut self) {
        while self.client.connection.has_output() || self.server.connection.has_output() {
            self.client_to_server();
            self.server_to_client();
        }
    }

    /// Carries what the client has to say, and keeps each call that arrives.
    pub(crate) fn client_to_server(&mut self) {
        let bytes = self.client.output();
        self.server.receive(&bytes, self.now).expect("an honest client");
    }

    pub(crate) fn server_to_client(&mut self) {
        let bytes = self.server.output();
        self.client.receive(&bytes, self.now).expect("an honest server");
    }

    /// Lets time pass, with each side doing what is due on its way, and no bytes moving.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let due = [&self.client, &self.server].map(|side| side.connection.poll_timeout());
            let Some(due) = due.into_iter().flatten().min().filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            self.client.tick(self.now).expect("the server keeps the client waiting");
            self.server.tick(self.now).expect("the client keeps the server waiting");
        }
        self.now = until;
    }

    /// Lets a call of the server arrive at the client: either side may call. Gives its id.
    pub(crate) fn call_of_server(&mut self, id: u8) -> u64 {
        self.client.frame(&[0x94, 0, id, 0xa1, b'm', 0x90], self.now).expect("a call");
        u64::from(id)
    }

    /// Enters a plain call on the client's side.
    pub(crate) fn call(&mut self, waiter: u32) -> CallId {
        self.client.call(waiter, self.now, |call| call)
    }
}

impl Side {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Side {
            connection: Connection::new(Arc::new(limits.clone()), now),
            assembler: Assembler::new(limits.frame_bytes()),
            reassembly: Reassembly::new(&limits, &Hello::new(&limits)),
            limits,
            now,
            inbox: Vec::new(),
            waiting: HashMap::new(),
            woken: Vec::new(),
            arrived: Vec::new(),
            stopped: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    fn hello(&self) -> Hello {
        Hello::new(&self.limits)
    }

    /// The other side says this of itself.
    pub(crate) fn open(&mut self, hello: &Hello, now: Instant) {
        self.reassembly = Reassembly::new(&self.limits, hello);
        let mut effects = Effects::default();
        self.connection.open(hello, now, &mut effects);
        self.take(effects);
    }

    /// The hello of a side that does not know streams.
    pub(crate) fn forget_streams_of_peer(&mut self, now: Instant) {
        let hello = Hello { has_streams: false, ..self.hello() };
        self.open(&hello, now);
    }

    // ---- calls ----

    /// Enters a call that is expected to be taken.
    pub(crate) fn call(&mut self, waiter: u32, now: Instant, options: impl FnOnce(Plain) -> Plain) -> CallId {
        match self.enter(waiter, now, options) {
            Entry::Entered(id) | Entry::Waiting(id) => id,
            other => panic!("expected a call to be entered, got {other:?}"),
        }
    }

    pub(crate) fn enter(&mut self, waiter: u32, now: Instant, options: impl FnOnce(Plain) -> Plain) -> Entry {
        self.now = now;
        let waiter = Waiter::new(waiter);
        let entry = self.connection.enter(&options(plain()), now, || waiter.clone());
        self.entered(entry, waiter)
    }

    fn entered(&mut self, entry: Entry, waiter: Waiter) -> Entry {
        if let Entry::Entered(id) | Entry::Waiting(id) = &entry {
            self.waiting.insert(*id, waiter);
        }
        entry
    }

    /// Sends a call that was granted its place.
    pub(crate) fn resume(&mut self, id: CallId, waiter: u32, now: Instant) -> CallId {
        match self.resume_as(id, waiter, now, |call| call) {
            Entry::Entered(id) => id,
            other => panic!("expected a granted call to be sent, got {other:?}"),
        }
    }

    pub(crate) fn resume_as(
        &mut self,
        id: CallId,
        waiter: u32,
        now: Instant,
        options: impl FnOnce(Plain) -> Plain,
    ) -> Entry {
        let mut effects = Effects::default();
        let waiter = Waiter::new(waiter);
        let entry = self.connection.resume(id, &options(plain()), now, || waiter.clone(), &mut effects);
        self.take(effects);
        self.waiting.remove(&id);
        self.entered(entry, waiter)
    }

    pub(crate) fn poll(&mut self, id: CallId) -> Next {
        let Some(waiter) = self.waiting.get(&id) else { return Next::Pending };
        let next = waiter.next.replace(Next::Pending);
        if let Next::Done(_) = next {
            self.waiting.remove(&id);
        }
        next
    }

    /// How a call has ended.
    pub(crate) fn outcome(&mut self, id: CallId) -> Result<Payload, CallFailure> {
        match self.poll(id) {
            Next::Done(Outcome { result, .. }) => result,
            other => panic!("expected an outcome, got {other:?}"),
        }
    }

    /// The error with which a call has ended.
    pub(crate) fn error(&mut self, id: CallId) -> (Code, Executed) {
        match self.outcome(id) {
            Err(CallFailure::Rpc(error)) => (error.code(), error.executed()),
            other => panic!("expected an error, got {other:?}"),
        }
    }

    pub(crate) fn is_moved(&mut self, id: CallId) -> bool {
        matches!(self.outcome(id), Err(CallFailure::Moved))
    }

    pub(crate) fn drop_call(&mut self, id: CallId) {
        let mut effects = Effects::default();
        self.waiting.remove(&id);
        self.connection.drop_call(id, self.now, &mut effects);
        self.take(effects);
    }

    /// Ends a running call with a value of one byte.
    pub(crate) fn reply(&mut self, key: CallKey, value: u8) {
        self.reply_with(key, Ok(Payload::from_slice(&[value])));
    }

    pub(crate) fn reply_with(&mut self, key: CallKey, reply: Result<Payload, Failure>) {
        let mut effects = Effects::default();
        self.connection.ended(key, Some((&reply, None)), &mut effects);
        self.take(effects);
    }

    /// Ends a running call without a reply, as one that was stopped.
    pub(crate) fn stop(&mut self, key: CallKey) {
        let mut effects = Effects::default();
        self.connection.ended(key, None, &mut effects);
        self.take(effects);
    }

    /// Ends a running call with an error.
    pub(crate) fn fail(&mut self, key: CallKey, failure: Failure) {
        let mut effects = Effects::default();
        self.connection.ended(key, Some((&Err(failure), None)), &mut effects);
        self.take(effects);
    }

    // ---- streams ----

    /// Enters a call with so many streams among its arguments.
    pub(crate) fn open_call(&mut self, waiter: u32, now: Instant, arguments: u8) -> CallId {
        self.call(waiter, now, |call| Plain { streams: Some(arguments), ..call })
    }

    /// Sends a call with streams that was granted its place.
    pub(crate) fn resume_open(&mut self, id: CallId, waiter: u32, now: Instant, arguments: u8) -> CallId {
        match self.resume_as(id, waiter, now, |call| Plain { streams: Some(arguments), ..call }) {
            Entry::Entered(id) => id,
            other => panic!("expected a granted call to be sent, got {other:?}"),
        }
    }

    /// Replies to a call with a stream.
    pub(crate) fn open_reply(&mut self, call: u64) -> bool {
        self.connection.open_reply(call, None)
    }

    /// Sends items of a byte each.
    pub(crate) fn send(&mut self, key: StreamKey, items: &[u8]) -> Leave {
        self.send_as(key, items, PRODUCER + waiting(key))
    }

    pub(crate) fn send_as(&mut self, key: StreamKey, items: &[u8], waiter: u32) -> Leave {
        let batch = Batch { count: items.len() as u32, bytes: BatchBytes::Small(items) };
        self.connection.send_items(key, batch, |stored| *stored = Some(waiter))
    }

    /// Sends one item of so many bytes.
    pub(crate) fn send_one(&mut self, key: StreamKey, bytes: usize) -> Leave {
        let item = vec![0; bytes];
        let batch = Batch { count: 1, bytes: BatchBytes::Small(&item) };
        self.connection.send_items(key, batch, |waiter| *waiter = Some(PRODUCER + waiting(key)))
    }

    /// Whether nobody wants a stream that goes out.
    pub(crate) fn is_over(&mut self, key: StreamKey) -> bool {
        self.connection.is_stream_over(key, |waiter| *waiter = Some(PRODUCER + waiting(key)))
    }

    /// Takes the next items when so many bytes of those before have been consumed.
    pub(crate) fn take_items(&mut self, key: StreamKey, consumed: usize) -> Taken {
        self.take_as(key, consumed, CONSUMER + waiting(key))
    }

    pub(crate) fn take_as(&mut self, key: StreamKey, consumed: usize, waiter: u32) -> Taken {
        self.connection.take_items(key, consumed, |stored| *stored = Some(waiter))
    }

    /// Takes and consumes all items that have come, and says how the stream has ended, if it has.
    pub(crate) fn drain(&mut self, key: StreamKey) -> (Vec<u8>, Option<Ending>) {
        let (mut items, mut consumed) = (Vec::new(), 0);
        loop {
            match self.take_items(key, consumed) {
                Taken::Items(chunk) => {
                    consumed = chunk.bytes.len();
                    items.extend_from_slice(&chunk.bytes);
                }
                Taken::End(ending) => return (items, Some(ending)),
                Taken::Wait => return (items, None),
            }
        }
    }

    /// All items that have come, of a stream that goes on.
    pub(crate) fn items(&mut self, key: StreamKey) -> Vec<u8> {
        let (items, ending) = self.drain(key);
        assert!(ending.is_none(), "it has ended: {ending:?}");
        items
    }

    /// Nobody here consumes a stream any more.
    pub(crate) fn leave_stream(&mut self, key: StreamKey) {
        let mut effects = Effects::default();
        self.connection.leave_stream(key, self.now, &mut effects);
        self.take(effects);
    }

    pub(crate) fn end_argument(&mut self, key: StreamKey, ending: &Ending) {
        self.connection.end_argument(key, ending);
    }

    /// Nothing is left of any call, on this side.
    pub(crate) fn is_at_rest(&self) -> bool {
        let rest = self.connection.rest();
        assert_eq!(rest, Default::default(), "something is left");
        true
    }

    // ---- bytes and time ----

    /// All bytes that wait to go out.
    pub(crate) fn output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.has_output() {
            bytes.extend(self.turn());
        }
        bytes
    }

    /// What goes out next: all that is small, and a fragment of what is large.
    pub(crate) fn turn(&mut self) -> Vec<u8> {
        let mut effects = Effects::default();
        let mut outbox = Outbox::default();
        self.connection.take_output(&mut outbox, &mut effects);
        self.take(effects);
        let mut bytes = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outbox.slices(&mut slices);
            let from = bytes.len();
            slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
            let written = bytes.len() - from;
            outbox.advance(written);
        }
        bytes
    }

    /// Takes bytes of the other side, whether or not they end with a frame.
    pub(crate) fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), Violation> {
        let taken = self.frames(bytes, now).iter().try_for_each(|frame| self.frame(frame, now));
        self.connection.awaits_fragment(self.reassembly.oldest());
        taken
    }

    /// Takes bytes in one batch, as a runtime does: no call of it is started before all of it was looked at.
    pub(crate) fn receive_batch(&mut self, bytes: &[u8], now: Instant) {
        let mut effects = Effects::default();
        let mut started = Vec::new();
        let frames = self.frames(bytes, now);
        for frame in &frames {
            let handled = self.connection.handle(frame, now, Payload::from_slice, &mut effects);
            if let Handled::Call { admitted, .. } = handled.expect("an honest client") {
                started.push(admitted);
            }
            for id in std::mem::take(&mut effects.cancelled) {
                let at = started.iter().position(|admitted| admitted.key.reply_id() == Some(id));
                match at.map(|at| started.remove(at)) {
                    Some(admitted) => self.connection.ended_unstarted(admitted.key, &mut effects),
                    None => self.cancelled.push(id),
                }
            }
        }
        self.take(effects);
        for admitted in started {
            self.connection.keep(admitted.key, admitted.key, admitted.deadline);
        }
    }

    /// Takes bytes and refuses all calls in them, as if no method were known.
    pub(crate) fn receive_refusing(&mut self, bytes: &[u8], now: Instant) {
        for frame in self.frames(bytes, now) {
            let mut effects = Effects::default();
            let handled = self.connection.handle(&frame, now, Payload::from_slice, &mut effects);
            if let Handled::Call { admitted, .. } = handled.expect("an honest client") {
                self.connection.refuse(admitted.key, Error::not_executed(Code::Unimplemented, "x"));
            }
            self.take(effects);
        }
    }

    /// The frames that bytes complete.
    fn frames(&mut self, bytes: &[u8], now: Instant) -> Vec<Vec<u8>> {
        self.now = now;
        self.inbox.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.inbox);
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        if self.assembler.is_partial() {
            rest = self.assembler.fill(rest).expect("a length that is allowed");
            if let Some(frame) = self.assembler.take_complete() {
                frames.push(frame[LENGTH_BYTES..].to_vec());
            }
        }
        if !self.assembler.is_partial() {
            let cut = self.assembler.cut(rest, |frame| frames.push(rest[frame].to_vec()));
            let end = cut.expect("a length that is allowed");
            self.assembler.keep(&rest[end..], |_| Vec::new());
        }
        self.connection.received(now, self.assembler.is_partial());
        frames
    }

    /// Takes one frame of the other side: a message, or a fragment of one.
    pub(crate) fn frame(&mut self, frame: &[u8], now: Instant) -> Result<(), Violation> {
        let Some(fragment) = decode_fragment(frame, frame.len()) else { return self.message(frame, now) };
        let fragment = fragment.map_err(|malformed| Violation::new(Reason::Protocol, malformed))?;
        match self.reassembly.take(fragment, now)? {
            Some(message) => self.message(&message, now),
            None => Ok(()),
        }
    }

    /// Takes one message of the other side, and keeps the call that it may be.
    pub(crate) fn message(&mut self, message: &[u8], now: Instant) -> Result<(), Violation> {
        let mut effects = Effects::default();
        let handled = self.connection.handle(message, now, Payload::from_slice, &mut effects);
        self.take(effects);
        if let Handled::Call { admitted, method, params } = handled? {
            self.connection.keep(admitted.key, admitted.key, admitted.deadline);
            let (method, params) = (String::from_utf8_lossy(method).into_owned(), params.to_owned());
            self.arrived.push(Arrived { key: admitted.key, method, params, deadline: admitted.deadline });
        }
        Ok(())
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), Violation> {
        self.now = now;
        let mut effects = Effects::default();
        let result = self.connection.handle_timeout(now, &mut effects);
        self.take(effects);
        if result.is_ok() {
            let next = self.connection.poll_timeout();
            assert!(next.is_none_or(|next| next > now), "what was due is due again at once");
        }
        result
    }

    pub(crate) fn violated(&mut self, violation: &Violation) {
        let mut effects = Effects::default();
        self.connection.violated(violation, &mut effects);
        self.take(effects);
    }

    /// An attempt to connect has failed.
    pub(crate) fn attempt_failed(&mut self, error: &Error) {
        let mut effects = Effects::default();
        self.connection.attempt_failed(error, &mut effects);
        self.take(effects);
    }

    /// The other side's bytes have ended, as it said they would.
    pub(crate) fn end_of_bytes(&mut self) {
        let mut effects = Effects::default();
        self.connection.peer_ended(&mut effects);
        self.take(effects);
    }

    /// Whether a call that was granted its place has to go elsewhere after all.
    pub(crate) fn cannot_resume(&mut self, id: CallId, now: Instant) -> bool {
        matches!(self.resume_as(id, 0, now, |call| call), Entry::Ended(CallFailure::Moved))
    }

    /// The connection is lost.
    pub(crate) fn lose(&mut self) {
        let mut effects = Effects::default();
        self.connection.close(Error::new(Code::Unavailable, "the connection was lost"), &mut effects);
        self.take(effects);
    }

    pub(crate) fn take(&mut self, effects: Effects<Waiter, u32, CallKey>) {
        let ended = effects.ended.into_iter().map(|(waiter, outcome)| (waiter, Next::Done(outcome)));
        for (waiter, next) in ended.chain(effects.granted.into_iter().map(|waiter| (waiter, Next::Granted))) {
            let before = waiter.next.replace(next);
            match before {
                Next::Pending => self.woken.push(waiter.number),
                // It has been woken already.
                Next::Granted => {}
                Next::Done(_) => panic!("a call ends once"),
            }
        }
        self.woken.extend(effects.wake);
        self.stopped.extend(effects.stop);
        self.cancelled.extend(effects.cancelled);
    }
}

/// Tells the streams of a call apart, by who waits.
fn waiting(key: StreamKey) -> u32 {
    key.name.stream.into()
}

/// The stream that is the reply to a call, as its caller names it and as its receiver does.
pub(crate) fn reply_of(id: CallId) -> [StreamKey; 2] {
    [Caller::Here, Caller::There].map(|caller| StreamKey::reply(caller, id.number()))
}

/// A stream among the arguments of a call, as its caller names it and as its receiver does.
pub(crate) fn argument_of(id: CallId, number: u8) -> [StreamKey; 2] {
    [Caller::Here, Caller::There].map(|caller| StreamKey::argument(caller, id.number(), number))
}

/// A call with streams, as its receiver knows it.
pub(crate) fn key_of(id: CallId) -> CallKey {
    CallKey::Stream(id.number())
}

/// A call without arguments and options.
pub(crate) type Plain = NewCall<'static>;

static NO_ARGUMENTS: LazyLock<Payload> = LazyLock::new(|| Payload::from_slice(&[0x90]));

pub(crate) fn plain() -> Plain {
    NewCall {
        method: "Target.method",
        payload: &NO_ARGUMENTS,
        metadata: None,
        deadline: None,
        streams: None,
        oneway: false,
        patient: false,
        back: false,
    }
}
