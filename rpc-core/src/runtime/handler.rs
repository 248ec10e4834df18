//! A handler on a task of its own: one that was not ready at once, or whose method is heavy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::clock::Stopwatch;
use super::dispatch::{HandlerFuture, TargetId, drop_handler, poll_handler, reply_bytes};
use super::held::Place;
use super::link::{Link, Running};
use super::turns::{Turn, Waiting};
use crate::Metadata;
use crate::context::Ambient;
use crate::failure::Reply;
use crate::protocol::CallKey;

/// The task. However it ends, its call ends with it.
pub(crate) struct HandlerTask {
    pub(crate) link: Arc<Link>,
    pub(crate) key: CallKey,
    pub(crate) ambient: Option<Ambient>,
    /// Gone once it has ended.
    pub(crate) future: Option<HandlerFuture>,
    pub(crate) target: TargetId,
    /// The first poll is to be timed.
    pub(crate) timed: bool,
    /// The first poll takes long by itself, or may.
    pub(crate) takes_long: bool,
    pub(crate) start: Start,
}

/// How far a handler is from its first poll.
pub(crate) enum Start {
    /// If its reply may be large it waits while much waits to be sent. What its call takes until then.
    Held { bytes: usize, place: Option<Place> },
    /// Nothing keeps it but that it may take long.
    Ready,
    /// It takes long by itself, and stands in line with all that does.
    InLine(Box<InLine>),
    /// It has been polled.
    Over,
}

pub(crate) struct InLine {
    waiting: Waiting,
    place: Option<Place>,
}

impl HandlerTask {
    /// Keeps the call and spawns the task.
    pub(crate) fn spawn(mut self, cancellable: bool) {
        let context = self.ambient.as_mut().map(Ambient::context).unwrap_or_default();
        let (link, key, deadline) = (self.link.clone(), self.key, context.deadline());
        if self.is_counted() {
            link.registry.running.enter();
        }
        link.lock().connection.keep(key, Running { context, abort: None }, deadline);
        // Not under the lock: a runtime that shuts down drops the task here and now.
        let abort = tokio::spawn(self).abort_handle();
        if cancellable {
            let handle = abort.clone();
            if !link.lock().connection.update_kept(key, |running| running.abort = Some(handle)) {
                abort.abort();
            }
        }
    }
}

impl HandlerTask {
    /// Waits until it may start; then gives the place that it had, if it had to wait, and its turn.
    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<(Option<Place>, Turn)> {
        let place = match &mut self.start {
            Start::Over => return Poll::Ready((None, None)),
            Start::InLine(line) => {
                let turn = ready!(line.waiting.as_mut().poll(cx));
                return Poll::Ready((self.leave_start(), turn));
            }
            Start::Held { bytes, place } => {
                // Its method may have been measured while it waited for a thread.
                let is_free = place.is_none() && self.link.registry.target(self.target).reply_size.is_small();
                if !is_free {
                    ready!(self.link.poll_start(place, *bytes, cx));
                }
                place.take()
            }
            Start::Ready => None,
        };
        // Another call of the connection may have grown while it waited for a thread.
        if !self.takes_long && !self.link.growth.is_known() {
            self.start = Start::Over;
            return Poll::Ready((place, None));
        }
        let waiting = self.link.registry.turns.wait();
        self.start = Start::InLine(Box::new(InLine { waiting, place }));
        self.poll_start(cx)
    }

    /// Whether it is among the running calls that all connections together have a limit of.
    fn is_counted(&self) -> bool {
        matches!(self.key, CallKey::Call(_))
    }

    /// Its call has ended. It is counted out first: whoever gets the reply may call again at once.
    fn end(&self, reply: Option<(&Reply, Option<&Metadata>)>) {
        if self.is_counted() {
            self.link.registry.running.leave();
        }
        self.link.handler_ended(self.key, reply);
    }

    fn leave_start(&mut self) -> Option<Place> {
        match std::mem::replace(&mut self.start, Start::Over) {
            Start::Held { place, .. } => place,
            Start::InLine(line) => line.place,
            Start::Ready | Start::Over => None,
        }
    }

    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = &mut self.future else { return Poll::Ready(()) };
        let target = self.link.registry.target(self.target);
        let since = std::mem::take(&mut self.timed).then(Stopwatch::start);
        let mut polled = Poll::Pending;
        poll_handler(future.as_mut(), &mut self.ambient, cx, &mut polled);
        if let Some(since) = since {
            target.poll_time.record(since.elapsed());
        }
        let reply = ready!(polled);
        target.reply_size.record(reply_bytes(&reply));
        drop_handler(self.future.take());
        let metadata = self.ambient.as_ref().and_then(Ambient::take_reply_metadata);
        self.end(Some((&reply, metadata.as_deref())));
        Poll::Ready(())
    }
}

impl Future for HandlerTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (place, turn) = ready!(this.poll_start(cx));
        let polled = this.poll_handler(cx);
        if turn.is_some() {
            this.link.growth.had_turn();
        }
        drop(turn);
        if let Some(place) = place {
            this.link.start_next(place);
        }
        polled
    }
}

impl Drop for HandlerTask {
    fn drop(&mut self) {
        if let Some(place) = self.leave_start() {
            self.link.start_next(place);
        }
        if self.future.is_some() {
            drop_handler(self.future.take());
            if let Some(context) = self.ambient.as_ref().and_then(Ambient::made) {
                context.cancel();
            }
            self.end(None);
        }
    }
}
