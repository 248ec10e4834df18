//! The calls that this side has made and that have not ended: a slab of slots, each with who waits in it.
//!
//! ```text
//!            enter                  place free           start
//!   (call) ────────► Waiting ───────────────► Granted ─────────► Sent
//!      │                │                        │                 │
//!      └────────────────│── start ───────────────│────────────────►│
//!                       ▼                        ▼                 ▼
//!                     Done ◄─────────── deadline, reply, loss ──── ┘ ──► (outcome taken: free)
//! ```
//!
//! An id is a sequence number above the index of a slot: it never comes again on a connection, grows with every
//! call that is sent, and finds its slot without a search.

use std::collections::VecDeque;
use std::time::Instant;

use crate::marshal::Payload;
use crate::{Code, Error, Executed, Metadata};

/// How many bits of an id are the index of its slot: a million calls at once on a connection.
const INDEX_BITS: u32 = 20;
const MAX_SLOTS: usize = 1 << INDEX_BITS;
const MAX_SEQUENCE: u64 = u64::MAX >> INDEX_BITS;

/// Where a call begins in the stream of bytes that goes in fragments, of which the last has not gone: beyond all
/// that a transport has been given, so that it counts as not sent.
pub(crate) const IN_FRAGMENTS: u64 = u64::MAX;

/// The name of a call on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallId(u64);

impl CallId {
    fn new(sequence: u64, index: usize) -> Self {
        CallId((sequence << INDEX_BITS) | index as u64)
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    fn index(self) -> usize {
        (self.0 & (MAX_SLOTS as u64 - 1)) as usize
    }

    /// Sequences begin with 1.
    fn is_real(self) -> bool {
        self.0 >> INDEX_BITS > 0
    }
}

/// How a call ended, its values still marshalled.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Payload, CallFailure>,
    pub(crate) metadata: Option<Box<Metadata>>,
}

/// Why a call has no value.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// The procedure's own error.
    App(Payload),
    Rpc(Error),
    /// It was never sent, or never taken, and this connection takes no more calls: it may go to another one.
    Moved,
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Outcome { result: Err(CallFailure::Rpc(error)), metadata: None }
    }
}

impl From<CallFailure> for Outcome {
    fn from(failure: CallFailure) -> Self {
        Outcome { result: Err(failure), metadata: None }
    }
}

impl Outcome {
    pub(crate) fn moved() -> Self {
        Outcome { result: Err(CallFailure::Moved), metadata: None }
    }
}

/// What a call takes of what the other side runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Call,
    /// A call with streams, which keeps it until the last of them has ended.
    Stream,
}

/// All calls made on a connection; `W` is who waits for one.
#[derive(Debug)]
pub(crate) struct Calls<W> {
    slots: Vec<Slot<W>>,
    /// The first free slot; each free slot knows the next.
    free: Option<usize>,
    sequence: u64,
    occupied: usize,
    /// Calls that hold a place on the other side: granted or sent, and those whose streams have not ended.
    placed: [usize; 2],
    queues: [VecDeque<CallId>; 2],
    /// No deadline is earlier than this.
    earliest: Option<Instant>,
}

#[derive(Debug)]
struct Slot<W> {
    id: CallId,
    deadline: Option<Instant>,
    state: State<W>,
}

#[derive(Debug)]
enum State<W> {
    Free {
        next: Option<usize>,
    },
    Waiting {
        waiter: W,
        patient: bool,
    },
    Granted {
        place: Place,
    },
    /// `at` is where in the connection's stream of bytes the call begins, or [`IN_FRAGMENTS`].
    Sent {
        waiter: W,
        at: u64,
        place: Place,
    },
    Done(Outcome),
}

/// Ids are used up, or there are a million calls: this connection takes no more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl<W> Default for Calls<W> {
    fn default() -> Self {
        Calls {
            slots: Vec::new(),
            free: None,
            sequence: 0,
            occupied: 0,
            placed: [0; 2],
            queues: [VecDeque::new(), VecDeque::new()],
            earliest: None,
        }
    }
}

