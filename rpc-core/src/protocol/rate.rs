//! How often something may happen.

use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// So many times at once, and so many a second (a leaky bucket; ITU-T I.371, "GCRA").
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) at_once: u32,
    pub(super) per_second: u32,
}

impl Limit {
    /// For how long one use takes one of the places that there are at once.
    pub(super) fn share(self) -> Duration {
        SECOND / self.per_second
    }

    /// How far ahead of the present all uses together may reach.
    pub(super) fn reach(self) -> Duration {
        self.share() * self.at_once
    }
}

/// How much of a [`Limit`] has been used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// The moment from which on nothing is used any more. Each use moves it on by its share.
    mark: Instant,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Rate { mark: now }
    }

    /// Uses it once more; false, and nothing is used, if that is beyond the limit.
    pub(super) fn take(&mut self, limit: Limit, now: Instant) -> bool {
        let fits = self.used(now) + limit.share() <= limit.reach();
        if fits {
            self.add(limit.share(), now);
        }
        fits
    }

    /// Uses so much of it, whatever the limit says.
    pub(super) fn add(&mut self, shares: Duration, now: Instant) {
        self.mark = self.mark.max(now) + shares;
    }

    /// How long it takes until nothing is used any more.
    pub(super) fn used(&self, now: Instant) -> Duration {
        self.mark.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lets_through_so_many_at_once_and_then_one_a_share() {
        let limit = Limit { at_once: 5, per_second: 10 };
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let mut taken = |now| (0..100).filter(|_| rate.take(limit, now)).count();
        assert_eq!(taken(start), 5);
        assert_eq!(taken(start + Duration::from_millis(99)), 0);
        assert_eq!(taken(start + Duration::from_millis(100)), 1);
        assert_eq!(taken(start + Duration::from_millis(420)), 3);
        assert_eq!(taken(start + Duration::from_secs(100)), 5, "what was not used is not saved up");
    }
}
