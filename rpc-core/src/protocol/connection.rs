//! The state of one connection, both roles in one.

use std::fmt;
use std::time::{Duration, Instant};

use super::calls::{CallFailure, CallId, Calls, Outcome, Progress, Stage, deadline_exceeded};
use super::outbox::Outbox;
use super::served::{CallKey, Served};
use crate::limits::{DRAIN_NOTICE, Limits};
use crate::marshal::Payload;
use crate::message::{
    self, GoAway, Hello, Message, Reason, RequestHead, Response, Verdict, encode_cancel, encode_error,
    encode_goaway, encode_ping, encode_pong, encode_request, encode_value,
};
use crate::service::Failure;
use crate::{Code, Error, Executed, Metadata};

/// One connection: the calls made on it, the calls served on it, the bytes waiting to go out.
#[derive(Debug)]
pub(crate) struct Connection<W, H> {
    limits: Limits,
    phase: Phase,
    calls: Calls<W>,
    served: Served<H>,
    outbox: Outbox,
    /// All bytes ever put into the outbox, and those of them that a transport has been given.
    queued: u64,
    handed_over: u64,
    /// What the other side takes.
    peer_frame_bytes: usize,
    peer_calls: usize,
    /// We take no more calls, since then; the other side has said that it sends none.
    draining: Option<Instant>,
    peer_leaving: bool,
    /// Nobody on this side will call any more.
    retired: bool,
    alive: Alive,
    /// Since when the other side owes the rest of a frame, or does not read.
    owes_frame: Option<Instant>,
    owes_reading: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// There is no connection yet, or not again; why the last attempt failed.
    Connecting {
        failure: Option<Error>,
    },
    Open,
    /// It is over.
    Closed,
}

#[derive(Debug)]
struct Alive {
    heard: Instant,
    asked: Option<Instant>,
    pings: u64,
}

/// A call as its caller enters it.
#[derive(Debug)]
pub(crate) struct NewCall<'a> {
    pub(crate) method: &'a str,
    pub(crate) payload: &'a Payload,
    pub(crate) metadata: Option<&'a Metadata>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) oneway: bool,
    /// Wait for a connection even without a deadline.
    pub(crate) patient: bool,
}

/// What became of a call that was entered.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It waits for its outcome, or for a place.
    Entered(CallId),
    /// One-way: it is in the queue.
    Queued,
    Ended(CallFailure),
}

/// What there is to say of an entered call.
#[derive(Debug)]
pub(crate) enum Next {
    Pending,
    /// Enter it again under [`Connection::resume`].
    Granted,
    Done(Outcome),
}

/// What a message or a moment causes outside of the connection.
#[derive(Debug)]
pub(crate) struct Effects<W, H> {
    pub(crate) wake: Vec<W>,
    pub(crate) stop: Vec<H>,
    /// Ids that were cancelled; a call of the same batch may not have been started yet.
    pub(crate) cancelled: Vec<u64>,
}

impl<W, H> Default for Effects<W, H> {
    fn default() -> Self {
        Effects { wake: Vec::new(), stop: Vec::new(), cancelled: Vec::new() }
    }
}

/// A call of the other side that may run.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) key: CallKey,
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: Option<Box<Metadata>>,
}

/// What a message asks of the runtime.
#[derive(Debug)]
pub(crate) enum Handled<'a> {
    Nothing,
    Call { admitted: Admitted, method: &'a str, params: &'a [u8] },
}

/// The other side broke the protocol; the connection ends and it is told why.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Violation {
    pub(crate) fn new(reason: Reason, message: impl fmt::Display) -> Self {
        Violation { reason, message: message.to_string() }
    }
}

