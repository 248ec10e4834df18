//! Handlers that wait to start until enough of what went before them has been sent.
//!
//! A reply that is large is as much memory as it has bytes, for as long as the other side does not read it. So what
//! would make one is not begun while much waits to be sent already. What makes small ones is never held up, however
//! large the messages are that go out beside it.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// Those of one connection. On most there never are any, so that there is nothing of this but where it would be.
#[derive(Default)]
pub(crate) struct Held(Option<Box<Line>>);

/// They stand in the order in which they asked.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// What the calls that wait take.
    bytes: usize,
    /// Who has been let in and has not been polled yet: only then is it known whether there is room for one more.
    turn: Option<Place>,
    places: u64,
    /// The connection stands in the line of all connections for them.
    in_line: bool,
}

/// A handler's place among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

struct Waiting {
    place: Place,
    bytes: usize,
    waker: Waker,
}

impl Held {
    /// Whether one that is about to start may, where it is `crowded` or not. If not it has a place from now on, and
    /// is woken when its turn comes. What its call takes is `bytes`.
    pub(crate) fn poll_start(
        &mut self,
        own: &mut Option<Place>,
        crowded: bool,
        bytes: usize,
        waker: &Waker,
    ) -> Poll<()> {
        let Some(place) = *own else {
            if !crowded && self.is_empty() {
                return Poll::Ready(());
            }
            let line = self.0.get_or_insert_default();
            line.places += 1;
            let place = *own.insert(Place(line.places));
            line.bytes += bytes;
            line.waiting.push_back(Waiting { place, bytes, waker: waker.clone() });
            return Poll::Pending;
        };
        let mut waiting = self.0.iter_mut().flat_map(|line| &mut line.waiting);
        match waiting.find(|waiting| waiting.place == place) {
            Some(waiting) => {
                waiting.waker.clone_from(waker);
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    /// One that had a place has started, or never will.
    pub(crate) fn leave(&mut self, place: Place) {
        let Some(line) = &mut self.0 else { return };
        if line.turn == Some(place) {
            line.turn = None;
        } else if let Some(at) = line.waiting.iter().position(|waiting| waiting.place == place) {
            line.remove(at);
        }
    }

    /// Lets the next one in, who is to be woken. Call it where there is room.
    pub(crate) fn let_in(&mut self) -> Option<Waker> {
        let line = self.0.as_mut().filter(|line| line.turn.is_none())?;
        let next = line.remove(0)?;
        line.turn = Some(next.place);
        Some(next.waker)
    }

    /// Notes whether the connection stands in the line of all connections, and says whether that is new. It does not where
    /// nobody waits.
    pub(crate) fn stands_in_line(&mut self, in_line: bool) -> bool {
        self.0.as_mut().is_some_and(|line| std::mem::replace(&mut line.in_line, in_line) != in_line)
    }

    /// Lets everybody in: nothing will be sent any more.
    pub(crate) fn let_all_in(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let waiting = self.0.as_mut().map(|line| {
            line.bytes = 0;
            std::mem::take(&mut line.waiting)
        });
        waiting.into_iter().flatten().map(|waiting| waiting.waker)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|line| line.waiting.is_empty())
    }

    /// How much memory the calls that wait take.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |line| line.bytes)
    }
}

impl Line {
    fn remove(&mut self, at: usize) -> Option<Waiting> {
        let gone = self.waiting.remove(at)?;
        self.bytes -= gone.bytes;
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(held: &mut Held, own: &mut Option<Place>, crowded: bool) -> bool {
        held.poll_start(own, crowded, 10, Waker::noop()).is_ready()
    }

    #[test]
    fn they_start_in_order_and_one_at_a_time() {
        let mut held = Held::default();
        let (mut first, mut second, mut third) = (None, None, None);
        assert!(!asks(&mut held, &mut first, true));
        assert!(!asks(&mut held, &mut second, true));
        assert!(!asks(&mut held, &mut third, false), "two were here before it");
        assert_eq!(held.bytes(), 30);
        assert!(held.let_in().is_some());
        assert!(held.let_in().is_none(), "what the first one sends is not known yet");
        assert!(!asks(&mut held, &mut second, false));
        assert!(asks(&mut held, &mut first, true), "it was let in");
        held.leave(first.expect("it had a place"));
        held.leave(second.expect("it had a place"));
        assert_eq!(held.bytes(), 10);
        assert!(held.let_in().is_some());
        assert!(asks(&mut held, &mut third, true), "the second one has gone");
        held.leave(third.expect("it had a place"));
        assert!(asks(&mut held, &mut None, false));
        assert_eq!((held.bytes(), held.is_empty()), (0, true));
    }

    #[test]
    fn one_that_goes_in_its_turn_lets_the_next_one_in() {
        let mut held = Held::default();
        let (mut first, mut second) = (None, None);
        assert!(!asks(&mut held, &mut first, true));
        assert!(!asks(&mut held, &mut second, true));
        assert!(held.let_in().is_some());
        held.leave(first.expect("it had a place"));
        assert!(held.let_in().is_some());
        assert!(asks(&mut held, &mut second, false));
    }
}
