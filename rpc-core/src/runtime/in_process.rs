//! Calls that stay in this process: the same stub, marshalling and context, but no socket and no task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::coop;
use tokio::time::Sleep;

use super::blocking::Home;
use super::clock::now;
use super::dispatch::{Dispatcher, HandlerFuture, Registry, drop_handler, poll_handler};
use super::flows::Arguments;
use super::local_streams::LocalStreams;
use crate::context::{Ambient, Origin, Peer};
use crate::failure::{Ending, Failure, Reply};
use crate::marshal::{Guard, Payload, STREAM_REPLY};
use crate::protocol::{CallFailure, NewCall, Outcome, deadline_exceeded};
use crate::service::{Request, Service, no_streams, unimplemented};
use crate::stream::{Incoming, Inlet};
use crate::{Address, Executed};

/// A service that is called without leaving the process.
pub(crate) struct InProcess {
    registry: Registry,
    dispatcher: Mutex<Box<dyn Dispatcher>>,
    peer: Peer,
}

impl InProcess {
    pub(crate) fn new<S: Service>(service: S) -> Self {
        let mut registry = Registry::default();
        registry.add(service);
        let dispatcher = Mutex::new(registry.open(0));
        InProcess { registry, dispatcher, peer: Peer::new(Address::new("in-process:"), ()) }
    }

    /// Starts a call, which then runs in whoever polls it.
    pub(crate) fn enter(&self, call: &NewCall<'_>, arguments: Arguments) -> Result<LocalCall, CallFailure> {
        if call.deadline.is_some_and(|deadline| deadline <= now()) {
            return Err(CallFailure::Rpc(deadline_exceeded(Executed::No)));
        }
        let Some(target) = self.registry.find(call.method).map(|id| self.registry.target(id)) else {
            return Err(CallFailure::Rpc(unimplemented(call.method)));
        };
        if target.method.streaming && call.streams.is_none() {
            return Err(CallFailure::Rpc(no_streams(call.method)));
        }
        let origin = Origin {
            service: target.service_name,
            method: target.method.name,
            peer: self.peer.clone(),
            deadline: call.deadline,
            metadata: call.metadata.cloned().map(Box::new),
            no_cancel: target.method.no_cancel,
        };
        let mut request = Request::new(target.method, call.payload.clone(), Guard::default());
        let streams = call.streams.map(|_| LocalStreams::new(arguments, target.method.shape));
        if let Some(streams) = &streams {
            request = request.with_streams(Box::new(streams.clone()));
        }
        let future = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).start(request);
        Ok(LocalCall {
            future: Some(future),
            ambient: Some(Ambient::Origin(origin)),
            deadline: call.deadline.map(|deadline| (deadline, None)),
            streams,
            oneway: call.oneway,
            no_cancel: target.method.no_cancel,
        })
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
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
        if self.oneway {
            self.go_on();
            return Poll::Ready(Payload::from_slice(&[NIL]).into());
        }
        if let Some(metadata) = self.streams.as_ref().and_then(|streams| streams.take_opened()) {
            if let Poll::Ready(reply) = polled {
                self.end_reply(reply.map(drop));
            }
            return Poll::Ready(Outcome { result: Ok(Payload::from_slice(&STREAM_REPLY)), metadata });
        }
        match polled {
            Poll::Ready(reply) => {
                let metadata = self.ambient.as_ref().and_then(Ambient::take_reply_metadata);
                Poll::Ready(Outcome { result: reply.map_err(CallFailure::from), metadata })
            }
            Poll::Pending if self.is_overdue() || self.poll_deadline(cx).is_ready() => {
                Poll::Ready(deadline_exceeded(Executed::Maybe).into())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<Reply> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let polled = poll_handler(future.as_mut(), &mut self.ambient, cx);
        if polled.is_ready() {
            self.drop_handler();
        }
        polled
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
        } else if let Poll::Ready(reply) = call.poll_handler(cx) {
            call.end_reply(reply.map(drop));
        } else if call.poll_deadline(cx).is_ready() {
            call.end_overdue();
        }
        self.take().map_or(Poll::Pending, |incoming| {
            restore.made_progress();
            Poll::Ready(incoming)
        })
    }
}

impl From<Failure> for CallFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::App(value) => CallFailure::App(value),
            Failure::Rpc(error) => CallFailure::Rpc(error),
        }
    }
}

impl From<Payload> for Outcome {
    fn from(value: Payload) -> Self {
        Outcome { result: Ok(value), metadata: None }
    }
}

/// MessagePack's nil: the reply that nobody waits for.
const NIL: u8 = 0xc0;
