//! What the frames of a read ask for is done: one lock for what they say, one for the replies.

use std::ops::Range;

use bytes::Bytes;

use super::super::buffers::Scratch;
use super::super::clock::{Stopwatch, now};
use super::super::dispatch::{Started, TargetId, reply_bytes};
use super::super::flows::Served;
use super::super::handler::{HandlerTask, Start};
use super::super::link::LinkEffects;
use super::super::running_calls::no_room;
use super::{Driver, End};
use crate::context::{Ambient, Origin};
use crate::marshal::{Guard, Payload};
use crate::memory::{Charge, Exhausted, SMALL_BYTES};
use crate::message::Reason;
use crate::protocol::{Admitted, CallKey, Counts, Handled, Sizes, Violation};
use crate::service::{Request, no_streams, unimplemented};
use crate::stream::CallStreams;
use crate::{Code, Error};

/// Arguments of so many bytes take long by themselves.
const LARGE_BYTES: usize = 128 * 1024;

/// A call that has been admitted and waits for its turn in a batch.
pub(crate) struct Incoming {
    admitted: Admitted,
    target: TargetId,
    params: Range<usize>,
}

impl Driver {
    /// Handles all frames of a read: one lock for what they say, one for the replies.
    pub(super) fn take_frames(
        &mut self,
        source: Source<'_>,
        frames: &[Range<usize>],
        scratch: &mut Scratch,
    ) -> Result<(), End> {
        let mut incoming = std::mem::take(&mut scratch.incoming);
        let admitted = self.admit(&source, frames, &mut incoming, &mut scratch.effects);
        scratch.effects.run();
        // Also what came before a frame that ends the connection: how bytes are cut into reads changes nothing.
        let ran = self.run_batch(&source, &mut incoming, scratch);
        incoming.clear();
        scratch.incoming = incoming;
        Ok(ran.and(admitted)?)
    }

    #[inline]
    fn admit(
        &mut self,
        source: &Source<'_>,
        frames: &[Range<usize>],
        incoming: &mut Vec<Incoming>,
        effects: &mut LinkEffects,
    ) -> Result<(), Violation> {
        let now = now();
        let mut shared = self.link.lock();
        let connection = &mut shared.connection;
        connection.received(now, self.assembler.is_partial() || self.reassembly.is_partial());
        for frame in frames {
            let bytes = &source.bytes()[frame.clone()];
            match connection.handle(bytes, now, |value| source.payload(value), effects)? {
                Handled::Nothing => {}
                Handled::Call { admitted, method, params } => match self.link.registry.find(method) {
                    Some(target) if self.link.registry.lacks_streams(target, &admitted) => {
                        connection.refuse(admitted.key, no_streams(&String::from_utf8_lossy(method)));
                    }
                    Some(target) => {
                        let oneway = matches!(admitted.key, CallKey::OneWay(_));
                        if oneway && connection.oneways() - self.parked.len() > self.link.limits.calls() {
                            self.parked.push(admitted, target, source.payload(params));
                        } else {
                            let params = frame.end - params.len()..frame.end;
                            incoming.push(Incoming { admitted, target, params });
                        }
                    }
                    None => {
                        connection.refuse(admitted.key, unimplemented(&String::from_utf8_lossy(method)));
                    }
                },
            }
            // A call of this very batch may be cancelled before it has begun.
            while let Some(id) = effects.cancelled.pop() {
                let at = incoming.iter().position(|call| call.admitted.key.reply_id() == Some(id));
                if let Some(call) = at.map(|at| incoming.remove(at)) {
                    connection.ended_unstarted(call.admitted.key, effects);
                }
            }
        }
        shared.has_parked = self.parked.len() > 0;
        if !effects.ended.is_empty() {
            shared.told = effects.ended.len();
        }
        Ok(())
    }

    /// Runs one-way calls for which there is room by now.
    pub(super) fn run_parked(&mut self, scratch: &mut Scratch) {
        if self.parked.len() == 0 {
            return;
        }
        let sizes = self.link.lock().connection.sizes();
        while let Some((admitted, target, params)) = self.unpark() {
            let key = admitted.key;
            match self.run(admitted, target, params, scratch, &sizes) {
                Ran::AtOnce => {
                    self.link.lock().connection.ended_at_once(Counts::of(key), &mut scratch.replies);
                }
                Ran::Refused(error) => self.link.lock().connection.refuse(key, error),
                Ran::Kept => {}
            }
        }
        self.rest();
    }

    fn unpark(&mut self) -> Option<(Admitted, TargetId, Payload)> {
        if self.parked.len() == 0 {
            return None;
        }
        let mut shared = self.link.lock();
        let running = shared.connection.oneways() - self.parked.len();
        let call = if running < self.link.limits.calls() { self.parked.pop() } else { None };
        shared.has_parked = self.parked.len() > 0;
        call
    }

    fn run_batch(
        &mut self,
        source: &Source<'_>,
        incoming: &mut Vec<Incoming>,
        scratch: &mut Scratch,
    ) -> Result<(), Violation> {
        if incoming.is_empty() {
            return Ok(());
        }
        let sizes = self.link.lock().connection.sizes();
        let mut at_once = Counts::default();
        let mut kept = false;
        let mut result = Ok(());
        for call in incoming.drain(..) {
            // Two calls of one id in one batch are a violation only if the first still runs.
            if kept && self.link.lock().connection.is_live(call.admitted.key) {
                result = Err(Violation::new(Reason::Protocol, "a call id that is in use"));
                break;
            }
            let Incoming { admitted, target, params } = call;
            let key = admitted.key;
            let params = source.payload(&source.bytes()[params]);
            match self.run(admitted, target, params, scratch, &sizes) {
                Ran::AtOnce => *at_once.count(key) += 1,
                Ran::Kept => kept = true,
                Ran::Refused(error) => self.link.lock().connection.refuse(key, error),
            }
        }
        self.rest();
        self.link.lock().connection.ended_at_once(at_once, &mut scratch.replies);
        result
    }

