//! A handler on a task of its own: one that was not ready at once, or whose method is heavy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::dispatch::{HandlerFuture, TargetId, drop_handler, poll_handler};
use super::link::{Link, Running};
use crate::context::Ambient;
use crate::protocol::CallKey;

/// The task. However it ends, its call ends with it.
pub(crate) struct HandlerTask {
    pub(crate) link: Arc<Link>,
    pub(crate) key: CallKey,
    pub(crate) ambient: Option<Ambient>,
    /// Gone once it has ended.
    pub(crate) future: Option<HandlerFuture>,
    /// The method whose first poll is to be timed.
    pub(crate) timed: Option<TargetId>,
}

impl HandlerTask {
    /// Keeps the call and spawns the task.
    pub(crate) fn spawn(mut self, cancellable: bool) {
        let context = self.ambient.as_mut().map(Ambient::context).unwrap_or_default();
        let (link, key, deadline) = (self.link.clone(), self.key, context.deadline());
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

impl Future for HandlerTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        let timed = this.timed.take().map(|id| (&this.link.registry.target(id).poll_time, Instant::now()));
        let polled = poll_handler(future.as_mut(), &mut this.ambient, cx);
        if let Some((poll_time, since)) = timed {
            poll_time.record(since);
        }
        let Poll::Ready(reply) = polled else { return Poll::Pending };
        drop_handler(this.future.take());
        let metadata = this.ambient.as_ref().and_then(Ambient::take_reply_metadata);
        this.link.handler_ended(this.key, Some((&reply, metadata.as_deref())));
        Poll::Ready(())
    }
}

impl Drop for HandlerTask {
    fn drop(&mut self) {
        if self.future.is_some() {
            drop_handler(self.future.take());
            if let Some(context) = self.ambient.as_ref().and_then(Ambient::made) {
                context.cancel();
            }
            self.link.handler_ended(self.key, None);
        }
    }
}
