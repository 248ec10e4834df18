//! A client against a server that does what it likes: each call has one outcome, which is true, or waits for what may
//! still come; and nothing of a server's makes it hold more than it asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Input;
use super::peer::{Ear, Heard, fragments, message};
use crate::limits::Limits;
use crate::marshal::{Payload, is_stream_reply};
use crate::message::{GoAway, Hello, Message, Reason, Response, Verdict, decode, decode_fragment};
use crate::protocol::pair::{Next, Plain, Side};
use crate::protocol::{
    CallFailure, CallId, CallKey, Caller, Entry, Leave, Outcome, StreamKey, Taken, Violation,
};
use crate::{Code, Executed, Metadata};

const FRAME_BYTES: usize = 1_024;
const MESSAGE_BYTES: usize = 4_096;
const METADATA_BYTES: usize = 64;

/// Reads what the server says of itself, and then what happens, one thing after the other.
pub fn client(data: &[u8]) {
    let mut input = Input::new(data);
    let mut history = History::new(&mut input);
    while !input.is_empty() && !history.is_over {
        history.step(&mut input);
        history.look();
    }
    history.end();
}

struct History {
    now: Instant,
    side: Side,
    ear: Ear,
    limits: Limits,
    has_streams: bool,
    /// Cancels are never held back.
    cancels_at_once: bool,
    /// The calls that were made and not dropped, and have no outcome yet.
    calls: BTreeMap<u64, Made>,
    /// All ids that were ever sent, and those that the server has seen whole; and of these the ones that nobody waits
    /// for any more, of which the server is to hear that.
    issued: BTreeSet<u64>,
    seen: BTreeSet<u64>,
    unwanted: BTreeSet<u64>,
    next_waiter: u32,
    woken: usize,
    /// The streams that came as replies and are consumed.
    streams: BTreeMap<u64, Reply>,
    /// What the server says it took last, once it goes.
    last_id: Option<u64>,
    /// No call ends but by itself any more: the server has gone, or its bytes have ended.
    gone: bool,
    /// The calls of the server that run here.
    served: Vec<CallKey>,
    arrived: usize,
    is_over: bool,
}

struct Made {
    id: CallId,
    is_sent: bool,
    asked: Asked,
}

/// A call as its caller wants it.
#[derive(Clone, Copy)]
struct Asked {
    waiter: u32,
    deadline: Option<Instant>,
    streams: Option<u8>,
    is_large: bool,
    oneway: bool,
}

impl Asked {
    fn call(self, call: Plain) -> Plain {
        let payload = if self.is_large { &LARGE } else { call.payload };
        Plain { deadline: self.deadline, streams: self.streams, oneway: self.oneway, payload, ..call }
    }
}

/// Arguments that go in fragments.
static LARGE: LazyLock<Payload> = LazyLock::new(|| Payload::from(Bytes::from(vec![0x90; 1_500])));

/// A stream that comes.
#[derive(Debug)]
struct Reply {
    allowed: i64,
    taken: usize,
    ended_there: bool,
}

/// What a server's answer says.
#[derive(Debug)]
enum Answer {
    Value(Vec<u8>),
    App(Vec<u8>),
    Error(Code, Executed),
    TooMuchMetadata,
}

