//! The task of a connection: reads, runs what was asked for, writes, keeps time.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::buffers::{Scratch, with_scratch};
use super::clock::now;
use super::dispatch::{Dispatcher, Started, TargetId, reply_bytes};
use super::flows::Served;
use super::handler::{HandlerTask, Start};
use super::link::{Link, LinkEffects, Writer};
use super::parked::Parked;
use super::timer::Timer;
use crate::context::{Ambient, Origin, Peer};
use crate::frame::{self, Assembler, LENGTH_BYTES};
use crate::limits::CLOSE_TIMEOUT;
use crate::marshal::{Guard, Payload};
use crate::message::{FRAGMENT_BEGUN_BYTES, Fragment, Hello, Malformed, Reason, decode_fragment};
use crate::pool::{self, LARGE_BYTES};
use crate::protocol::{Admitted, CallKey, Counts, Handled, Reassembly, Sizes, Violation};
use crate::service::{Request, no_streams, unimplemented};
use crate::transport::{RecvHalf, SendHalf};
use crate::{Code, Error};

/// How often a connection reads before it lets others have the thread.
const READS_A_TURN: usize = 2;

/// Up to this size a value is copied, so that a small one does not keep a large frame alive.
const SMALL_BYTES: usize = 4 * 1024;

/// One call in so many is timed.
const SAMPLE: u8 = 16;

/// Moves the bytes of one open connection until it is over, and then says why.
pub(crate) struct Driver {
    link: Arc<Link>,
    recv: RecvHalf,
    peer: Peer,
    side: Side,
    assembler: Assembler,
    reassembly: Reassembly,
    dispatchers: Vec<Option<Box<dyn Dispatcher>>>,
    parked: Parked,
    timer: Timer,
    /// It was woken to write and has let others go first.
    gave_way: bool,
    /// The transport did not take all that was to be written.
    blocked: bool,
    ended: bool,
    closing: Option<Closing>,
    samples: u8,
}

/// Which side of a connection this is. It matters where both sides would wait for each other if they did the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Opened,
    Accepted,
}

/// How far the end has got.
struct Closing {
    error: Error,
    /// When the other side has had time enough.
    until: Instant,
    shut_down: bool,
}

/// A call that has been admitted and waits for its turn in a batch.
pub(crate) struct Incoming {
    admitted: Admitted,
    target: TargetId,
    params: Range<usize>,
}

impl Driver {
    pub(crate) fn new(
        link: Arc<Link>,
        hello: &Hello,
        recv: RecvHalf,
        send: SendHalf,
        peer: Peer,
        side: Side,
    ) -> Self {
        let mut effects = LinkEffects::default();
        let mut shared = link.lock();
        shared.writer = Some(Writer::new(send));
        shared.connection.open(hello, now(), &mut effects);
        drop(shared);
        effects.run();
        Driver {
            recv,
            peer,
            side,
            assembler: Assembler::new(link.limits.frame_bytes()),
            reassembly: Reassembly::new(&link.limits, hello),
            dispatchers: Vec::new(),
            parked: Parked::default(),
            timer: Timer::default(),
            gave_way: false,
            blocked: false,
            ended: false,
            closing: None,
            samples: 0,
            link,
        }
    }

    // ---- reading ----

