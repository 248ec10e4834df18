//! Random histories of calls with streams, made by both sides at once: items, ends, credit, stops, drops, deadlines,
//! with messages that cross, and a loss or a drain or neither at the end. Whoever has to wait does nothing until it is
//! woken, as tasks do: a wake that is lost is a history that never ends.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use super::super::{CallFailure, CallId, CallKey, Caller, Entry, Leave, Outcome, StreamKey, Taken};
use super::pair::{CONSUMER, Next, PRODUCER, Pair, Plain, Side};
use super::seeds::{Random, for_each_seed};
use crate::failure::{Ending, Failure};
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::marshal::{Payload, STREAM_REPLY};
use crate::{Code, Error, Executed};

const STEPS: u32 = 120;
const OPEN: usize = 3;
const WINDOW: usize = 40;
const LARGE: usize = 100_000;

/// What streams carry: the byte at each place says which place that is, as far as a byte can.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| (0..LARGE + 256).map(|at| at as u8).collect());

fn bytes_at(place: usize, count: usize) -> &'static [u8] {
    &BYTES[place % 256..][..count]
}

#[test]
fn random_streams_keep_every_promise() {
    for_each_seed(|seed| History::new(seed).run());
}

struct History {
    pair: Pair,
    random: Random,
    calls: Vec<Call>,
    flows: Vec<Flow>,
    /// Calls by who made them and their number.
    numbers: HashMap<(usize, u64), usize>,
    /// How many calls that came to each side were looked at.
    seen: [usize; 2],
    /// Bytes that have been written and have not arrived, by who reads them.
    under_way: [Vec<u8>; 2],
    lost: bool,
    /// Messages are large and windows wide, so that streams wait for room and not for credit.
    wide: bool,
}

