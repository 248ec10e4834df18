//! The streams of a connection's calls, and their credit.
//!
//! ```text
//!   made here     the reply's stream flows in      arguments flow out
//!   made there    the reply's stream flows out     arguments flow in
//! ```
//!
//! A stream that flows out has credit: how many bytes of items may still be sent. One that flows in holds what has
//! come and was not taken, and gives credit back as that is consumed. A call with streams is here from its open
//! until its final message; what belongs to it is forgotten with it.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::Violation;
use super::chunks::{Chunk, Chunks};
use crate::limits::Limits;
use crate::marshal::Payload;
use crate::message::{Items, REPLY_STREAM, Reason, StreamName};
use crate::service::{Ending, Failure};
use crate::{Code, Error, Executed};

/// How much all streams of a connection together may grow beyond what each begins with.
const GROWTH_BYTES: usize = 16 * 1024 * 1024;

/// More credit than this is nobody's honest arithmetic.
const MOST_CREDIT: i64 = 1 << 62;

/// Which side made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Here,
    There,
}

/// A stream of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamKey {
    pub(crate) caller: Caller,
    pub(crate) name: StreamName,
}

impl StreamKey {
    /// The stream that is the reply to a call.
    pub(crate) fn reply(caller: Caller, call: u64) -> Self {
        StreamKey { caller, name: StreamName { call, stream: REPLY_STREAM } }
    }

    /// The stream that is an argument of a call; the first has number 1.
    pub(crate) fn argument(caller: Caller, call: u64, stream: u8) -> Self {
        StreamKey { caller, name: StreamName { call, stream } }
    }

    /// The stream of this name that the other side sends.
    pub(crate) fn incoming(name: StreamName) -> Self {
        let caller = if name.stream == REPLY_STREAM { Caller::Here } else { Caller::There };
        StreamKey { caller, name }
    }

    /// The stream of this name that the other side consumes.
    pub(crate) fn outgoing(name: StreamName) -> Self {
        let caller = if name.stream == REPLY_STREAM { Caller::There } else { Caller::Here };
        StreamKey { caller, name }
    }
}

/// All calls with streams; `W` is who waits for something to happen to one.
#[derive(Debug)]
pub(crate) struct Streams<W> {
    here: HashMap<u64, CallStreams<W>>,
    there: HashMap<u64, CallStreams<W>>,
    /// What each stream that flows in begins with, and may grow to.
    window: usize,
    max_window: usize,
    /// How much the streams that flow in have grown, all together.
    grown: usize,
    /// Streams that would send but for the bytes that wait to go out, in order.
    crowded: VecDeque<StreamKey>,
    /// No deadline of a call made here is earlier than this.
    earliest: Option<Instant>,
    /// The other side will say nothing more: no credit comes.
    no_more_credit: bool,
}

/// The streams of one call.
#[derive(Debug)]
pub(crate) struct CallStreams<W> {
    reply: Flow<W>,
    arguments: Vec<Flow<W>>,
    /// Of a call made here.
    deadline: Option<Instant>,
    /// Its caller has gone: only the final message is still to come.
    pub(crate) cancelled: bool,
    /// Of a call made there: why it was stopped, which its final message says.
    pub(crate) stopped: Option<Failure>,
}

#[derive(Debug)]
enum Flow<W> {
    /// The reply that has not come, or not been given.
    Unopened,
    In(Inflow<W>),
    Out(Outflow<W>),
    /// It has ended, or nobody here has to do with it any more.
    Over,
}

/// A stream that comes to this side.
#[derive(Debug)]
struct Inflow<W> {
    chunks: Chunks,
    /// How many bytes may still come; below zero after a message that went beyond.
    allowed: i64,
    window: usize,
    /// How many bytes were consumed for which no credit was given yet.
    consumed: usize,
    /// The other side has more and no credit, as far as is known.
    blocked: bool,
    ending: Option<Ending>,
    /// The other side has ended it; else its ending was made here, and what still comes finds nobody.
    ended_there: bool,
    waiter: Option<W>,
}

/// A stream that goes to the other side.
#[derive(Debug)]
struct Outflow<W> {
    credit: i64,
    /// The other side knows that it is waited for.
    said_blocked: bool,
    /// It is in the queue of those who wait for room.
    crowded: bool,
    /// Its last message is large and still on its way out: nothing may overtake it.
    held: bool,
    /// The other side wants no more of it, and still hears of its end.
    unwanted: bool,
    waiter: Option<W>,
}