    /// Reads what is there, twice at most.
    ///
    /// # Errors
    /// What ends the connection.
    fn poll_reads(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.is_backed_up() {
            return Ok(());
        }
        for _ in 0..READS_A_TURN {
            if self.ended {
                return Ok(());
            }
            match self.poll_read(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(()),
            }
        }
        // There may be more: the others on this thread go first.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Whether so much of what the other side asked for waits for it to be read, or so many of its one-way calls
    /// run, that its requests wait too.
    fn is_backed_up(&mut self) -> bool {
        let mut shared = self.link.lock();
        let waiting = match self.side {
            // Both sides may call and serve. If both stopped reading until the other has read, both might wait for
            // ever, so one of them goes on: the one that chose its peer. What it would send is bounded all the same:
            // its calls wait for their turn, its answers keep the places of their calls. What only a peer that
            // asks for trouble causes, pongs and refusals, has no other bound than this.
            Side::Opened => shared.connection.owed_bytes(),
            Side::Accepted => {
                shared.connection.output_bytes() + shared.writer.as_ref().map_or(0, Writer::unwritten)
            }
        };
        let limits = &self.link.limits;
        // They wait for the other side to read as well.
        let held = self.side == Side::Accepted && shared.held.bytes() > limits.message_bytes();
        // One that runs may be what waits for the reply that would be read.
        let parks = shared.connection.awaits_replies() && self.parked.bytes() <= limits.send_queue_bytes();
        let full = shared.connection.oneways() >= limits.calls() && !parks;
        shared.reading_waits = waiting > limits.send_queue_bytes() || full || held;
        if shared.reading_waits {
            let now = now();
            shared.connection.not_reading(now);
            self.reassembly.not_reading(now);
        }
        shared.reading_waits
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match self.assembler.missing() {
            Some(missing) if missing >= LARGE_BYTES / 2 => self.poll_read_large(cx),
            _ => with_scratch(|scratch| self.poll_read_scratch(scratch, cx)),
        }
    }

    /// Reads into the large frame under way, where its bytes stay.
    fn poll_read_large(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let (room, step) = self.assembler.room();
        let mut room = room.limit(step);
        let count = ready!(pin!(self.recv.read_buf(&mut room)).poll(cx))?;
        if count == 0 {
            return Poll::Ready(self.end_of_bytes());
        }
        let complete = self.assembler.take_complete();
        let partial = complete.is_none();
        let taken = complete.map(|frame| with_scratch(|scratch| self.take_large(frame, scratch)));
        self.received(partial);
        Poll::Ready(taken.unwrap_or(Ok(())))
    }

    /// Reads into the thread's scratch and takes the frames from there.
    fn poll_read_scratch(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut bytes = std::mem::take(&mut scratch.bytes);
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled = Pin::new(&mut self.recv).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        let result = match polled {
            Poll::Ready(Ok(())) if count == 0 => Poll::Ready(self.end_of_bytes()),
            Poll::Ready(Ok(())) => Poll::Ready(self.take(&bytes[..count], scratch)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => Poll::Pending,
        };
        scratch.bytes = bytes;
        result
    }

    fn end_of_bytes(&mut self) -> Result<(), End> {
        self.ended = true;
        let mut effects = LinkEffects::default();
        let mut shared = self.link.lock();
        if shared.connection.peer_is_leaving() {
            // It said that it would, and still takes the replies that it waits for.
            shared.connection.peer_ended(&mut effects);
            drop(shared);
            effects.run();
            return Ok(());
        }
        drop(shared);
        Err(End::Lost(Error::new(Code::Unavailable, "the other side closed the connection")))
    }

    /// Takes bytes as they came.
    fn take(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<(), End> {
        let mut busy = !self.reassembly.is_empty();
        let taken = self.take_bytes(bytes, scratch);
        busy |= !self.reassembly.is_empty();
        if busy {
            self.received(self.is_partial());
        }
        taken
    }

    /// Notes that bytes have come, and what is missing now.
    fn received(&self, partial: bool) {
        let mut shared = self.link.lock();
        shared.connection.received(now(), partial);
        shared.connection.awaits_fragment(self.reassembly.oldest());
    }

    fn take_bytes(&mut self, mut bytes: &[u8], scratch: &mut Scratch) -> Result<(), End> {
        if self.reassembly.is_partial() {
            let (left, message) = self.reassembly.put(bytes, now());
            bytes = left;
            if let Some(message) = message {
                self.take_message(message, scratch)?;
            }
        } else if self.assembler.is_partial() {
            bytes = self.assembler.fill(bytes)?;
            match self.assembler.take_complete() {
                Some(frame) => self.take_large(frame, scratch)?,
                None => {
                    self.link.lock().connection.received(now(), true);
                    return Ok(());
                }
            }
        }
        let mut frames = std::mem::take(&mut scratch.frames);
        let cut = self.assembler.cut(bytes, |frame| frames.push(frame));
        let begun = cut.as_ref().map_or(&[][..], |end| &bytes[*end..]);
        // The beginning of a fragment goes where its message is put together, behind the frames before it.
        let fragment = begun_fragment(begun);
        if fragment.is_none() {
            self.assembler.keep(begun, room);
        }
        let taken = self.take_cut(bytes, &mut frames, scratch);
        frames.clear();
        scratch.frames = frames;
        taken?;
        cut?;
        if let Some(fragment) = fragment {
            self.reassembly.take(sound(fragment)?, now())?;
        }
        Ok(())
    }

    /// Takes frames where they lie; fragments among them are put together, and what is complete is taken in its
    /// turn.
    fn take_cut(
        &mut self,
        bytes: &[u8],
        frames: &mut [Range<usize>],
        scratch: &mut Scratch,
    ) -> Result<(), End> {
        // So many of the frames that have been looked at are to be handled yet; they stand first.
        let mut waiting = 0;
        for index in 0..frames.len() {
            let frame = frames[index].clone();
            let Some(fragment) = decode_fragment(&bytes[frame.clone()], frame.len()) else {
                frames.swap(waiting, index);
                waiting += 1;
                continue;
            };
            let message = sound(fragment).and_then(|fragment| self.reassembly.take(fragment, now()));
            if !matches!(message, Ok(None)) {
                self.take_frames(Source::Lent(bytes), &frames[..waiting], scratch)?;
                waiting = 0;
            }
            if let Some(message) = message? {
                self.take_message(message, scratch)?;
            }
        }
        self.take_frames(Source::Lent(bytes), &frames[..waiting], scratch)
    }

    /// Takes a frame that was assembled in memory of its own.
    fn take_large(&mut self, frame: Vec<u8>, scratch: &mut Scratch) -> Result<(), End> {
        let body = &frame[LENGTH_BYTES..];
        if let Some(fragment) = decode_fragment(body, body.len()) {
            let message = self.reassembly.take(sound(fragment)?, now())?;
            pool::give_back(frame);
            return message.map_or(Ok(()), |message| self.take_message(message, scratch));
        }
        let bytes = pool::share(frame);
        let whole = LENGTH_BYTES..bytes.len();
        self.take_frames(Source::Owned(&bytes), std::slice::from_ref(&whole), scratch)
    }

    /// Takes a message that came in fragments.
    fn take_message(&mut self, message: Vec<u8>, scratch: &mut Scratch) -> Result<(), End> {
        let bytes = pool::share(message);
        let whole = 0..bytes.len();
        self.take_frames(Source::Owned(&bytes), std::slice::from_ref(&whole), scratch)
    }

    /// Whether a frame has begun to come and is not complete.
    fn is_partial(&self) -> bool {
        self.assembler.is_partial() || self.reassembly.is_partial()
    }

    // ---- a batch of frames ----

    /// Handles all frames of a read: one lock for what they say, one for the replies.
    fn take_frames(
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
                        connection.refuse(admitted.key, no_streams(method));
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
                    None => connection.refuse(admitted.key, unimplemented(method)),
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
        Ok(())
    }

    /// Runs one-way calls for which there is room by now.
    fn run_parked(&mut self, scratch: &mut Scratch) {
        if self.parked.len() == 0 {
            return;
        }
        let sizes = self.link.lock().connection.sizes();
        while let Some((admitted, target, params)) = self.unpark() {
            let key = admitted.key;
            if let Ran::AtOnce = self.run(admitted, target, params, scratch, &sizes) {
                self.link.lock().connection.ended_at_once(Counts::of(key), &mut scratch.replies);
            }
        }
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
            }
        }
        self.link.lock().connection.ended_at_once(at_once, &mut scratch.replies);
        result
    }

    /// Runs one call: at once on this task if its method is known to be light, otherwise on its own.
    fn run(
        &mut self,
        admitted: Admitted,
        id: TargetId,
        params: Payload,
        scratch: &mut Scratch,
        sizes: &Sizes,
    ) -> Ran {
        let Admitted { key, deadline, metadata, streams } = admitted;
        let target = self.link.registry.target(id);
        let method = target.method;
        let bytes = params.len();
        let mut request = Request::new(method, params, Guard::from(&self.link.limits));
        if let CallKey::Stream(call) = key {
            request = request.with_streams(Box::new(Served::new(self.link.clone(), call, streams)));
        }
        let origin = Origin {
            service: target.service_name,
            method: method.name,
            peer: self.peer.clone(),
            deadline,
            metadata,
            no_cancel: method.no_cancel,
        };
        let mut ambient = Some(Ambient::Origin(origin));
        if self.dispatchers.is_empty() {
            self.dispatchers.resize_with(self.link.registry.len(), || None);
        }
        let is_call = matches!(key, CallKey::Call(_));
        // What is large takes long by itself, which says nothing about the method.
        let is_large = bytes >= LARGE_BYTES;
        // A stream is seldom ready at once, and has much to do if it is.
        let at_once = target.poll_time.is_light()
            && !is_large
            && !matches!(key, CallKey::Stream(_))
            && (!is_call || target.reply_size.is_small() || self.has_room(scratch.replies.bytes()));
        let dispatcher =
            self.dispatchers[target.service].get_or_insert_with(|| self.link.registry.open(target.service));
        let (future, start) = if at_once {
            self.samples = (self.samples + 1) % SAMPLE;
            let since = (self.samples == 0).then(Instant::now);
            let is_sampled = since.is_some();
            let started = dispatcher.run(request, &mut ambient);
            if let Some(since) = since {
                target.poll_time.record(since);
            }
            match started {
                Started::Ended(reply) => {
                    target.reply_size.note(reply_bytes(&reply), is_sampled);
                    if let Some(id) = key.reply_id() {
                        let metadata = ambient.as_ref().and_then(Ambient::take_reply_metadata);
                        scratch.replies.push(id, &reply, metadata.as_deref(), sizes);
                    }
                    return Ran::AtOnce;
                }
                Started::Pending(future) => (future, None),
            }
        } else {
            let start = if is_call { Start::Held { bytes, place: None } } else { Start::Free };
            (dispatcher.start(request), Some(start))
        };
        HandlerTask {
            link: self.link.clone(),
            key,
            ambient,
            future: Some(future),
            target: id,
            timed: start.is_some() && !method.streaming && !is_large,
            start: start.unwrap_or(Start::Free),
        }
        .spawn(!method.no_cancel);
        Ran::Kept
    }

    /// Whether a reply that may be large can be begun, beside so many bytes that this read has caused.
    fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.link.limits.send_queue_bytes() && !self.link.is_crowded(&self.link.lock())
    }

