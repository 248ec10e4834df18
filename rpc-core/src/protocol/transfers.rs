//! Large messages on their way out: cut into fragments, which take turns, so that whatever is small waits for one
//! fragment at most.

use std::collections::VecDeque;

use bytes::Bytes;

use super::outbox::Outbox;
use super::rare_queue::RareQueue;
use super::streams::StreamKey;
use crate::broken::{self, Flaw};
use crate::marshal::{Gather, Payload};
use crate::message::{FRAGMENT_HEAD_BYTES, Hello, encode_fragment};

/// A message from this size on goes in fragments; below, cutting it costs more than others wait for it.
const LARGE_BYTES: usize = 256 * 1024;

/// How much of large messages goes out at once, beside small ones and alone: each turn costs the same, however much it
/// carries. A fragment has as much of one of them.
const BESIDE_BYTES: usize = 64 * 1024;
const ALONE_BYTES: usize = 256 * 1024;

/// What is left of a turn when a message has ended may be too little for a fragment of the next one to be worth it.
const LEAST_BYTES: usize = 16 * 1024;

/// How many messages may be under way at once in a direction: a part of the protocol.
pub(crate) const MAX_UNDER_WAY: usize = 16;

/// How messages must be for the other side to take them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The largest message, in one frame or in fragments.
    largest: usize,
    /// The largest that goes in one frame.
    whole: usize,
    /// How much a fragment carries at most.
    fragment: usize,
}

impl Sizes {
    /// What a side takes that says this of itself.
    pub(crate) fn of(hello: &Hello) -> Self {
        let fragment = ALONE_BYTES.min(hello.frame_bytes - FRAGMENT_HEAD_BYTES);
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
    /// What has not gone yet, and how much it is.
    pieces: VecDeque<Bytes>,
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
        let mut pieces = Pieces::default();
        head(&mut pieces.begun);
        payload.hand_over(&mut pieces);
        pieces.copy(tail);
        let pieces = pieces.finish();
        let rest = pieces.iter().map(Bytes::len).sum();
        Transfer { owner, pieces, rest, followers: Vec::new() }
    }

    /// How much of it has not gone.
    pub(super) fn rest(&self) -> usize {
        self.rest
    }

    /// Takes the next bytes, no more than there are, as slices of the pieces.
    fn cut(&mut self, mut bytes: usize) -> impl Iterator<Item = Bytes> {
        self.rest -= bytes;
        std::iter::from_fn(move || {
            let first = self.pieces.front_mut()?;
            let slice = if bytes < first.len() { first.split_to(bytes) } else { self.pieces.pop_front()? };
            bytes -= slice.len();
            (!slice.is_empty()).then_some(slice)
        })
    }
}

/// The pieces of a message: what is small is put together.
#[derive(Default)]
struct Pieces {
    whole: VecDeque<Bytes>,
    begun: Vec<u8>,
}

impl Pieces {
    fn finish(mut self) -> VecDeque<Bytes> {
        self.end();
        self.whole
    }

    fn end(&mut self) {
        if !self.begun.is_empty() {
            self.whole.push_back(std::mem::take(&mut self.begun).into());
        }
    }
}

impl Gather for Pieces {
    fn copy(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
    }

    fn keep(&mut self, bytes: Bytes) {
        self.end();
        self.whole.push_back(bytes);
    }
}

