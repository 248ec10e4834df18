//! Large messages on their way out: cut into fragments, which take turns, so that whatever is small waits for one
//! fragment at most.

use std::collections::VecDeque;

use bytes::Bytes;

use super::outbox::Outbox;
use super::streams::StreamKey;
use crate::marshal::Payload;
use crate::message::{FRAGMENT_HEAD_BYTES, Hello, encode_fragment};

/// A message from this size on goes in fragments; below, cutting it costs more than others wait for it.
const LARGE_BYTES: usize = 256 * 1024;

/// How much of a message a fragment carries, and how much of large messages goes out at once.
const FRAGMENT_BYTES: usize = 64 * 1024;

/// How many messages may be under way at once in a direction: a part of the protocol.
pub(crate) const MAX_UNDER_WAY: usize = 16;

/// How messages must be for the other side to take them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The largest message, in one frame or in fragments.
    largest: usize,
    /// The largest that goes in one frame.
    whole: usize,
    /// How much a fragment carries.
    fragment: usize,
}

impl Sizes {
    /// What a side takes that says this of itself.
    pub(crate) fn of(hello: &Hello) -> Self {
        let fragment = FRAGMENT_BYTES.min(hello.frame_bytes - FRAGMENT_HEAD_BYTES);
        if hello.has_fragments {
            let whole = LARGE_BYTES.min(hello.frame_bytes);
            Sizes { largest: hello.message_bytes, whole, fragment }
        } else {
            Sizes { largest: hello.frame_bytes, whole: hello.frame_bytes, fragment }
        }
    }

    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    /// Whether a message of this size has to go in fragments.
    pub(crate) fn is_large(&self, size: usize) -> bool {
        size > self.whole
    }
}

/// Whose message it is, for whoever gives it up or has to know when it has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A call of this side that awaits its reply.
    Call(u64),
    /// A call of this side that awaits none.
    OneWay,
    /// The reply to a call of the other side.
    Reply(u64),
    /// The reply that begins a stream, which is never given up: an end follows in any case.
    Opening(StreamKey),
    /// Items of a stream.
    Items(StreamKey),
    /// What ends a stream or a call with streams, and is never given up.
    Final,
}

/// A message that is to go in fragments: its pieces, one after the other, never copied.
#[derive(Debug)]
pub(crate) struct Transfer {
    owner: Owner,
    /// What has not gone yet; their sum.
    pieces: [Bytes; 3],
    rest: usize,
    /// What must not overtake it.
    followers: Vec<Transfer>,
}

impl Transfer {
    /// A message of what `head` writes, the payload, and what follows it.
    pub(crate) fn new(
        owner: Owner,
        head: impl FnOnce(&mut Vec<u8>),
        payload: &Payload,
        tail: &'static [u8],
    ) -> Self {
        let mut bytes = Vec::new();
        head(&mut bytes);
        let payload = payload.bytes().cloned().unwrap_or_else(|| Bytes::copy_from_slice(payload));
        let pieces = [Bytes::from(bytes), payload, Bytes::from_static(tail)];
        let rest = pieces.iter().map(Bytes::len).sum();
        Transfer { owner, pieces, rest, followers: Vec::new() }
    }

    /// Takes the next bytes, so many at most, as slices of the pieces.
    fn cut(&mut self, mut bytes: usize) -> [Bytes; 3] {
        let cut = self.pieces.each_mut().map(|piece| {
            let slice = piece.split_to(bytes.min(piece.len()));
            bytes -= slice.len();
            slice
        });
        self.rest -= cut.iter().map(Bytes::len).sum::<usize>();
        cut
    }
}

/// All messages that are to go in fragments.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    /// Those that have not begun, in the order in which they will.
    waiting: VecDeque<Transfer>,
    /// Those whose fragments take turns; the first one is next.
    under_way: VecDeque<UnderWay>,
    /// The sizes of those under way.
    under_way_bytes: usize,
    /// How many bytes have not gone.
    rest: usize,
}

#[derive(Debug)]
struct UnderWay {
    transfer: Transfer,
    /// Its name among those under way.
    number: u8,
    size: usize,
    /// Some of it has gone, so that the other side knows of it.
    begun: bool,
}

/// What became of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// How many bytes were put into the outbox.
    pub(crate) bytes: usize,
    /// Whose message has gone with this, all of it.
    pub(crate) gone: Option<Owner>,
}

impl Transfers {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// How many bytes of all these messages have not gone.
    pub(crate) fn bytes(&self) -> usize {
        self.rest
    }

