//! The state of one connection, both roles in one.

mod calling;
mod cancelling;
mod ending;
mod messages;
mod serving;
mod streaming;
mod time;
mod transferring;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use self::serving::Replies;
pub(crate) use self::streaming::{Batch, BatchBytes};
use super::calls::{CallFailure, CallId, Calls, Outcome};
use super::cancels::Cancels;
use super::outbox::Outbox;
use super::rate::{Limit, Rate};
use super::served::{CallKey, Counts, Served};
use super::streams::Streams;
use super::transfers::{Sizes, Transfers};
use crate::limits::Limits;
use crate::marshal::Payload;
use crate::message::{GoAway, Hello, Reason, encode_goaway};
use crate::{Error, Metadata};

/// One connection: the calls made on it, the calls served on it, the bytes waiting to go out.
#[derive(Debug)]
pub(crate) struct Connection<C, W, H> {
    limits: Arc<Limits>,
    phase: Phase,
    calls: Calls<C>,
    /// How often this side has cancelled; most connections never do.
    cancels: Option<Box<Cancels>>,
    /// What goes out next ends with a ping, to know how much of that has been read.
    asks: bool,
    served: Served<H>,
    /// How often the other side has cancelled what had hardly begun.
    cancelled: Option<Box<Rate>>,
    streams: Streams<W>,
    outbox: Outbox,
    /// Large messages, which go after what lies in the outbox.
    transfers: Transfers,
    /// All bytes ever put into the outbox or sent in fragments, and those of them that a transport has been given.
    queued: u64,
    handed_over: u64,
    /// How much of what waits to go out the other side has caused by asking, handlers' replies apart.
    owed: usize,
    /// How many calls are among what waits to go out.
    unsent: usize,
    /// What the other side takes.
    peer: PeerLimits,
    /// The longest message that it may send; without fragments its frames alone are what counts.
    longest: usize,
    /// We take no more calls, since then; the other side has that long to learn of it.
    draining: Option<Instant>,
    notice: Option<Instant>,
    /// How many of the calls served have their answer there.
    answered: Counts,
    /// The other side has said that it goes; that it goes at once, because of an error; its bytes have ended.
    peer_leaving: bool,
    peer_gone: bool,
    peer_ended: bool,
    /// What is to be said as soon as no large one-way call waits to go out: that nothing more will come from here.
    parting: Option<&'static str>,
    /// Nobody on this side will call any more; the other side may have called meanwhile.
    retired: bool,
    serves: bool,
    alive: Alive,
    /// Since when the other side owes the rest of a frame, the next fragment of a message, or does not read.
    owes_frame: Option<Instant>,
    owes_fragment: Option<Instant>,
    owes_reading: Option<Instant>,
    /// Late replies and cancels, which found nothing.
    ignored: u64,
    /// The highest id of a call of the other side, taken or refused.
    highest_seen: u64,
    /// How many messages of items without an item have come in a row.
    empty_items: u32,
}

/// What the other side takes.
#[derive(Debug)]
struct PeerLimits {
    sizes: Sizes,
    calls: usize,
    streams: usize,
    /// The credit that each stream begins with.
    stream_bytes: usize,
    /// How often it may be pinged.
    pings_per_second: u32,
    /// Calls that are cancelled when they have hardly begun.
    cancels: Limit,
    has_streams: bool,
}

impl From<&Hello> for PeerLimits {
    fn from(hello: &Hello) -> Self {
        PeerLimits {
            sizes: Sizes::of(hello),
            calls: hello.calls,
            streams: hello.streams,
            stream_bytes: hello.stream_bytes,
            pings_per_second: hello.pings_per_second,
            cancels: Limit { at_once: hello.cancels, per_second: hello.cancels_per_second },
            has_streams: hello.has_streams,
        }
    }
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
    /// The last ping that was sent, and the last one that was answered.
    pings: u64,
    answered: u64,
    ping: Way,
    /// How often the other side has sent one.
    pinged: Rate,
}

/// How far the last ping has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It waits behind other bytes.
    Waits,
    /// It is among those that are being written.
    Goes,
    /// The transport has it.
    Gone,
}

impl Alive {
    /// Whether a ping is on its way. There is one at a time, so that no delay makes them more than the other side takes.
    fn is_asking(&self) -> bool {
        self.answered < self.pings
    }

    /// What was being written is written, and what waited is next.
    #[inline]
    fn ping_goes_on(&mut self) {
        if self.ping != Way::Gone {
            self.ping = if self.ping == Way::Waits { Way::Goes } else { Way::Gone };
        }
    }