impl<W, H> Connection<W, H> {
    /// A connection that is not open yet.
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Connection {
            peer_frame_bytes: limits.frame_bytes(),
            peer_calls: limits.calls(),
            limits,
            phase: Phase::Connecting { failure: None },
            calls: Calls::default(),
            served: Served::default(),
            outbox: Outbox::default(),
            queued: 0,
            handed_over: 0,
            draining: None,
            peer_leaving: false,
            retired: false,
            alive: Alive { heard: now, asked: None, pings: 0 },
            owes_frame: None,
            owes_reading: None,
        }
    }

    /// The hellos have been exchanged.
    pub(crate) fn open(&mut self, hello: &Hello, now: Instant, effects: &mut Effects<W, H>) {
        self.peer_frame_bytes = hello.frame_bytes;
        self.peer_calls = hello.calls;
        self.alive.heard = now;
        self.phase = Phase::Open;
        if self.draining.is_some() {
            self.push_goaway(Reason::Drain, "the server shuts down");
        }
        self.grant(effects);
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether calls may still be entered here.
    pub(crate) fn takes_calls(&self) -> bool {
        !self.peer_leaving && !matches!(self.phase, Phase::Closed)
    }

    /// How many calls have been entered whose outcome has not been taken.
    pub(crate) fn calls(&self) -> usize {
        self.calls.occupied()
    }

    // ---- the calling side ----

    /// Enters a call: sends it, or lets it wait for a connection or a place.
    pub(crate) fn enter(&mut self, call: &NewCall<'_>, now: Instant, waiter: impl FnOnce() -> W) -> Entry {
        if let Some(refusal) = self.refuse_entry(call, now) {
            return Entry::Ended(refusal);
        }
        if self.is_open() && !self.calls.has_queue() && self.has_place() {
            if call.oneway {
                self.push_request(None, call, now);
                return Entry::Queued;
            }
            match self.calls.start(waiter(), call.deadline, self.queued) {
                Ok(id) => {
                    self.push_request(Some(id), call, now);
                    Entry::Entered(id)
                }
                Err(_exhausted) => self.used_up(),
            }
        } else {
            match self.calls.wait(waiter(), call.deadline, call.patient) {
                Ok(id) => Entry::Entered(id),
                Err(_exhausted) => self.used_up(),
            }
        }
    }

    /// Sends a call that was granted its place; its id is a new one.
    pub(crate) fn resume(
        &mut self,
        id: CallId,
        call: &NewCall<'_>,
        now: Instant,
        waiter: impl FnOnce() -> W,
    ) -> Entry {
        // Only now is it known how large a frame the other side takes.
        if let Some(refusal) = self.refuse_entry(call, now) {
            self.calls.abandon(id);
            return Entry::Ended(refusal);
        }
        if call.oneway {
            self.calls.abandon(id);
            self.push_request(None, call, now);
            return Entry::Queued;
        }
        match self.calls.start_granted(id, waiter(), self.queued) {
            Ok(id) => {
                self.push_request(Some(id), call, now);
                Entry::Entered(id)
            }
            Err(_exhausted) => {
                self.calls.abandon(id);
                self.used_up()
            }
        }
    }

    /// Looks after an entered call.
    pub(crate) fn poll_call(&mut self, id: CallId, waiter: impl FnOnce(&mut W)) -> Next {
        match self.calls.poll(id, waiter) {
            Progress::Pending => Next::Pending,
            Progress::Granted => Next::Granted,
            Progress::Done(outcome) => Next::Done(outcome),
        }
    }

    /// A caller has gone.
    pub(crate) fn drop_call(&mut self, id: CallId, effects: &mut Effects<W, H>) {
        if self.calls.abandon(id) && self.is_open() {
            self.push_message(|out| encode_cancel(out, id.number()));
        }
        self.grant(effects);
    }

    /// A call cannot be entered: why.
    fn refuse_entry(&self, call: &NewCall<'_>, now: Instant) -> Option<CallFailure> {
        if let Some(metadata) =
            call.metadata.filter(|metadata| metadata.bytes() > self.limits.metadata_bytes())
        {
            let (size, limit) = (metadata.bytes(), self.limits.metadata_bytes());
            let message = format!("metadata of {size} bytes, the limit is {limit}");
            return Some(CallFailure::Rpc(Error::not_executed(Code::ResourceExhausted, message)));
        }
        if call.deadline.is_some_and(|deadline| deadline <= now) {
            return Some(CallFailure::Rpc(deadline_exceeded(Executed::No)));
        }
        if !self.takes_calls() {
            return Some(CallFailure::Moved);
        }
        match &self.phase {
            Phase::Connecting { failure: Some(failure) } if call.deadline.is_none() && !call.patient => {
                Some(CallFailure::Rpc(failure.clone()))
            }
            Phase::Open => {
                let size = HEAD_BYTES
                    + call.method.len()
                    + call.metadata.map_or(0, |m| 2 * m.bytes())
                    + call.payload.len();
                (size > self.peer_frame_bytes).then(|| {
                    let message = format!(
                        "a request of {size} bytes, the other side takes messages of {} bytes at most",
                        self.peer_frame_bytes
                    );
                    CallFailure::Rpc(Error::not_executed(Code::ResourceExhausted, message))
                })
            }
            _ => None,
        }
    }

    fn has_place(&self) -> bool {
        self.calls.placed() < self.peer_calls && self.outbox.len() < self.limits.send_queue_bytes()
    }

    fn grant(&mut self, effects: &mut Effects<W, H>) {
        while self.is_open() && self.has_place() {
            match self.calls.grant() {
                Some(waiter) => effects.wake.push(waiter),
                None => break,
            }
        }
    }

    /// There are no more ids: the calls that run are finished, new ones go elsewhere.
    fn used_up(&mut self) -> Entry {
        self.peer_leaving = true;
        Entry::Ended(CallFailure::Moved)
    }

    fn push_request(&mut self, id: Option<CallId>, call: &NewCall<'_>, now: Instant) {
        let head = RequestHead {
            id: id.map(CallId::number),
            method: call.method,
            timeout: call.deadline.map(|deadline| deadline.saturating_duration_since(now)),
            metadata: call.metadata,
        };
        let before = self.outbox.len();
        self.outbox.push(call.payload, |out| encode_request(out, &head));
        self.queued += (self.outbox.len() - before) as u64;
    }

    // ---- messages ----

    /// Takes a message of the other side.
    ///
    /// # Errors
    /// What ends the connection.
    pub(crate) fn handle<'f>(
        &mut self,
        frame: &'f [u8],
        now: Instant,
        reply: impl FnOnce(&[u8]) -> Payload,
        effects: &mut Effects<W, H>,
    ) -> Result<Handled<'f>, Violation> {
        let message = message::decode(frame, self.limits.metadata_bytes())
            .map_err(|malformed| Violation::new(Reason::Protocol, malformed))?;
        match message {
            Message::Request(head, params) => return self.admit(head, params, now),
            Message::Response(response) => self.handle_response(response, reply, effects)?,
            Message::Cancel { id } => match self.served.cancel(id) {
                Some(handle) => effects.stop.push(handle),
                None => effects.cancelled.push(id),
            },
            Message::Ping { token } => self.push_message(|out| encode_pong(out, token)),
            Message::Pong => self.alive.asked = None,
            Message::GoAway(goaway) => self.handle_goaway(&goaway, effects),
            Message::Unknown => {}
        }
        Ok(Handled::Nothing)
    }

    fn admit<'f>(
        &mut self,
        head: message::Request<'f>,
        params: &'f [u8],
        now: Instant,
    ) -> Result<Handled<'f>, Violation> {
        if let Some(id) = head.id.filter(|id| self.served.is_live(*id)) {
            return Err(Violation::new(Reason::Protocol, format_args!("call id {id} is in use")));
        }
        if let Some(refusal) = self.refuse_admission(&head, now) {
            if let Some(id) = head.id {
                self.push_failure(id, None, &Failure::Rpc(refusal));
            }
            return Ok(Handled::Nothing);
        }
        let deadline = head.timeout.map(|timeout| now + timeout.min(self.limits.max_deadline()));
        let key = self.served.admit(head.id);
        let admitted = Admitted { key, deadline, metadata: head.metadata };
        Ok(Handled::Call { admitted, method: head.method, params })
    }

    fn refuse_admission(&self, head: &message::Request<'_>, now: Instant) -> Option<Error> {
        let refuse = |code, message: String| Some(Error::not_executed(code, message));
        let noticed = |since: Instant| self.peer_leaving || now >= since + DRAIN_NOTICE;
        if self.draining.is_some_and(noticed) {
            return refuse(Code::Unavailable, "the server shuts down".to_owned());
        }
        if self.served.admitted() >= self.limits.calls() {
            let limit = self.limits.calls();
            return refuse(
                Code::ResourceExhausted,
                format!("{limit} calls run on this connection, the limit"),
            );
        }
        if let Some(metadata) = &head.metadata
            && metadata.bytes() > self.limits.metadata_bytes()
        {
            let (size, limit) = (metadata.bytes(), self.limits.metadata_bytes());
            return refuse(
                Code::ResourceExhausted,
                format!("metadata of {size} bytes, the limit is {limit}"),
            );
        }
        if head.timeout == Some(Duration::ZERO) {
            return Some(deadline_exceeded(Executed::No));
        }
        None
    }

    fn handle_response(
        &mut self,
        response: Response<'_>,
        reply: impl FnOnce(&[u8]) -> Payload,
        effects: &mut Effects<W, H>,
    ) -> Result<(), Violation> {
        let result = match response.verdict {
            Verdict::Value(value) => Ok(reply(value)),
            Verdict::App(value) => Err(CallFailure::App(reply(value))),
            Verdict::Rpc(error) => Err(CallFailure::Rpc(error)),
        };
        let outcome = Outcome { result, metadata: response.metadata };
        let waiter = self.calls.finish(response.id, outcome).map_err(|_never_issued| {
            Violation::new(
                Reason::Protocol,
                format_args!("a reply to call {}, which was never made", response.id),
            )
        })?;
        effects.wake.extend(waiter);
        if self.calls.has_queue() {
            self.grant(effects);
        }
        Ok(())
    }

    fn handle_goaway(&mut self, goaway: &GoAway<'_>, effects: &mut Effects<W, H>) {
        self.peer_leaving = true;
        let drains = goaway.reason == Reason::Drain;
        let message = goaway.message;
        let judge = |stage| match stage {
            Stage::Waiting { .. } | Stage::Granted => Some(Outcome::moved()),
            Stage::Sent { number, .. } if number > goaway.last_id => Some(Outcome::moved()),
            Stage::Sent { .. } if drains => None,
            Stage::Sent { .. } => {
                let message = format!("the other side ended the connection: {message}");
                Some(Error::new(Code::Unavailable, message).with_executed(Executed::Maybe).into())
            }
        };
        self.calls.end(judge, |waiter| effects.wake.push(waiter));
        // Says that nothing more will come from here, so that the other side need not wait for it.
        if drains && self.draining.is_none() {
            self.push_goaway(Reason::Drain, "");
        }
    }

    // ---- the serving side ----

    /// Keeps an admitted call that goes on.
    pub(crate) fn keep(&mut self, key: CallKey, handle: H, deadline: Option<Instant>) {
        self.served.keep(key, handle, deadline);
    }

    /// Changes the handle of a kept call; false if it has been stopped meanwhile.
    pub(crate) fn update_kept(&mut self, key: CallKey, change: impl FnOnce(&mut H)) -> bool {
        self.served.update(key, change)
    }

    /// Whether a call of this id is running.
    pub(crate) fn is_live(&self, key: CallKey) -> bool {
        key.reply_id().is_some_and(|id| self.served.is_live(id))
    }

    /// Takes the replies of calls that ended the moment they were started.
    pub(crate) fn ended_at_once(&mut self, count: usize, replies: &mut Outbox) {
        self.served.ended_at_once(count);
        self.queued += replies.len() as u64;
        self.outbox.append(replies);
    }

    /// An admitted call was cancelled before it was started.
    pub(crate) fn ended_unstarted(&mut self) {
        self.served.ended_at_once(1);
    }

    /// A kept call has ended; its reply is sent if its caller still waits.
    pub(crate) fn ended(
        &mut self,
        key: CallKey,
        reply: Option<(&Result<Payload, Failure>, Option<&Metadata>)>,
    ) {
        let awaited = self.served.ended(key);
        if let (true, Some(id), Some((reply, metadata))) = (awaited && self.is_open(), key.reply_id(), reply)
        {
            let limit = self.peer_frame_bytes;
            let before = self.outbox.len();
            push_reply(&mut self.outbox, id, reply, metadata, limit);
            self.queued += (self.outbox.len() - before) as u64;
        }
    }

    /// How large a message the other side takes.
    pub(crate) fn peer_frame_bytes(&self) -> usize {
        self.peer_frame_bytes
    }

    /// Refuses an admitted call.
    pub(crate) fn refuse(&mut self, key: CallKey, error: Error) {
        self.served.ended_at_once(1);
        if let Some(id) = key.reply_id() {
            self.push_failure(id, None, &Failure::Rpc(error));
        }
    }

    fn push_failure(&mut self, id: u64, metadata: Option<&Metadata>, failure: &Failure) {
        self.push_message(|out| encode_failure(out, id, metadata, failure));
    }

    // ---- time ----

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let notice = self.draining.filter(|_| !self.peer_leaving).map(|since| since + DRAIN_NOTICE);
        let stall = self.owes_frame.into_iter().chain(self.owes_reading).min();
        let stall = stall.map(|since| since + self.limits.stall_timeout());
        let alive = self.is_open().then(|| match self.alive.asked {
            Some(asked) => asked + self.limits.keepalive_timeout(),
            None => self.alive.heard + self.limits.keepalive_interval(),
        });
        [self.calls.earliest_deadline(), self.served.earliest_deadline(), notice, stall, alive]
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
        effects: &mut Effects<W, H>,
    ) -> Result<(), Violation> {
        self.expire_calls(now, effects);
        self.expire_served(now, effects);
        let limit = self.limits.stall_timeout();
        let overdue = |since: Option<Instant>| since.is_some_and(|since| now >= since + limit);
        if overdue(self.owes_frame) {
            return Err(Violation::new(
                Reason::Stall,
                format_args!("a frame was not finished within {limit:?}"),
            ));
        }
        if overdue(self.owes_reading) {
            return Err(Violation::new(Reason::Stall, format_args!("nothing was read for {limit:?}")));
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
                self.alive.asked = Some(now);
                self.alive.pings += 1;
                let token = self.alive.pings;
                self.push_message(|out| encode_ping(out, token));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn expire_calls(&mut self, now: Instant, effects: &mut Effects<W, H>) {
        let mut cancels = Vec::new();
        self.calls.expire(now, |sent, waiter| {
            cancels.extend(sent);
            effects.wake.extend(waiter);
        });
        for id in cancels {
            self.push_message(|out| encode_cancel(out, id.number()));
        }
        self.grant(effects);
    }

    fn expire_served(&mut self, now: Instant, effects: &mut Effects<W, H>) {
        let mut expired = Vec::new();
        self.served.expire(now, |key, handle| {
            expired.extend(key.reply_id());
            effects.stop.push(handle);
        });
        for id in expired {
            self.push_failure(id, None, &Failure::Rpc(deadline_exceeded(Executed::Maybe)));
        }
    }

    /// Bytes have come; a frame is unfinished or not.
    pub(crate) fn received(&mut self, now: Instant, partial: bool) {
        self.alive.heard = now;
        self.alive.asked = None;
        self.owes_frame = partial.then_some(now);
    }

    /// The transport was given bytes: it took some or none, and some are left or not.
    pub(crate) fn sent(&mut self, now: Instant, progress: bool, blocked: bool) {
        self.owes_reading = match (blocked, self.owes_reading) {
            (false, _) => None,
            (true, Some(since)) if !progress => Some(since),
            (true, _) => Some(now),
        };
    }

    // ---- bytes out ----

    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(crate) fn output_bytes(&self) -> usize {
        self.outbox.len()
    }

    /// Gives all bytes that wait to go out, in exchange for an empty outbox.
    pub(crate) fn take_output(&mut self, spare: Outbox, effects: &mut Effects<W, H>) -> Outbox {
        self.handed_over = self.queued;
        let output = std::mem::replace(&mut self.outbox, spare);
        if self.calls.has_queue() {
            self.grant(effects);
        }
        output
    }

    fn push_message(&mut self, message: impl FnOnce(&mut Vec<u8>)) {
        let before = self.outbox.len();
        self.outbox.push_message(message);
        self.queued += (self.outbox.len() - before) as u64;
    }

    fn push_goaway(&mut self, reason: Reason, message: &str) {
        // A side that drains takes what was on its way when it said so.
        let last_id = if reason == Reason::Drain { u64::MAX } else { self.served.last_id() };
        self.push_message(|out| encode_goaway(out, &GoAway { last_id, reason, message }));
    }

    // ---- the end ----

    /// Takes no more calls from the other side, once it has had the time to learn of it.
    pub(crate) fn start_drain(&mut self, now: Instant) {
        if self.draining.is_none() {
            self.draining = Some(now);
            if self.is_open() {
                self.push_goaway(Reason::Drain, "the server shuts down");
            }
        }
    }

    /// Nobody on this side will enter a call any more.
    pub(crate) fn retire(&mut self, now: Instant) {
        self.retired = true;
        self.start_drain(now);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether there is nothing left to do but to write what waits and close.
    pub(crate) fn is_finished(&self, now: Instant) -> bool {
        let quiet = self.calls.occupied() == 0 && self.served.admitted() == 0;
        let noticed = |since: Instant| self.peer_leaving || self.retired || now >= since + DRAIN_NOTICE;
        quiet && (self.peer_leaving || self.retired || self.draining.is_some_and(noticed))
    }

    /// Whether the other side has said that it goes: then the end of its bytes is no loss.
    pub(crate) fn peer_is_leaving(&self) -> bool {
        self.peer_leaving
    }

    /// The other side broke the protocol: it is told why, and every call ends.
    pub(crate) fn violated(&mut self, violation: &Violation, effects: &mut Effects<W, H>) {
        self.push_goaway(violation.reason, &violation.message);
        let error = Error::new(Code::Unavailable, format!("the connection was ended: {}", violation.message));
        self.close(error, effects);
    }

    /// An attempt to connect has failed: calls that would not wait for the next one end with its error.
    pub(crate) fn attempt_failed(&mut self, error: &Error, effects: &mut Effects<W, H>) {
        self.phase = Phase::Connecting { failure: Some(error.clone()) };
        let judge = |stage| match stage {
            Stage::Waiting { patient: false } => Some(error.clone().into()),
            _ => None,
        };
        self.calls.end(judge, |waiter| effects.wake.push(waiter));
    }

    /// It is over: every call ends, each by how far it got, and every running one is stopped.
    pub(crate) fn close(&mut self, error: Error, effects: &mut Effects<W, H>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let handed_over = self.handed_over;
        let lost = error.with_executed(Executed::Maybe);
        self.phase = Phase::Closed;
        let judge = |stage| match stage {
            Stage::Sent { at, .. } if at < handed_over => Some(lost.clone().into()),
            _ => Some(Outcome::moved()),
        };
        self.calls.end(judge, |waiter| effects.wake.push(waiter));
        self.served.cancel_all(|handle| effects.stop.push(handle));
    }

    #[cfg(test)]
    pub(super) fn use_up_ids(&mut self, left: u64) {
        self.calls.use_up_ids(left);
    }
}

/// What a head takes at most beside the method's name and the metadata.
const HEAD_BYTES: usize = 48;

/// Appends a reply; one that is too large for the other side becomes an error that says so.
pub(crate) fn push_reply(
    outbox: &mut Outbox,
    id: u64,
    reply: &Result<Payload, Failure>,
    metadata: Option<&Metadata>,
    limit: usize,
) {
    let size = HEAD_BYTES
        + metadata.map_or(0, |metadata| 2 * metadata.bytes())
        + match reply {
            Ok(value) | Err(Failure::App(value)) => value.len(),
            Err(Failure::Rpc(error)) => error.message().len() + error.raw_details().map_or(0, |d| d.len()),
        };
    if size > limit {
        let message = format!("a reply of {size} bytes, the caller takes messages of {limit} bytes at most");
        let failure = Failure::Rpc(Error::new(Code::ResourceExhausted, message));
        outbox.push_message(|out| encode_failure(out, id, None, &failure));
        return;
    }
    match reply {
        Ok(value) => outbox.push(value, |out| encode_value(out, id, metadata)),
        Err(failure) => outbox.push_message(|out| encode_failure(out, id, metadata, failure)),
    }
}

fn encode_failure(out: &mut Vec<u8>, id: u64, metadata: Option<&Metadata>, failure: &Failure) {
    match failure {
        Failure::App(value) => encode_error(out, id, metadata, Ok(value.as_slice())),
        Failure::Rpc(error) => encode_error(out, id, metadata, Err(error)),
    }
}