struct Call {
    /// Which side made it.
    by: usize,
    id: Option<CallId>,
    /// How many streams are among its arguments; none for a call without streams.
    arguments: Option<u8>,
    deadline: bool,
    caller: CallerState,
    handler: HandlerState,
    plan: Plan,
    /// The streams of its arguments in order, then its reply's, if it has any.
    flows: std::ops::Range<usize>,
    /// Its caller has gone, its deadline may pass, or its handler was stopped: what fails then fails rightly.
    disturbed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum CallerState {
    Waiting,
    Sent,
    Streaming,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum HandlerState {
    Unseen,
    Running,
    Replied,
    Ended,
}

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plan {
    /// Replies with a stream.
    Stream,
    /// Replies with a value, at some time or once its arguments have ended.
    Value {
        last: bool,
    },
    Fail,
    /// Is dropped.
    Drop,
}

/// A stream, from both sides.
struct Flow {
    call: usize,
    from: usize,
    outgoing: StreamKey,
    incoming: StreamKey,
    producer: Actor,
    /// How many bytes it sends in all, and how it ends then.
    plan: usize,
    last: End,
    sent: usize,
    ended: bool,
    consumer: Actor,
    taken: usize,
    /// How many of them are in the consumer's hands.
    in_hand: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Actor {
    Absent,
    Ready,
    Waiting,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Well,
    App,
    Rpc,
}

impl End {
    fn ending(self) -> Ending {
        match self {
            End::Well => Ok(()),
            End::App => Err(Failure::App(Payload::from_slice(&[9]))),
            End::Rpc => Err(Error::new(Code::DataLoss, "planned").with_executed(Executed::Yes).into()),
        }
    }
}

impl History {
    fn new(seed: u64) -> Self {
        let wide = seed % 64 == 63;
        let window = if wide { 4 * LARGE } else { WINDOW };
        let limits = || {
            Limits::default()
                .with_calls(OPEN)
                .with_streams(OPEN)
                .with_stream_bytes(window)
                .with_max_stream_bytes(4 * window)
                // Some messages go in fragments then, and hold their streams meanwhile.
                .with_frame_bytes(if seed.is_multiple_of(2) { LARGE / 5 } else { 4 * LARGE })
        };
        History {
            pair: Pair::with_limits(limits(), limits()),
            random: Random::new(seed),
            calls: Vec::new(),
            flows: Vec::new(),
            numbers: HashMap::new(),
            seen: [0; 2],
            under_way: [Vec::new(), Vec::new()],
            lost: false,
            wide,
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.look();
        }
        match self.random.below(4) {
            0 => self.lose(),
            1 => {
                let side = self.random.below(2) as usize;
                let now = self.pair.now;
                self.side(side).connection.start_drain(now);
                self.heal();
                self.pair.wait(DRAIN_NOTICE);
                self.heal();
                let now = self.pair.now;
                assert!(self.side(side).connection.is_finished(now), "nothing is left to do");
            }
            _ => self.heal(),
        }
        assert!(self.pair.client.is_at_rest() && self.pair.server.is_at_rest());
    }

    fn side(&mut self, side: usize) -> &mut Side {
        if side == 0 { &mut self.pair.client } else { &mut self.pair.server }
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0 => self.enter(),
            1 => self.leave_one(),
            2 | 3 => self.write(0),
            4 | 5 => self.write(1),
            6 | 7 => self.carry(0),
            8 | 9 => self.carry(1),
            10..=12 => self.produce_some(),
            13 | 14 => self.consume_some(),
            _ if self.random.one_in(3) => {
                let time = Duration::from_millis(self.random.below(300));
                self.pair.wait(time);
            }
            _ => self.handle_some(),
        }
    }

    // ---- callers ----

    fn enter(&mut self) {
        let by = self.random.below(2) as usize;
        let arguments = (!self.random.one_in(4)).then(|| self.random.below(3) as u8);
        let deadline = self.random.one_in(4);
        let plan = match self.random.below(8) {
            0 => Plan::Fail,
            // Nothing is said of a call without streams that is dropped: only a runtime that ends does that.
            1 if arguments.is_some() => Plan::Drop,
            2 => Plan::Value { last: false },
            3 => Plan::Value { last: true },
            _ if arguments.is_none() => Plan::Value { last: false },
            _ => Plan::Stream,
        };
        let call = self.calls.len();
        let flows = self.flows.len()..self.flows.len() + arguments.map_or(0, |count| usize::from(count) + 1);
        let reply = flows.len().saturating_sub(1);
        for index in 0..flows.len() {
            let from = if index == reply { 1 - by } else { by };
            self.new_flow(call, from);
        }
        self.calls.push(Call {
            by,
            id: None,
            arguments,
            deadline,
            caller: CallerState::Waiting,
            handler: HandlerState::Unseen,
            plan,
            flows,
            disturbed: deadline,
        });
        let (now, options) = (self.pair.now, self.options(call));
        match self.side(by).enter(call as u32, now, |_| options) {
            Entry::Entered(id) => self.sent(call, id),
            Entry::Waiting(id) => self.calls[call].id = Some(id),
            other => panic!("a call was not taken: {other:?}"),
        }
    }

    fn options(&self, call: usize) -> Plain {
        let Call { arguments, deadline, .. } = self.calls[call];
        let deadline = deadline.then(|| self.pair.now + Duration::from_millis(500));
        Plain { streams: arguments, deadline, ..super::pair::plain() }
    }

    fn new_flow(&mut self, call: usize, from: usize) {
        let nowhere = StreamKey::reply(Caller::Here, 0);
        let last = match self.random.below(6) {
            0 => End::App,
            1 => End::Rpc,
            _ => End::Well,
        };
        let most = if self.wide { 6 * LARGE } else { 8 * WINDOW };
        let plan = self.random.below(most as u64) as usize;
        self.flows.push(Flow {
            call,
            from,
            outgoing: nowhere,
            incoming: nowhere,
            producer: Actor::Absent,
            plan,
            last,
            sent: 0,
            ended: false,
            consumer: Actor::Absent,
            taken: 0,
            in_hand: 0,
        });
    }

    /// A call has gone out, and its arguments may follow.
    fn sent(&mut self, call: usize, id: CallId) {
        let number = id.number();
        let Call { by, ref flows, .. } = self.calls[call];
        let count = flows.len();
        for (index, flow) in self.flows[flows.clone()].iter_mut().enumerate() {
            if index + 1 == count {
                flow.outgoing = StreamKey::reply(Caller::There, number);
                flow.incoming = StreamKey::reply(Caller::Here, number);
            } else {
                flow.outgoing = StreamKey::argument(Caller::Here, number, index as u8 + 1);
                flow.incoming = StreamKey::argument(Caller::There, number, index as u8 + 1);
                flow.producer = Actor::Ready;
            }
        }
        self.numbers.insert((by, number), call);
        self.calls[call].id = Some(id);
        self.calls[call].caller = CallerState::Sent;
    }

    /// A caller goes, or a consumer.
    fn leave_one(&mut self) {
        let open = |call: &Call| call.caller != CallerState::Over;
        let calls = self.calls.iter().enumerate().filter(|(_, call)| open(call)).map(|(at, _)| at);
        let Some(call) = self.random.pick(calls) else { return };
        let Call { by, id, caller, ref flows, .. } = self.calls[call];
        if self.random.one_in(2) {
            let arguments = flows.start..flows.end.saturating_sub(1);
            let consumed = arguments.filter(|flow| self.flows[*flow].is_consumed());
            if let Some(flow) = self.random.pick(consumed) {
                return self.leave(flow);
            }
        }
        match (caller, id) {
            (CallerState::Streaming, _) => self.leave(flows.end - 1),
            (_, Some(id)) => {
                self.side(by).drop_call(id);
                self.over(call, true);
            }
            (_, None) => unreachable!("a call that was entered has an id"),
        }
    }

    /// A call is over for its caller, and with it the reply's consumer.
    fn over(&mut self, call: usize, disturbed: bool) {
        let call = &mut self.calls[call];
        call.caller = CallerState::Over;
        call.disturbed |= disturbed;
        if let Some(reply) = call.flows.clone().next_back() {
            self.flows[reply].consumer = Actor::Gone;
        }
    }

    /// A caller was woken.
    fn look_after(&mut self, call: usize) {
        let Call { by, id, caller, ref flows, .. } = self.calls[call];
        let reply = flows.clone().next_back();
        if caller == CallerState::Over || caller == CallerState::Streaming {
            return;
        }
        let id = id.expect("a call that was entered has an id");
        match self.side(by).poll(id) {
            Next::Pending => panic!("call {call} was woken for nothing"),
            Next::Granted => {
                let (now, options) = (self.pair.now, self.options(call));
                match self.side(by).resume_as(id, call as u32, now, |_| options) {
                    Entry::Entered(id) => self.sent(call, id),
                    Entry::Ended(CallFailure::Moved) => self.over(call, true),
                    other => panic!("a granted call was not taken: {other:?}"),
                }
            }
            Next::Done(Outcome { result: Ok(value), .. }) if value.as_slice() == STREAM_REPLY => {
                self.calls[call].caller = CallerState::Streaming;
                self.flows[reply.expect("its reply may be a stream")].consumer = Actor::Ready;
            }
            Next::Done(Outcome { result, .. }) => {
                self.judge(call, &result);
                self.over(call, false);
            }
        }
    }

    /// What an outcome claims is true.
    fn judge(&self, call: usize, result: &Result<Payload, CallFailure>) {
        let Call { handler, plan, disturbed, .. } = self.calls[call];
        match result {
            Ok(value) => assert_eq!(value.as_slice(), [7], "call {call}"),
            Err(CallFailure::App(_)) => assert_eq!(plan, Plan::Fail, "call {call}"),
            Err(CallFailure::Moved) => assert_eq!(handler, HandlerState::Unseen, "call {call}"),
            Err(CallFailure::Rpc(error)) => {
                let known = match error.code() {
                    Code::DeadlineExceeded => self.calls[call].deadline,
                    // The place of a plain call is free for its caller before its handler has ended.
                    Code::ResourceExhausted => self.calls[call].arguments.is_none(),
                    Code::Unavailable => plan == Plan::Drop || self.lost || error.executed() == Executed::No,
                    Code::Cancelled => disturbed,
                    _ => false,
                };
                assert!(known, "call {call}: {error}");
                let started = handler != HandlerState::Unseen;
                assert!(
                    error.executed() != Executed::No || !started,
                    "call {call}: {error}, but it was started"
                );
            }
        }
    }

    // ---- handlers ----

    fn arrived(&mut self, side: usize, key: CallKey) {
        let number = key.reply_id().expect("no call here is one-way");
        let call = self.numbers[&(1 - side, number)];
        assert_eq!(self.calls[call].handler, HandlerState::Unseen, "call {call} was started twice");
        self.calls[call].handler = HandlerState::Running;
        let flows = self.calls[call].flows.clone();
        for flow in flows.start..flows.end.saturating_sub(1) {
            self.flows[flow].consumer = Actor::Ready;
        }
    }

    fn key(&self, call: usize) -> CallKey {
        let Call { id, arguments, .. } = self.calls[call];
        let number = id.expect("it was sent").number();
        if arguments.is_some() { CallKey::Stream(number) } else { CallKey::Call(number) }
    }

    fn is_stopped(&mut self, call: usize) -> bool {
        let (by, key) = (self.calls[call].by, self.key(call));
        self.side(1 - by).stopped.contains(&key)
    }

    fn handle_some(&mut self) {
        let runs = |(_, call): &(usize, &Call)| call.handler == HandlerState::Running;
        let running = self.calls.iter().enumerate().filter(runs).map(|(at, _)| at);
        if let Some(call) = self.random.pick(running) {
            self.handle(call);
        }
    }

    /// A handler goes on.
    fn handle(&mut self, call: usize) {
        let Call { by, plan, ref flows, .. } = self.calls[call];
        let flows = flows.clone();
        if self.is_stopped(call) {
            self.calls[call].disturbed = true;
            let replies = self.random.one_in(2);
            return self.end_handler(call, replies.then_some(Ok(())));
        }
        let arguments = flows.start..flows.end.saturating_sub(1);
        match plan {
            Plan::Stream => {
                let number = self.calls[call].id.expect("it was sent").number();
                if self.side(1 - by).open_reply(number) {
                    self.calls[call].handler = HandlerState::Replied;
                    self.flows[flows.end - 1].producer = Actor::Ready;
                } else {
                    self.end_handler(call, Some(Ok(())));
                }
            }
            Plan::Value { last: true } if arguments.clone().any(|flow| self.flows[flow].is_consumed()) => {}
            Plan::Value { .. } => self.end_handler(call, Some(Ok(()))),
            Plan::Fail => self.end_handler(call, Some(End::App.ending())),
            Plan::Drop => {
                self.calls[call].disturbed = true;
                self.end_handler(call, None);
            }
        }
    }

    /// A handler has ended, or has been dropped. What it consumed goes with it, or lives on in some task.
    fn end_handler(&mut self, call: usize, ending: Option<Ending>) {
        let Call { by, ref flows, .. } = self.calls[call];
        for flow in flows.start..flows.end.saturating_sub(1) {
            if self.flows[flow].is_consumed() && self.random.one_in(2) {
                self.leave(flow);
            }
        }
        self.calls[call].handler = HandlerState::Ended;
        let key = self.key(call);
        match ending {
            None => self.side(1 - by).stop(key),
            Some(Ok(())) => self.side(1 - by).reply(key, 7),
            Some(Err(failure)) => self.side(1 - by).fail(key, failure),
        }
    }

    // ---- streams ----

    fn produce_some(&mut self) {
        let ready = self.flows.iter().enumerate().filter(|(_, flow)| flow.producer == Actor::Ready);
        if let Some(flow) = self.random.pick(ready.map(|(at, _)| at)) {
            self.produce(flow);
        }
    }

    fn produce(&mut self, index: usize) {
        let Flow { from, outgoing, plan, sent, last, call, .. } = self.flows[index];
        if outgoing.caller == Caller::There && self.is_stopped(call) && self.random.one_in(2) {
            // Its handler is dropped, and it with it.
            self.calls[call].disturbed = true;
            self.flows[index].producer = Actor::Gone;
            return self.end_handler(call, None);
        }
        if sent == plan {
            return self.produced(index, last.ending());
        }
        let waiter = PRODUCER + index as u32;
        if self.random.one_in(8) {
            // It has nothing at the moment, and looks whether anybody still wants something.
            if self.side(from).connection.is_stream_over(outgoing, |stored| *stored = Some(waiter)) {
                self.produced_in_vain(index);
            }
            return;
        }
        let large = self.random.one_in(if self.wide { 2 } else { 100 });
        let count = match large {
            true => LARGE,
            false => (self.random.below(2 * WINDOW as u64) as usize + 1).min(plan - sent),
        };
        match self.side(from).send_as(outgoing, bytes_at(sent, count), waiter) {
            Leave::Given => {
                let flow = &mut self.flows[index];
                flow.sent += count;
                flow.plan = flow.plan.max(flow.sent);
            }
            Leave::Wait | Leave::Blocked => self.flows[index].producer = Actor::Waiting,
            Leave::Over => self.produced_in_vain(index),
        }
    }

    /// All that was planned was sent.
    fn produced(&mut self, index: usize, ending: Ending) {
        let Flow { from, outgoing, call, .. } = self.flows[index];
        self.flows[index].producer = Actor::Gone;
        self.flows[index].ended = true;
        match outgoing.caller {
            Caller::Here => self.side(from).end_argument(outgoing, &ending),
            Caller::There => self.end_handler(call, Some(ending)),
        }
    }

    /// Nobody wants any more of it, and it ends all the same.
    fn produced_in_vain(&mut self, index: usize) {
        let Flow { from, outgoing, call, .. } = self.flows[index];
        self.flows[index].producer = Actor::Gone;
        match outgoing.caller {
            Caller::Here => self.side(from).end_argument(outgoing, &Ok(())),
            Caller::There => self.end_handler(call, Some(Ok(()))),
        }
    }

    fn consume_some(&mut self) {
        let ready = self.flows.iter().enumerate().filter(|(_, flow)| flow.consumer == Actor::Ready);
        if let Some(flow) = self.random.pick(ready.map(|(at, _)| at)) {
            self.consume(flow);
        }
    }

    fn consume(&mut self, index: usize) {
        let Flow { from, incoming, taken, .. } = self.flows[index];
        let consumed = std::mem::take(&mut self.flows[index].in_hand);
        match self.side(1 - from).take_as(incoming, consumed, CONSUMER + index as u32) {
            Taken::Items(chunk) => {
                assert!(
                    chunk.bytes.as_slice() == bytes_at(taken, chunk.bytes.len()),
                    "stream {index} at {taken}"
                );
                self.flows[index].in_hand = chunk.bytes.len();
                self.flows[index].taken += chunk.bytes.len();
                assert!(self.flows[index].taken <= self.flows[index].sent);
            }
            Taken::Wait => self.flows[index].consumer = Actor::Waiting,
            Taken::End(ending) => self.judge_end(index, &ending),
        }
    }

    fn judge_end(&mut self, index: usize, ending: &Ending) {
        let flow = &mut self.flows[index];
        flow.consumer = Actor::Gone;
        let call = &self.calls[flow.call];
        // An argument's consumer that outlives its handler sees the call end, not the stream.
        let outlived = flow.incoming.caller == Caller::There && call.handler == HandlerState::Ended;
        let disturbed = call.disturbed || outlived || self.lost;
        let whole = flow.ended && flow.taken == flow.sent;
        match (ending, flow.last) {
            (Ok(()), End::Well) | (Err(Failure::App(_)), End::App) => {
                assert!(whole, "stream {index} lost something: {} of {}", flow.taken, flow.sent);
            }
            (Err(Failure::Rpc(error)), End::Rpc) if error.code() == Code::DataLoss => {
                assert!(whole, "stream {index} lost something: {} of {}", flow.taken, flow.sent);
            }
            (Err(Failure::Rpc(error)), _) => assert!(disturbed, "stream {index}: {error}"),
            (ending, last) => panic!("stream {index}: {ending:?}, and it should have been {last:?}"),
        }
        if flow.incoming.caller == Caller::Here {
            let call = flow.call;
            self.over(call, false);
        }
    }

    /// A consumer goes before the end.
    fn leave(&mut self, index: usize) {
        let Flow { from, incoming, call, .. } = self.flows[index];
        self.flows[index].consumer = Actor::Gone;
        self.side(1 - from).leave_stream(incoming);
        if incoming.caller == Caller::Here {
            self.over(call, true);
        }
    }

    // ---- bytes ----

    fn write(&mut self, from: usize) {
        let bytes = self.side(from).output();
        self.under_way[1 - from].extend(bytes);
    }

    fn carry(&mut self, to: usize) {
        let count = self.random.below(self.under_way[to].len() as u64 + 1) as usize;
        self.carry_some(to, count);
    }

    fn carry_some(&mut self, to: usize, count: usize) {
        let bytes: Vec<u8> = self.under_way[to].drain(..count).collect();
        let now = self.pair.now;
        if let Err(violation) = self.side(to).receive(&bytes, now) {
            panic!("both sides are honest: {}", violation.message);
        }
    }

    /// What holds at every moment, and who was woken.
    fn look(&mut self) {
        for side in 0..2 {
            let from = self.seen[side];
            let keys: Vec<_> = self.side(side).arrived[from..].iter().map(|arrived| arrived.key).collect();
            self.seen[side] += keys.len();
            for key in keys {
                self.arrived(side, key);
            }
            let runs = |call: &&Call| {
                call.by != side && matches!(call.handler, HandlerState::Running | HandlerState::Replied)
            };
            let running = self.calls.iter().filter(runs).filter(|call| call.arguments.is_some()).count();
            assert!(running <= OPEN, "{running} calls with streams run");
            let grown = self.side(side).connection.rest_of_growth();
            assert!(self.wide || grown <= 3 * WINDOW * OPEN * 3, "streams have grown by {grown}");
        }
        for side in 0..2 {
            let mut woken = std::mem::take(&mut self.side(side).woken);
            // One history a seed: some of those who are woken together come out of a hash map.
            woken.sort_unstable();
            for waiter in woken {
                match waiter {
                    CONSUMER.. => self.flows[(waiter - CONSUMER) as usize].consumer.wake(),
                    PRODUCER.. => self.flows[(waiter - PRODUCER) as usize].producer.wake(),
                    call => self.look_after(call as usize),
                }
            }
        }
    }

    // ---- the end ----

    fn is_done(&self) -> bool {
        let acts = |actor: Actor| matches!(actor, Actor::Ready | Actor::Waiting);
        self.calls.iter().all(|call| {
            call.caller == CallerState::Over
                && matches!(call.handler, HandlerState::Unseen | HandlerState::Ended)
        }) && !self.flows.iter().any(|flow| acts(flow.producer) || acts(flow.consumer))
    }

    /// All who can act do.
    fn act(&mut self) {
        for call in 0..self.calls.len() {
            if self.calls[call].handler == HandlerState::Running {
                self.handle(call);
            }
        }
        for flow in 0..self.flows.len() {
            if self.flows[flow].producer == Actor::Ready {
                self.produce(flow);
            }
            if self.flows[flow].consumer == Actor::Ready {
                self.consume(flow);
            }
        }
    }

    /// Everything arrives and everybody goes on: all ends as it was meant to.
    fn heal(&mut self) {
        for _ in 0..5_000 {
            for side in 0..2 {
                self.write(side);
            }
            for side in 0..2 {
                let count = self.under_way[side].len();
                self.carry_some(side, count);
            }
            self.look();
            if self.is_done() && self.under_way.iter().all(Vec::is_empty) {
                let output = [0, 1].map(|side| self.side(side).connection.has_output());
                if output == [false; 2] {
                    return;
                }
            }
            self.act();
        }
        self.report();
    }

    /// The connection is lost with bytes under way.
    fn lose(&mut self) {
        self.lost = true;
        self.pair.client.lose();
        self.pair.server.lose();
        for _ in 0..5_000 {
            self.look();
            if self.is_done() {
                return;
            }
            self.act();
        }
        self.report();
    }

    fn report(&self) -> ! {
        for (at, call) in self.calls.iter().enumerate() {
            if call.caller != CallerState::Over || call.handler == HandlerState::Running {
                eprintln!("call {at}: {:?}, {:?}, {:?}", call.caller, call.handler, call.plan);
            }
        }
        for (at, flow) in self.flows.iter().enumerate() {
            if [flow.producer, flow.consumer]
                .iter()
                .any(|actor| matches!(actor, Actor::Ready | Actor::Waiting))
            {
                let Flow { call, producer, consumer, sent, plan, taken, .. } = flow;
                eprintln!("stream {at} of call {call}: {producer:?} {sent}/{plan}, {consumer:?} {taken}");
            }
        }
        panic!("somebody waits for ever");
    }
}

impl Flow {
    fn is_consumed(&self) -> bool {
        matches!(self.consumer, Actor::Ready | Actor::Waiting)
    }
}

impl Actor {
    fn wake(&mut self) {
        if *self == Actor::Waiting {
            *self = Actor::Ready;
        }
    }
}
