//! How often calls may be cancelled that have hardly begun, and how this side keeps to what the other one takes.
//!
//! To start a handler and drop it again costs its receiver something and its caller next to nothing; and what the
//! handler has begun elsewhere may go on. So a receiver bounds how often that happens. A call that has run for
//! [`HARDLY_BEGUN`] has kept a place for as long, of which there are so many: such cancels bound themselves.
//!
//! ```text
//!   cancel ── within the limit ─────────────────────────────────────────────► sent
//!      └───── beyond it ──► held ── ping ──► asked ── pong, HARDLY_BEGUN ───► sent
//!                             └──── the answer comes ────┴──────────────────► not needed
//! ```
//!
//! The receiver goes by its own clock, and the network may deliver in a moment what was sent in minutes. So it is not
//! enough to send slowly. What is certain is what a pong says: that all before its ping has been read, by now. So what
//! has been sent counts as used without an end until a pong comes, and only then begins to be forgotten; and a
//! call whose cancel is held has run for a while when some time has passed since a pong to a ping behind it. Thus no
//! delay and no bunching on the way makes the receiver count more than is counted here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::calls::Place;
use super::rate::{Limit, Rate};

/// A call that is cancelled before it has run for so long counts.
pub(super) const HARDLY_BEGUN: Duration = Duration::from_millis(100);

/// A little longer, for clocks that do not go at the same speed, or in milliseconds.
const CERTAINLY_BEGUN: Duration = Duration::from_millis(110);

/// What a cancel has used counts as free again after so many hundredths of the time that this takes by the receiver's clock.
const CERTAINLY_FREE: u32 = 101;

/// What this side has cancelled, and what it will.
#[derive(Debug)]
pub(super) struct Cancels {
    /// What the other side takes at once, and how long it is until one of these is free again for certain.
    at_once: u32,
    share: Duration,
    /// How long after a pong it may be pinged again.
    pause: Duration,
    /// Those sent of which it is known that they have been read.
    read: Rate,
    /// How many were sent before the last ping, and since.
    sent_before: u32,
    sent_since: u32,
    /// Calls whose cancels are held, and what they take until then: asked about by the last ping, and since.
    held_before: BTreeMap<u64, Place>,
    held_since: BTreeMap<u64, Place>,
    /// The ping that waits for its pong.
    asked: Option<u64>,
    /// When the calls that it was about have run long enough.
    begun: Option<Instant>,
    quiet_until: Instant,
}

impl Cancels {
    pub(super) fn new(limit: Limit, pause: Duration, now: Instant) -> Self {
        Cancels {
            at_once: limit.at_once,
            share: limit.share() * CERTAINLY_FREE / 100,
            pause,
            read: Rate::new(now),
            sent_before: 0,
            sent_since: 0,
            held_before: BTreeMap::new(),
            held_since: BTreeMap::new(),
            asked: None,
            begun: None,
            quiet_until: now,
        }
    }

    /// Whether a call may be cancelled at once. If not its cancel is held.
    pub(super) fn cancel(&mut self, call: u64, place: Place, now: Instant) -> bool {
        let uses = self.sent_before.saturating_add(self.sent_since).saturating_add(1);
        let fits = self.read.used(now) + self.share * uses <= self.share * self.at_once;
        if fits {
            self.sent_since = self.sent_since.saturating_add(1);
        } else {
            self.held_since.insert(call, place);
        }
        fits
    }

    /// A call has ended by itself: gives what it takes if its cancel was held.
    pub(super) fn forget(&mut self, call: u64) -> Option<Place> {
        self.held_before.remove(&call).or_else(|| self.held_since.remove(&call))
    }

    /// What the calls take whose cancels are held.
    pub(super) fn held(&self) -> impl Iterator<Item = Place> {
        self.held_before.values().chain(self.held_since.values()).copied()
    }

    /// When something is due, where a ping may be sent or not.
    pub(super) fn due(&self, may_ask: bool) -> Option<Instant> {
        self.begun.or_else(|| (may_ask && self.wants_ping()).then_some(self.quiet_until))
    }

    /// The calls to be cancelled now, and what each takes.
    pub(super) fn take_begun(&mut self, now: Instant) -> BTreeMap<u64, Place> {
        match self.begun.take_if(|begun| now >= *begun) {
            Some(_) => std::mem::take(&mut self.held_before),
            None => BTreeMap::new(),
        }
    }

    /// Whether to ask now how far the other side has read.
    pub(super) fn asks(&self, now: Instant) -> bool {
        self.begun.is_none() && self.wants_ping() && now >= self.quiet_until
    }

    /// A ping goes out behind all cancels that were sent and all calls whose cancels are held.
    pub(super) fn ask(&mut self, token: u64) {
        self.asked = Some(token);
        self.sent_before = std::mem::take(&mut self.sent_since);
        self.held_before = std::mem::take(&mut self.held_since);
    }