    // ---- writing ----

    /// Writes what waits. Woken to do so, it first goes to the back of the queue once, so that others can add to it.
    fn poll_writes(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut effects = LinkEffects::default();
        // Twice, for what was added meanwhile, or one fragment; then the others on this thread go first.
        for _ in 0..2 {
            let mut shared = self.link.lock();
            if let Some(error) = shared.write_error.take() {
                return Err(error);
            }
            if shared.kicked && !self.gave_way && self.closing.is_none() && shared.connection.has_output() {
                self.gave_way = true;
                cx.waker().wake_by_ref();
                return Ok(());
            }
            shared.kicked = false;
            self.gave_way = false;
            let has_output = shared.connection.has_output();
            let Some(mut writer) = shared.writer.take_if(|writer| has_output || !writer.is_idle()) else {
                return Ok(());
            };
            if writer.is_idle() {
                shared.load(&mut writer, &mut effects);
            }
            drop(shared);
            effects.run();
            let written = writer.poll_write(cx);
            let mut shared = self.link.lock();
            let progress = writer.took_progress();
            self.blocked = written.is_pending();
            match &written {
                Poll::Ready(_) => {
                    shared.connection.sent();
                    shared.recycle(&mut writer);
                }
                Poll::Pending => shared.connection.blocked(now(), progress),
            }
            shared.writer = Some(writer);
            let more = shared.connection.has_output();
            let large = shared.connection.large_bytes() > 0;
            drop(shared);
            match written {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(()),
            }
            if !more {
                return Ok(());
            }
            if large {
                break;
            }
        }
        // There is more already; the others on this thread go first.
        cx.waker().wake_by_ref();
        Ok(())
    }