/// What there is to say to somebody who would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It may.
    Given,
    /// Not now; it is woken.
    Wait,
    /// Not now for want of credit, which the other side is to be told.
    Blocked,
    /// Never again: nobody wants it.
    Over,
}

/// What there is for somebody who would consume.
#[derive(Debug)]
pub(crate) enum Taken {
    Items(Chunk),
    End(Ending),
    Wait,
}

impl<W> Streams<W> {
    pub(crate) fn new(limits: &Limits) -> Self {
        Streams {
            here: HashMap::new(),
            there: HashMap::new(),
            window: limits.stream_bytes(),
            max_window: limits.max_stream_bytes().max(limits.stream_bytes()),
            grown: 0,
            crowded: VecDeque::new(),
            earliest: None,
            no_more_credit: false,
        }
    }

    /// How many calls with streams the other side has open here.
    pub(crate) fn open_there(&self) -> usize {
        self.there.len()
    }

    pub(crate) fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// How many arguments of a call are streams.
    pub(crate) fn arguments(&mut self, caller: Caller, call: u64) -> u8 {
        // There are 16 at most.
        self.get(caller, call).map_or(0, |streams| streams.arguments.len() as u8)
    }

    // ---- calls ----

    /// A call was made here, with so many streams among its arguments, each with this credit.
    pub(crate) fn open_here(&mut self, call: u64, arguments: u8, credit: usize, deadline: Option<Instant>) {
        let flow = || Flow::Out(Outflow::new(credit));
        self.here.insert(call, CallStreams::new((0..arguments).map(|_| flow()).collect(), deadline));
    }

    /// A call was made there.
    pub(crate) fn open_from_there(&mut self, call: u64, arguments: u8) {
        let flow = || Flow::In(Inflow::new(self.window));
        self.there.insert(call, CallStreams::new((0..arguments).map(|_| flow()).collect(), None));
    }

    pub(crate) fn has(&self, caller: Caller, call: u64) -> bool {
        match caller {
            Caller::Here => self.here.contains_key(&call),
            Caller::There => self.there.contains_key(&call),
        }
    }

    pub(crate) fn get(&mut self, caller: Caller, call: u64) -> Option<&mut CallStreams<W>> {
        self.calls(caller).get_mut(&call)
    }

    /// The reply to a call made here is a stream. False if it was not open for that.
    pub(crate) fn reply_flows_in(&mut self, call: u64) -> bool {
        let window = self.window;
        let Some(streams) = self.here.get_mut(&call) else { return false };
        if !matches!(streams.reply, Flow::Unopened) {
            return false;
        }
        // Whoever has cancelled wants nothing of it, and still hears of its end.
        streams.reply = if streams.cancelled { Flow::Over } else { Flow::In(Inflow::new(window)) };
        if let Some(deadline) = streams.deadline {
            self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        }
        true
    }

    /// The reply to a call made there is a stream. False if nobody wants it.
    pub(crate) fn reply_flows_out(&mut self, call: u64, credit: usize) -> bool {
        match self.there.get_mut(&call) {
            Some(streams) if matches!(streams.reply, Flow::Unopened) && streams.stopped.is_none() => {
                streams.reply = Flow::Out(Outflow::new(credit));
                true
            }
            _ => false,
        }
    }

    /// The final message of a call was sent or has come: all that is left of it ends.
    pub(crate) fn close(
        &mut self,
        caller: Caller,
        call: u64,
        woken: impl FnMut(W),
    ) -> Option<CallStreams<W>> {
        let mut streams = self.calls(caller).remove(&call)?;
        streams.leave_all(&mut self.grown, self.window, woken);
        Some(streams)
    }

    /// Nobody here wants anything of a call any more; its final message is still to come.
    pub(crate) fn cancel(&mut self, call: u64, woken: impl FnMut(W)) -> bool {
        let (grown, window) = (&mut self.grown, self.window);
        let Some(streams) = self.here.get_mut(&call).filter(|streams| !streams.cancelled) else {
            return false;
        };
        streams.cancelled = true;
        streams.leave_all(grown, window, woken);
        true
    }

