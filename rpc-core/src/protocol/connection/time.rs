//! What is due, and when.

use std::time::Instant;

use super::super::calls::{Place, deadline_exceeded};
use super::super::served::CallKey;
use super::super::streams::Caller;
use super::{Connection, Effects, Violation, Way};
use crate::Executed;
use crate::broken::{self, Flaw};
use crate::failure::Failure;
use crate::message::{Reason, encode_ping};

impl<C: Clone, W, H> Connection<C, W, H> {
    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let notice = self.notice.filter(|_| !self.peer_leaving || self.retired);
        let stall = [self.owes_frame, self.owes_fragment, self.owes_reading].into_iter().flatten().min();
        let stall = stall.map(|since| since + self.limits.stall_timeout());
        let alive = self.is_open().then(|| match self.alive.asked {
            Some(asked) => asked + self.limits.keepalive_timeout(),
            None => self.alive.heard + self.limits.keepalive_interval(),
        });
        let streams = self.streams.earliest_deadline();
        let cancels = self.cancels_due();
        [
            self.calls.earliest_deadline(),
            self.served.earliest_deadline(),
            streams,
            notice,
            stall,
            alive,
            cancels,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    ///
    /// # Errors
    /// What ends the connection.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        effects: &mut Effects<C, W, H>,
    ) -> Result<(), Violation> {
        self.handle_cancels_due(now);
        self.expire_calls(now, effects);
        self.expire_served(now, effects);
        // Whoever looks after the end of the connection was woken for it, which is all that was wanted.
        if self.notice.is_some_and(|notice| now >= notice) {
            self.notice = self.last_moment().filter(|last| now < *last);
        }
        let limit = self.limits.stall_timeout();
        let overdue = |since: Option<Instant>| since.is_some_and(|since| now >= since + limit);
        if overdue(self.owes_reading) {
            return Err(Violation::new(Reason::Stall, format_args!("nothing was read for {limit:?}")));
        }
        if overdue(self.owes_frame) {
            return Err(Violation::new(
                Reason::Stall,
                format_args!("a frame was not finished within {limit:?}"),
            ));
        }
        if overdue(self.owes_fragment) {
            return Err(Violation::new(
                Reason::Stall,
                format_args!("a message that comes in fragments did not go on within {limit:?}"),
            ));
        }
        if !self.is_open() {
            return Ok(());
        }
        match self.alive.asked {
            Some(asked) if now >= asked + self.limits.keepalive_timeout() => {
                let timeout = self.limits.keepalive_timeout();
                Err(Violation::new(Reason::Stall, format_args!("no sign of life within {timeout:?}")))
            }
            None if now >= self.alive.heard + self.limits.keepalive_interval() => {
                if self.peer_ended || broken::has(Flaw::ToleratesSilence) {
                    // It can give no sign of life; but if it is gone, the transport learns so from what is sent to it.
                    self.alive.heard = now;
                } else {
                    self.alive.asked = Some(now);
                }
                // Where nothing has come for so long, nothing is expected soon.
                self.shrink(now);
                // One that is on its way to be answered asks as well.
                if self.peer_ended || !self.alive.is_asking() {
                    self.push_ping();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn expire_calls(&mut self, now: Instant, effects: &mut Effects<C, W, H>) {
        let mut left = Vec::new();
        self.calls.expire(now, self.handed_over, &mut effects.ended, |id, at| left.push((id, at)));
        for (id, at) in left {
            if self.streams.has(Caller::Here, id.number()) {
                self.leave_call(id.number(), now, effects);
            } else {
                self.leave(id, at, now);
            }
        }
        for call in self.streams.expired(now) {
            let failure = Failure::Rpc(deadline_exceeded(Executed::Maybe));
            self.streams.end_reply(call, failure, |waiter| effects.wake.push(waiter));
            self.cancel(call, Place::Stream, now);
        }
        self.grant(effects);
    }

    fn expire_served(&mut self, now: Instant, effects: &mut Effects<C, W, H>) {
        let mut expired = Vec::new();
        self.served.expire(now, |key, handle| {
            expired.push(key);
            effects.stop.push(handle);
        });
        for key in expired {
            let failure = Failure::Rpc(deadline_exceeded(Executed::Maybe));
            match key {
                CallKey::Call(id) => self.push_failure(id, None, &failure),
                CallKey::Stream(id) => self.stop_streams(id, failure, effects),
                CallKey::OneWay(_) => {}
            }
        }
    }

    /// Bytes have come; a frame is unfinished or not.
    pub(crate) fn received(&mut self, now: Instant, partial: bool) {
        self.alive.heard = now;
        self.alive.asked = None;
        self.owes_frame = partial.then_some(now);
    }

    /// Since when the message in fragments that has waited longest for its next one waits, if there is one.
    pub(crate) fn awaits_fragment(&mut self, since: Option<Instant>) {
        self.owes_fragment = since;
    }

    /// This side does not read for the moment, so that what the other side may have said is not held against it.
    pub(crate) fn not_reading(&mut self, now: Instant) {
        self.alive.heard = now;
        self.alive.asked = None;
        self.owes_frame = self.owes_frame.and(Some(now));
        self.owes_fragment = self.owes_fragment.and(Some(now));
    }

    /// Since when the other side has taken nothing of what waits for it.
    pub(crate) fn unread_since(&self) -> Option<Instant> {
        self.owes_reading
    }

    /// Asks for a pong, by which it is known that the other side is there, and how far it has read.
    pub(super) fn push_ping(&mut self) -> u64 {
        self.alive.pings += 1;
        self.alive.ping = Way::Waits;
        let token = self.alive.pings;
        self.push_message(|out| encode_ping(out, token));
        token
    }

    /// The transport took all bytes there were, `now`.
    pub(crate) fn sent(&mut self, now: impl FnOnce() -> Instant) {
        if self.owes_reading.take().is_some() {
            self.alive.ping_is_behind(now());
        }
        if self.alive.ping == Way::Goes {
            self.alive.ping = Way::Gone;
        }
    }

    /// The transport left bytes, and took some before them or none.
    pub(crate) fn blocked(&mut self, now: Instant, progress: bool) {
        if progress || self.owes_reading.is_none() {
            self.owes_reading = Some(now);
        }
        if progress {
            self.alive.ping_is_behind(now);
        }
    }
}