    // ---- time ----

    /// Does what is due, and says whether that left something to write.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        self.timer.poll(&self.link, cx)?;
        let shared = self.link.lock();
        let connection = &shared.connection;
        let finished = connection.is_ending() && connection.is_finished(now());
        // What callers have queued is written when their kick is answered, and large messages have their turns.
        let more = finished
            || (connection.output_bytes() > 0 && !shared.kicked && shared.writer.is_some() && !self.blocked);
        drop(shared);
        if finished {
            let error = Error::not_executed(Code::Unavailable, "the connection was closed in good order");
            let mut effects = LinkEffects::default();
            self.link.lock().connection.close(error.clone(), &mut effects);
            effects.run();
            self.close_with(error);
        }
        Ok(more)
    }

    // ---- the end ----

    fn start_closing(&mut self, violation: &Violation) {
        let mut effects = LinkEffects::default();
        let error = self.link.lock().connection.violated(violation, &mut effects);
        effects.run();
        tracing::debug!(peer = ?self.peer, "{error}");
        self.close_with(error);
    }

    fn close_with(&mut self, error: Error) {
        self.closing.get_or_insert(Closing { error, until: now() + CLOSE_TIMEOUT, shut_down: false });
    }

    /// Writes the last bytes, shuts down, and waits for the other side to do so: a connection that is dropped with
    /// bytes unread would take its last words with it.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(closing) = &mut self.closing else { return Poll::Pending };
        let error = closing.error.clone();
        if self.timer.poll_until(closing.until, cx).is_ready() {
            return Poll::Ready(error);
        }
        if !closing.shut_down {
            let mut shared = self.link.lock();
            let output = shared.connection.has_output();
            // A caller may have the writer; it comes back with a kick.
            let Some(writer) = shared.writer.as_mut().filter(|writer| !output && writer.is_idle()) else {
                return Poll::Pending;
            };
            if ready!(writer.poll_shutdown(cx)).is_err() {
                return Poll::Ready(error);
            }
            closing.shut_down = true;
        }
        for _ in 0..READS_A_TURN {
            if self.ended {
                return Poll::Ready(error);
            }
            let count = with_scratch(|scratch| {
                let mut buffer = ReadBuf::new(&mut scratch.bytes);
                Pin::new(&mut self.recv).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            });
            match ready!(count) {
                Ok(0) | Err(_) => self.ended = true,
                Ok(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads, runs and writes; what time asks for comes last, since no call waits for it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.closing.is_none() {
            if self.parked.len() > 0 {
                with_scratch(|scratch| self.run_parked(scratch));
            }
            self.poll_reads(cx)?;
        }
        self.poll_writes(cx)?;
        if self.closing.is_none() && self.poll_time(cx)? {
            self.poll_writes(cx)?;
        }
        // What had to go out before more could be read may be out: nothing else would wake the task for that.
        let shared = self.link.lock();
        let reading_waits = shared.reading_waits;
        self.link.let_in(shared);
        if reading_waits && !self.is_backed_up() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// The connection is lost: those who wait on it learn why.
    fn end(&mut self, error: Error) -> Poll<Error> {
        self.link.close(error.clone());
        Poll::Ready(error)
    }
}

impl Future for Driver {
    type Output = Error;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        let this = self.get_mut();
        this.link.lock().register(cx.waker());
        loop {
            match this.poll_turn(cx) {
                Ok(()) => break,
                // Now it is closing, and the next turn only writes.
                Err(End::Violation(violation)) => this.start_closing(&violation),
                Err(End::Lost(error)) => return this.end(error),
            }
        }
        this.poll_close(cx)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Whatever ended it, nobody is left waiting.
        let error = match &self.closing {
            Some(closing) => closing.error.clone(),
            None => Error::new(Code::Unavailable, "the connection was lost"),
        };
        let ignored = self.link.lock().connection.ignored();
        if ignored > 0 {
            tracing::debug!(peer = ?self.peer, ignored, "replies and cancels came for calls that were not there");
        }
        self.link.close(error);
    }
}

/// Memory for a frame of this length.
fn room(length: usize) -> Vec<u8> {
    if length < LARGE_BYTES { Vec::new() } else { pool::take(length) }
}

/// The fragment whose beginning this is, if that can be told and it is one.
fn begun_fragment(bytes: &[u8]) -> Option<Result<Fragment<'_>, Malformed>> {
    let length = frame::length(bytes)?;
    let body = &bytes[LENGTH_BYTES..];
    if body.len() < FRAGMENT_BEGUN_BYTES { None } else { decode_fragment(body, length) }
}

