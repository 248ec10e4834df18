//! Calls that stay in this process: the same stub, marshalling and context, but no socket and no task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::coop;
use tokio::time::Sleep;

use super::blocking::Home;
use super::clock::now;
use super::dispatch::{HandlerFuture, Registry, drop_handler, poll_handler};
use super::flows::Arguments;
use super::local_streams::LocalStreams;
use super::shelf;
use crate::context::{Ambient, Origin, Peer};
use crate::failure::{Ending, Failure, Reply};
use crate::marshal::{Guard, Payload, STREAM_REPLY};
use crate::protocol::{CallFailure, Outcome, deadline_exceeded};
use crate::service::{Method, Request, Service, no_streams, unimplemented};
use crate::stream::{CallStreams, Incoming, Inlet};
use crate::{Executed, Metadata};

/// A service that is called without leaving the process.
pub(crate) trait InProcess: Send + Sync {
    /// What can be called.
    fn registry(&self) -> &Registry;

    /// Starts a handler and polls it once; it is given back if it goes on. It keeps the service while it runs.
    fn run(
        self: Arc<Self>,
        start: Start<'_>,
        ambient: &mut Option<Ambient>,
        cx: &mut Context<'_>,
        polled: &mut Poll<Outcome>,
    ) -> Option<HandlerFuture>;
}

/// What a handler is started with.
pub(crate) struct Start<'a> {
    method: &'static Method,
    params: &'a Payload,
    streams: Option<Box<dyn CallStreams>>,
}

/// Makes a service one that is called without leaving the process.
pub(crate) fn in_process<S: Service>(service: S) -> Arc<dyn InProcess> {
    let mut registry = Registry::default();
    registry.describe::<S>(0);
    Arc::new(Local { registry, service })
}

struct Local<S> {
    registry: Registry,
    service: S,
}

impl<S: Service> InProcess for Local<S> {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn run(
        self: Arc<Self>,
        start: Start<'_>,
        ambient: &mut Option<Ambient>,
        cx: &mut Context<'_>,
        polled: &mut Poll<Outcome>,
    ) -> Option<HandlerFuture> {
        let Start { method, params, streams } = start;
        let handler = || {
            let request = Request::new(method, params.clone(), Guard::default(), streams);
            async move { self.service.dispatch(&request).await }
        };
        shelf::run(handler, ambient, cx, |reply| *polled = Poll::Ready(outcome(reply)))
    }
}

/// A call on its way to a service in this process.
pub(crate) struct NewLocalCall<'a> {
    pub(crate) method: &'static str,
    pub(crate) payload: &'a Payload,
    pub(crate) metadata: Option<Box<Metadata>>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) oneway: bool,
    /// The streams among its arguments, if it has any stream.
    pub(crate) streams: Option<Arguments>,
}

impl NewLocalCall<'_> {
    /// Starts the call, which runs in whoever polls it. Most end here, and need no memory of their own; of others
    /// `remains` the call that goes on, or whose reply does.
    #[inline]
    pub(crate) fn start(
        self,
        service: Arc<dyn InProcess>,
        cx: &mut Context<'_>,
        remains: &mut Option<Box<LocalCall>>,
    ) -> Poll<Outcome> {
        if self.deadline.is_some_and(|deadline| deadline <= now()) {
            return Poll::Ready(deadline_exceeded(Executed::No).into());
        }
        let registry = service.registry();
        let Some(target) = registry.find(self.method.as_bytes()).map(|id| registry.target(id)) else {
            return Poll::Ready(unimplemented(self.method).into());
        };
        let (service_name, method) = (target.service_name, target.method);
        if method.streaming && self.streams.is_none() {
            return Poll::Ready(no_streams(self.method).into());
        }
        let mut ambient = Some(Ambient::Origin(Origin {
            service: service_name,
            method: method.name,
            peer: Peer::in_process(),
            deadline: self.deadline,
            metadata: self.metadata,
            no_cancel: method.no_cancel,
        }));
        let streams = self.streams.map(|arguments| LocalStreams::new(arguments, method.shape));
        let start = Start {
            method,
            params: self.payload,
            streams: streams.as_ref().map(|streams| -> Box<dyn CallStreams> { Box::new(streams.clone()) }),
        };
        let mut polled = Poll::Pending;
        let future = service.run(start, &mut ambient, cx, &mut polled);
        if streams.is_none()
            && let Poll::Ready(outcome) = &mut polled
        {
            if self.oneway {
                return Poll::Ready(unawaited());
            }
            outcome.metadata = ambient.as_ref().and_then(Ambient::take_reply_metadata);
            return polled;
        }
        let mut call = Box::new(LocalCall {
            future,
            ambient,
            deadline: self.deadline.map(|deadline| (deadline, None)),
            streams,
            oneway: self.oneway,
            no_cancel: method.no_cancel,
        });
        if polled.is_ready() {
            call.drop_handler();
        }
        let polled = call.settle(polled, cx);
        *remains = Some(call);
        polled
    }
}

/// What a call ends with whose handler has, but for what the handler has set beside its reply.
#[inline]
fn outcome(reply: Reply) -> Outcome {
    let result = match reply {
        Ok(value) => Ok(value),
        Err(Failure::App(value)) => Err(CallFailure::App(value)),
        Err(Failure::Rpc(error)) => Err(CallFailure::Rpc(error)),
    };
    Outcome { result, metadata: None }
}

/// How a stream ends with that.
fn ending(outcome: Outcome) -> Ending {
    match outcome.result {
        Ok(_) => Ok(()),
        Err(CallFailure::App(value)) => Err(Failure::App(value)),
        Err(CallFailure::Rpc(error)) => Err(Failure::Rpc(error)),
        Err(CallFailure::Moved) => unreachable!("a handler does not end so"),
    }
}