impl History {
    fn new(input: &mut Input<'_>) -> Self {
        let now = Instant::now();
        let limits = Limits::default()
            .with_calls(2)
            .with_streams(2)
            .with_stream_bytes(1 + usize::from(input.byte()))
            .with_max_stream_bytes(1_024)
            .with_send_queue_bytes(1 + 8 * usize::from(input.byte()))
            .with_frame_bytes(FRAME_BYTES)
            .with_message_bytes(MESSAGE_BYTES)
            .with_metadata_bytes(METADATA_BYTES);
        let features = input.byte();
        let hello = Hello {
            calls: 1 + input.below(4),
            streams: 1 + input.below(3),
            stream_bytes: 1 + usize::from(input.byte()),
            has_streams: features & 1 == 0,
            has_fragments: features & 2 == 0,
            // So few that some have to wait, or as many as nobody makes here.
            cancels: if features & 4 == 0 { 1_000 } else { 2 },
            cancels_per_second: 2,
            ..Hello::new(&limits)
        };
        let mut side = Side::new(limits.clone(), now);
        side.open(&hello, now);
        History {
            now,
            side,
            // What it is told by this side it never limits.
            ear: Ear::new(FRAME_BYTES, MESSAGE_BYTES, hello.has_streams),
            limits,
            has_streams: hello.has_streams,
            cancels_at_once: features & 4 == 0,
            calls: BTreeMap::new(),
            issued: BTreeSet::new(),
            seen: BTreeSet::new(),
            unwanted: BTreeSet::new(),
            next_waiter: 0,
            woken: 0,
            streams: BTreeMap::new(),
            last_id: None,
            gone: false,
            served: Vec::new(),
            arrived: 0,
            is_over: false,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0..3 => self.enter(input),
            3..8 => {
                let known: Vec<u64> = self.issued.iter().copied().collect();
                let message = message(input, &known);
                match input.byte() {
                    number @ 240.. => {
                        let fragments = fragments(input, &message, u64::from(number % 3));
                        let come = input.below(fragments.len().max(1) + 1);
                        fragments.iter().take(come.max(1)).for_each(|fragment| self.frame(fragment));
                    }
                    _ => self.frame(&message),
                }
            }
            8 => self.drop_one(input),
            9 | 10 => self.turn(),
            11 => self.consume(input),
            12 => self.send(input),
            13 => self.reply(input),
            14 => self.pass(input),
            _ => self.part(input),
        }
    }

    // ---- the caller's doing ----

    fn enter(&mut self, input: &mut Input<'_>) {
        let waiter = self.next_waiter;
        self.next_waiter += 1;
        let streams = input.pick(&[None, None, None, Some(0), Some(1), Some(2)]);
        let milliseconds = input.pick(&[None, None, Some(1), Some(300), Some(60_000)]);
        let deadline = milliseconds.map(|milliseconds| self.now + Duration::from_millis(milliseconds));
        let kind = input.byte();
        let (is_large, oneway) = (kind & 7 == 7, kind & 56 == 56 && streams.is_none());
        let asked = Asked { waiter, deadline, streams, is_large, oneway };
        let entry = self.side.enter(waiter, self.now, |call| asked.call(call));
        self.entered(entry, asked);
    }

    fn entered(&mut self, entry: Entry, asked: Asked) {
        match entry {
            Entry::Entered(id) => {
                assert!(self.issued.insert(id.number()), "an id comes again");
                self.calls.insert(id.number(), Made { id, is_sent: true, asked });
            }
            Entry::Waiting(id) => drop(self.calls.insert(id.number(), Made { id, is_sent: false, asked })),
            Entry::Queued => assert!(asked.oneway),
            Entry::Ended(CallFailure::Moved) => assert!(self.last_id.is_some() || self.gone),
            Entry::Ended(CallFailure::Rpc(error)) => assert_eq!(error.executed(), Executed::No, "{error}"),
            Entry::Ended(CallFailure::App(_)) => panic!("no procedure has run"),
        }
    }

    fn drop_one(&mut self, input: &mut Input<'_>) {
        let index = input.below(self.calls.len().max(1));
        let Some(number) = self.calls.keys().nth(index).copied() else { return };
        if let Some(made) = self.calls.remove(&number) {
            self.side.drop_call(made.id);
            self.give_up(number);
        }
    }

    /// Nobody waits for a call any more.
    fn give_up(&mut self, number: u64) {
        if self.seen.contains(&number) {
            self.unwanted.insert(number);
        }
    }

    /// Some bytes go out.
    fn turn(&mut self) {
        let bytes = self.side.turn();
        self.hear(&bytes);
        // Places may have become free.
        self.settle(None);
    }

    fn hear(&mut self, bytes: &[u8]) {
        for heard in self.ear.hear(bytes) {
            match heard {
                Heard::Request { id: Some(id) } => {
                    assert!(self.issued.contains(&id), "call {id} was sent and not made");
                    self.seen.insert(id);
                }
                Heard::Credit { name, bytes: Some(bytes) } if name.stream == 0 => {
                    if let Some(reply) = self.streams.get_mut(&name.call) {
                        reply.allowed += bytes as i64;
                        assert!(reply.allowed <= 1_024, "more credit than a stream may have");
                    }
                }
                Heard::Cancel { id } => {
                    assert!(self.issued.contains(&id), "call {id} was never made");
                    self.unwanted.remove(&id);
                }
                _ => {}
            }
        }
    }