impl<W> Calls<W> {
    /// How many calls there are, ended ones whose outcome has not been taken included.
    pub(crate) fn occupied(&self) -> usize {
        self.occupied
    }

    /// How many calls hold a place on the other side.
    pub(crate) fn placed(&self, place: Place) -> usize {
        self.placed[place as usize]
    }

    /// A call with streams is over, the last of them included.
    pub(crate) fn streams_ended(&mut self) {
        self.placed[Place::Stream as usize] -= 1;
    }

    /// No final message comes any more for any call with streams.
    pub(crate) fn all_streams_ended(&mut self) {
        self.placed[Place::Stream as usize] = 0;
    }

    pub(crate) fn has_queue(&self, place: Place) -> bool {
        !self.queues[place as usize].is_empty()
    }

    pub(crate) fn has_queues(&self) -> bool {
        self.has_queue(Place::Call) || self.has_queue(Place::Stream)
    }

    pub(crate) fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Enters a call that is sent now.
    pub(crate) fn start(
        &mut self,
        waiter: W,
        deadline: Option<Instant>,
        at: u64,
        place: Place,
    ) -> Result<CallId, Exhausted> {
        let id = self.enter(State::Sent { waiter, at, place }, deadline)?;
        self.placed[place as usize] += 1;
        Ok(id)
    }

    /// Enters a call that waits for a place. A patient one also waits while there is no connection.
    pub(crate) fn wait(
        &mut self,
        waiter: W,
        deadline: Option<Instant>,
        patient: bool,
        place: Place,
    ) -> Result<CallId, Exhausted> {
        let id = self.enter(State::Waiting { waiter, patient }, deadline)?;
        self.queues[place as usize].push_back(id);
        Ok(id)
    }

    /// Sends a call that was granted its place: its id is a new one, so that ids grow in the order of sending.
    pub(crate) fn start_granted(&mut self, id: CallId, waiter: W, at: u64) -> Result<CallId, Exhausted> {
        let sequence = self.next_sequence()?;
        let index = id.index();
        let slot = &mut self.slots[index];
        let State::Granted { place } = slot.state else {
            unreachable!("only a granted call is started, by whoever was told so")
        };
        debug_assert_eq!(slot.id, id, "a call is started by its caller");
        slot.id = CallId::new(sequence, index);
        slot.state = State::Sent { waiter, at, place };
        Ok(slot.id)
    }