    /// No handler is started for now.
    fn rest(&mut self) {
        self.dispatchers.iter_mut().flatten().for_each(|dispatcher| dispatcher.rest());
    }

    /// Runs one call: at once on this task if its method is known to be light, otherwise on its own.
    #[inline]
    fn run(
        &mut self,
        admitted: Admitted,
        id: TargetId,
        params: Payload,
        scratch: &mut Scratch,
        sizes: &Sizes,
    ) -> Ran {
        let Admitted { key, deadline, metadata, streams } = admitted;
        let is_call = matches!(key, CallKey::Call(_));
        let server_calls = self.link.limits.server_calls();
        if is_call && !self.link.registry.running.has_room(server_calls) {
            return Ran::Refused(no_room(server_calls));
        }
        let target = self.link.registry.target(id);
        let method = target.method;
        let bytes = params.len();
        let streams = match key {
            CallKey::Stream(call) => {
                Some(Box::new(Served::new(self.link.clone(), call, streams)) as Box<dyn CallStreams>)
            }
            _ => None,
        };
        let mut request = Request::new(method, params, Guard::from(&*self.link.limits), streams);
        if bytes > SMALL_BYTES {
            let charge = Charge::new(self.link.memory.clone());
            if let Err(Exhausted) = charge.take(bytes) {
                return Ran::Refused(no_memory(bytes));
            }
            request.hold(charge);
        }
        let origin = Origin {
            service: target.service_name,
            method: method.name,
            // Lent, so that a call which ends at once counts nothing.
            peer: std::mem::take(&mut self.peer),
            deadline,
            metadata,
            no_cancel: method.no_cancel,
        };
        let mut ambient = Some(Ambient::Origin(origin));
        if self.dispatchers.is_empty() {
            self.dispatchers = (0..self.link.registry.len()).map(|_| None).collect();
        }
        // That it does says nothing about the method.
        let takes_long = bytes >= LARGE_BYTES || self.link.growth.is_likely(bytes);
        let verdict = target.poll_time.verdict();
        // A stream is seldom ready at once, and has much to do if it is.
        let at_once = verdict.is_light()
            && !takes_long
            && !matches!(key, CallKey::Stream(_))
            && (!is_call || target.reply_size.is_small() || self.has_room(scratch.replies.bytes()));
        let dispatcher =
            self.dispatchers[target.service].get_or_insert_with(|| self.link.registry.open(target.service));
        let (future, start) = if at_once {
            let is_sampled = self.sampler.is_chosen() || verdict.is_doubtful();
            let since = is_sampled.then(Stopwatch::start);
            let started = dispatcher.run(request, &mut ambient);
            if let Some(since) = since {
                target.poll_time.record(since.elapsed());
            }
            match started {
                Started::Ended(reply) => {
                    target.reply_size.note(reply_bytes(&reply), is_sampled);
                    if let Some(id) = key.reply_id() {
                        let metadata = ambient.as_ref().and_then(Ambient::take_reply_metadata);
                        scratch.replies.push(id, &reply, metadata.as_deref(), sizes);
                    }
                    self.peer = ambient.map(Ambient::into_peer).unwrap_or_default();
                    return Ran::AtOnce;
                }
                Started::Pending(future) => (future, None),
            }
        } else {
            let start = if is_call { Start::Held { bytes, place: None } } else { Start::Ready };
            (dispatcher.start(request), Some(start))
        };
        self.peer = ambient.as_ref().map(Ambient::peer).unwrap_or_default();
        HandlerTask {
            link: self.link.clone(),
            key,
            ambient,
            future: Some(future),
            target: id,
            timed: start.is_some() && verdict.is_measured() && !method.streaming && !takes_long,
            takes_long,
            start: start.unwrap_or(Start::Over),
        }
        .spawn(!method.no_cancel);
        Ran::Kept
    }

    /// Whether a reply that may be large can be begun, beside so many bytes that this read has caused.
    fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.link.limits.send_queue_bytes()
            && !self.link.is_crowded(&self.link.lock())
            && !self.link.is_server_crowded()
    }
}

enum Ran {
    AtOnce,
    Kept,
    Refused(Error),
}

#[cold]
fn no_memory(bytes: usize) -> Error {
    let message =
        format!("there is no room for arguments of {bytes} bytes beside what other connections hold");
    Error::not_executed(Code::ResourceExhausted, message)
}

/// Where the bytes of a batch lie.
pub(super) enum Source<'a> {
    /// In memory that is lent for the batch.
    Lent(&'a [u8]),
    /// In memory of their own, which can be shared.
    Owned(&'a Bytes),
}

impl Source<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Lent(bytes) => bytes,
            Source::Owned(bytes) => bytes,
        }
    }

    /// A value in these bytes that is to be kept, copied only if it must be.
    #[inline]
    fn payload(&self, value: &[u8]) -> Payload {
        match self {
            Source::Owned(bytes) if value.len() > SMALL_BYTES => Payload::from(bytes.slice_ref(value)),
            _ => Payload::from_slice(value),
        }
    }
}