    /// The other side takes what lies before a ping: until it has that as well, it cannot be late with the answer.
    fn ping_is_behind(&mut self, now: Instant) {
        if self.ping != Way::Gone {
            self.asked = self.asked.and(Some(now));
        }
    }
}

/// A call as its caller enters it.
#[derive(Debug)]
pub(crate) struct NewCall<'a> {
    pub(crate) method: &'a str,
    pub(crate) payload: &'a Payload,
    pub(crate) metadata: Option<&'a Metadata>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) oneway: bool,
    /// How many of its arguments are streams, if it has any or its reply may be one.
    pub(crate) streams: Option<u8>,
    /// Wait for a connection even without a deadline.
    pub(crate) patient: bool,
    /// It calls back whoever called here, and has no other connection to go to.
    pub(crate) back: bool,
}

/// What became of a call that was entered.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It was sent, and waits for its outcome.
    Entered(CallId),
    /// It waits for a connection or a place.
    Waiting(CallId),
    /// One-way: it is in the queue.
    Queued,
    Ended(CallFailure),
}

/// What a message or a moment causes outside of the connection.
#[derive(Debug)]
pub(crate) struct Effects<C, W, H> {
    /// Calls that have ended, each with how.
    pub(crate) ended: Vec<(C, Outcome)>,
    /// Calls that have their place now: enter them again under [`Connection::resume`].
    pub(crate) granted: Vec<C>,
    /// Who waits for something to happen to a stream, and it has.
    pub(crate) wake: Vec<W>,
    pub(crate) stop: Vec<H>,
    /// Ids that were cancelled; a call of the same batch may not have been started yet.
    pub(crate) cancelled: Vec<u64>,
}

/// What a head takes at most beside the method's name and the metadata.
const HEAD_BYTES: usize = 48;

impl<C, W, H> Default for Effects<C, W, H> {
    fn default() -> Self {
        Effects {
            ended: Vec::new(),
            granted: Vec::new(),
            wake: Vec::new(),
            stop: Vec::new(),
            cancelled: Vec::new(),
        }
    }
}

/// A call of the other side that may run.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) key: CallKey,
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: Option<Box<Metadata>>,
    /// How many of its arguments are streams.
    pub(crate) streams: u8,
}

/// What a message asks of the runtime.
#[derive(Debug)]
pub(crate) enum Handled<'a> {
    Nothing,
    Call { admitted: Admitted, method: &'a [u8], params: &'a [u8] },
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

impl<C: Clone, W, H> Connection<C, W, H> {
    /// A connection that is not open yet.
    pub(crate) fn new(limits: Arc<Limits>, now: Instant) -> Self {
        Connection {
            peer: PeerLimits::from(&Hello::new(&limits)),
            longest: limits.message_bytes(),
            streams: Streams::new(&limits),
            limits,
            phase: Phase::Connecting { failure: None },
            calls: Calls::default(),
            cancels: None,
            asks: false,
            served: Served::new(now),
            cancelled: None,
            outbox: Outbox::default(),
            transfers: Transfers::default(),
            queued: 0,
            handed_over: 0,
            owed: 0,
            unsent: 0,
            draining: None,
            notice: None,
            answered: Counts::default(),
            peer_leaving: false,
            peer_gone: false,
            peer_ended: false,
            parting: None,
            retired: false,
            serves: false,
            alive: Alive {
                heard: now,
                asked: None,
                pings: 0,
                answered: 0,
                ping: Way::Gone,
                pinged: Rate::new(now),
            },
            owes_frame: None,
            owes_fragment: None,
            owes_reading: None,
            ignored: 0,
            highest_seen: 0,
            empty_items: 0,
        }
    }

    /// The hellos have been exchanged.
    pub(crate) fn open(&mut self, hello: &Hello, now: Instant, effects: &mut Effects<C, W, H>) {
        self.peer = PeerLimits::from(hello);
        if !hello.has_fragments {
            self.longest = self.longest.max(self.limits.frame_bytes());
        }
        self.alive.heard = now;
        self.phase = Phase::Open;
        if self.draining.is_some() {
            self.push_drain();
        }
        self.grant(effects);
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether calls may still be entered here.
    #[inline]
    pub(crate) fn takes_calls(&self) -> bool {
        !self.peer_leaving && !matches!(self.phase, Phase::Closed)
    }

    /// Whether calls back may still be entered here. When either side drains they may while a call of the other
    /// side runs, since that may need them to come to its end.
    pub(crate) fn takes_calls_back(&self) -> bool {
        let drains = self.peer_leaving && !self.peer_gone && !self.peer_ended && self.is_open();
        self.takes_calls() || drains && self.served.admitted() != Counts::default()
    }

    /// How many calls have been entered and have not ended.
    #[inline]
    pub(crate) fn calls(&self) -> usize {
        self.calls.occupied()
    }

    /// How many replies and cancels came for calls that were not there any more, or never.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored
    }

