//! Streams that come to this side: kept until they are consumed, and given credit as they are.

use super::super::Violation;
use super::super::chunks::{Chunk, Chunks};
use super::{Caller, Flow, Received, Shown, StreamKey, Streams, call_over, not_open};
use crate::broken::{self, Flaw};
use crate::failure::Ending;
use crate::marshal::Payload;
use crate::message::{Items, Reason};

/// How much all streams of a connection together may grow beyond what each begins with.
const GROWTH_BYTES: usize = 16 * 1024 * 1024;

/// What there is for somebody who would consume.
#[derive(Debug)]
pub(crate) enum Taken {
    Items(Chunk),
    End(Ending),
    Wait,
}

/// A stream that comes to this side.
#[derive(Debug)]
pub(super) struct Inflow<W> {
    pub(super) chunks: Chunks,
    /// How many bytes may still come; below zero after a message that went beyond.
    pub(super) allowed: i64,
    pub(super) window: usize,
    /// How many bytes were consumed for which no credit was given yet.
    pub(super) consumed: usize,
    /// The other side has more and no credit, as far as is known.
    pub(super) blocked: bool,
    pub(super) ending: Option<Ending>,
    /// The other side has ended it; else its ending was made here, and what still comes finds nobody.
    pub(super) ended_there: bool,
    pub(super) waiter: Option<W>,
}

impl<W> Streams<W> {
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
        inflow.consumed += if broken::has(Flaw::KeepsCredit) { consumed / 2 } else { consumed };
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
}

impl<W> Inflow<W> {
    pub(super) fn new(window: usize) -> Self {
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