    /// A call made there is stopped: its streams end here and now, and its final message says why. One whose handler
    /// runs on would wait for ever for items and credit that do not come any more.
    pub(crate) fn stop(&mut self, call: u64, failure: Failure, mut woken: impl FnMut(W)) {
        let Some(streams) = self.there.get_mut(&call).filter(|streams| streams.stopped.is_none()) else {
            return;
        };
        for flow in streams.flows() {
            let waiter = match flow {
                Flow::In(inflow) => {
                    inflow.ending.get_or_insert_with(|| Err(failure.clone()));
                    inflow.waiter.take()
                }
                Flow::Out(outflow) => {
                    outflow.unwanted = true;
                    outflow.waiter.take()
                }
                Flow::Unopened | Flow::Over => None,
            };
            waiter.into_iter().for_each(&mut woken);
        }
        streams.stopped = Some(failure);
    }

    /// Gives each call made here whose reply flows in and whose deadline has passed.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<u64> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        self.earliest = None;
        let mut expired = Vec::new();
        for (call, streams) in &mut self.here {
            let flows_in = matches!(&streams.reply, Flow::In(inflow) if inflow.ending.is_none());
            let Some(deadline) = streams.deadline.filter(|_| flows_in) else { continue };
            if deadline > now {
                self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
            } else {
                expired.push(*call);
            }
        }
        expired
    }

    /// Ends the reply of a call made here before its time; its final message is still to come, and finds nobody.
    pub(crate) fn end_reply(&mut self, call: u64, failure: Failure, mut woken: impl FnMut(W)) {
        let Some(streams) = self.here.get_mut(&call) else { return };
        streams.cancelled = true;
        if let Flow::In(inflow) = &mut streams.reply {
            inflow.ending = Some(Err(failure));
            inflow.waiter.take().into_iter().for_each(&mut woken);
        }
        streams.leave_arguments(woken);
    }

    /// The calls made here that the other side says it has not taken; those that it has answered it has.
    pub(crate) fn untaken(&self, last_id: u64) -> Vec<u64> {
        let untaken = |(call, streams): &(&u64, &CallStreams<W>)| **call > last_id && !streams.has_replied();
        self.here.iter().filter(untaken).map(|(call, _)| *call).collect()
    }

    /// Nothing comes any more: what flows in ends with this. What flows out goes on as far as its credit goes, or is
    /// over at once if nothing `goes` any more either.
    pub(crate) fn cut_off(&mut self, failure: &Failure, goes: bool, mut woken: impl FnMut(W)) {
        self.no_more_credit = true;
        for streams in self.here.values_mut().chain(self.there.values_mut()) {
            for flow in streams.flows() {
                match flow {
                    Flow::In(inflow) => {
                        inflow.ending.get_or_insert_with(|| Err(failure.clone()));
                        inflow.ended_there = true;
                        inflow.waiter.take().into_iter().for_each(&mut woken);
                    }
                    Flow::Out(outflow) => {
                        outflow.waiter.take().into_iter().for_each(&mut woken);
                        if !goes {
                            *flow = Flow::Over;
                        }
                    }
                    Flow::Unopened | Flow::Over => {}
                }
            }
        }
        // What has come may still be taken; nobody waits for final messages.
        self.here.retain(|_, streams| matches!(streams.reply, Flow::In(_)));
        self.here.values_mut().flat_map(|streams| &mut streams.arguments).for_each(|flow| *flow = Flow::Over);
        self.earliest = None;
    }

    // ---- what flows in ----

    /// Takes items of the other side. `keep` makes them outlast their frame.
    pub(crate) fn receive(
        &mut self,
        key: StreamKey,
        items: &Items<'_>,
        keep: impl FnOnce(&[u8]) -> Payload,
    ) -> Result<Received<W>, Violation> {
        match self.flow(key) {
            Some(Flow::In(inflow)) if inflow.ending.is_none() => {
                if inflow.allowed <= 0 {
                    let message = format!("items for stream {} beyond its credit", Shown(key.name));
                    return Err(Violation::new(Reason::Calm, message));
                }
                inflow.allowed -= items.bytes.len() as i64;
                inflow.blocked = false;
                inflow.chunks.push(items, keep);
                Ok(Received::Taken(inflow.waiter.take()))
            }
            Some(Flow::In(inflow)) if !inflow.ended_there => Ok(Received::Ignored),
            Some(Flow::Over) => Ok(Received::Ignored),
            Some(_) => Err(not_open("items", key)),
            None => self.late("items", key),
        }
    }

    /// The other side has ended a stream. The end of a reply is the final message of its call.
    pub(crate) fn receive_end(
        &mut self,
        key: StreamKey,
        ending: Ending,
        woken: impl FnMut(W),
    ) -> Result<Received<W>, Violation> {
        let received = match self.flow(key) {
            Some(Flow::In(inflow)) if !inflow.ended_there => {
                inflow.ended_there = true;
                inflow.ending.get_or_insert(ending);
                Received::Taken(inflow.waiter.take())
            }
            Some(Flow::Over) => Received::Ignored,
            Some(_) => return Err(not_open("an end", key)),
            None => self.late("an end", key)?,
        };
        if key.caller == Caller::Here {
            self.finished(key.name.call, woken);
        }
        Ok(received)
    }

    /// The final message of a call made here has come, and its reply's stream is all that may still be taken.
    fn finished(&mut self, call: u64, mut woken: impl FnMut(W)) {
        let Some(streams) = self.here.get_mut(&call) else { return };
        streams.leave_arguments(&mut woken);
        // Nothing comes for them after the final message, whether or not all of the reply has been taken.
        streams.arguments.clear();
        if matches!(streams.reply, Flow::Over) {
            self.here.remove(&call);
        }
    }

    /// The other side has more and no credit. Gives credit if the window, and not the consumer, is what limits it.
    pub(crate) fn receive_blocked(&mut self, key: StreamKey) -> Option<u64> {
        match self.flow(key) {
            Some(Flow::In(inflow)) => inflow.blocked = true,
            _ => return None,
        }
        self.credit_due(key)
    }

    /// Takes the next items, when so many bytes of the ones before have been consumed, and says which credit that
    /// gives.
    pub(crate) fn take(
        &mut self,
        key: StreamKey,
        consumed: usize,
        waiter: impl FnOnce(&mut Option<W>),
    ) -> (Taken, Option<u64>) {
        let Some(Flow::In(inflow)) = self.flow(key) else {
            return (Taken::End(Err(call_over())), None);
        };
        inflow.consumed += consumed;
        let taken = match inflow.chunks.pop() {
            Some(chunk) => Taken::Items(chunk),
            None => match inflow.ending.take() {
                Some(ending) => {
                    // It has ended for good, whatever the end was.
                    inflow.ending = Some(Ok(()));
                    self.leave(key);
                    return (Taken::End(ending), None);
                }
                None => {
                    waiter(&mut inflow.waiter);
                    Taken::Wait
                }
            },
        };
        let credit = self.credit_due(key);
        (taken, credit)
    }

    /// Nobody here consumes a stream any more. False if it had ended or is not there.
    pub(crate) fn leave(&mut self, key: StreamKey) -> bool {
        let window = self.window;
        let Some(flow @ Flow::In(_)) = self.flow(key) else { return false };
        let Flow::In(inflow) = std::mem::replace(flow, Flow::Over) else {
            unreachable!("it was matched in the line before")
        };
        self.grown -= inflow.window - window;
        if inflow.ended_there && key.caller == Caller::Here {
            // Its final message has come, so there is nothing left of its call.
            self.here.remove(&key.name.call);
        }
        inflow.ending.is_none()
    }

    /// The credit that is due to a stream.
    fn credit_due(&mut self, key: StreamKey) -> Option<u64> {
        let (max_window, room) = (self.max_window, GROWTH_BYTES.saturating_sub(self.grown));
        let Some(Flow::In(inflow)) = self.flow(key) else { return None };
        if inflow.ending.is_some() {
            return None;
        }
        // All that has come is consumed, somebody waits, and there is more: the window is too small.
        let starved = inflow.blocked && inflow.waiter.is_some();
        let mut growth = 0;
        if starved {
            growth = inflow.window.min(max_window - inflow.window).min(room);
            inflow.window += growth;
            inflow.blocked = false;
        }
        if !starved && inflow.consumed < inflow.window.div_ceil(2) {
            return None;
        }
        let credit = std::mem::take(&mut inflow.consumed) + growth;
        inflow.allowed += credit as i64;
        self.grown += growth;
        (credit > 0).then_some(credit as u64)
    }

    // ---- what flows out ----

    /// Whether somebody may send items now; if so, so many bytes of them are taken from the credit.
    pub(crate) fn ask(
        &mut self,
        key: StreamKey,
        bytes: usize,
        crowd: bool,
        waiter: impl FnOnce(&mut Option<W>),
    ) -> Leave {
        let no_more_credit = self.no_more_credit;
        let Some(Flow::Out(outflow)) = self.flow(key) else { return Leave::Over };
        if outflow.unwanted {
            return Leave::Over;
        }
        if outflow.held || (crowd && outflow.credit > 0) {
            waiter(&mut outflow.waiter);
            if !outflow.held && !std::mem::replace(&mut outflow.crowded, true) {
                self.crowded.push_back(key);
            }
            return Leave::Wait;
        }
        if outflow.credit <= 0 && no_more_credit {
            self.cut_short(key);
            return Leave::Over;
        }
        if outflow.credit <= 0 {
            waiter(&mut outflow.waiter);
            return if std::mem::replace(&mut outflow.said_blocked, true) {
                Leave::Wait
            } else {
                Leave::Blocked
            };
        }
        outflow.credit -= bytes as i64;
        outflow.said_blocked = false;
        Leave::Given
    }

    /// There is more of a stream than the other side will ever take: its end is not to look like that of a whole one.
    fn cut_short(&mut self, key: StreamKey) {
        if let Some(streams) = self.there.get_mut(&key.name.call).filter(|_| key.caller == Caller::There) {
            let error = Error::new(Code::Unavailable, "the other side can give no more credit");
            streams.stopped.get_or_insert(Failure::Rpc(error.with_executed(Executed::Maybe)));
        }
    }

    /// Whether nobody wants a stream any more; stores who is to learn of it if somebody still does.
    pub(crate) fn is_over(&mut self, key: StreamKey, waiter: impl FnOnce(&mut Option<W>)) -> bool {
        match self.flow(key) {
            Some(Flow::Out(outflow)) if !outflow.unwanted => {
                waiter(&mut outflow.waiter);
                false
            }
            _ => true,
        }
    }

    /// A stream's message waits among the large ones, or has gone out completely.
    pub(crate) fn hold(&mut self, key: StreamKey, held: bool) -> Option<W> {
        match self.flow(key) {
            Some(Flow::Out(outflow)) => {
                outflow.held = held;
                if held { None } else { outflow.waiter.take() }
            }
            _ => None,
        }
    }

    /// A stream was ended here. False if it was over already.
    pub(crate) fn finish(&mut self, key: StreamKey) -> bool {
        match self.flow(key) {
            Some(flow @ Flow::Out(_)) => {
                *flow = Flow::Over;
                true
            }
            _ => false,
        }
    }

    /// The other side gives credit, or (none) wants no more. Says who is to be woken.
    pub(crate) fn receive_credit(
        &mut self,
        key: StreamKey,
        bytes: Option<u64>,
    ) -> Result<Received<W>, Violation> {
        let shown = Shown(key.name);
        match (self.flow(key), bytes) {
            (Some(Flow::Out(outflow)), _) if outflow.unwanted => Ok(Received::Ignored),
            (Some(Flow::Out(outflow)), Some(bytes)) => {
                let sum = i64::try_from(bytes).ok().and_then(|bytes| outflow.credit.checked_add(bytes));
                match sum.filter(|sum| *sum <= MOST_CREDIT) {
                    Some(sum) => outflow.credit = sum,
                    None => {
                        let message = format!("{bytes} bytes of credit overflow that of stream {shown}");
                        return Err(Violation::new(Reason::Protocol, message));
                    }
                }
                Ok(Received::Taken(outflow.waiter.take()))
            }
            (Some(Flow::Out(outflow)), None) => {
                outflow.unwanted = true;
                Ok(Received::Taken(outflow.waiter.take()))
            }
            (Some(Flow::Over), _) => Ok(Received::Ignored),
            (Some(_), _) => Err(not_open("credit", key)),
            (None, _) => self.late("credit", key),
        }
    }

    /// A message about a stream that is not there. A call of the other side may have ended here with messages on
    /// their way; one that is open has the streams that it has.
    fn late(&self, what: &str, key: StreamKey) -> Result<Received<W>, Violation> {
        if key.caller == Caller::There && !self.has(Caller::There, key.name.call) {
            return Ok(Received::Ignored);
        }
        Err(not_open(what, key))
    }

    /// There is room again for so many bytes: those who have waited longest for it are to be woken.
    pub(crate) fn make_room(&mut self, mut bytes: usize, each: usize, mut woken: impl FnMut(W)) {
        while bytes >= each {
            let Some(key) = self.crowded.pop_front() else { return };
            if let Some(Flow::Out(outflow)) = self.flow(key) {
                outflow.crowded = false;
                outflow.waiter.take().into_iter().for_each(&mut woken);
                bytes -= each;
            }
        }
    }

    /// How many calls made here and there are open, and how much their streams have grown.
    #[cfg(test)]
    pub(super) fn rest(&self) -> (usize, usize, usize) {
        (self.here.len(), self.there.len(), self.grown)
    }

    fn calls(&mut self, caller: Caller) -> &mut HashMap<u64, CallStreams<W>> {
        match caller {
            Caller::Here => &mut self.here,
            Caller::There => &mut self.there,
        }
    }

    fn flow(&mut self, key: StreamKey) -> Option<&mut Flow<W>> {
        self.calls(key.caller).get_mut(&key.name.call)?.flow(key.name.stream)
    }
}