fn sound(fragment: Result<Fragment<'_>, Malformed>) -> Result<Fragment<'_>, Violation> {
    fragment.map_err(|malformed| Violation::new(Reason::Protocol, malformed))
}

enum Ran {
    AtOnce,
    Kept,
}

/// Where the bytes of a batch lie.
enum Source<'a> {
    /// In memory that is lent for the batch.
    Lent(&'a [u8]),
    /// In memory of their own, which can be shared.
    Owned(&'a Bytes),
}

impl Source<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Lent(bytes) => bytes,
            Source::Owned(bytes) => bytes,
        }
    }

    /// A value in these bytes that is to be kept, copied only if it must be.
    fn payload(&self, value: &[u8]) -> Payload {
        match self {
            Source::Owned(bytes) if value.len() > SMALL_BYTES => Payload::from(bytes.slice_ref(value)),
            _ => Payload::from_slice(value),
        }
    }
}

/// Why a connection cannot go on.
enum End {
    Violation(Violation),
    Lost(Error),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        End::Violation(violation)
    }
}

impl From<frame::BadLength> for End {
    fn from(bad: frame::BadLength) -> Self {
        End::Violation(Violation::new(Reason::Frame, bad))
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Lost(lost(error))
    }
}

fn lost(error: io::Error) -> Error {
    Error::new(Code::Unavailable, "the connection was lost").with_source(error)
}