/// What a call ends with whose reply nobody waits for: that of a method that returns nothing.
pub(crate) fn unawaited() -> Outcome {
    /// MessagePack's.
    const NIL: u8 = 0xc0;
    Payload::from_slice(&[NIL]).into()
}

/// A call that runs in its caller.
pub(crate) struct LocalCall {
    /// Gone once it has ended.
    future: Option<HandlerFuture>,
    ambient: Option<Ambient>,
    /// With its timer, once that has been needed.
    deadline: Option<(Instant, Option<Pin<Box<Sleep>>>)>,
    /// Its streams, if it has any: its reply is there if that is one.
    streams: Option<Arc<LocalStreams>>,
    /// Nobody waits for its end, nor learns how it was.
    oneway: bool,
    no_cancel: bool,
}

impl LocalCall {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let polled = self.poll_handler(cx);
        self.settle(polled, cx)
    }

    /// What follows from a poll of its handler.
    fn settle(&mut self, polled: Poll<Outcome>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if self.oneway {
            self.go_on();
            return Poll::Ready(unawaited());
        }
        if let Some(metadata) = self.streams.as_ref().and_then(|streams| streams.take_opened()) {
            if let Poll::Ready(outcome) = polled {
                self.end_reply(ending(outcome));
            }
            return Poll::Ready(Outcome { result: Ok(Payload::from_slice(&STREAM_REPLY)), metadata });
        }
        match polled {
            Poll::Ready(mut outcome) => {
                outcome.metadata = self.ambient.as_ref().and_then(Ambient::take_reply_metadata);
                Poll::Ready(outcome)
            }
            Poll::Pending if self.is_overdue() || self.poll_deadline(cx).is_ready() => {
                Poll::Ready(deadline_exceeded(Executed::Maybe).into())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let mut polled = Poll::Pending;
        poll_handler(future.as_mut(), &mut self.ambient, cx, &mut polled);
        if polled.is_ready() {
            self.drop_handler();
        }
        polled.map(outcome)
    }

    fn drop_handler(&mut self) {
        drop_handler(self.future.take());
        if let Some(streams) = &self.streams {
            streams.end_arguments();
        }
    }

    fn end_reply(&self, ending: Ending) {
        if let Some(streams) = &self.streams {
            streams.end_reply(ending);
        }
    }

    /// Its deadline has passed while its reply flows.
    fn end_overdue(&mut self) {
        self.drop_handler();
        self.end_reply(Err(Failure::Rpc(deadline_exceeded(Executed::Maybe))));
    }

    /// Lets the handler run on a task, since whoever polled it will not any more.
    fn go_on(&mut self) {
        let Some(future) = self.future.take() else { return };
        if let Some(streams) = &self.streams {
            streams.leave_reply();
            streams.end_arguments();
        }
        let rest = LocalCall {
            future: Some(future),
            ambient: self.ambient.take(),
            deadline: self.deadline.take().filter(|_| !self.no_cancel),
            streams: self.streams.take(),
            oneway: false,
            // Dropped once more, it is because its runtime is shut down.
            no_cancel: false,
        };
        let handle = Handle::try_current().or_else(|_| Home::library().map(|home| home.handle));
        if let Ok(handle) = handle {
            handle.spawn(rest);
        }
    }

    /// Whether its deadline has passed: also where a handler that is always ready leaves its timer no turn.
    fn is_overdue(&self) -> bool {
        self.deadline.as_ref().is_some_and(|(deadline, _)| *deadline <= now())
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((deadline, timer)) = &mut self.deadline else { return Poll::Pending };
        let timer = match timer {
            Some(timer) => timer,
            None => {
                // A caller on another executor has no timers of tokio's; the library's thread has.
                let library = if Handle::try_current().is_err() { Home::library().ok() } else { None };
                let _entered = library.as_ref().map(|home| home.handle.enter());
                timer.insert(Box::pin(tokio::time::sleep_until((*deadline).into())))
            }
        };
        timer.as_mut().poll(cx)
    }
}

impl Future for LocalCall {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        LocalCall::poll(self.get_mut(), cx).map(drop)
    }
}

impl Drop for LocalCall {
    fn drop(&mut self) {
        if self.future.is_none() {
            return;
        }
        if let Some(context) = self.ambient.as_ref().and_then(Ambient::made) {
            context.cancel();
        }
        if self.no_cancel {
            self.go_on();
        }
        self.drop_handler();
    }
}

/// The caller's end of a reply: runs the handler as far as items are wanted.
pub(crate) struct LocalInlet(Box<LocalCall>);

impl LocalInlet {
    pub(crate) fn new(call: Box<LocalCall>) -> Self {
        LocalInlet(call)
    }

    fn take(&self) -> Option<Incoming> {
        self.0.streams.as_ref()?.take_incoming()
    }
}

impl Inlet for LocalInlet {
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if let Some(incoming) = self.take() {
            return Poll::Ready(incoming);
        }
        // A handler that is always ready must not keep its caller's thread for itself.
        let restore = ready!(coop::poll_proceed(cx));
        let call = &mut *self.0;
        if call.is_overdue() {
            call.end_overdue();
        } else if let Poll::Ready(outcome) = call.poll_handler(cx) {
            call.end_reply(ending(outcome));
        } else if call.poll_deadline(cx).is_ready() {
            call.end_overdue();
        }
        self.take().map_or(Poll::Pending, |incoming| {
            restore.made_progress();
            Poll::Ready(incoming)
        })
    }
}

impl From<Payload> for Outcome {
    fn from(value: Payload) -> Self {
        Outcome { result: Ok(value), metadata: None }
    }
}
