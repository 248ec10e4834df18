//! The calls that this side has made and that have not ended: a slab of slots, each with who waits in it.
//!
//! ```text
//!            enter                  place free           start
//!   (call) ────────► Waiting ───────────────► Granted ─────────► Sent
//!      │                │                        │                 │
//!      └────────────────│── start ───────────────│────────────────►│
//!                       ▼                        ▼                 ▼
//!                     Free ◄─────────── deadline, reply, loss ──── ┘ ──► its outcome goes to who waits
//! ```
//!
//! An id is a sequence number above the index of a slot: it never comes again on a connection, grows with every
//! call that is sent, and finds its slot without a search.

use std::time::Instant;

use super::rare_queue::RareQueue;
use crate::broken::{self, Flaw};
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
    #[inline]
    fn new(sequence: u64, index: usize) -> Self {
        CallId((sequence << INDEX_BITS) | index as u64)
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    #[inline]
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

impl From<Error> for CallFailure {
    fn from(error: Error) -> Self {
        CallFailure::Rpc(error)
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

/// All calls made on a connection; `C` is who waits for one.
#[derive(Debug)]
pub(crate) struct Calls<C> {
    slots: Vec<Slot<C>>,
    /// The first free slot; each free slot knows the next.
    free: Option<usize>,
    sequence: u64,
    occupied: usize,
    /// Calls that hold a place on the other side: granted or sent, and those whose streams have not ended or whose
    /// cancels have not been sent.
    placed: [usize; 2],
    queues: [RareQueue<CallId>; 2],
    /// No deadline is earlier than this.
    earliest: Option<Instant>,
}

#[derive(Debug)]
struct Slot<C> {
    id: CallId,
    deadline: Option<Instant>,
    state: State<C>,
}

#[derive(Debug)]
enum State<C> {
    Free {
        next: Option<usize>,
    },
    Waiting {
        waiter: C,
        patient: bool,
    },
    Granted {
        waiter: C,
        place: Place,
    },
    /// `at` is where in the connection's stream of bytes the call begins, or [`IN_FRAGMENTS`].
    Sent {
        waiter: C,
        at: u64,
        place: Place,
    },
}

/// Ids are used up, or there are a million calls: this connection takes no more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl<C> Default for Calls<C> {
    fn default() -> Self {
        Calls {
            slots: Vec::new(),
            free: None,
            sequence: 0,
            occupied: 0,
            placed: [0; 2],
            queues: Default::default(),
            earliest: None,
        }
    }
}

impl<C: Clone> Calls<C> {
    /// How many calls there are.
    pub(crate) fn occupied(&self) -> usize {
        self.occupied
    }

    /// How many calls hold a place on the other side.
    #[inline]
    pub(crate) fn placed(&self, place: Place) -> usize {
        self.placed[place as usize]
    }

    /// A call that nobody waits for any more has not been cancelled yet, and keeps its place.
    pub(crate) fn keep_place(&mut self) {
        self.placed[Place::Call as usize] += 1;
    }

    /// Now it is.
    pub(crate) fn leave_place(&mut self) {
        self.placed[Place::Call as usize] -= 1;
    }

    /// A call with streams is over, the last of them included.
    pub(crate) fn streams_ended(&mut self) {
        self.placed[Place::Stream as usize] -= 1;
    }

    /// No final message comes any more for any call with streams.
    pub(crate) fn all_streams_ended(&mut self) {
        self.placed[Place::Stream as usize] = 0;
    }

    #[inline]
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
    #[inline]
    pub(crate) fn start(
        &mut self,
        waiter: C,
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
        waiter: C,
        deadline: Option<Instant>,
        patient: bool,
        place: Place,
    ) -> Result<CallId, Exhausted> {
        let id = self.enter(State::Waiting { waiter, patient }, deadline)?;
        self.queues[place as usize].push_back(id);
        Ok(id)
    }

    /// Sends a call that was granted its place: its id is a new one, so that ids grow in the order of sending. `None`
    /// if it has ended meanwhile.
    pub(crate) fn start_granted(
        &mut self,
        id: CallId,
        waiter: C,
        at: u64,
    ) -> Result<Option<CallId>, Exhausted> {
        let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.id == id) else { return Ok(None) };
        let State::Granted { place, .. } = slot.state else { return Ok(None) };
        if self.sequence == MAX_SEQUENCE {
            return Err(Exhausted);
        }
        self.sequence += 1;
        slot.id = CallId::new(self.sequence, id.index());
        slot.state = State::Sent { waiter, at, place };
        Ok(Some(slot.id))
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
    pub(crate) fn grant(&mut self, place: Place) -> Option<C> {
        while let Some(id) = self.queues[place as usize].pop_front() {
            let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.id == id) else { continue };
            if let State::Waiting { waiter, .. } = &slot.state {
                let waiter = waiter.clone();
                slot.state = State::Granted { waiter: waiter.clone(), place };
                self.placed[place as usize] += 1;
                return Some(waiter);
            }
        }
        None
    }

    /// Ends a call that the other side has answered, and gives who waits for it.
    ///
    /// A late answer to a call that is not there any more is nobody's fault; one to a call that was never sent is.
    #[inline]
    pub(crate) fn finish(&mut self, number: u64) -> Result<Option<C>, NeverIssued> {
        let id = CallId(number);
        // Ids grow, so the last one of a slot is the highest that it has ever had.
        let slot = self.slots.get(id.index()).filter(|slot| id.is_real() && number <= slot.id.number());
        match slot {
            None => Err(NeverIssued),
            Some(slot) if slot.id != id && !broken::has(Flaw::MistakesCaller) => Ok(None),
            Some(slot) => match slot.state {
                State::Sent { at: IN_FRAGMENTS, .. } => Err(NeverIssued),
                State::Sent { .. } => Ok(self.release(id.index()).into_waiter()),
                State::Waiting { .. } | State::Granted { .. } => Err(NeverIssued),
                State::Free { .. } => Ok(None),
            },
        }
    }

    /// Forgets a call whose caller has gone, if it has not ended; of one that was sent, gives where in the stream of
    /// bytes it begins. One with streams keeps its place until they have ended.
    pub(crate) fn abandon(&mut self, id: CallId) -> Option<u64> {
        let slot = self.slots.get(id.index()).filter(|slot| slot.id == id)?;
        if let State::Free { .. } = slot.state {
            return None;
        }
        match self.release(id.index()) {
            State::Sent { at, .. } if broken::has(Flaw::KeepsPlace) => {
                self.placed[Place::Call as usize] += 1;
                Some(at)
            }
            State::Sent { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Ends each call whose deadline has passed; `left` learns the id and the place of each that was sent. What begins
    /// at `handed_over` or later no transport has been given.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        handed_over: u64,
        ended: &mut Vec<(C, Outcome)>,
        mut left: impl FnMut(CallId, u64),
    ) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.earliest = None;
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let Some(deadline) = slot.deadline else { continue };
            if deadline > now {
                self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                continue;
            }
            let executed = match slot.state {
                // Items follow the open of a call with streams, so it is not taken back.
                _ if broken::has(Flaw::DeniesCall) => Executed::No,
                State::Sent { at, place, .. } if at < handed_over || place == Place::Stream => {
                    Executed::Maybe
                }
                _ => Executed::No,
            };
            if let State::Sent { at, .. } = slot.state {
                left(slot.id, at);
            }
            let waiter = self.release(index).into_waiter();
            ended.extend(waiter.map(|waiter| (waiter, deadline_exceeded(executed).into())));
        }
    }

    /// Ends every call that `judge` has an outcome for; it learns how far the call got.
    pub(crate) fn end(
        &mut self,
        mut judge: impl FnMut(Stage) -> Option<Outcome>,
        ended: &mut Vec<(C, Outcome)>,
    ) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let stage = match slot.state {
                State::Waiting { patient, .. } => {
                    Stage::Waiting { patient: patient || slot.deadline.is_some() }
                }
                State::Granted { .. } => Stage::Granted,
                State::Sent { at, .. } => Stage::Sent { number: slot.id.number(), at },
                State::Free { .. } => continue,
            };
            if let Some(outcome) = judge(stage) {
                let waiter = self.release(index).into_waiter();
                ended.extend(waiter.map(|waiter| (waiter, outcome)));
            }
        }
    }

    #[inline]
    fn enter(&mut self, state: State<C>, deadline: Option<Instant>) -> Result<CallId, Exhausted> {
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

    #[inline]
    fn next_sequence(&mut self) -> Result<u64, Exhausted> {
        if self.sequence == MAX_SEQUENCE {
            return Err(Exhausted);
        }
        self.sequence += 1;
        Ok(self.sequence)
    }

    /// Frees a slot, and the place of its call; one with streams that was sent keeps that until these have ended.
    #[inline]
    fn release(&mut self, index: usize) -> State<C> {
        self.occupied -= 1;
        let next = self.free.replace(index);
        let slot = &mut self.slots[index];
        slot.deadline = None;
        let state = std::mem::replace(&mut slot.state, State::Free { next });
        match state {
            State::Sent { place: Place::Call, .. } => self.placed[Place::Call as usize] -= 1,
            State::Granted { place, .. } => self.placed[place as usize] -= 1,
            _ => {}
        }
        state
    }

    /// Gives up memory that nothing is in. Slots remain: they know which ids there have been.
    pub(crate) fn shrink(&mut self) {
        self.queues.iter_mut().for_each(RareQueue::shrink);
    }

    /// Lets the ids begin close to their end.
    #[cfg(test)]
    pub(crate) fn use_up_ids(&mut self, left: u64) {
        self.sequence = MAX_SEQUENCE - left;
    }
}

