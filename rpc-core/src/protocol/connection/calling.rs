//! The calling side: calls are entered, looked after, and left.

use std::time::Instant;

use super::super::calls::{CallFailure, CallId, IN_FRAGMENTS, Place, deadline_exceeded};
use super::super::streams::{Caller, StreamKey};
use super::super::transfers::{Owner, Transfer};
use super::{Connection, Effects, Entry, HEAD_BYTES, NewCall, Phase};
use crate::message::{RequestHead, encode_request};
use crate::{Code, Error, Executed};

impl<C: Clone, W, H> Connection<C, W, H> {
    /// Enters a call: sends it, or lets it wait for a connection or a place.
    #[inline]
    pub(crate) fn enter(&mut self, call: &NewCall<'_>, now: Instant, waiter: impl FnOnce() -> C) -> Entry {
        if let Some(refusal) = self.refuse_entry(call, now) {
            return Entry::Ended(refusal);
        }
        let place = if call.streams.is_some() { Place::Stream } else { Place::Call };
        if self.is_open() && !self.calls.has_queue(place) && self.has_place(place) {
            if call.oneway {
                self.push_request(None, call, now);
                return Entry::Queued;
            }
            match self.calls.start(waiter(), call.deadline, self.begin_of(call), place) {
                Ok(id) => {
                    self.push_request(Some(id), call, now);
                    Entry::Entered(id)
                }
                Err(_exhausted) => self.used_up(call),
            }
        } else {
            match self.calls.wait(waiter(), call.deadline, call.patient, place) {
                Ok(id) => Entry::Waiting(id),
                Err(_exhausted) => self.used_up(call),
            }
        }
    }

    /// Sends a call that was granted its place; its id is a new one.
    pub(crate) fn resume(
        &mut self,
        id: CallId,
        call: &NewCall<'_>,
        now: Instant,
        waiter: impl FnOnce() -> C,
        effects: &mut Effects<C, W, H>,
    ) -> Entry {
        // Only now is it known how large a frame the other side takes.
        if let Some(refusal) = self.refuse_entry(call, now) {
            self.calls.abandon(id);
            self.grant(effects);
            return Entry::Ended(refusal);
        }
        if call.oneway {
            self.calls.abandon(id);
            self.push_request(None, call, now);
            self.grant(effects);
            return Entry::Queued;
        }
        match self.calls.start_granted(id, waiter(), self.begin_of(call)) {
            Ok(Some(id)) => {
                self.push_request(Some(id), call, now);
                Entry::Entered(id)
            }
            // It has ended in the moment between, and its outcome is where it waits.
            Ok(None) => Entry::Waiting(id),
            Err(_exhausted) => {
                self.calls.abandon(id);
                // Those behind it learn one after the other that they have to go elsewhere, too.
                self.grant(effects);
                self.used_up(call)
            }
        }
    }

    /// A caller has gone: its call is taken back if it still lies here, and cancelled if not.
    pub(crate) fn drop_call(&mut self, id: CallId, now: Instant, effects: &mut Effects<C, W, H>) {
        let sent = self.calls.abandon(id);
        if self.streams.get(Caller::Here, id.number()).is_some() {
            // Also if its reply has come: then nobody takes the stream in it.
            self.leave_call(id.number(), now, effects);
        } else if let (Some(at), true) = (sent, self.is_open()) {
            self.leave(id, at, now);
        }
        self.grant(effects);
    }

    /// Nobody waits any more for a call with streams that was sent.
    pub(super) fn leave_call(&mut self, call: u64, now: Instant, effects: &mut Effects<C, W, H>) {
        self.streams.leave(StreamKey::reply(Caller::Here, call));
        self.cancel_streams(call, now, effects);
    }

    /// Nobody waits any more for a call that was sent at some place in the stream of bytes.
    pub(super) fn leave(&mut self, id: CallId, at: u64, now: Instant) {
        if at == IN_FRAGMENTS {
            self.give_up(|owner| owner == Owner::Call(id.number()));
            return;
        }
        match at.checked_sub(self.handed_over) {
            Some(place) => self.outbox.take_back(place as usize),
            None => return self.cancel(id.number(), Place::Call, now),
        }
        self.took_back();
    }

    /// Calls at these places in the stream of bytes, which no transport has been given, are not to go.
    pub(super) fn take_back(&mut self, calls: Vec<u64>) {
        let places = calls.into_iter().map(|at| (at - self.handed_over) as usize);
        self.outbox.take_all_back(places.collect());
        self.took_back();
    }