    /// A call that went in fragments has gone whole, with bytes up to here.
    pub(crate) fn sent_whole(&mut self, number: u64, up_to: u64) {
        let id = CallId(number);
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.id == id);
        if let Some(Slot { state: State::Sent { at, .. }, .. }) = slot {
            *at = up_to - 1;
        }
    }

    /// Gives a free place to the call that has waited longest, and who waits for it.
    pub(crate) fn grant(&mut self, place: Place) -> Option<W> {
        while let Some(id) = self.queues[place as usize].pop_front() {
            let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.id == id) else { continue };
            if !matches!(slot.state, State::Waiting { .. }) {
                continue;
            }
            if let State::Waiting { waiter, .. } =
                std::mem::replace(&mut slot.state, State::Granted { place })
            {
                self.placed[place as usize] += 1;
                return Some(waiter);
            }
        }
        None
    }

    /// Looks after a call: takes its outcome if it has ended, or stores who waits.
    pub(crate) fn poll(&mut self, id: CallId, waiter: impl FnOnce(&mut W)) -> Progress {
        let slot = &mut self.slots[id.index()];
        debug_assert_eq!(slot.id, id, "a call is looked after until it is taken or dropped");
        match &mut slot.state {
            State::Done(_) => {
                let State::Done(outcome) = self.release(id.index()) else {
                    unreachable!("the state was looked at in the line before")
                };
                Progress::Done(outcome)
            }
            State::Granted { .. } => Progress::Granted,
            State::Waiting { waiter: stored, .. } | State::Sent { waiter: stored, .. } => {
                waiter(stored);
                Progress::Pending
            }
            State::Free { .. } => Progress::Pending,
        }
    }

    /// Ends a call with what the other side answered, and gives who waits for it.
    ///
    /// A late answer to a call that is not there any more is nobody's fault; one to a call that was never sent is.
    pub(crate) fn finish(&mut self, number: u64, outcome: Outcome) -> Result<Option<W>, NeverIssued> {
        let id = CallId(number);
        // Ids grow, so the last one of a slot is the highest that it has ever had.
        let slot = self.slots.get_mut(id.index()).filter(|slot| id.is_real() && number <= slot.id.number());
        match slot {
            None => Err(NeverIssued),
            Some(slot) if slot.id != id => Ok(None),
            Some(slot) => match slot.state {
                State::Sent { at: IN_FRAGMENTS, .. } => Err(NeverIssued),
                State::Sent { place, .. } => {
                    self.placed[Place::Call as usize] -= usize::from(place == Place::Call);
                    Ok(slot.finish(outcome))
                }
                State::Waiting { .. } | State::Granted { .. } => Err(NeverIssued),
                State::Free { .. } | State::Done(_) => Ok(None),
            },
        }
    }

    /// Forgets a call whose caller has gone; of one that was sent, gives where in the stream of bytes it begins. One
    /// with streams keeps its place until they have ended.
    pub(crate) fn abandon(&mut self, id: CallId) -> Option<u64> {
        match self.release(id.index()) {
            State::Sent { at, place, .. } => {
                self.placed[Place::Call as usize] -= usize::from(place == Place::Call);
                Some(at)
            }
            State::Granted { place } => {
                self.placed[place as usize] -= 1;
                None
            }
            _ => None,
        }
    }

    /// Ends each call whose deadline has passed: `expired` learns its id and its place if it was sent, and who waits
    /// for it. What begins at `handed_over` or later no transport has been given.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        handed_over: u64,
        mut expired: impl FnMut(Option<(CallId, u64)>, Option<W>),
    ) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.earliest = None;
        for slot in &mut self.slots {
            let Some(deadline) = slot.deadline else { continue };
            if deadline > now {
                self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                continue;
            }
            let (executed, sent) = match slot.state {
                // Items follow the open of a call with streams, so it is not taken back.
                State::Sent { at, place, .. } if at < handed_over || place == Place::Stream => {
                    (Executed::Maybe, Some((slot.id, at)))
                }
                State::Sent { at, .. } => (Executed::No, Some((slot.id, at))),
                State::Granted { .. } | State::Waiting { .. } => (Executed::No, None),
                State::Free { .. } | State::Done(_) => continue,
            };
            self.placed[Place::Call as usize] -= slot.state.frees(Place::Call);
            self.placed[Place::Stream as usize] -= slot.state.frees(Place::Stream);
            let waiter = slot.finish(deadline_exceeded(executed).into());
            expired(sent, waiter);
        }
    }

    /// Ends every call that `judge` has an outcome for; it learns how far the call got.
    pub(crate) fn end(&mut self, mut judge: impl FnMut(Stage) -> Option<Outcome>, mut woken: impl FnMut(W)) {
        for slot in &mut self.slots {
            let stage = match slot.state {
                State::Waiting { patient, .. } => {
                    Stage::Waiting { patient: patient || slot.deadline.is_some() }
                }
                State::Granted { .. } => Stage::Granted,
                State::Sent { at, .. } => Stage::Sent { number: slot.id.number(), at },
                State::Free { .. } | State::Done(_) => continue,
            };
            if let Some(outcome) = judge(stage) {
                self.placed[Place::Call as usize] -= slot.state.frees(Place::Call);
                self.placed[Place::Stream as usize] -= slot.state.frees(Place::Stream);
                if let Some(waiter) = slot.finish(outcome) {
                    woken(waiter);
                }
            }
        }
    }

    fn enter(&mut self, state: State<W>, deadline: Option<Instant>) -> Result<CallId, Exhausted> {
        if self.free.is_none() && self.slots.len() == MAX_SLOTS {
            return Err(Exhausted);
        }
        let sequence = self.next_sequence()?;
        if let Some(deadline) = deadline {
            self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        }
        self.occupied += 1;
        let index = self.free.unwrap_or(self.slots.len());
        let slot = Slot { id: CallId::new(sequence, index), deadline, state };
        let id = slot.id;
        match self.free {
            Some(_) => {
                let State::Free { next } = std::mem::replace(&mut self.slots[index], slot).state else {
                    unreachable!("the list of free slots holds free slots only")
                };
                self.free = next;
            }
            None => self.slots.push(slot),
        }
        Ok(id)
    }

    fn next_sequence(&mut self) -> Result<u64, Exhausted> {
        if self.sequence == MAX_SEQUENCE {
            return Err(Exhausted);
        }
        self.sequence += 1;
        Ok(self.sequence)
    }

    fn release(&mut self, index: usize) -> State<W> {
        self.occupied -= 1;
        let next = self.free.replace(index);
        let slot = &mut self.slots[index];
        slot.deadline = None;
        std::mem::replace(&mut slot.state, State::Free { next })
    }

    /// Lets the ids begin close to their end.
    #[cfg(test)]
    pub(crate) fn use_up_ids(&mut self, left: u64) {
        self.sequence = MAX_SEQUENCE - left;
    }
}