impl<C> State<C> {
    #[inline]
    fn into_waiter(self) -> Option<C> {
        match self {
            State::Waiting { waiter, .. } | State::Granted { waiter, .. } | State::Sent { waiter, .. } => {
                Some(waiter)
            }
            State::Free { .. } => None,
        }
    }
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

    #[test]
    fn slots_come_again_but_ids_do_not() {
        let mut calls = Calls::<u32>::default();
        let first = calls.start(1, None, 0, Place::Call).expect("an id");
        assert_eq!(calls.finish(first.number()), Ok(Some(1)));
        let second = calls.start(2, None, 0, Place::Call).expect("an id");
        assert_eq!(second.index(), first.index());
        assert!(second.number() > first.number());
        assert_eq!(calls.finish(first.number()), Ok(None), "a late reply reaches nobody");
        assert_eq!(calls.occupied(), 1);
    }

    #[test]
    fn case_28_a_reply_to_an_id_never_issued_is_told_apart_from_a_late_one() {
        let mut calls = Calls::<u32>::default();
        let id = calls.start(1, None, 0, Place::Call).expect("an id");
        assert_eq!(calls.abandon(id), Some(0));
        assert_eq!(calls.finish(id.number()), Ok(None));
        assert_eq!(calls.finish(id.number() + (1 << INDEX_BITS)), Err(NeverIssued));
    }

