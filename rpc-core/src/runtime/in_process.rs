//! Calls that stay in this process: the same stub, marshalling and context, but no socket and no task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::time::Sleep;

use super::blocking::Home;
use super::clock::now;
use super::dispatch::{Dispatcher, HandlerFuture, Registry, drop_handler, poll_handler};
use crate::context::{Ambient, Origin, Peer};
use crate::marshal::{Guard, Payload};
use crate::protocol::{CallFailure, NewCall, Outcome, deadline_exceeded};
use crate::service::{Failure, Request, Service, unimplemented};
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
        InProcess { registry, dispatcher, peer: Peer::new(Address::new("in-process:")) }
    }

    /// Starts a call, which then runs in whoever polls it.
    pub(crate) fn enter(&self, call: &NewCall<'_>) -> Result<LocalCall, CallFailure> {
        if call.deadline.is_some_and(|deadline| deadline <= now()) {
            return Err(CallFailure::Rpc(deadline_exceeded(Executed::No)));
        }
        let Some(target) = self.registry.find(call.method).map(|id| self.registry.target(id)) else {
            return Err(CallFailure::Rpc(unimplemented(call.method)));
        };
        let origin = Origin {
            service: target.service_name,
            method: target.method.name,
            peer: self.peer.clone(),
            deadline: call.deadline,
            metadata: call.metadata.cloned().map(Box::new),
            no_cancel: target.method.no_cancel,
        };
        let request = Request::new(target.method, call.payload.clone(), Guard::default());
        let future = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).start(request);
        Ok(LocalCall {
            future: Some(future),
            ambient: Some(Ambient::Origin(origin)),
            deadline: call.deadline.map(|deadline| (deadline, None)),
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
    /// Nobody waits for its end, nor learns how it was.
    oneway: bool,
    no_cancel: bool,
}

impl LocalCall {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let polled = poll_handler(future.as_mut(), &mut self.ambient, cx);
        if polled.is_ready() {
            drop_handler(self.future.take());
        }
        match polled {
            _ if self.oneway => {
                self.go_on();
                Poll::Ready(Payload::from_slice(&[NIL]).into())
            }
            Poll::Ready(reply) => {
                let metadata = self.ambient.as_ref().and_then(Ambient::take_reply_metadata);
                Poll::Ready(Outcome { result: reply.map_err(CallFailure::from), metadata })
            }
            Poll::Pending if self.poll_deadline(cx).is_ready() => {
                Poll::Ready(deadline_exceeded(Executed::Maybe).into())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Lets the handler run on a task, since whoever polled it will not any more.
    fn go_on(&mut self) {
        let Some(future) = self.future.take() else { return };
        let rest = LocalCall {
            future: Some(future),
            ambient: self.ambient.take(),
            deadline: self.deadline.take().filter(|_| !self.no_cancel),
            oneway: false,
            // Dropped once more, it is because its runtime is shut down.
            no_cancel: false,
        };
        let handle = Handle::try_current().or_else(|_| Home::library().map(|home| home.handle));
        if let Ok(handle) = handle {
            handle.spawn(rest);
        }
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
        drop_handler(self.future.take());
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
