//! How a connection ends: drained, told to go, lost.

use std::time::Instant;

use super::super::calls::{IN_FRAGMENTS, Outcome, Place, Stage};
use super::super::served::Counts;
use super::super::streams::Caller;
use super::{Connection, Effects, Phase, Violation};
use crate::broken::{self, Flaw};
use crate::failure::Failure;
use crate::limits::DRAIN_NOTICE;
use crate::{Code, Error, Executed};

impl<C: Clone, W, H> Connection<C, W, H> {
    /// Takes no more calls from the other side, once it has had the time to learn of it.
    pub(crate) fn start_drain(&mut self, now: Instant) {
        if self.draining.is_none() {
            self.draining = Some(now);
            self.notice = Some(now + DRAIN_NOTICE);
            if self.is_open() {
                self.push_drain();
            }
        }
    }

    /// Says that this side goes, and why.
    pub(super) fn push_drain(&mut self) {
        self.take_leave(self.farewell());
    }

    pub(super) fn farewell(&self) -> &'static str {
        if self.retired { "the client needs no more calls" } else { "the server shuts down" }
    }

    /// Nobody on this side will enter a call any more, calls back apart. If it `serves` the other side, it does
    /// what a server does that drains: takes what is on its way, and finishes what runs, within the same time.
    pub(crate) fn retire(&mut self, now: Instant, serves: bool) {
        self.retired = true;
        self.serves = serves;
        self.start_drain(now);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether either side has said that it goes.
    pub(crate) fn is_ending(&self) -> bool {
        self.peer_leaving || self.retired || self.draining.is_some()
    }

    /// Whether there is nothing left to do but to write what waits and close.
    pub(crate) fn is_finished(&self, now: Instant) -> bool {
        // What this side has open of its own is finished however long that takes: a stream outlives its client's handle.
        let mine_ended = self.calls.occupied() == 0 && self.calls.placed(Place::Stream) == 0;
        let served = self.served.admitted() != Counts::default() && !broken::has(Flaw::DrainsWithoutHandlers);
        let quiet = mine_ended && !served && self.transfers.is_empty();
        let noticed = |since: Instant| now >= since + DRAIN_NOTICE || self.retired && !self.serves;
        quiet && (self.peer_leaving || self.draining.is_some_and(noticed))
            || mine_ended && self.last_moment().is_some_and(|last| now >= last)
    }

    /// When what still runs here is stopped: on a server, whoever drains all of it sees to that.
    pub(super) fn last_moment(&self) -> Option<Instant> {
        self.draining.filter(|_| self.retired).map(|since| since + self.limits.drain_timeout())
    }

    /// Whether the other side has said that it goes: then the end of its bytes is no loss.
    pub(crate) fn peer_is_leaving(&self) -> bool {
        self.peer_leaving
    }

    /// The other side's bytes have ended, as it said they would: it is still answered, but answers no more itself.
    pub(crate) fn peer_ended(&mut self, effects: &mut Effects<C, W, H>) {
        self.peer_leaving = true;
        self.peer_ended = true;
        self.owes_frame = None;
        self.owes_fragment = None;
        self.alive.asked = None;
        self.forget_cancels();
        let error = Error::new(Code::Unavailable, "the other side closed the connection");
        self.end_calls(error.clone(), true, effects);
        self.cut_streams_off(&error, true, effects);
    }

    /// The other side broke the protocol: it is told why, and every call ends with the error that this gives.
    pub(crate) fn violated(&mut self, violation: &Violation, effects: &mut Effects<C, W, H>) -> Error {
        self.push_goaway(violation.reason, &violation.message);
        let error = Error::new(Code::Unavailable, format!("the connection was ended: {}", violation.message));
        self.end(error.clone(), true, effects);
        error
    }

    /// An attempt to connect has failed: calls that would not wait for the next one end with its error.
    pub(crate) fn attempt_failed(&mut self, error: &Error, effects: &mut Effects<C, W, H>) {
        self.phase = Phase::Connecting { failure: Some(error.clone()) };
        let judge = |stage| match stage {
            Stage::Waiting { patient: false } => Some(error.clone().into()),
            _ => None,
        };
        self.calls.end(judge, &mut effects.ended);
    }

    /// It is over: every call ends, each by how far it got, and every running one is stopped.
    pub(crate) fn close(&mut self, error: Error, effects: &mut Effects<C, W, H>) {
        self.end(error, false, effects);
    }

    /// Ends it; what lies here of small messages may still go out.
    fn end(&mut self, error: Error, goes: bool, effects: &mut Effects<C, W, H>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.phase = Phase::Closed;
        self.transfers.clear();
        self.forget_cancels();
        self.end_calls(error.clone(), goes, effects);
        self.cut_streams_off(&error, false, effects);
        self.served.cancel_all(|handle| effects.stop.push(handle));
    }

    /// Nothing comes any more on any stream; what goes out does so as far as its credit goes, if anything `goes`.
    pub(super) fn cut_streams_off(&mut self, error: &Error, goes: bool, effects: &mut Effects<C, W, H>) {
        let failure = Failure::Rpc(error.clone().with_executed(Executed::Maybe));
        self.streams.cut_off(&failure, goes, |waiter| effects.wake.push(waiter));
        self.calls.all_streams_ended();
    }

    /// Ends every call that this side has made, each by how far it got. Where what lies here still `goes` out, calls
    /// that may be made elsewhere do not go with it; one whose streams may have begun does, items and all.
    fn end_calls(&mut self, error: Error, goes: bool, effects: &mut Effects<C, W, H>) {
        let handed_over = self.handed_over;
        let lost = error.with_executed(Executed::Maybe);
        let streams = &mut self.streams;
        let mut stay = Vec::new();
        let judge = |stage| match stage {
            Stage::Sent { .. } if broken::has(Flaw::RepeatsCall) => Some(Outcome::moved()),
            Stage::Sent { at, .. } if at < handed_over => Some(lost.clone().into()),
            Stage::Sent { at, number } if goes && at != IN_FRAGMENTS => {
                if streams.arguments(Caller::Here, number) > 0 {
                    return Some(lost.clone().into());
                }
                stay.push(at);
                Some(Outcome::moved())
            }
            _ => Some(Outcome::moved()),
        };
        self.calls.end(judge, &mut effects.ended);
        if broken::has(Flaw::ForgetsCaller) {
            effects.ended.pop();
        }
        self.take_back(stay);
        self.give_up_calls(effects);
    }
}