    #[test]
    fn case_29_a_second_reply_is_ignored() {
        let mut calls = Calls::<u32>::default();
        let id = calls.start(1, None, 0, Place::Call).expect("an id");
        assert_eq!(calls.finish(id.number()), Ok(Some(1)));
        assert_eq!(calls.finish(id.number()), Ok(None));
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
        let sent = calls.start_granted(ids[2], 9, 0).expect("an id").expect("it was granted its place");
        assert!(sent.number() > ids[2].number());
        assert_eq!(calls.start_granted(ids[2], 9, 0), Ok(None), "only once");
        assert_eq!(calls.finish(sent.number()), Ok(Some(9)));
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
        let (mut ended, mut left) = (Vec::new(), Vec::new());
        calls.expire(now, 1, &mut ended, |_, _| panic!("nothing has passed"));
        calls.expire(soon, 1, &mut ended, |id, at| left.push((id, at)));
        assert_eq!(left, [(sent, 0)]);
        assert_eq!(calls.earliest_deadline(), Some(late));
        assert_eq!((calls.occupied(), calls.abandon(waiting)), (1, None));
        let ended: Vec<_> = ended
            .into_iter()
            .map(|(waiter, outcome)| match outcome.result {
                Err(CallFailure::Rpc(error)) => (waiter, error.code(), error.executed()),
                other => panic!("expected an error, got {other:?}"),
            })
            .collect();
        let expected = [(1, Executed::Maybe), (2, Executed::No)];
        assert_eq!(ended, expected.map(|(waiter, executed)| (waiter, Code::DeadlineExceeded, executed)));
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
