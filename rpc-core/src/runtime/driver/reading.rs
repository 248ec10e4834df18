//! Bytes come in: cut into frames, fragments put together, all of it handed on in batches.

use std::future::Future;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::super::buffers::{Scratch, with_scratch};
use super::super::clock::now;
use super::super::link::{LinkEffects, Writer};
use super::super::turns::Turn;
use super::super::unsent::COUNTED_BYTES;
use super::running::Source;
use super::{Driver, End, Manner, READS_A_TURN, Side};
use crate::frame::{self, LENGTH_BYTES};
use crate::message::{FRAGMENT_BEGUN_BYTES, Fragment, Malformed, Reason, decode_fragment};
use crate::pool::{self, POOLED_BYTES};
use crate::protocol::Violation;
use crate::{Code, Error};

/// From so many missing bytes of a frame on they are read to where they stay.
const LARGE_BYTES: usize = 64 * 1024;

/// From so many missing bytes of a fragment on they are read to where they stay.
const DIRECT_BYTES: usize = 32 * 1024;

/// How much is read at once between the fragments of large messages, of who says very much, and where answers to what
/// is read pile up.
const BETWEEN_BYTES: usize = 16 * 1024;

/// How much is read at first, of who may turn out to say very much.
const FIRST_BYTES: usize = 4 * 1024;

/// More messages than this in a read are more than anybody has a reason to send at once: as many calls as may run. What
/// is read next is less, until there are few messages in it, for each takes its time, in which no other connection of the
/// thread has its turn.
const MANY_MESSAGES: usize = 1_024;
const FEW_MESSAGES: usize = 128;
const FIRST_MESSAGES: usize = 64;

impl Manner {
    /// More messages in a read are very much.
    fn many(self) -> usize {
        match self {
            Manner::Unknown => FIRST_MESSAGES,
            Manner::Usual => MANY_MESSAGES,
            Manner::Talkative => FEW_MESSAGES,
        }
    }
}

impl Driver {
    /// Reads what is there, twice at most.
    ///
    /// # Errors
    /// What ends the connection.
    pub(super) fn poll_reads(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.is_backed_up() {
            // Whoever has a turn and does not use it would keep all others from theirs.
            self.reader = None;
            return Ok(());
        }
        let Poll::Ready(_turn) = self.poll_turn_to_read(cx) else { return Ok(()) };
        for _ in 0..READS_A_TURN {
            if self.ended {
                return Ok(());
            }
            match self.poll_read(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(()),
            }
            self.hold()?;
            if self.manner == Manner::Talkative {
                break;
            }
        }
        // There may be more: the others on this thread go first.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Whether so much of what the other side asked for waits for it to be read, or so many of its one-way calls
    /// run, that its requests wait too.
    pub(super) fn is_backed_up(&mut self) -> bool {
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
        let most = limits.send_queue_bytes();
        let most = if self.link.is_server_pressed() { most.min(COUNTED_BYTES) } else { most };
        // They wait for the other side to read as well.
        let held = self.side == Side::Accepted && shared.held.bytes() > limits.message_bytes();
        // One that runs may be what waits for the reply that would be read.
        let parks = shared.connection.awaits_replies() && self.parked.bytes() <= limits.send_queue_bytes();
        let full = shared.connection.oneways() >= limits.calls() && !parks;
        shared.reading_waits = waiting > most || full || held;
        if shared.reading_waits {
            let now = now();
            shared.connection.not_reading(now);
            self.reassembly.not_reading(now);
        }
        shared.reading_waits
    }

    /// Who says very much, or something large, is read when it is its turn, which is over when it is dropped, where many
    /// do. All others are read whenever they like, as is a server by its client, which has chosen it.
    pub(super) fn poll_turn_to_read(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let takes_long = self.manner == Manner::Talkative
            || self.assembler.missing().is_some_and(|missing| missing >= LARGE_BYTES)
            || self.reassembly.missing() >= DIRECT_BYTES;
        if self.side == Side::Opened || !takes_long {
            self.reader = None;
            return Poll::Ready(None);
        }
        let reader = self.reader.get_or_insert_with(|| Box::new(self.link.registry.turns.reader()));
        reader.poll_turn(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match self.assembler.missing() {
            Some(missing) if missing >= LARGE_BYTES => self.poll_read_large(cx),
            _ if self.reassembly.missing() >= DIRECT_BYTES => self.poll_read_fragment(cx),
            _ => with_scratch(|scratch| self.poll_read_scratch(scratch, cx)),
        }
    }

    /// Reads into the large frame under way, where its bytes stay.
    fn poll_read_large(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.assembler.room();
        // Before it is filled.
        self.hold()?;
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

    /// Reads into the message that the fragment under way belongs to, where its bytes stay.
    fn poll_read_fragment(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.reassembly.room();
        self.hold()?;
        let Some((room, step)) = self.reassembly.room() else { return Poll::Pending };
        let mut room = room.limit(step);
        let count = ready!(pin!(self.recv.read_buf(&mut room)).poll(cx))?;
        if count == 0 {
            return Poll::Ready(self.end_of_bytes());
        }
        let message = self.reassembly.came(count, now());
        self.received(self.is_partial());
        let taken = message.map(|message| with_scratch(|scratch| self.take_message(message, scratch)));
        Poll::Ready(taken.unwrap_or(Ok(())))
    }

    /// Reads into the thread's scratch and takes the frames from there.
    fn poll_read_scratch(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut bytes = std::mem::take(&mut scratch.bytes);
        let most = match self.manner {
            Manner::Unknown => FIRST_BYTES,
            Manner::Talkative => BETWEEN_BYTES,
            Manner::Usual if self.link.is_server_pressed() => BETWEEN_BYTES,
            // Of a large fragment that comes next the beginning is enough: the rest is read to where it stays.
            Manner::Usual if !self.reassembly.is_empty() => BETWEEN_BYTES,
            Manner::Usual => bytes.len(),
        };
        let mut buffer = ReadBuf::new(&mut bytes[..most]);
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
        let is_much = frames.len() > self.manner.many();
        self.manner = if is_much { Manner::Talkative } else { Manner::Usual };
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
        // It does not count twice: as what has not come whole, and for its handler.
        self.hold()?;
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
        self.hold()?;
        let bytes = pool::share(message);
        let whole = 0..bytes.len();
        self.take_frames(Source::Owned(&bytes), std::slice::from_ref(&whole), scratch)
    }

    /// Whether a frame has begun to come and is not complete.
    pub(super) fn is_partial(&self) -> bool {
        self.assembler.is_partial() || self.reassembly.is_partial()
    }
}

/// Memory for a frame of this length.
fn room(length: usize) -> Vec<u8> {
    if length < POOLED_BYTES { Vec::new() } else { pool::take(length) }
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