    fn took_back(&mut self) {
        if self.outbox.is_empty() {
            // Places are counted anew, so that nothing of those taken back has to be kept.
            self.outbox.clear();
            self.handed_over = self.queued;
        }
    }

    /// A call cannot be entered: why.
    #[inline]
    fn refuse_entry(&self, call: &NewCall<'_>, now: Instant) -> Option<CallFailure> {
        if let Some(message) = call.metadata.and_then(|metadata| self.excess(metadata)) {
            return Some(CallFailure::Rpc(Error::not_executed(Code::ResourceExhausted, message)));
        }
        if call.deadline.is_some_and(|deadline| deadline <= now) {
            return Some(CallFailure::Rpc(deadline_exceeded(Executed::No)));
        }
        if !(if call.back { self.takes_calls_back() } else { self.takes_calls() }) {
            return Some(CallFailure::Moved);
        }
        match &self.phase {
            Phase::Connecting { failure: Some(failure) } if call.deadline.is_none() && !call.patient => {
                Some(CallFailure::Rpc(failure.clone()))
            }
            Phase::Open => {
                if call.streams.is_some() && !self.peer.has_streams {
                    let message = "the other side does not speak streams";
                    return Some(CallFailure::Rpc(Error::not_executed(Code::Unimplemented, message)));
                }
                let (size, largest) = (size(call), self.peer.sizes.largest());
                (size > largest).then(|| {
                    let message = format!(
                        "a request of {size} bytes, the other side takes messages of {largest} bytes at most"
                    );
                    CallFailure::Rpc(Error::not_executed(Code::ResourceExhausted, message))
                })
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn has_place(&self, place: Place) -> bool {
        let places = match place {
            Place::Call => self.peer.calls,
            Place::Stream => self.peer.streams,
        };
        self.calls.placed(place) < places && self.outbox.len() < self.limits.send_queue_bytes()
    }

    pub(super) fn grant(&mut self, effects: &mut Effects<C, W, H>) {
        for place in [Place::Call, Place::Stream] {
            while self.is_open() && self.calls.has_queue(place) && self.has_place(place) {
                effects.granted.extend(self.calls.grant(place));
            }
        }
    }

    /// There are no more ids: the calls that run are finished, new ones go elsewhere.
    fn used_up(&mut self, call: &NewCall<'_>) -> Entry {
        if call.back {
            // Too many calls back are no reason to end the connection, which is the other side's.
            let message = "there is no place for one more call on this connection";
            return Entry::Ended(CallFailure::Rpc(Error::not_executed(Code::ResourceExhausted, message)));
        }
        self.peer_leaving = true;
        Entry::Ended(CallFailure::Moved)
    }

    /// Where a call that is sent now begins in the stream of bytes.
    #[inline]
    fn begin_of(&self, call: &NewCall<'_>) -> u64 {
        if self.peer.sizes.is_large(size(call)) { IN_FRAGMENTS } else { self.queued }
    }

    #[inline]
    fn push_request(&mut self, id: Option<CallId>, call: &NewCall<'_>, now: Instant) {
        let head = RequestHead {
            id: id.map(CallId::number),
            method: call.method,
            timeout: call.deadline.map(|deadline| deadline.saturating_duration_since(now)),
            metadata: call.metadata,
            streams: call.streams,
        };
        let large = self.peer.sizes.is_large(size(call));
        if large {
            let owner = id.map_or(Owner::OneWay, |id| Owner::Call(id.number()));
            let transfer = Transfer::new(owner, |out| encode_request(out, &head), call.payload, &[]);
            self.transfers.push(transfer);
        } else {
            let before = self.outbox.len();
            self.unsent += 1;
            self.outbox.push(call.payload, |out| encode_request(out, &head));
            self.queued += (self.outbox.len() - before) as u64;
        }
        if let (Some(id), Some(arguments)) = (id, call.streams) {
            self.streams.open_here(id.number(), arguments, self.peer.stream_bytes, call.deadline);
            if large {
                self.hold_arguments(id.number(), arguments);
            }
        }
    }
}

/// How large a request is at most.
#[inline]
fn size(call: &NewCall<'_>) -> usize {
    HEAD_BYTES + call.method.len() + call.metadata.map_or(0, |m| 2 * m.bytes()) + call.payload.len()
}