/// All messages that are to go in fragments.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    /// Those that have not begun, in the order in which they will.
    waiting: RareQueue<Transfer>,
    /// Those whose fragments take turns; the first one is next.
    under_way: RareQueue<UnderWay>,
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
        if let Some(first) = self.waiting.iter_mut().chain(under_way).find(|other| other.owner == owner) {
            return first.followers.push(transfer);
        }
        self.push(transfer);
    }

    /// Gives up memory that nothing is in.
    pub(crate) fn shrink(&mut self) {
        self.waiting.shrink();
        self.under_way.shrink();
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

    /// Puts the next fragments into an outbox, as many as go out at once: one, unless they are small. What is in the
    /// outbox already goes out with them.
    pub(crate) fn take_turns(&mut self, sizes: &Sizes, outbox: &mut Outbox, mut took: impl FnMut(Turn)) {
        let most = if outbox.is_empty() { ALONE_BYTES } else { BESIDE_BYTES };
        let mut bytes = 0;
        while bytes < most {
            let Some(turn) = self.take_turn(sizes, most - bytes, outbox) else { return };
            bytes += turn.bytes;
            took(turn);
        }
    }

    fn take_turn(&mut self, sizes: &Sizes, most: usize, outbox: &mut Outbox) -> Option<Turn> {
        self.start_waiting(sizes);
        let mut under_way = self.under_way.pop_front()?;
        let alike = |other: &&mut UnderWay| other.transfer.rest == under_way.transfer.rest;
        if broken::has(Flaw::MistakesFragment)
            && let Some(other) = self.under_way.iter_mut().find(alike)
        {
            std::mem::swap(&mut under_way.number, &mut other.number);
        }
        under_way.begun = true;
        let length = sizes.fragment.min(most.max(LEAST_BYTES)).min(under_way.transfer.rest);
        self.rest -= length;
        let rest = under_way.transfer.rest - length;
        let number = u64::from(under_way.number);
        let head = |out: &mut Vec<u8>| encode_fragment(out, number, Some(rest as u64), length);
        let bytes = outbox.push_fragment(under_way.transfer.cut(length), head);
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

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::super::outbox::MAX_SLICES;
    use super::*;
    use crate::limits::Limits;
    use crate::marshal::Shape;
    use crate::message::decode_fragment;

    fn sizes() -> Sizes {
        Sizes::of(&Hello::new(&Limits::default()))
    }

    fn transfer(owner: u64, size: usize) -> Transfer {
        let payload = Payload::from(Bytes::from(vec![owner as u8; size - 1]));
        Transfer::new(Owner::Call(owner), |out| out.push(0xee), &payload, &[])
    }

    /// The number, the rest and the data of a fragment.
    type Cut = (u64, u64, Vec<u8>);

    /// Takes a turn: its fragments, and whose messages have gone.
    fn turn(transfers: &mut Transfers, sizes: &Sizes) -> (Vec<Cut>, Vec<Owner>) {
        let mut outbox = Outbox::default();
        let mut gone = Vec::new();
        let mut bytes = 0;
        transfers.take_turns(sizes, &mut outbox, |turn| {
            bytes += turn.bytes;
            gone.extend(turn.gone);
        });
        assert_eq!((outbox.len(), outbox.small_len()), (bytes, 0));
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = outbox.slices(&mut slices);
        let written: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        let mut rest = &written[..];
        let mut fragments = Vec::new();
        while let Some((length, frames)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            let fragment =
                decode_fragment(&frames[..length], length).expect("a fragment").expect("a sound one");
            fragments.push((fragment.number, fragment.rest.expect("not given up"), fragment.data.to_vec()));
            rest = &frames[length..];
        }
        (fragments, gone)
    }

    #[test]
    fn messages_take_turns_and_their_pieces_are_the_message() {
        let mut transfers = Transfers::default();
        let lengths = [600_000, 800_000, 524_288];
        (0..).zip(lengths).for_each(|(owner, length)| transfers.push(transfer(owner, length)));
        assert_eq!(transfers.bytes(), lengths.iter().sum());
        let mut messages = [const { Vec::new() }; 3];
        let mut order = Vec::new();
        let mut all_gone = Vec::new();
        while !transfers.is_empty() {
            let (fragments, gone) = turn(&mut transfers, &sizes());
            let turn: usize = fragments.iter().map(|(_, _, data)| data.len()).sum();
            assert!(turn <= ALONE_BYTES + LEAST_BYTES, "{turn} bytes in a turn");
            assert!(fragments.len() == 1 || fragments[0].2.len() < ALONE_BYTES);
            for (number, rest, data) in fragments {
                order.push(number);
                let message = &mut messages[number as usize];
                message.extend_from_slice(&data);
                assert_eq!(message.len() + rest as usize, lengths[number as usize]);
            }
            all_gone.extend(gone);
        }
        assert_eq!(order[..6], [0, 1, 2, 0, 1, 2]);
        // What is shorter has gone earlier.
        assert_eq!(all_gone, [2, 0, 1].map(Owner::Call));
        for (owner, message) in messages.iter().enumerate() {
            assert_eq!(message[0], 0xee);
            assert!(message[1..].iter().all(|byte| usize::from(*byte) == owner));
        }
        assert_eq!((transfers.bytes(), transfers.under_way_bytes), (0, 0));
    }

    #[test]
    fn what_stands_apart_in_a_message_is_cut_in_its_place() {
        let part = |byte: u8, len: usize| Bytes::from(vec![byte; len]);
        let value = (part(1, 300_000), 7, part(2, 5_000), "x".repeat(9_000), part(3, 10), part(4, 400_000));
        let payload = Payload::marshal(&value, Shape::Named).expect("it can be marshalled");
        let mut transfers = Transfers::default();
        transfers.push(Transfer::new(Owner::Call(1), |out| out.push(0xee), &payload, &[0xc0]));
        let mut message = Vec::new();
        while !transfers.is_empty() {
            let (fragments, _) = turn(&mut transfers, &sizes());
            fragments.into_iter().for_each(|(_, _, data)| message.extend_from_slice(&data));
        }
        let expected = [&[0xee][..], payload.as_slice(), &[0xc0]].concat();
        assert!(message == expected, "{} bytes, expected {}", message.len(), expected.len());
    }

    #[test]
    fn no_more_are_under_way_than_the_other_side_takes() {
        let mut transfers = Transfers::default();
        (0..20).for_each(|owner| transfers.push(transfer(owner, 300_000)));
        turn(&mut transfers, &sizes());
        assert_eq!((transfers.under_way.len(), transfers.waiting.len()), (MAX_UNDER_WAY, 4));

        // Together no longer than the largest, in the order in which they came.
        let hello = Hello::new(&Limits::default().with_message_bytes(4_000_000));
        let mut transfers = Transfers::default();
        [2_400_000, 2_000_000, 1_200_000, 1_600_000].into_iter().zip(0..).for_each(|(length, owner)| {
            transfers.push(transfer(owner, length));
        });
        let mut gone = Vec::new();
        while !transfers.is_empty() {
            gone.extend(turn(&mut transfers, &Sizes::of(&hello)).1);
            assert!(transfers.under_way_bytes <= 4_000_000);
        }
        // The second waits for the first, the fourth for the second.
        assert_eq!(gone, [0, 2, 1, 3].map(Owner::Call));
    }

    #[test]
    fn numbers_come_again() {
        let mut transfers = Transfers::default();
        (0..3).for_each(|owner| transfers.push(transfer(owner, 300_000)));
        turn(&mut transfers, &sizes());
        turn(&mut transfers, &sizes());
        let mut told = Vec::new();
        assert!(transfers.give_up(|owner| owner == Owner::Call(1), |number| told.push(number)));
        assert_eq!(told, [1]);
        transfers.push(transfer(3, 300_000));
        let mut numbers = Vec::new();
        while !transfers.is_empty() {
            numbers.extend(turn(&mut transfers, &sizes()).0.into_iter().map(|fragment| fragment.0));
        }
        assert!(numbers.iter().all(|number| *number < 3), "{numbers:?}");
        assert_eq!(numbers.iter().filter(|number| **number == 1).count(), 2);
    }

    #[test]
    fn what_has_not_begun_is_given_up_without_a_word() {
        let mut transfers = Transfers::default();
        (0..20).for_each(|owner| transfers.push(transfer(owner, 300_000)));
        turn(&mut transfers, &sizes());
        // One that has begun, one that may and has not, one that waits.
        for (owner, known) in [(0, 1), (5, 0), (19, 0)] {
            let mut told = Vec::new();
            assert!(transfers.give_up(|other| other == Owner::Call(owner), |number| told.push(number)));
            assert_eq!(told.len(), known, "of {owner}");
            assert!(!transfers.give_up(|other| other == Owner::Call(owner), |_| panic!("it is not there")));
        }
        transfers.give_up(|_| true, |_| {});
        assert!(transfers.is_empty());
        assert_eq!((transfers.bytes(), transfers.under_way_bytes), (0, 0));
    }

    #[test]
    fn what_follows_goes_when_the_first_has_gone_or_was_given_up() {
        for give_up in [false, true] {
            let mut transfers = Transfers::default();
            transfers.push(transfer(1, 300_000));
            transfers.push_behind(Owner::Call(1), transfer(2, 100));
            turn(&mut transfers, &sizes());
            let mut gone = Vec::new();
            if give_up {
                assert!(transfers.give_up(|owner| owner == Owner::Call(1), |_| {}));
            }
            while !transfers.is_empty() {
                gone.extend(turn(&mut transfers, &sizes()).1);
            }
            assert_eq!(
                gone,
                [1, 2][usize::from(give_up)..].iter().copied().map(Owner::Call).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn small_frames_go_many_at_a_time() {
        let hello = Hello::new(&Limits::default().with_frame_bytes(1_024));
        let mut transfers = Transfers::default();
        transfers.push(transfer(7, 1_000_000));
        let (fragments, _) = turn(&mut transfers, &Sizes::of(&hello));
        assert!((250..=270).contains(&fragments.len()), "{}", fragments.len());
        assert!(fragments.iter().all(|(_, _, data)| data.len() <= 1_024 - FRAGMENT_HEAD_BYTES));
    }
}
