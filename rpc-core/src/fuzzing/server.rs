//! A server against a client that does what it likes: each call is answered once, no more run than may, and the
//! connection ends for what the protocol says and for nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Input;
use super::peer::{Ear, Heard, fragments, message};
use crate::failure::Failure;
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::marshal::Payload;
use crate::message::{
    Credit, End, GoAway, Hello, Items, Message, Reason, Request, StreamName, decode, decode_fragment,
};
use crate::protocol::pair::Side;
use crate::protocol::{CallKey, Caller, Leave, StreamKey, Taken, Violation};
use crate::{Code, Error};

const FRAME_BYTES: usize = 1_024;
const MESSAGE_BYTES: usize = 4_096;
const METADATA_BYTES: usize = 64;
const PINGS: u32 = 3;
const CANCELS: u32 = 3;
const CANCELS_PER_SECOND: u32 = 2;

/// A call that is cancelled sooner has hardly begun; the server counts in milliseconds.
const HARDLY_BEGUN: Duration = Duration::from_millis(100);
const MILLISECOND: Duration = Duration::from_millis(1);

/// More than this is nobody's honest credit.
const MOST_CREDIT: i64 = 1 << 62;

/// Reads what both sides take, and then what happens, one thing after the other.
pub fn server(data: &[u8]) {
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
    has_fragments: bool,
    /// What the client gives each stream to begin with.
    credit: i64,
    /// The calls that run, cancelled ones too.
    running: BTreeMap<CallKey, Running>,
    /// How many answers are on their way to each id; and those among them that a cancel may have caught.
    due: BTreeMap<u64, i64>,
    caught: BTreeMap<u64, i64>,
    /// How many calls were answered since bytes last went out.
    answered: usize,
    highest: u64,
    pings: Uses,
    /// Cancels of calls that had hardly begun: those that certainly had, and those that may have.
    cancels: Uses,
    possible_cancels: Uses,
    empty_items: u32,
    unfinished: BTreeMap<u64, Unfinished>,
    arrived: usize,
    draining: Option<Instant>,
    client_leaves: bool,
    client_gone: bool,
    heard: Instant,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Running {
    came: Option<Instant>,
    deadline: Option<Instant>,
    /// Its client has gone, or knows already.
    silent: bool,
    arguments: Vec<Argument>,
    /// The stream that is its reply, once it is one.
    reply: Option<Reply>,
    stopped: bool,
}

/// A message that the client has begun to send in fragments.
struct Unfinished {
    bytes: Vec<u8>,
    /// How much is to follow.
    rest: u64,
    heard: Instant,
}

/// A stream that comes.
#[derive(Debug)]
struct Argument {
    /// What may still come of it.
    allowed: i64,
    ended_there: bool,
    stopped: bool,
    /// Nobody consumes it any more.
    left: bool,
    /// What was taken and not given back.
    taken: usize,
}

/// A stream that goes.
#[derive(Debug)]
struct Reply {
    credit: i64,
    unwanted: bool,
}

/// How often something was done for which a bucket is filled by and by: so often at once, and as often again in the
/// time that it takes to fill it.
struct Uses {
    at_once: usize,
    filled_in: Duration,
    uses: VecDeque<Instant>,
}

impl Uses {
    fn of(at_once: u32, per_second: u32) -> Self {
        let filled_in = Duration::from_secs(1) * at_once / per_second;
        Uses { at_once: at_once as usize, filled_in, uses: VecDeque::new() }
    }

    fn add(&mut self, now: Instant) {
        self.uses.push_back(now);
        self.uses.retain(|used| *used + self.filled_in > now);
    }

    fn may_be_too_many(&self) -> bool {
        self.uses.len() > self.at_once
    }

    fn are_too_many(&self) -> bool {
        self.uses.len() > 2 * self.at_once
    }
}

/// What a message must do.
#[derive(Debug, PartialEq)]
enum Expected {
    Nothing,
    /// It may end the connection, or not.
    Perhaps(Reason),
    Violation(Reason),
}

impl Expected {
    /// Too much may have been asked for, or certainly was.
    fn calm(possible: bool, certain: bool) -> Self {
        match (possible, certain) {
            (_, true) => Expected::Violation(Reason::Calm),
            (true, false) => Expected::Perhaps(Reason::Calm),
            (false, false) => Expected::Nothing,
        }
    }
}

impl History {
    fn new(input: &mut Input<'_>) -> Self {
        let now = Instant::now();
        let limits = Limits::default()
            .with_calls(1 + input.below(4))
            .with_streams(1 + input.below(3))
            .with_stream_bytes(1 + usize::from(input.byte()))
            .with_max_stream_bytes(1_024)
            .with_send_queue_bytes(1 + 8 * usize::from(input.byte()))
            .with_frame_bytes(FRAME_BYTES)
            .with_message_bytes(MESSAGE_BYTES)
            .with_metadata_bytes(METADATA_BYTES)
            .with_pings_per_second(PINGS)
            .with_cancels(CANCELS)
            .with_cancels_per_second(CANCELS_PER_SECOND);
        let features = input.byte();
        let hello = Hello {
            has_streams: features & 1 == 0,
            has_fragments: features & 2 == 0,
            stream_bytes: 1 + usize::from(input.byte()),
            ..Hello::new(&limits)
        };
        let mut side = Side::new(limits.clone(), now);
        side.open(&hello, now);
        History {
            now,
            side,
            ear: Ear::new(FRAME_BYTES, MESSAGE_BYTES, hello.has_streams),
            limits,
            has_streams: hello.has_streams,
            has_fragments: hello.has_fragments,
            credit: hello.stream_bytes as i64,
            running: BTreeMap::new(),
            due: BTreeMap::new(),
            caught: BTreeMap::new(),
            answered: 0,
            highest: 0,
            pings: Uses::of(PINGS, PINGS),
            cancels: Uses::of(CANCELS, CANCELS_PER_SECOND),
            possible_cancels: Uses::of(CANCELS, CANCELS_PER_SECOND),
            empty_items: 0,
            unfinished: BTreeMap::new(),
            arrived: 0,
            draining: None,
            client_leaves: false,
            client_gone: false,
            heard: now,
            is_over: false,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0..7 => {
                let known: Vec<u64> = self.running.keys().filter_map(|key| key.reply_id()).collect();
                let message = message(input, &known);
                match input.byte() {
                    // In fragments, of which all come or not all.
                    number @ 240.. => {
                        let fragments = fragments(input, &message, u64::from(number % 3));
                        let come = input.below(fragments.len().max(1) + 1);
                        fragments.iter().take(come.max(1)).for_each(|fragment| self.frame(fragment));
                    }
                    _ => self.frame(&message),
                }
            }
            7 | 8 => self.end_one(input),
            9 => self.open_reply(input),
            10 => self.send(input),
            11 => self.consume(input),
            12 => self.leave(input),
            13 | 14 => self.turn(),
            _ => self.pass(input),
        }
    }

    // ---- the client's doing ----

    /// Whether a server would read at all.
    fn reads(&self) -> bool {
        let connection = &self.side.connection;
        connection.output_bytes() <= self.limits.send_queue_bytes()
            && connection.oneways() < self.limits.calls()
    }

    fn frame(&mut self, frame: &[u8]) {
        if self.is_over || frame.is_empty() || frame.len() > FRAME_BYTES || !self.reads() {
            return;
        }
        self.heard = self.now;
        self.side.connection.received(self.now, false);
        match decode_fragment(frame, frame.len()) {
            None => self.message(frame),
            Some(Err(_)) => {
                let violation = self.side.frame(frame, self.now).expect_err("an unsound fragment");
                self.violated(&violation, &Expected::Violation(Reason::Protocol));
            }
            Some(Ok(fragment)) => {
                let taken = self.side.reassembly.take(fragment, self.now);
                let before = self.unfinished.remove(&fragment.number);
                match taken {
                    Err(violation) => {
                        let reasons = [Reason::Protocol, Reason::Frame];
                        assert!(reasons.contains(&violation.reason), "{violation:?}");
                        self.violated(&violation, &Expected::Violation(violation.reason));
                    }
                    Ok(complete) => {
                        assert!(self.has_fragments, "fragments are not in use");
                        self.fragment(&fragment, before, complete);
                    }
                }
                self.side.connection.awaits_fragment(self.side.reassembly.oldest());
            }
        }
    }

    /// A fragment was taken, and was the last one of a message or not.
    fn fragment(
        &mut self,
        fragment: &crate::message::Fragment<'_>,
        before: Option<Unfinished>,
        complete: Option<Vec<u8>>,
    ) {
        let Some(rest) = fragment.rest else {
            assert!(before.is_some() && complete.is_none(), "given up is what has begun");
            return;
        };
        let follows = fragment.data.len() as u64 + rest;
        let mut bytes = match before {
            Some(before) => {
                assert_eq!(before.rest, follows, "a message has the size that it had");
                before.bytes
            }
            None => Vec::new(),
        };
        bytes.extend_from_slice(fragment.data);
        if rest == 0 {
            assert_eq!(complete.as_deref(), Some(&bytes[..]));
            return self.message(&bytes);
        }
        assert!(complete.is_none());
        self.unfinished.insert(fragment.number, Unfinished { bytes, rest, heard: self.now });
        let all: u64 =
            self.unfinished.values().map(|message| message.bytes.len() as u64 + message.rest).sum();
        assert!(all <= MESSAGE_BYTES as u64 && self.unfinished.len() <= 16, "{all} bytes under way");
    }

    fn message(&mut self, message: &[u8]) {
        let decoded = decode(message, METADATA_BYTES, self.has_streams);
        let expected = match &decoded {
            _ if message.len() > MESSAGE_BYTES => Expected::Violation(Reason::Frame),
            Ok(message) => self.expect(message),
            Err(_) => Expected::Violation(Reason::Protocol),
        };
        let outcome = self.side.message(message, self.now);
        match outcome {
            Ok(()) => {
                assert!(!matches!(expected, Expected::Violation(_)), "{expected:?} by {decoded:?}");
                if let Ok(decoded) = &decoded {
                    self.took(decoded);
                }
            }
            Err(violation) => self.violated(&violation, &expected),
        }
    }

    /// Whether a message ends the connection, as far as the protocol says.
    fn expect(&mut self, message: &Message<'_>) -> Expected {
        let protocol = Expected::Violation(Reason::Protocol);
        match message {
            Message::Request(head, _) if head.id.is_some_and(|id| self.find(id).is_some()) => protocol,
            // Nothing was asked here.
            Message::Response(_) => protocol,
            Message::Ping { .. } => {
                self.pings.add(self.now);
                Expected::calm(self.pings.may_be_too_many(), self.pings.are_too_many())
            }
            Message::Cancel { id } => self.expect_cancel(*id),
            Message::Items(items) => self.expect_items(items),
            Message::End(end) => match self.argument(end.name) {
                Err(expected) => expected,
                Ok(Some(argument)) if argument.left => Expected::Nothing,
                Ok(Some(argument)) if argument.ended_there => protocol,
                Ok(_) => Expected::Nothing,
            },
            Message::Credit(credit) => self.expect_credit(credit),
            Message::Request(..)
            | Message::Pong { .. }
            | Message::GoAway(_)
            | Message::Blocked(_)
            | Message::Unknown => Expected::Nothing,
        }
    }

    /// A cancel counts if it stops a call that has hardly begun and has not answered yet.
    fn expect_cancel(&mut self, id: u64) -> Expected {
        let Some(running) = self.find(id).and_then(|key| self.running.get(&key)) else {
            return Expected::Nothing;
        };
        let Some(came) = running.came.filter(|_| !running.silent && running.reply.is_none()) else {
            return Expected::Nothing;
        };
        let age = self.now - came;
        if age < HARDLY_BEGUN + MILLISECOND {
            self.possible_cancels.add(self.now);
        }
        if age + MILLISECOND < HARDLY_BEGUN {
            self.cancels.add(self.now);
        }
        let possible = age < HARDLY_BEGUN + MILLISECOND && self.possible_cancels.may_be_too_many();
        let certain = age + MILLISECOND < HARDLY_BEGUN && self.cancels.are_too_many();
        Expected::calm(possible, certain)
    }

    fn expect_items(&mut self, items: &Items<'_>) -> Expected {
        if items.name.stream > 0 && items.name.call > self.highest {
            return Expected::Violation(Reason::Protocol);
        }
        self.empty_items = if items.bytes.is_empty() { self.empty_items + 1 } else { 0 };
        match (self.empty_items, items.count, items.bytes.len()) {
            (101.., ..) => return Expected::Violation(Reason::Calm),
            (_, 0, 0) => return Expected::Nothing,
            (_, 0, _) => return Expected::Violation(Reason::Protocol),
            _ => {}
        }
        match self.argument(items.name) {
            Err(expected) => expected,
            Ok(Some(argument)) if argument.left => Expected::Nothing,
            Ok(Some(argument)) if argument.ended_there => Expected::Violation(Reason::Protocol),
            Ok(Some(argument)) if !argument.stopped && argument.allowed <= 0 => {
                Expected::Violation(Reason::Calm)
            }
            Ok(_) => Expected::Nothing,
        }
    }

    fn expect_credit(&self, credit: &Credit) -> Expected {
        let protocol = Expected::Violation(Reason::Protocol);
        // What is among the arguments is this side's to consume.
        if credit.name.stream > 0 || credit.name.call > self.highest {
            return protocol;
        }
        match (self.running.get(&CallKey::Stream(credit.name.call)), credit.bytes) {
            (None, _) => Expected::Nothing,
            (Some(Running { reply: None, .. }), _) => protocol,
            (Some(Running { reply: Some(reply), stopped, .. }), Some(bytes))
                if !reply.unwanted && !stopped =>
            {
                match i64::try_from(bytes).ok().and_then(|bytes| reply.credit.checked_add(bytes)) {
                    Some(..=MOST_CREDIT) => Expected::Nothing,
                    _ => protocol,
                }
            }
            (Some(_), _) => Expected::Nothing,
        }
    }

    /// An argument that comes as a stream; none if its call has ended, and what is wrong if there never was one.
    fn argument(&mut self, name: StreamName) -> Result<Option<&mut Argument>, Expected> {
        let protocol = Expected::Violation(Reason::Protocol);
        if name.stream == 0 || name.call > self.highest {
            return Err(protocol);
        }
        match self.running.get_mut(&CallKey::Stream(name.call)) {
            None => Ok(None),
            Some(running) => {
                running.arguments.get_mut(usize::from(name.stream) - 1).map(Some).ok_or(protocol)
            }
        }
    }

    fn find(&self, id: u64) -> Option<CallKey> {
        [CallKey::Call(id), CallKey::Stream(id)].into_iter().find(|key| self.running.contains_key(key))
    }

    /// A message did what it does.
    fn took(&mut self, message: &Message<'_>) {
        match message {
            Message::Request(head, _) => self.requested(head),
            Message::Cancel { id } => self.cancelled(*id),
            Message::Items(items) if items.count > 0 => {
                if let Ok(Some(argument)) = self.argument(items.name) {
                    argument.allowed -= items.bytes.len() as i64;
                }
            }
            Message::End(End { name, .. }) => {
                if let Ok(Some(argument)) = self.argument(*name) {
                    argument.ended_there = true;
                }
            }
            Message::Credit(credit) => {
                let running = self.running.get_mut(&CallKey::Stream(credit.name.call));
                if let Some(reply) = running.and_then(|running| running.reply.as_mut()) {
                    match credit.bytes {
                        Some(bytes) if !reply.unwanted => {
                            reply.credit = reply.credit.saturating_add_unsigned(bytes)
                        }
                        Some(_) => {}
                        None => reply.unwanted = true,
                    }
                }
            }
            Message::GoAway(GoAway { reason, .. }) => {
                self.client_leaves = true;
                if *reason != Reason::Drain {
                    self.client_gone = true;
                    let arguments = self.running.values_mut().flat_map(|running| &mut running.arguments);
                    arguments.for_each(|argument| argument.ended_there = true);
                }
            }
            _ => {}
        }
    }

    /// A call came: it was admitted or refused, and for a reason.
    fn requested(&mut self, head: &Request<'_>) {
        self.highest = self.highest.max(head.id.unwrap_or_default());
        let noticed = |since: Instant| self.client_leaves || self.now >= since + DRAIN_NOTICE;
        let must_refuse = self.draining.is_some_and(noticed)
            || head.metadata.as_deref().is_some_and(|metadata| metadata.bytes() > METADATA_BYTES)
            || head.timeout == Some(Duration::ZERO);
        let (running, limit) = match (head.id, head.streams) {
            (None, _) => (0, usize::MAX),
            (Some(_), None) => (self.count(|key| matches!(key, CallKey::Call(_))), self.limits.calls()),
            (Some(_), Some(_)) => {
                (self.count(|key| matches!(key, CallKey::Stream(_))), self.limits.streams())
            }
        };
        // Answers that wait to be read keep the places of their calls.
        let may_refuse = must_refuse || running + self.answered >= limit;
        let admitted = self.side.arrived.len() > self.arrived;
        assert!(admitted || may_refuse, "refused without a reason: {head:?}");
        assert!(
            !admitted || !must_refuse && running < limit,
            "admitted in spite of {running} that run: {head:?}"
        );
        if !admitted {
            if let Some(id) = head.id {
                *self.due.entry(id).or_default() += 1;
            }
            return;
        }
        let arrived = &self.side.arrived[self.arrived];
        self.arrived = self.side.arrived.len();
        assert_eq!(arrived.key.reply_id(), head.id);
        let allowed = self.limits.stream_bytes() as i64;
        let argument = || Argument { allowed, ended_there: false, stopped: false, left: false, taken: 0 };
        let arguments = (0..head.streams.unwrap_or_default()).map(|_| argument()).collect();
        let running =
            Running { came: Some(self.now), deadline: arrived.deadline, arguments, ..Running::default() };
        let longest = self.now + self.limits.max_deadline();
        assert!(running.deadline.is_none_or(|deadline| deadline <= longest), "a deadline beyond all measure");
        assert!(self.running.insert(arrived.key, running).is_none(), "it runs twice");
    }

    fn count(&self, of: impl Fn(&CallKey) -> bool) -> usize {
        self.running.keys().filter(|key| of(key)).count()
    }

    fn cancelled(&mut self, id: u64) {
        match self.find(id).filter(|key| !self.running[key].silent) {
            Some(key) => self.stop(key),
            // A large answer may be caught on its way, also that of a call before which had the same id.
            None => *self.caught.entry(id).or_default() += self.due.get(&id).copied().unwrap_or_default(),
        }
    }

    /// A call is told to stop that has not been.
    fn stop(&mut self, key: CallKey) {
        let Some(running) = self.running.get_mut(&key) else { return };
        assert!(self.side.stopped.contains(&key), "{key:?} was not stopped");
        running.silent = true;
        running.stopped = true;
        running.arguments.iter_mut().for_each(|argument| argument.stopped = true);
    }

    /// The connection ends: all that runs is stopped.
    fn violated(&mut self, violation: &Violation, expected: &Expected) {
        let reason = violation.reason;
        let right = [Expected::Violation(reason), Expected::Perhaps(reason)].contains(expected);
        assert!(right, "{expected:?}, not {violation:?}");
        self.side.violated(violation);
        self.is_over = true;
        for (key, running) in &self.running {
            assert!(running.silent || self.side.stopped.contains(key), "{key:?} runs on");
        }
    }

    // ---- the server's doing ----

    fn pick(&self, input: &mut Input<'_>) -> Option<CallKey> {
        let index = input.below(self.running.len().max(1));
        self.running.keys().nth(index).copied()
    }

    fn pick_stream(&self, input: &mut Input<'_>) -> Option<u64> {
        let streams: Vec<u64> = self
            .running
            .keys()
            .filter_map(|key| if let CallKey::Stream(call) = key { Some(*call) } else { None })
            .collect();
        (!streams.is_empty()).then(|| input.pick(&streams))
    }

    /// A handler ends.
    fn end_one(&mut self, input: &mut Input<'_>) {
        let Some(key) = self.pick(input) else { return };
        let reply = match input.below(8) {
            0..4 => Some(Ok(Payload::from_slice(&[7]))),
            4 => Some(Ok(Payload::from(Bytes::from(vec![7; 20 * usize::from(input.byte())])))),
            5 => Some(Err(Failure::App(Payload::from_slice(&[7])))),
            6 => Some(Err(Failure::Rpc(Error::new(
                Code::Internal,
                "x".repeat(20 * usize::from(input.byte())),
            )))),
            _ => None,
        };
        self.end_call(key, reply);
    }

    fn end_call(&mut self, key: CallKey, reply: Option<Result<Payload, Failure>>) {
        let Some(running) = self.running.remove(&key) else { return };
        let answers = match key {
            CallKey::Call(_) => !running.silent && reply.is_some(),
            CallKey::Stream(_) => true,
            CallKey::OneWay(_) => false,
        };
        if let (true, Some(id)) = (answers && !self.is_over, key.reply_id()) {
            *self.due.entry(id).or_default() += 1;
            self.answered += 1;
        }
        self.side.stopped.retain(|stopped| *stopped != key);
        match reply {
            Some(reply) => self.side.reply_with(key, reply),
            None => self.side.stop(key),
        }
    }

    fn open_reply(&mut self, input: &mut Input<'_>) {
        let Some(call) = self.pick_stream(input) else { return };
        let opened = self.side.open_reply(call);
        let Some(running) = self.running.get_mut(&CallKey::Stream(call)) else { return };
        assert_eq!(opened, running.reply.is_none() && !running.stopped, "{running:?}");
        if opened {
            running.reply = Some(Reply { credit: self.credit, unwanted: false });
        }
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let Some(call) = self.pick_stream(input) else { return };
        let items = vec![7; usize::from(input.byte())];
        let leave = self.side.send(StreamKey::reply(Caller::There, call), &items);
        let Some(running) = self.running.get_mut(&CallKey::Stream(call)) else { return };
        match (&mut running.reply, leave) {
            (Some(reply), Leave::Given) => {
                assert!(reply.credit > 0 && !reply.unwanted && !running.stopped, "items beyond the credit");
                reply.credit -= items.len() as i64;
            }
            (Some(reply), Leave::Over) => {
                let none_comes = self.client_gone && reply.credit <= 0;
                assert!(reply.unwanted || running.stopped || none_comes, "somebody wants it");
                // Cut short, it says so.
                running.stopped |= none_comes;
            }
            (Some(reply), Leave::Blocked) => assert!(reply.credit <= 0),
            (Some(_), Leave::Wait) => {}
            (None, leave) => assert_eq!(leave, Leave::Over),
        }
    }

    fn consume(&mut self, input: &mut Input<'_>) {
        let Some((call, stream)) = self.pick_argument(input) else { return };
        let key = StreamKey::argument(Caller::There, call, stream);
        let taken = self.argument_of(key).map_or(0, |argument| std::mem::take(&mut argument.taken));
        let next = self.side.take_items(key, taken);
        let Some(argument) = self.argument_of(key) else { return };
        match next {
            Taken::Items(chunk) => argument.taken = chunk.bytes.len(),
            Taken::End(_) => argument.left = true,
            Taken::Wait => assert!(!argument.ended_there && !argument.stopped, "it waits for nothing"),
        }
        // The credit that this gave is known when it goes.
        self.turn();
    }

    fn leave(&mut self, input: &mut Input<'_>) {
        let Some((call, stream)) = self.pick_argument(input) else { return };
        let key = StreamKey::argument(Caller::There, call, stream);
        self.side.leave_stream(key);
        self.argument_of(key).into_iter().for_each(|argument| argument.left = true);
    }

    fn pick_argument(&self, input: &mut Input<'_>) -> Option<(u64, u8)> {
        let call = self.pick_stream(input)?;
        let arguments = self.running.get(&CallKey::Stream(call))?.arguments.len();
        (arguments > 0).then(|| (call, 1 + input.below(arguments) as u8))
    }

    fn argument_of(&mut self, key: StreamKey) -> Option<&mut Argument> {
        let running = self.running.get_mut(&CallKey::Stream(key.name.call))?;
        running.arguments.get_mut(usize::from(key.name.stream) - 1)
    }

    /// Some bytes go out, and the client hears what they say.
    fn turn(&mut self) {
        let bytes = self.side.turn();
        self.answered = 0;
        self.hear(&bytes);
    }

    fn hear(&mut self, bytes: &[u8]) {
        for heard in self.ear.hear(bytes) {
            match heard {
                Heard::Answer { id, is_final: true }
                | Heard::End { name: StreamName { call: id, stream: 0 } } => {
                    let due = self.due.entry(id).or_default();
                    *due -= 1;
                    assert!(*due >= 0, "call {id} was answered twice");
                }
                Heard::Credit { name, bytes } => {
                    assert!(name.stream > 0, "nothing was called from here");
                    if let (Ok(Some(argument)), Some(bytes)) = (self.argument(name), bytes) {
                        argument.allowed += bytes as i64;
                        assert!(argument.allowed <= 1_024, "more credit than a stream may have");
                    }
                }
                Heard::Answer { is_final: false, .. } | Heard::Other => {}
                Heard::GoAway { reason } => {
                    let drains = self.draining.is_some() || self.client_leaves;
                    assert!(self.is_over || reason == Reason::Drain && drains, "it goes for no reason");
                }
                other @ (Heard::Request { .. } | Heard::Cancel { .. } | Heard::End { .. }) => {
                    panic!("{other:?}, where nothing was called")
                }
            }
        }
    }

    /// Time passes, or the server begins to drain.
    fn pass(&mut self, input: &mut Input<'_>) {
        let milliseconds = input.pick(&[1, 10, 300, 400, 1_100, 31_000, 0, 0]);
        if milliseconds == 0 {
            self.side.connection.start_drain(self.now);
            self.draining.get_or_insert(self.now);
            return;
        }
        let until = self.now + Duration::from_millis(milliseconds);
        while let Some(due) = self.side.connection.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let outcome = self.side.tick(self.now);
            self.expire();
            if let Err(violation) = outcome {
                let silent = self.now - self.heard;
                let stalled = self.unfinished.values().map(|message| self.now - message.heard).max();
                let reason = silent >= Duration::from_secs(50) || stalled >= Some(Duration::from_secs(30));
                assert!(reason, "given up after {silent:?}, {stalled:?} in a message");
                return self.violated(&violation, &Expected::Violation(Reason::Stall));
            }
        }
        self.now = until;
        self.expire();
    }

    /// Deadlines that have passed: the caller is told and the handler stopped.
    fn expire(&mut self) {
        let expired = |running: &Running| {
            !running.silent && running.deadline.is_some_and(|deadline| deadline <= self.now)
        };
        let keys: Vec<CallKey> =
            self.running.iter().filter(|(_, running)| expired(running)).map(|(key, _)| *key).collect();
        for key in keys {
            if let CallKey::Call(id) = key {
                *self.due.entry(id).or_default() += 1;
            }
            self.stop(key);
        }
    }

    // ---- what holds ----

    fn look(&self) {
        let calls = self.count(|key| matches!(key, CallKey::Call(_)));
        assert_eq!(self.side.connection.running(), calls);
        assert!(calls <= self.limits.calls(), "{calls} calls run");
        let streams = self.count(|key| matches!(key, CallKey::Stream(_)));
        assert!(streams <= self.limits.streams(), "{streams} calls with streams are open");
    }

    /// All handlers end and all bytes go out: nothing is left, and every answer was given.
    fn end(mut self) {
        let keys: Vec<CallKey> = self.running.keys().copied().collect();
        keys.into_iter().for_each(|key| self.end_call(key, Some(Ok(Payload::from_slice(&[7])))));
        let bytes = self.side.output();
        self.hear(&bytes);
        self.look();
        assert!(self.side.is_at_rest());
        if !self.is_over {
            for (id, due) in &self.due {
                assert!(*due <= self.caught.get(id).copied().unwrap_or_default(), "call {id} has no answer");
            }
        }
    }
}
