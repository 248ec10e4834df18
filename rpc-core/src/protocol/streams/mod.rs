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

mod flows_in;
mod flows_out;

use std::time::Instant;

use self::flows_in::Inflow;
pub(crate) use self::flows_in::Taken;
pub(crate) use self::flows_out::Leave;
use self::flows_out::Outflow;
use super::Violation;
use super::rare_map::RareMap;
use super::rare_queue::RareQueue;
use crate::broken::{self, Flaw};
use crate::failure::Failure;
use crate::limits::Limits;
use crate::message::{REPLY_STREAM, Reason, StreamName};
use crate::{Code, Error, Executed};

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
    here: RareMap<u64, CallStreams<W>>,
    there: RareMap<u64, CallStreams<W>>,
    /// What each stream that flows in begins with, and may grow to.
    window: usize,
    max_window: usize,
    /// How much the streams that flow in have grown, all together.
    grown: usize,
    /// Streams that would send but for the bytes that wait to go out, in order.
    crowded: RareQueue<StreamKey>,
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

impl<W> Streams<W> {
    pub(crate) fn new(limits: &Limits) -> Self {
        Streams {
            here: RareMap::default(),
            there: RareMap::default(),
            window: limits.stream_bytes(),
            max_window: limits.max_stream_bytes().max(limits.stream_bytes()),
            grown: 0,
            crowded: RareQueue::default(),
            earliest: None,
            no_more_credit: false,
        }
    }

    /// Gives up memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        self.here.shrink();
        self.there.shrink();
        self.crowded.shrink();
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

    #[inline]
    pub(crate) fn has(&self, caller: Caller, call: u64) -> bool {
        match caller {
            Caller::Here => self.here.contains_key(&call),
            Caller::There => self.there.contains_key(&call),
        }
    }

    #[inline]
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
    #[inline]
    pub(crate) fn close(
        &mut self,
        caller: Caller,
        call: u64,
        woken: impl FnMut(W),
    ) -> Option<CallStreams<W>> {
        let calls = self.calls(caller);
        if calls.is_empty() {
            // As most are: then the id need not be hashed.
            return None;
        }
        let mut streams = calls.remove(&call)?;
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
        // Its reply may have been stopped before, for a reason that stays the first.
        let Some(streams) = self.there.get_mut(&call) else { return };
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
        streams.stopped.get_or_insert(failure);
    }

    /// Gives each call made here whose reply flows in and whose deadline has passed.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<u64> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        self.earliest = None;
        let mut expired = Vec::new();
        if broken::has(Flaw::ForgetsStreamDeadline) {
            return expired;
        }
        for (call, streams) in self.here.iter_mut() {
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
                        if !broken::has(Flaw::ForgetsConsumer) {
                            inflow.waiter.take().into_iter().for_each(&mut woken);
                        }
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

    /// A message about a stream that is not there. A call of the other side may have ended here with messages on
    /// their way; one that is open has the streams that it has.
    fn late(&self, what: &str, key: StreamKey) -> Result<Received<W>, Violation> {
        if key.caller == Caller::There && !self.has(Caller::There, key.name.call) {
            return Ok(Received::Ignored);
        }
        Err(not_open(what, key))
    }

    /// How many calls made here and there are open, and how much their streams have grown.
    #[cfg(any(test, fuzzing))]
    pub(super) fn rest(&self) -> (usize, usize, usize) {
        (self.here.len(), self.there.len(), self.grown)
    }
    fn calls(&mut self, caller: Caller) -> &mut RareMap<u64, CallStreams<W>> {
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