    fn consume(&mut self, input: &mut Input<'_>) {
        let index = input.below(self.streams.len().max(1));
        let Some(call) = self.streams.keys().nth(index).copied() else { return };
        let key = StreamKey::reply(Caller::Here, call);
        if input.byte() > 200 {
            self.side.leave_stream(key);
            self.streams.remove(&call);
            return;
        }
        let Some(reply) = self.streams.get_mut(&call) else { return };
        match self.side.take_items(key, std::mem::take(&mut reply.taken)) {
            Taken::Items(chunk) => reply.taken = chunk.bytes.len(),
            Taken::End(_) => drop(self.streams.remove(&call)),
            Taken::Wait => assert!(!reply.ended_there && !self.is_over, "it waits for nothing"),
        }
        // The credit that this gave is known when it goes.
        self.turn();
    }

    /// Sends items of an argument.
    fn send(&mut self, input: &mut Input<'_>) {
        let index = input.below(self.issued.len().max(1));
        let Some(call) = self.issued.iter().rev().nth(index).copied() else { return };
        let key = StreamKey::argument(Caller::Here, call, 1 + input.below(2) as u8);
        if input.byte() > 200 {
            return self.side.end_argument(key, &Ok(()));
        }
        let items = vec![7; usize::from(input.byte())];
        let leave = self.side.send(key, &items);
        assert!(!self.is_over || leave == Leave::Over, "{leave:?} where nothing goes any more");
    }

    /// A call back ends.
    fn reply(&mut self, input: &mut Input<'_>) {
        if !self.served.is_empty() {
            let key = self.served.swap_remove(input.below(self.served.len()));
            self.side.reply(key, 7);
        }
    }

