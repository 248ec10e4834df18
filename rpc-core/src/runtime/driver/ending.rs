//! The end: the last words, and the time that the other side has to hear them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, ReadBuf};

use super::super::buffers::with_scratch;
use super::super::clock::now;
use super::super::link::{LinkEffects, Writer};
use super::{Driver, Manner};
use crate::Error;
use crate::broken::{self, Flaw};
use crate::limits::CLOSE_TIMEOUT;
use crate::protocol::Violation;

/// How far the end has got.
pub(super) struct Closing {
    pub(super) error: Error,
    /// When the other side has had time enough.
    until: Instant,
    shut_down: bool,
}

impl Driver {
    pub(super) fn start_closing(&mut self, violation: &Violation) {
        let mut effects = LinkEffects::default();
        let error = self.link.lock().connection.violated(violation, &mut effects);
        effects.run();
        tracing::debug!(peer = ?self.peer, "{error}");
        self.close_with(error);
    }

    pub(super) fn close_with(&mut self, error: Error) {
        self.let_go();
        let until = now() + CLOSE_TIMEOUT;
        self.closing.get_or_insert_with(|| Box::new(Closing { error, until, shut_down: false }));
    }

    /// Writes the last bytes, shuts down, and waits for the other side to do so: a connection that is dropped with
    /// bytes unread would take its last words with it.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(closing) = &mut self.closing else { return Poll::Pending };
        let error = closing.error.clone();
        if self.timer.poll_until(closing.until, cx).is_ready() {
            return Poll::Ready(error);
        }
        if !closing.shut_down {
            let mut shared = self.link.lock();
            let output = shared.connection.has_output();
            // A caller may have the writer; it comes back with a kick.
            let is_done =
                |writer: &&mut Writer| !output && writer.is_idle() || broken::has(Flaw::ClosesUnwritten);
            let Some(writer) = shared.writer.as_mut().filter(is_done) else {
                return Poll::Pending;
            };
            if ready!(writer.poll_shutdown(cx)).is_err() {
                return Poll::Ready(error);
            }
            closing.shut_down = true;
        }
        if self.ended {
            return Poll::Ready(error);
        }
        // Who goes on as if nothing had been said waits for a turn with all who say very much.
        let _turn = ready!(self.poll_turn_to_read(cx));
        let discarded = with_scratch(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch.bytes);
            let read = Pin::new(&mut self.recv).poll_read(cx, &mut buffer);
            read.map_ok(|()| (buffer.filled().len(), buffer.remaining()))
        });
        self.manner = match ready!(discarded) {
            Ok((0, _)) | Err(_) => return Poll::Ready(error),
            Ok((_, 0)) => Manner::Talkative,
            Ok(_) => Manner::Usual,
        };
        // There may be more: the others on this thread go first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
