//! Streams that go to the other side: as far as its credit, and what waits to go out already, let them.

use super::super::Violation;
use super::{Caller, Flow, Received, Shown, StreamKey, Streams, not_open};
use crate::failure::Failure;
use crate::message::Reason;
use crate::{Code, Error, Executed};

/// More credit than this is nobody's honest arithmetic.
const MOST_CREDIT: i64 = 1 << 62;

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

/// A stream that goes to the other side.
#[derive(Debug)]
pub(super) struct Outflow<W> {
    pub(super) credit: i64,
    /// The other side knows that it is waited for.
    pub(super) said_blocked: bool,
    /// It is in the queue of those who wait for room.
    pub(super) crowded: bool,
    /// Its last message is large and still on its way out: nothing may overtake it.
    pub(super) held: bool,
    /// The other side wants, or can be sent, no more of it, and still hears of its end.
    pub(super) unwanted: bool,
    pub(super) waiter: Option<W>,
}

impl<W> Streams<W> {
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
            // For good, even if credit comes after all: these items would be missing in the middle.
            outflow.unwanted = true;
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
}

impl<W> Outflow<W> {
    pub(super) fn new(credit: usize) -> Self {
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