    pub(crate) fn push(&mut self, transfer: Transfer) {
        self.rest += transfer.rest;
        self.waiting.push_back(transfer);
    }

    /// Adds a message that goes when that of another owner has gone, or was given up.
    pub(crate) fn push_behind(&mut self, owner: Owner, transfer: Transfer) {
        let under_way = self.under_way.iter_mut().map(|under_way| &mut under_way.transfer);
        match self.waiting.iter_mut().chain(under_way).find(|other| other.owner == owner) {
            Some(first) => first.followers.push(transfer),
            None => self.push(transfer),
        }
    }

    /// Whether there are messages of this owner.
    pub(crate) fn has(&self, owner: Owner) -> bool {
        self.owners().any(|other| other == owner)
    }

    /// The calls that have not gone whole.
    pub(crate) fn calls(&self) -> Vec<u64> {
        let call = |owner| if let Owner::Call(call) = owner { Some(call) } else { None };
        self.owners().filter_map(call).collect()
    }

    fn owners(&self) -> impl Iterator<Item = Owner> {
        let under_way = self.under_way.iter().map(|under_way| under_way.transfer.owner);
        self.waiting.iter().map(|transfer| transfer.owner).chain(under_way)
    }

    /// Puts the next fragments into an outbox, as many as go out at once: one, unless they are small.
    pub(crate) fn take_turns(&mut self, sizes: &Sizes, outbox: &mut Outbox, mut took: impl FnMut(Turn)) {
        let mut bytes = 0;
        while bytes < FRAGMENT_BYTES {
            let Some(turn) = self.take_turn(sizes, outbox) else { return };
            bytes += turn.bytes;
            took(turn);
        }
    }

    fn take_turn(&mut self, sizes: &Sizes, outbox: &mut Outbox) -> Option<Turn> {
        self.start_waiting(sizes);
        let mut under_way = self.under_way.pop_front()?;
        under_way.begun = true;
        let slices = under_way.transfer.cut(sizes.fragment);
        let length = slices.iter().map(Bytes::len).sum();
        self.rest -= length;
        let rest = under_way.transfer.rest;
        let number = u64::from(under_way.number);
        let bytes =
            outbox.push_fragment(slices, |out| encode_fragment(out, number, Some(rest as u64), length));
        let gone = if rest == 0 {
            self.under_way_bytes -= under_way.size;
            let Transfer { owner, followers, .. } = under_way.transfer;
            followers.into_iter().for_each(|follower| self.push(follower));
            Some(owner)
        } else {
            self.under_way.push_back(under_way);
            None
        };
        Some(Turn { bytes, gone })
    }

    /// Lets messages begin, in order, as long as the other side takes one more.
    fn start_waiting(&mut self, sizes: &Sizes) {
        while self.under_way.len() < MAX_UNDER_WAY {
            let Some(next) = self.waiting.front() else { return };
            let size = next.rest;
            // Each alone is within the limit, or it would have been refused.
            if !self.under_way.is_empty() && self.under_way_bytes + size > sizes.largest {
                return;
            }
            let taken = self.under_way.iter().fold(0u32, |taken, other| taken | 1 << other.number);
            let number = taken.trailing_ones() as u8;
            self.under_way_bytes += size;
            // The loop has just looked at it.
            let Some(transfer) = self.waiting.pop_front() else { return };
            self.under_way.push_back(UnderWay { transfer, number, size, begun: false });
        }
    }

    /// Gives up the messages of all owners that `is_gone`; `tell` gets the numbers of which the other side knows.
    /// Says whether there were any.
    pub(crate) fn give_up(
        &mut self,
        mut is_gone: impl FnMut(Owner) -> bool,
        mut tell: impl FnMut(u64),
    ) -> bool {
        let before = self.rest;
        let mut followers = Vec::new();
        self.waiting.retain_mut(|transfer| {
            let gone = is_gone(transfer.owner);
            if gone {
                self.rest -= transfer.rest;
                followers.append(&mut transfer.followers);
            }
            !gone
        });
        self.under_way.retain_mut(|under_way| {
            let gone = is_gone(under_way.transfer.owner);
            if gone {
                self.rest -= under_way.transfer.rest;
                self.under_way_bytes -= under_way.size;
                followers.append(&mut under_way.transfer.followers);
                if under_way.begun {
                    tell(u64::from(under_way.number));
                }
            }
            !gone
        });
        let any = self.rest != before;
        followers.into_iter().for_each(|follower| self.push(follower));
        any
    }

    /// Forgets them all: there is nobody to send them to.
    pub(crate) fn clear(&mut self) {
        *self = Transfers::default();
    }
}