    fn pass(&mut self, input: &mut Input<'_>) {
        let until = self.now + Duration::from_millis(input.pick(&[1, 10, 300, 1_100, 31_000]));
        while let Some(due) = self.side.connection.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            if let Err(violation) = self.side.tick(self.now) {
                assert_eq!(violation.reason, Reason::Stall, "{violation:?}");
                return self.violated(&violation);
            }
        }
        self.now = until;
        self.settle(None);
        for (number, made) in &self.calls {
            assert!(made.asked.deadline.is_none_or(|deadline| deadline > until), "call {number} is late");
        }
    }

    /// The connection is lost, or what comes of it ends as the server said it would.
    fn part(&mut self, input: &mut Input<'_>) {
        if input.byte() < 200 {
            return;
        }
        if self.side.connection.peer_is_leaving() {
            self.side.end_of_bytes();
            self.gone = true;
            // Nothing comes any more.
            self.is_over = true;
        } else {
            self.lose();
        }
        self.settle(None);
        self.all_have_ended();
    }

    fn lose(&mut self) {
        self.side.lose();
        self.gone = true;
        self.is_over = true;
    }

    // ---- the server's doing ----

    fn frame(&mut self, frame: &[u8]) {
        let connection = &self.side.connection;
        // Here this side reads no more until it is read.
        let owed = connection.owed_bytes() > self.limits.send_queue_bytes();
        if self.is_over || frame.is_empty() || frame.len() > FRAME_BYTES || owed {
            return;
        }
        self.side.connection.received(self.now, false);
        let complete = match decode_fragment(frame, frame.len()) {
            None => Some(frame.to_vec()),
            Some(Err(_)) => {
                let violation = self.side.frame(frame, self.now).expect_err("an unsound fragment");
                return self.violated(&violation);
            }
            Some(Ok(fragment)) => match self.side.reassembly.take(fragment, self.now) {
                Ok(complete) => complete,
                Err(violation) => return self.violated(&violation),
            },
        };
        self.side.connection.awaits_fragment(self.side.reassembly.oldest());
        if let Some(message) = complete {
            self.message(&message);
        }
    }

    fn message(&mut self, message: &[u8]) {
        let decoded = decode(message, METADATA_BYTES, self.has_streams);
        let outcome = self.side.message(message, self.now);
        if self.side.arrived.len() > self.arrived {
            self.served.push(self.side.arrived[self.arrived].key);
            self.arrived = self.side.arrived.len();
        }
        let Ok(decoded) = decoded else {
            let violation = outcome.expect_err("an unsound message");
            assert_eq!(violation.reason, Reason::Protocol);
            return self.violated(&violation);
        };
        if let Err(violation) = outcome {
            assert!(!self.is_harmless(&decoded), "{violation:?} for {decoded:?}");
            return self.violated(&violation);
        }
        match decoded {
            Message::Response(response) => self.answered(response),
            Message::Items(items) if items.count > 0 && items.name.stream == 0 => {
                if let Some(reply) = self.streams.get_mut(&items.name.call) {
                    assert!(reply.allowed > 0 && !reply.ended_there, "more was taken than was allowed");
                    reply.allowed -= items.bytes.len() as i64;
                }
            }
            Message::End(end) if end.name.stream == 0 => {
                if let Some(reply) = self.streams.get_mut(&end.name.call) {
                    assert!(!reply.ended_there, "a stream ended twice");
                    reply.ended_there = true;
                }
            }
            Message::GoAway(goaway) => self.left(&goaway),
            _ => {}
        }
        self.settle(None);
    }

    /// What an honest server may say, in this state or in one that it must take this side for.
    fn is_harmless(&self, message: &Message<'_>) -> bool {
        match message {
            Message::Response(response) => {
                let id = &response.id;
                let waits = self.calls.get(id).is_some_and(|made| made.asked.is_large || !made.is_sent);
                self.issued.contains(id) && !waits
            }
            Message::Items(items) if items.name.stream == 0 && items.count > 0 && !items.bytes.is_empty() => {
                let reply = self.streams.get(&items.name.call);
                reply.is_some_and(|reply| reply.allowed > 0 && !reply.ended_there)
            }
            Message::End(end) if end.name.stream == 0 => {
                self.streams.get(&end.name.call).is_some_and(|reply| !reply.ended_there)
            }
            Message::Cancel { .. }
            | Message::Pong { .. }
            | Message::GoAway(_)
            | Message::Blocked(_)
            | Message::Unknown => true,
            _ => false,
        }
    }

    fn answered(&mut self, response: Response<'_>) {
        let id = response.id;
        let Some(made) = self.calls.get(&id).filter(|made| made.is_sent) else { return };
        let too_much =
            response.metadata.as_deref().is_some_and(|metadata| Metadata::bytes(metadata) > METADATA_BYTES);
        let is_stream = matches!(response.verdict, Verdict::Value(value) if is_stream_reply(value));
        if is_stream && made.asked.streams.is_some() && !too_much {
            let allowed = self.limits.stream_bytes() as i64;
            self.streams.insert(id, Reply { allowed, taken: 0, ended_there: self.gone });
        }
        let answer = match response.verdict {
            _ if too_much => Answer::TooMuchMetadata,
            Verdict::Value(value) => Answer::Value(value.to_vec()),
            Verdict::App(value) => Answer::App(value.to_vec()),
            Verdict::Rpc(error) => Answer::Error(error.code(), error.executed()),
        };
        self.settle(Some((id, answer)));
        assert!(!self.calls.contains_key(&id), "call {id} waits though it was answered");
    }

    fn left(&mut self, goaway: &GoAway<'_>) {
        self.last_id = Some(self.last_id.map_or(goaway.last_id, |last_id| last_id.min(goaway.last_id)));
        if goaway.reason != Reason::Drain {
            self.gone = true;
            self.streams.values_mut().for_each(|reply| reply.ended_there = true);
        }
        self.settle(None);
        for (number, made) in &self.calls {
            let goes_on = goaway.reason == Reason::Drain && made.is_sent && *number <= goaway.last_id;
            assert!(goes_on, "call {number} waits for a server that has gone");
        }
    }

    fn violated(&mut self, violation: &Violation) {
        let reasons = [Reason::Protocol, Reason::Frame, Reason::Calm, Reason::Stall];
        assert!(reasons.contains(&violation.reason), "{violation:?}");
        self.side.violated(violation);
        self.gone = true;
        self.is_over = true;
        self.settle(None);
        self.all_have_ended();
    }

    // ---- what holds ----

    /// Looks after everybody who was woken; one of them may have been answered so.
    fn settle(&mut self, mut answer: Option<(u64, Answer)>) {
        while self.woken < self.side.woken.len() {
            let waiter = self.side.woken[self.woken];
            self.woken += 1;
            let Some((number, id)) = self
                .calls
                .iter()
                .find(|(_, made)| made.asked.waiter == waiter)
                .map(|(number, made)| (*number, made.id))
            else {
                continue;
            };
            match self.side.poll(id) {
                Next::Pending => {}
                Next::Granted => self.resume(number),
                Next::Done(outcome) => {
                    let answer = answer.take_if(|(answered, _)| *answered == number);
                    self.judge(number, outcome, answer.map(|(_, answer)| answer));
                }
            }
        }
    }

    fn resume(&mut self, number: u64) {
        let Some(Made { id, asked, .. }) = self.calls.remove(&number) else { return };
        let entry = self.side.resume_as(id, asked.waiter, self.now, |call| asked.call(call));
        self.entered(entry, asked);
    }

    /// An outcome is true.
    fn judge(&mut self, number: u64, outcome: Outcome, answer: Option<Answer>) {
        let made = self.calls.remove(&number).expect("who was woken waits");
        let is_whole = !made.asked.is_large || self.seen.contains(&number);
        assert!(answer.is_none() || is_whole, "call {number} was answered before it had gone");
        let not_taken = self.last_id.is_some_and(|last_id| number > last_id);
        match (outcome.result, answer) {
            (Ok(value), Some(Answer::Value(said))) => assert_eq!(value.as_slice(), said),
            (Err(CallFailure::App(value)), Some(Answer::App(said))) => assert_eq!(value.as_slice(), said),
            (Err(CallFailure::Rpc(error)), Some(Answer::Error(code, executed))) => {
                assert_eq!((error.code(), error.executed()), (code, executed));
            }
            (Err(CallFailure::Rpc(error)), Some(Answer::TooMuchMetadata)) => {
                assert_eq!(error.code(), Code::ResourceExhausted);
            }
            (Err(CallFailure::Moved), None) => {
                assert!(self.last_id.is_some() || self.gone);
                assert!(!self.seen.contains(&number) || not_taken, "call {number} may have been executed");
            }
            (Err(CallFailure::Rpc(error)), None) => {
                let late = made.asked.deadline.is_some_and(|deadline| deadline <= self.now);
                match error.code() {
                    Code::DeadlineExceeded => {
                        assert!(late, "{error}");
                        self.give_up(number);
                    }
                    Code::Unavailable => assert!(self.gone, "{error}"),
                    _ => panic!("{error}"),
                }
                let may_have_run = self.seen.contains(&number) && !not_taken;
                assert!(error.executed() != Executed::No || !may_have_run, "{error}: it was sent");
                assert_ne!(error.executed(), Executed::Yes, "{error}: nobody said so");
            }
            (outcome, answer) => panic!("{outcome:?} of {answer:?}"),
        }
    }

    fn all_have_ended(&self) {
        assert!(self.calls.is_empty(), "calls without an outcome: {:?}", self.calls.keys());
    }

    fn look(&self) {
        let connection = &self.side.connection;
        assert!(connection.running() <= self.limits.calls(), "too many of the server's calls run");
        assert_eq!(connection.calls(), self.calls.len());
    }

    /// The connection is lost in any case, and nothing is left.
    fn end(mut self) {
        while self.side.connection.has_output() {
            self.turn();
        }
        let heard = self.unwanted.is_empty() || !self.cancels_at_once;
        assert!(self.is_over || heard, "calls that run for nobody: {:?}", self.unwanted);
        self.lose();
        self.settle(None);
        self.all_have_ended();
        for key in std::mem::take(&mut self.served) {
            self.side.reply(key, 7);
        }
        for call in std::mem::take(&mut self.streams).into_keys() {
            let key = StreamKey::reply(Caller::Here, call);
            while let Taken::Items(_) = self.side.take_items(key, 0) {}
            self.side.leave_stream(key);
        }
        self.look();
        assert!(self.side.is_at_rest());
    }
}
