//! Calls are cancelled, either way, and not too often before they have run for a while.

use std::time::{Duration, Instant};

use super::super::calls::Place;
use super::super::cancels::{Cancels, HARDLY_BEGUN};
use super::super::rate::{Limit, Rate};
use super::super::streams::Caller;
use super::super::transfers::Owner;
use super::{Connection, Effects, PeerLimits, Violation};
use crate::Executed;
use crate::broken::{self, Flaw};
use crate::failure::Failure;
use crate::message::{Reason, encode_cancel};

impl<C: Clone, W, H> Connection<C, W, H> {
    // ---- calls made here ----

    /// Cancels a call of this side: now, or when the other side takes that. Until then the call keeps its place,
    /// since it runs.
    pub(super) fn cancel(&mut self, call: u64, place: Place, now: Instant) {
        if self.has_begun_to_answer(Caller::Here, call) {
            return self.push_message(|out| encode_cancel(out, call));
        }
        let PeerLimits { cancels, pings_per_second, .. } = self.peer;
        let pause = Duration::from_secs(1) / pings_per_second;
        let cancels = self.cancels.get_or_insert_with(|| Box::new(Cancels::new(cancels, pause, now)));
        if broken::has(Flaw::CancelsAtWill) || cancels.cancel(call, place, now) {
            self.push_message(|out| encode_cancel(out, call));
        } else if place == Place::Call {
            self.calls.keep_place();
        }
        self.look_at_cancels(now);
    }

    /// A call that nobody waits for is answered: if its cancel was held, it is not needed any more, or can go.
    pub(super) fn answered_meanwhile(&mut self, call: u64, is_final: bool) {
        if self.forget_cancel(call) && !is_final {
            self.push_message(|out| encode_cancel(out, call));
        }
    }

    /// A call is over by itself. Says whether its cancel was held.
    pub(super) fn forget_cancel(&mut self, call: u64) -> bool {
        let place = self.cancels.as_mut().and_then(|cancels| cancels.forget(call));
        if let Some(Place::Call) = place {
            self.calls.leave_place();
        }
        place.is_some()
    }

    /// No call needs to be cancelled any more.
    pub(super) fn forget_cancels(&mut self) {
        self.asks = false;
        if let Some(cancels) = self.cancels.take() {
            cancels.held().filter(|place| *place == Place::Call).for_each(|_| self.calls.leave_place());
        }
    }

    /// When [`handle_cancels_due`](Self::handle_cancels_due) has something to do.
    pub(crate) fn cancels_due(&self) -> Option<Instant> {
        self.cancels.as_ref()?.due(self.may_ask())
    }

    /// Sends what was held, and asks for what is.
    pub(super) fn handle_cancels_due(&mut self, now: Instant) {
        let Some(cancels) = &mut self.cancels else { return };
        for (call, place) in cancels.take_begun(now) {
            if place == Place::Call {
                self.calls.leave_place();
            }
            self.push_message(|out| encode_cancel(out, call));
        }
        self.look_at_cancels(now);
        if self.asks {
            self.ask_about_cancels();
        }
    }

    /// If it is to be asked how far the other side has read, that goes behind all that goes out next: calls are often
    /// dropped many at a time.
    fn look_at_cancels(&mut self, now: Instant) {
        let may_ask = self.may_ask();
        self.asks |= self.cancels.as_ref().is_some_and(|cancels| may_ask && cancels.asks(now));
    }

    fn may_ask(&self) -> bool {
        !self.asks && !self.alive.is_asking()
    }

    /// Asks how far the other side has read.
    #[cold]
    pub(super) fn ask_about_cancels(&mut self) {
        self.asks = false;
        // A sign of life may have been asked for meanwhile, whose pong comes before long.
        if self.cancels.is_some() && !self.alive.is_asking() {
            let token = self.push_ping();
            if let Some(cancels) = &mut self.cancels {
                cancels.ask(token);
            }
        }
    }

    // ---- calls made there ----

    /// The other side does not wait for a call of its own any more.
    pub(super) fn handle_cancel(
        &mut self,
        id: u64,
        now: Instant,
        effects: &mut Effects<C, W, H>,
    ) -> Result<(), Violation> {
        match self.served.cancel(id, now) {
            Some((handle, age)) => {
                let counts = age < HARDLY_BEGUN && !self.has_begun_to_answer(Caller::There, id);
                self.stop_streams(id, Failure::Rpc(super::serving::cancelled(Executed::Maybe)), effects);
                effects.stop.push(handle);
                if counts {
                    self.count_cancel(now)?;
                }
            }
            None if self.give_up(|owner| owner == Owner::Reply(id)) => {}
            None => {
                self.ignored += 1;
                effects.cancelled.push(id);
            }
        }
        Ok(())
    }

    /// A handler was stopped that had hardly begun.
    fn count_cancel(&mut self, now: Instant) -> Result<(), Violation> {
        let limit = Limit { at_once: self.limits.cancels(), per_second: self.limits.cancels_per_second() };
        let cancelled = self.cancelled.get_or_insert_with(|| Box::new(Rate::new(now)));
        if cancelled.take(limit, now) {
            return Ok(());
        }
        let Limit { at_once, per_second } = limit;
        let message = format!(
            "more than {at_once} calls, or {per_second} a second, were cancelled within {HARDLY_BEGUN:?} of their beginning"
        );
        Err(Violation::new(Reason::Calm, message))
    }

    /// Whether the reply to a call is a stream, and is there. Then the call was not for nothing: who opens a stream, takes
    /// its first items and leaves is no flood, however often that happens one after the other.
    fn has_begun_to_answer(&mut self, caller: Caller, call: u64) -> bool {
        self.streams.get(caller, call).is_some_and(|streams| streams.has_replied())
    }
}
