//! What a client does next: the mixture of calls.

use std::time::Duration;

use crate::ledger::{Attempt, Method};
use crate::random::Random;

use super::Ticket;

/// A call that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) method: Method,
    pub(super) argument_bytes: u32,
    reply_bytes: u32,
    items: u32,
    pause: u32,
    pub(super) timeout: Option<Duration>,
    /// When its caller loses patience and drops it.
    pub(super) dropped_after: Option<Duration>,
    pub(super) waits_for_ready: bool,
}

/// Of a hundred calls, about how many are of which method.
const MIXTURE: [(u64, Method); 10] = [
    (56, Method::Plain),
    (10, Method::Repeatable),
    (5, Method::Refuse),
    (5, Method::Slow),
    (2, Method::Finish),
    (5, Method::Note),
    (5, Method::Download),
    (4, Method::Upload),
    (3, Method::Converse),
    (5, Method::Consult),
];

/// Arguments and replies that are large at all have so many bytes at least.
const LEAST_LARGE: u64 = 4 * 1024;

impl Plan {
    /// Any call, with arguments and a reply of up to `largest` bytes each.
    pub(super) fn draw(random: &mut Random, largest: u64) -> Plan {
        let method = random.weighted(&MIXTURE);
        let mut plan = Plan {
            method,
            argument_bytes: random.between(0..256) as u32,
            reply_bytes: random.between(0..256) as u32,
            items: 0,
            pause: 0,
            timeout: random.one_in(4).then(|| random.millis(1..2_000)),
            dropped_after: random.one_in(20).then(|| random.millis(0..30)),
            waits_for_ready: random.one_in(5),
        };
        match method {
            Method::Plain | Method::Repeatable if random.one_in(60) => plan.make_large(random, largest),
            Method::Slow | Method::Finish => plan.pause = random.between(1..150) as u32,
            Method::Download | Method::Upload | Method::Converse => {
                plan.items = random.between(0..60) as u32;
                plan.reply_bytes = random.between(8..512) as u32;
                if random.one_in(20) {
                    // More than a window.
                    plan.reply_bytes *= 16;
                }
                plan.pause = if random.one_in(3) { random.between(1..10) as u32 } else { 0 };
            }
            Method::Consult => {
                plan.items = random.between(1..4) as u32;
                plan.pause = if random.one_in(4) { random.between(1..20) as u32 } else { 0 };
            }
            _ => {}
        }
        plan
    }

    /// A call that is answered at once and large one way or both: in fragments, unless it is among the smaller ones.
    pub(super) fn draw_large(random: &mut Random, largest: u64) -> Plan {
        let mut plan = Plan {
            method: Method::Plain,
            argument_bytes: 0,
            reply_bytes: 0,
            items: 0,
            pause: 0,
            timeout: None,
            dropped_after: None,
            waits_for_ready: random.one_in(2),
        };
        plan.make_large(random, largest);
        plan
    }

    fn make_large(&mut self, random: &mut Random, largest: u64) {
        // As many of each order of magnitude, for each has memory of its own.
        let doublings = u64::from((largest / LEAST_LARGE).checked_ilog2().unwrap_or(0));
        let large = |random: &mut Random| {
            let least = LEAST_LARGE << random.between(0..doublings.max(1));
            random.between(least..2 * least).min(largest) as u32
        };
        match random.between(0..3) {
            0 => self.argument_bytes = large(random),
            1 => self.reply_bytes = large(random),
            _ => (self.argument_bytes, self.reply_bytes) = (large(random), large(random)),
        }
    }

    /// What goes along with an attempt.
    pub(super) fn ticket(&self, attempt: Attempt) -> Ticket {
        Ticket {
            call: attempt.call,
            attempt: attempt.number,
            reply_bytes: self.reply_bytes,
            items: self.items,
            pause: self.pause,
        }
    }
}
