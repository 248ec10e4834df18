//! One timer a connection, armed anew only for an earlier moment.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

use super::clock::now;
use super::link::{Link, LinkEffects};
use crate::message::Reason;
use crate::protocol::Violation;

/// Wakes the connection's task for what the protocol wants to do at a later moment.
#[derive(Default)]
pub(crate) struct Timer {
    /// Made when it is first needed.
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Timer {
    /// Does what is due on a link.
    ///
    /// # Errors
    /// What ends the connection.
    pub(crate) fn poll(&mut self, link: &Link, cx: &mut Context<'_>) -> Result<(), Violation> {
        let mut effects = LinkEffects::default();
        loop {
            let mut shared = link.lock();
            let due = shared.connection.poll_timeout();
            let due = due.into_iter().chain(link.next_look(&shared, now)).min();
            // What it is armed for already may be earlier, and then it wakes for nothing once.
            let armed = due.map(|due| self.armed.map_or(due, |armed| armed.min(due)));
            shared.armed = armed;
            drop(shared);
            let Some(due) = due else { return Ok(()) };
            if self.poll_until(due, cx).is_pending() {
                if self.armed == armed {
                    return Ok(());
                }
                // It has just woken for nothing, and is armed for a later moment than was said.
                continue;
            }
            let result = link.lock().connection.handle_timeout(now(), &mut effects);
            effects.run();
            result?;
            if link.is_in_the_way(&link.lock(), now()) {
                let message = "nothing was read while others waited for the memory that this takes";
                return Err(Violation::new(Reason::Exhausted, message));
            }
        }
    }

    /// Waits for a moment, or for an earlier one for which it was armed before; the caller looks at the clock.
    pub(crate) fn poll_until(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        if self.armed.is_none_or(|armed| due < armed) {
            sleep.as_mut().reset(due.into());
            self.armed = Some(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            self.armed = None;
            if now() >= due {
                return Poll::Ready(());
            }
            // It had been armed for something that is not due any more.
            sleep.as_mut().reset(due.into());
            self.armed = Some(due);
        }
        Poll::Pending
    }
}
