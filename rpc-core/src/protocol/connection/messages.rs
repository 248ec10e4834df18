//! What the other side's messages do.

use std::time::{Duration, Instant};

use super::super::calls::{CallFailure, IN_FRAGMENTS, Outcome, Place, Stage, deadline_exceeded};
use super::super::rate::Limit;
use super::super::served::{CallKey, Counts};
use super::super::streams::Caller;
use super::{Admitted, Connection, Effects, Handled, Violation};
use crate::broken::{self, Flaw};
use crate::failure::Failure;
use crate::limits::DRAIN_NOTICE;
use crate::marshal::{Payload, is_stream_reply};
use crate::message::{self, GoAway, Message, Reason, Response, Verdict, encode_pong};
use crate::{Code, Error, Executed};

/// How much of a goaway's message is kept.
const GOAWAY_CHARACTERS: usize = 256;

impl<C: Clone, W, H> Connection<C, W, H> {
    /// Takes a message of the other side.
    ///
    /// # Errors
    /// What ends the connection.
    #[inline]
    pub(crate) fn handle<'f>(
        &mut self,
        frame: &'f [u8],
        now: Instant,
        reply: impl FnOnce(&[u8]) -> Payload,
        effects: &mut Effects<C, W, H>,
    ) -> Result<Handled<'f>, Violation> {
        if frame.len() > self.longest {
            let text = format!("a message of {} bytes, expected at most {}", frame.len(), self.longest);
            return Err(Violation::new(Reason::Frame, text));
        }
        let message = message::decode(frame, self.limits.metadata_bytes(), self.peer.has_streams)
            .map_err(|malformed| Violation::new(Reason::Protocol, malformed))?;
        match message {
            Message::Request(head, params) => return self.admit(head, params, now),
            Message::Response(response) => self.handle_response(response, reply, now, effects)?,
            Message::Cancel { id } => self.handle_cancel(id, now, effects)?,
            Message::Ping { token } => self.handle_ping(token, now)?,
            Message::Pong { token } => self.handle_pong(token, now),
            Message::GoAway(goaway) => self.handle_goaway(&goaway, effects),
            Message::Items(items) => self.handle_items(items, reply, effects)?,
            Message::End(end) => self.handle_end(end, reply, effects)?,
            Message::Credit(credit) => self.handle_credit(credit, effects)?,
            Message::Blocked(name) => self.handle_blocked(name),
            Message::Unknown => {}
        }
        Ok(Handled::Nothing)
    }

    #[inline]
    fn admit<'f>(
        &mut self,
        head: message::Request<'f>,
        params: &'f [u8],
        now: Instant,
    ) -> Result<Handled<'f>, Violation> {
        let live = |id: &u64| self.served.is_live(*id) || self.streams.has(Caller::There, *id);
        if let Some(id) = head.id.filter(live) {
            return Err(Violation::new(Reason::Protocol, format_args!("call id {id} is in use")));
        }
        self.highest_seen = self.highest_seen.max(head.id.unwrap_or_default());
        if let Some(refusal) = self.refuse_admission(&head, now) {
            if let Some(id) = head.id {
                self.push_failure(id, None, &Failure::Rpc(refusal));
            }
            return Ok(Handled::Nothing);
        }
        let deadline = head.timeout.map(|timeout| now + timeout.min(self.limits.max_deadline()));
        let key = self.served.admit(head.id, head.streams.is_some());
        if let (CallKey::Stream(call), Some(arguments)) = (key, head.streams) {
            self.streams.open_from_there(call, arguments);
        }
        let admitted =
            Admitted { key, deadline, metadata: head.metadata, streams: head.streams.unwrap_or_default() };
        Ok(Handled::Call { admitted, method: head.method, params })
    }

    #[inline]
    fn refuse_admission(&self, head: &message::Request<'_>, now: Instant) -> Option<Error> {
        let refuse = |code, message: String| Some(Error::not_executed(code, message));
        let noticed = |since: Instant| self.peer_leaving || now >= since + DRAIN_NOTICE;
        // While this side waits for a reply itself, that may depend on what the other side asks meanwhile.
        if self.draining.is_some_and(noticed) && !self.awaits_replies() {
            return refuse(Code::Unavailable, self.farewell().to_owned());
        }
        // A one-way call cannot be told that it is refused: beyond the limit no more is read instead.
        if head.streams.is_some() {
            let limit = self.limits.streams();
            if self.streams.open_there() + self.unread().streams >= limit {
                let message = format!("{limit} calls with streams are open on this connection, the limit");
                return refuse(Code::ResourceExhausted, message);
            }
        } else if head.id.is_some()
            && self.served.admitted().calls + self.unread().calls
                >= self.limits.calls() + usize::from(broken::has(Flaw::AdmitsOneMore))
        {
            let limit = self.limits.calls();
            return refuse(
                Code::ResourceExhausted,
                format!("{limit} calls run on this connection, the limit"),
            );
        }
        if let Some(message) = head.metadata.as_deref().and_then(|metadata| self.excess(metadata)) {
            return refuse(Code::ResourceExhausted, message);
        }
        if head.timeout == Some(Duration::ZERO) {
            return Some(deadline_exceeded(Executed::No));
        }
        None
    }

    /// Whether the other side works on something for this one.
    pub(crate) fn awaits_replies(&self) -> bool {
        self.calls.placed(Place::Call) + self.calls.placed(Place::Stream) > 0
    }

    /// How many calls of the other side count as running though they have been answered: while more waits to go out
    /// than should, an answer counts until it has left. So answers are bounded also where this side reads on. An
    /// honest caller notices nothing, for which a call runs until it has the answer.
    #[inline]
    fn unread(&self) -> Counts {
        if self.outbox.len() > self.limits.send_queue_bytes() { self.answered } else { Counts::default() }
    }

    /// Answers, unless it has been asked too often.
    fn handle_ping(&mut self, token: u64, now: Instant) -> Result<(), Violation> {
        let rate = self.limits.pings_per_second();
        if !self.alive.pinged.take(Limit { at_once: rate, per_second: rate }, now) {
            return Err(Violation::new(Reason::Calm, format_args!("more than {rate} pings a second")));
        }
        self.push_owed(|out| encode_pong(out, token));
        Ok(())
    }

    fn handle_pong(&mut self, token: u64, now: Instant) {
        self.alive.asked = None;
        self.alive.answered = self.alive.pings;
        if let Some(cancels) = &mut self.cancels {
            cancels.pong(token, now);
        }
    }

    #[inline]
    fn handle_response(
        &mut self,
        response: Response<'_>,
        reply: impl FnOnce(&[u8]) -> Payload,
        now: Instant,
        effects: &mut Effects<C, W, H>,
    ) -> Result<(), Violation> {
        // Where the first reply was a stream, a second would be mistaken for the last word on it.
        if self.streams.get(Caller::Here, response.id).is_some_and(|streams| streams.has_replied()) {
            self.ignored += 1;
            return Ok(());
        }
        let waiter = self.calls.finish(response.id).map_err(|_never_issued| {
            Violation::new(
                Reason::Protocol,
                format_args!("a reply to call {}, which was never made", response.id),
            )
        })?;
        // A reply that is a stream is not the last word on its call.
        let is_final = match response.verdict {
            Verdict::Value(value) if is_stream_reply(value) => !self.streams.reply_flows_in(response.id),
            _ => true,
        };
        let result = match response.verdict {
            Verdict::Value(value) => Ok(reply(value)),
            Verdict::App(value) => Err(CallFailure::App(reply(value))),
            Verdict::Rpc(error) => Err(CallFailure::Rpc(error)),
        };
        let mut outcome = Outcome { result, metadata: response.metadata };
        if let Some(message) = outcome.metadata.as_deref().and_then(|metadata| self.excess(metadata)) {
            outcome = Error::new(Code::ResourceExhausted, format!("the reply came with {message}")).into();
            if !is_final {
                // The stream that came with it has nobody who takes it.
                self.cancel_streams(response.id, now, effects);
            }
        }
        match waiter {
            Some(waiter) => effects.ended.push((waiter, outcome)),
            None => {
                self.ignored += 1;
                self.answered_meanwhile(response.id, is_final);
            }
        }
        if is_final {
            self.close_streams(response.id, effects);
        }
        if self.calls.has_queues() {
            self.grant(effects);
        }
        Ok(())
    }

    fn handle_goaway(&mut self, goaway: &GoAway<'_>, effects: &mut Effects<C, W, H>) {
        let first = !std::mem::replace(&mut self.peer_leaving, true);
        let drains = goaway.reason == Reason::Drain;
        self.peer_gone |= !drains;
        // Each call gets a copy, and people and terminals may read it.
        let message: String =
            goaway.message.chars().flat_map(char::escape_debug).take(GOAWAY_CHARACTERS).collect();
        let judge = |stage| match stage {
            Stage::Waiting { .. } | Stage::Granted => Some(Outcome::moved()),
            // What has not come whole will not be taken any more.
            Stage::Sent { at: IN_FRAGMENTS, .. } => Some(Outcome::moved()),
            Stage::Sent { number, .. } if number > goaway.last_id => Some(Outcome::moved()),
            Stage::Sent { .. } if drains => None,
            Stage::Sent { .. } => {
                let message = format!("the other side ended the connection: {message}");
                Some(Error::new(Code::Unavailable, message).with_executed(Executed::Maybe).into())
            }
        };
        self.calls.end(judge, &mut effects.ended);
        self.give_up_calls(effects);
        self.forget_untaken_streams(goaway.last_id, effects);
        if !drains {
            let message = format!("the other side ended the connection: {message}");
            self.cut_streams_off(&Error::new(Code::Unavailable, message), true, effects);
        }
        // Says that nothing more will come from here, so that the other side need not wait for it.
        if first && drains && self.draining.is_none() {
            self.take_leave("");
        }
    }
}
