//! Calls that stay in this process: the same stub, marshalling and context, but no socket and no task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::time::Sleep;

use super::blocking::Home;
use super::clock::now;
use super::dispatch::{Dispatcher, HandlerFuture, Registry, drop_handler, poll_handler};
use super::flows::{Argument, Arguments};
use crate::context::{Ambient, Origin, Peer};
use crate::marshal::{Guard, ItemWriter, Payload, STREAM_REPLY, Shape};
use crate::protocol::{CallFailure, NewCall, Outcome, deadline_exceeded};
use crate::service::{Ending, Failure, Reply, Request, Service, no_streams, unimplemented};
use crate::stream::{CallStreams, Fill, Incoming, Inlet, Outlet};
use crate::{Address, Executed, Metadata};

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
        let reply = call.streams.map(|_| Arc::<Mutex<LocalReply>>::default());
        if let Some(reply) = &reply {
            let arguments = arguments.into_iter().map(|argument| Mutex::new(Some(argument)));
            let streams = LocalStreams {
                arguments: arguments.collect(),
                shape: target.method.shape,
                reply: reply.clone(),
            };
            request = request.with_streams(Box::new(streams));
        }
        let future = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).start(request);
        Ok(LocalCall {
            future: Some(future),
            ambient: Some(Ambient::Origin(origin)),
            deadline: call.deadline.map(|deadline| (deadline, None)),
            reply,
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
    /// Where its reply is put if it is a stream, for a call with streams.
    reply: Option<Arc<Mutex<LocalReply>>>,
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
        if let Some(metadata) = self.take_opened() {
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
            Poll::Pending if self.poll_deadline(cx).is_ready() => {
                Poll::Ready(deadline_exceeded(Executed::Maybe).into())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<Reply> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let polled = poll_handler(future.as_mut(), &mut self.ambient, cx);
        if polled.is_ready() {
            drop_handler(self.future.take());
        }
        polled
    }

    /// The metadata of a reply that is a stream, once it is there.
    fn take_opened(&self) -> Option<Option<Box<Metadata>>> {
        lock(self.reply.as_deref()?).opened.take()
    }

    fn end_reply(&self, ending: Ending) {
        if let Some(reply) = &self.reply {
            lock(reply).ending = Some(ending);
        }
    }

    /// Lets the handler run on a task, since whoever polled it will not any more.
    fn go_on(&mut self) {
        let Some(future) = self.future.take() else { return };
        if let Some(reply) = &self.reply {
            lock(reply).unwanted = true;
        }
        let rest = LocalCall {
            future: Some(future),
            ambient: self.ambient.take(),
            deadline: self.deadline.take().filter(|_| !self.no_cancel),
            reply: self.reply.take(),
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

/// The reply of a call in this process, if it is a stream: at most one batch of items lies here.
#[derive(Default)]
struct LocalReply {
    /// Its metadata, until the caller has been told.
    opened: Option<Option<Box<Metadata>>>,
    items: Option<Incoming>,
    ending: Option<Ending>,
    /// Nobody takes items any more.
    unwanted: bool,
}

fn lock(reply: &Mutex<LocalReply>) -> MutexGuard<'_, LocalReply> {
    reply.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handler's end of its reply. Whoever takes the items polls the handler, so nobody has to be woken.
struct LocalOutlet(Arc<Mutex<LocalReply>>);

impl Outlet for LocalOutlet {
    fn poll_send(&mut self, _: &mut Context<'_>, items: &mut ItemWriter, _: bool) -> Poll<bool> {
        let mut reply = lock(&self.0);
        if reply.unwanted {
            return Poll::Ready(false);
        }
        if reply.items.is_some() {
            return Poll::Pending;
        }
        let count = items.count();
        reply.items = Some(Incoming::Items { count, bytes: items.take() });
        Poll::Ready(true)
    }

    fn poll_over(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if lock(&self.0).unwanted { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The caller's end of a reply: runs the handler as far as items are wanted.
pub(crate) struct LocalInlet(Box<LocalCall>);

impl LocalInlet {
    pub(crate) fn new(call: Box<LocalCall>) -> Self {
        LocalInlet(call)
    }

    /// What lies there.
    fn take(&self) -> Option<Incoming> {
        let mut reply = lock(self.0.reply.as_deref()?);
        reply.items.take().or_else(|| reply.ending.take().map(Incoming::End))
    }
}

impl Inlet for LocalInlet {
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if let Some(incoming) = self.take() {
            return Poll::Ready(incoming);
        }
        let call = &mut *self.0;
        if let Poll::Ready(reply) = call.poll_handler(cx) {
            call.end_reply(reply.map(drop));
        } else if call.poll_deadline(cx).is_ready() {
            drop_handler(call.future.take());
            call.end_reply(Err(Failure::Rpc(deadline_exceeded(Executed::Maybe))));
        }
        self.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The streams of a call in this process: arguments are polled by the handler that takes their items.
struct LocalStreams {
    arguments: Vec<Mutex<Option<Argument>>>,
    shape: Shape,
    reply: Arc<Mutex<LocalReply>>,
}

impl CallStreams for LocalStreams {
    fn argument(&self, number: u8) -> Option<Box<dyn Inlet>> {
        let argument = self.arguments.get(usize::from(number).checked_sub(1)?)?;
        let producer = argument.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Box::new(LocalArgument { producer, items: ItemWriter::new(self.shape), ending: None }))
    }

    fn reply(&self) -> Option<Box<dyn Outlet>> {
        lock(&self.reply).opened = Some(crate::Context::current().take_reply_metadata());
        Some(Box::new(LocalOutlet(self.reply.clone())))
    }
}

struct LocalArgument {
    producer: Argument,
    items: ItemWriter,
    ending: Option<Ending>,
}

impl Inlet for LocalArgument {
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if let Some(ending) = self.ending.take() {
            return Poll::Ready(Incoming::End(ending));
        }
        match self.producer.as_mut().poll_fill(cx, &mut self.items) {
            Fill::Pending if self.items.is_empty() => return Poll::Pending,
            Fill::End(ending) if self.items.is_empty() => return Poll::Ready(Incoming::End(ending)),
            Fill::End(ending) => self.ending = Some(ending),
            Fill::Pending | Fill::Full => {}
        }
        let count = self.items.count();
        Poll::Ready(Incoming::Items { count, bytes: self.items.take() })
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