impl<W> State<W> {
    /// How many places of a kind are free again when a call in this state ends: those of sent calls with streams are
    /// not before these have ended.
    fn frees(&self, kind: Place) -> usize {
        match self {
            State::Granted { place } => usize::from(*place == kind),
            State::Sent { place: Place::Call, .. } => usize::from(kind == Place::Call),
            _ => 0,
        }
    }
}

impl<W> Slot<W> {
    fn finish(&mut self, outcome: Outcome) -> Option<W> {
        self.deadline = None;
        match std::mem::replace(&mut self.state, State::Done(outcome)) {
            State::Sent { waiter, .. } | State::Waiting { waiter, .. } => Some(waiter),
            _ => None,
        }
    }
}

/// What there is to say of a call that is looked after.
#[derive(Debug)]
pub(crate) enum Progress {
    Pending,
    /// It has its place and may be sent.
    Granted,
    Done(Outcome),
}

/// How far a call has got.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    Waiting { patient: bool },
    Granted,
    Sent { number: u64, at: u64 },
}

/// A reply to a call that was never made, or has not been sent yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NeverIssued;

pub(crate) fn deadline_exceeded(executed: Executed) -> Error {
    Error::new(Code::DeadlineExceeded, "the deadline passed before the call ended").with_executed(executed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn value(byte: u8) -> Outcome {
        Outcome { result: Ok(Payload::from_slice(&[byte])), metadata: None }
    }

    fn taken(calls: &mut Calls<u32>, id: CallId) -> Payload {
        match calls.poll(id, |_| {}) {
            Progress::Done(outcome) => outcome.result.expect("a value"),
            other => panic!("expected an outcome, got {other:?}"),
        }
    }

    #[test]
    fn slots_come_again_but_ids_do_not() {
        let mut calls = Calls::<u32>::default();
        let first = calls.start(1, None, 0, Place::Call).expect("an id");
        assert_eq!(calls.finish(first.number(), value(7)), Ok(Some(1)));
        assert_eq!(taken(&mut calls, first).as_slice(), [7]);
        let second = calls.start(2, None, 0, Place::Call).expect("an id");
        assert_eq!(second.index(), first.index());
        assert!(second.number() > first.number());
        assert_eq!(calls.finish(first.number(), value(8)), Ok(None), "a late reply reaches nobody");
        assert_eq!(calls.occupied(), 1);
    }

    #[test]
    fn case_28_a_reply_to_an_id_never_issued_is_told_apart_from_a_late_one() {
        let mut calls = Calls::<u32>::default();
        let id = calls.start(1, None, 0, Place::Call).expect("an id");
        assert_eq!(calls.abandon(id), Some(0));
        assert_eq!(calls.finish(id.number(), value(1)), Ok(None));
        assert_eq!(calls.finish(id.number() + (1 << INDEX_BITS), value(1)), Err(NeverIssued));
    }

    #[test]
    fn case_29_a_second_reply_is_ignored_and_the_first_kept() {
        let mut calls = Calls::<u32>::default();
        let id = calls.start(1, None, 0, Place::Call).expect("an id");
        assert_eq!(calls.finish(id.number(), value(1)), Ok(Some(1)));
        assert_eq!(calls.finish(id.number(), value(2)), Ok(None));
        assert_eq!(taken(&mut calls, id).as_slice(), [1]);
        assert_eq!((calls.occupied(), calls.placed(Place::Call)), (0, 0));
    }

    #[test]
    fn places_are_granted_in_order_and_a_dropped_one_is_passed_on() {
        let mut calls = Calls::<u32>::default();
        let ids: Vec<_> =
            (0..3).map(|waiter| calls.wait(waiter, None, false, Place::Call).expect("an id")).collect();
        calls.abandon(ids[0]);
        assert_eq!(calls.grant(Place::Call), Some(1));
        assert_eq!(calls.placed(Place::Call), 1);
        assert_eq!(calls.abandon(ids[1]), None, "nothing was sent, so nothing is to be cancelled");
        assert_eq!(calls.placed(Place::Call), 0);
        assert_eq!(calls.grant(Place::Call), Some(2));
        assert_eq!(calls.grant(Place::Call), None);
        let sent = calls.start_granted(ids[2], 9, 0).expect("an id");
        assert!(sent.number() > ids[2].number());
        assert_eq!(calls.finish(sent.number(), value(3)), Ok(Some(9)));
    }

    #[test]
    fn deadlines_end_calls_by_how_far_they_got() {
        let mut calls = Calls::<u32>::default();
        let now = Instant::now();
        let soon = now + Duration::from_millis(1);
        let late = now + Duration::from_secs(1);
        let sent = calls.start(1, Some(soon), 0, Place::Call).expect("an id");
        let waiting = calls.wait(2, Some(soon), false, Place::Call).expect("an id");
        calls.start(3, Some(late), 0, Place::Call).expect("an id");
        assert_eq!(calls.earliest_deadline(), Some(soon));
        let mut expired = Vec::new();
        calls.expire(now, 1, |_, _| panic!("nothing has passed"));
        calls.expire(soon, 1, |sent, waiter| expired.push((sent, waiter)));
        assert_eq!(expired, [(Some((sent, 0)), Some(1)), (None, Some(2))]);
        assert_eq!(calls.earliest_deadline(), Some(late));
        for (id, executed) in [(sent, Executed::Maybe), (waiting, Executed::No)] {
            let Progress::Done(Outcome { result: Err(CallFailure::Rpc(error)), .. }) = calls.poll(id, |_| {})
            else {
                panic!("expected an error")
            };
            assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, executed));
        }
    }

    #[test]
    fn case_96_ids_that_are_used_up_are_said_to_be() {
        let mut calls = Calls::<u32>::default();
        calls.use_up_ids(1);
        assert!(calls.start(1, None, 0, Place::Call).is_ok());
        assert_eq!(calls.start(2, None, 0, Place::Call), Err(Exhausted));
        assert_eq!(calls.wait(3, None, false, Place::Call), Err(Exhausted));
    }
}