impl<W> CallStreams<W> {
    fn new(arguments: Vec<Flow<W>>, deadline: Option<Instant>) -> Self {
        CallStreams { reply: Flow::Unopened, arguments, deadline, cancelled: false, stopped: None }
    }

    /// Whether the reply has been given, as a stream.
    pub(crate) fn has_replied(&self) -> bool {
        !matches!(self.reply, Flow::Unopened)
    }

    fn flow(&mut self, stream: u8) -> Option<&mut Flow<W>> {
        match stream {
            REPLY_STREAM => Some(&mut self.reply),
            argument => self.arguments.get_mut(usize::from(argument) - 1),
        }
    }

    fn flows(&mut self) -> impl Iterator<Item = &mut Flow<W>> {
        std::iter::once(&mut self.reply).chain(&mut self.arguments)
    }

    /// The arguments of a call made here are wanted no more.
    fn leave_arguments(&mut self, mut woken: impl FnMut(W)) {
        for flow in &mut self.arguments {
            if let Flow::Out(outflow) = std::mem::replace(flow, Flow::Over) {
                outflow.waiter.into_iter().for_each(&mut woken);
            }
        }
    }

    fn leave_all(&mut self, grown: &mut usize, window: usize, mut woken: impl FnMut(W)) {
        // Whether the reply was a stream is still to be known.
        for flow in self.flows().filter(|flow| !matches!(flow, Flow::Unopened)) {
            let waiter = match std::mem::replace(flow, Flow::Over) {
                Flow::In(inflow) => {
                    *grown -= inflow.window - window;
                    inflow.waiter
                }
                Flow::Out(outflow) => outflow.waiter,
                Flow::Unopened | Flow::Over => None,
            };
            waiter.into_iter().for_each(&mut woken);
        }
    }
}