    /// How many calls are among what waits to go out.
    #[inline]
    pub(crate) fn unsent_calls(&self) -> usize {
        self.unsent
    }

    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || !self.transfers.is_empty() || self.asks
    }

    /// How many bytes wait to go out, large messages apart.
    pub(crate) fn output_bytes(&self) -> usize {
        self.outbox.len()
    }

    /// How many bytes of large messages wait to go out.
    pub(crate) fn large_bytes(&self) -> usize {
        self.transfers.bytes()
    }

    /// How many bytes wait to go out that the other side has caused by asking: pongs and refusals.
    pub(crate) fn owed_bytes(&self) -> usize {
        self.owed
    }

    /// Puts what goes out next into an empty outbox, and keeps the buffers of that for what comes after: all that is
    /// small, and a fragment of what is large.
    pub(crate) fn take_output(&mut self, output: &mut Outbox, effects: &mut Effects<C, W, H>) {
        if self.asks {
            self.ask_about_cancels();
        }
        self.owed = 0;
        self.unsent = 0;
        self.answered = Counts::default();
        std::mem::swap(&mut self.outbox, output);
        self.push_fragments(output, effects);
        // What is queued from here on goes out next time.
        self.handed_over = self.queued;
        self.part();
        self.alive.ping_goes_on();
        self.make_room(effects);
        if self.calls.has_queues() {
            self.grant(effects);
        }
    }

    /// Whether no call is there, either way.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.occupied() == 0 && self.served.admitted() == Counts::default()
    }

    /// Does something about the memory of the outbox, if nothing is in it.
    pub(crate) fn leave_output(&mut self, leave: impl FnOnce(&mut Outbox)) {
        if self.outbox.is_empty() && self.outbox.is_large() {
            leave(&mut self.outbox);
        }
    }

    /// Gives up memory that calls have left which are over. It costs the next ones a little.
    fn shrink(&mut self, now: Instant) {
        if self.outbox.is_empty() {
            self.outbox = Outbox::default();
        }
        self.cancels.take_if(|cancels| cancels.is_idle(now));
        self.cancelled.take_if(|rate| rate.used(now).is_zero());
        self.calls.shrink();
        self.served.shrink();
        self.streams.shrink();
        self.transfers.shrink();
    }

    /// What is to be said of metadata that is too large.
    fn excess(&self, metadata: &Metadata) -> Option<String> {
        let (size, limit) = (metadata.bytes(), self.limits.metadata_bytes());
        (size > limit).then(|| format!("metadata of {size} bytes, the limit is {limit}"))
    }

    fn push_message(&mut self, message: impl FnOnce(&mut Vec<u8>)) {
        let before = self.outbox.len();
        self.outbox.push_message(message);
        self.queued += (self.outbox.len() - before) as u64;
    }

    /// Appends a message that the other side has asked for.
    fn push_owed(&mut self, message: impl FnOnce(&mut Vec<u8>)) {
        let before = self.outbox.len();
        self.push_message(message);
        self.owed += self.outbox.len() - before;
    }

    fn push_goaway(&mut self, reason: Reason, message: &str) {
        // A side that drains takes what was on its way when it said so.
        let last_id = if reason == Reason::Drain { u64::MAX } else { self.served.last_id() };
        self.push_message(|out| encode_goaway(out, &GoAway { last_id, reason, message }));
    }

    /// How many calls of the other side count as running.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn running(&self) -> usize {
        self.served.admitted().calls
    }

    /// What is left of calls: all zero where there are none.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn rest(&self) -> Rest {
        Rest {
            calls: self.calls.occupied(),
            placed: [super::calls::Place::Call, super::calls::Place::Stream]
                .map(|place| self.calls.placed(place)),
            served: self.served.admitted(),
            streams: self.streams.rest(),
        }
    }

    /// How much the streams that flow in have grown.
    #[cfg(test)]
    pub(super) fn rest_of_growth(&self) -> usize {
        self.streams.rest().2
    }

    #[cfg(test)]
    pub(super) fn use_up_ids(&mut self, left: u64) {
        self.calls.use_up_ids(left);
    }
}

/// What is left of the calls of a connection.
#[cfg(any(test, fuzzing))]
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    calls: usize,
    placed: [usize; 2],
    served: Counts,
    /// Calls made here and there with streams, and how much these have grown.
    streams: (usize, usize, usize),
}