    /// A pong has come.
    pub(super) fn pong(&mut self, token: u64, now: Instant) {
        self.quiet_until = now + self.pause;
        if self.asked.take_if(|asked| *asked == token).is_none() {
            return;
        }
        self.read.add(self.share * std::mem::take(&mut self.sent_before), now);
        self.begun = (!self.held_before.is_empty()).then_some(now + CERTAINLY_BEGUN);
    }

    /// Whether nothing is left to be known.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let sent = self.sent_before.max(self.sent_since);
        let held = self.held_before.len() + self.held_since.len();
        sent == 0 && held == 0 && self.asked.is_none() && self.read.used(now).is_zero()
    }

    /// Something is held, or half of what may be sent is not known to have been read: so that whoever stays within the
    /// rate never has to wait.
    fn wants_ping(&self) -> bool {
        let many = self.sent_since >= self.at_once.div_ceil(2);
        self.asked.is_none() && (many || !self.held_since.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { at_once: 10, per_second: 10 };
    const PAUSE: Duration = Duration::from_secs(1);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// How many of these are sent at once.
    fn sent(cancels: &mut Cancels, calls: std::ops::Range<u64>, now: Instant) -> usize {
        calls.filter(|call| cancels.cancel(*call, Place::Call, now)).count()
    }

    #[test]
    fn what_was_sent_counts_until_it_is_known_to_have_been_read() {
        let start = Instant::now();
        let mut cancels = Cancels::new(LIMIT, PAUSE, start);
        assert_eq!(sent(&mut cancels, 0..4, start), 4);
        assert_eq!(cancels.due(true), None, "there is no hurry");
        let later = start + Duration::from_secs(3_600);
        assert_eq!(sent(&mut cancels, 4..5, later), 1);
        assert!(cancels.asks(later), "half of it is used");
        cancels.ask(7);
        assert_eq!(sent(&mut cancels, 5..12, later), 5, "time alone gives nothing back");
        cancels.pong(6, later);
        assert_eq!(sent(&mut cancels, 12..13, later), 0, "another pong says nothing");
        cancels.pong(7, later);
        assert_eq!(sent(&mut cancels, 13..20, later), 0);
        // Of the five before the ping two are forgotten by now, and none of those behind it.
        assert_eq!(sent(&mut cancels, 20..30, later + ms(201)), 1);
        assert_eq!(sent(&mut cancels, 30..40, later + ms(202)), 1);
        assert_eq!(sent(&mut cancels, 40..50, later + Duration::from_secs(60)), 3);
    }

    #[test]
    fn a_receiver_whose_clock_is_slower_takes_them_all() {
        let start = Instant::now();
        let mut cancels = Cancels::new(LIMIT, PAUSE, start);
        let mut taken = Rate::new(start);
        // By a two-hundredth; and what is said is there at once.
        let receivers = |now: Instant| start + (now - start).mul_f64(0.995);
        for call in 0..100_000 {
            let now = start + ms(1) * call;
            if cancels.cancel(u64::from(call), Place::Call, now) {
                assert!(taken.take(LIMIT, receivers(now)), "the cancel of call {call}");
            }
            if cancels.asked.is_none() {
                cancels.ask(u64::from(call));
                cancels.pong(u64::from(call), now);
            }
        }
    }

    #[test]
    fn what_is_held_goes_when_its_call_has_run_for_a_while() {
        let start = Instant::now();
        let mut cancels = Cancels::new(LIMIT, PAUSE, start);
        assert_eq!(sent(&mut cancels, 0..12, start), 10);
        assert!(cancels.asks(start));
        cancels.ask(1);
        assert!(!cancels.asks(start), "one ping at a time");
        assert_eq!(sent(&mut cancels, 12..13, start), 0);
        let read = start + ms(500);
        cancels.pong(1, read);
        assert_eq!(cancels.due(false), Some(read + CERTAINLY_BEGUN));
        assert!(cancels.take_begun(read + HARDLY_BEGUN).is_empty());
        assert_eq!(cancels.forget(11), Some(Place::Call));
        assert_eq!(cancels.forget(11), None);
        let begun = cancels.take_begun(read + CERTAINLY_BEGUN);
        assert!(begun.into_keys().eq([10]), "one ended by itself, one came behind the ping");
        assert_eq!((cancels.due(false), cancels.due(true)), (None, Some(read + PAUSE)));
        assert!(!cancels.asks(read + CERTAINLY_BEGUN));
        assert!(cancels.asks(read + PAUSE));
        cancels.ask(2);
        cancels.pong(2, read + PAUSE);
        let last = read + PAUSE + CERTAINLY_BEGUN;
        assert!(cancels.take_begun(last).into_keys().eq([12]));
        assert!(!cancels.is_idle(read) && cancels.is_idle(last));
    }
}