impl<W> Inflow<W> {
    fn new(window: usize) -> Self {
        Inflow {
            chunks: Chunks::new(window),
            allowed: window as i64,
            window,
            consumed: 0,
            blocked: false,
            ending: None,
            ended_there: false,
            waiter: None,
        }
    }
}

impl<W> Outflow<W> {
    fn new(credit: usize) -> Self {
        Outflow {
            credit: credit as i64,
            said_blocked: false,
            crowded: false,
            held: false,
            unwanted: false,
            waiter: None,
        }
    }
}

/// What became of a message about a stream.
#[derive(Debug)]
pub(crate) enum Received<W> {
    /// It was for somebody, who is to be woken if they wait.
    Taken(Option<W>),
    /// It was late.
    Ignored,
}

fn not_open(what: &str, key: StreamKey) -> Violation {
    Violation::new(Reason::Protocol, format_args!("{what} for stream {}, which is not open", Shown(key.name)))
}

/// What a handler is told that holds on to an argument longer than its call lasts.
pub(crate) fn call_over() -> Failure {
    let error = Error::new(Code::Cancelled, "the call that this stream is an argument of has ended");
    Failure::Rpc(error.with_executed(Executed::Maybe))
}

struct Shown(StreamName);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of call {}", self.0.stream, self.0.call)
    }
}
