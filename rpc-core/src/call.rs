//! A call: a future that marshals nothing more, waits, and unmarshals the reply.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;
use serde::Serialize;

use crate::channel::{Channel, Way, WayBack};
use crate::context::{Inherited, inherited};
use crate::failure::MethodError;
use crate::marshal::{ArgumentList, Guard, Payload, Shape, is_stream_reply};
use crate::protocol::{CallFailure, CallId, Entry, NewCall, Outcome};
use crate::returned::{CallHome, RawReply, Returned};
use crate::runtime::{
    Argument, Arguments, Home, InProcess, Lease, Link, LinkInlet, LocalCall, LocalInlet, NewLocalCall,
    PendingCall, Progress, block_on, now, send_arguments, unawaited,
};
use crate::stream::{Fallible, Inlet, Plain};
use crate::{Code, Error, Executed, Metadata};

/// A call that has been prepared: a future of its reply, with the call's options as methods.
///
/// Awaiting it gives `Result<T, Error>`, or `Result<T, CallError<E>>` for a method that returns `Result<T, E>`. It
/// does nothing until it is polled. Its arguments were marshalled when it was made, so it borrows nothing.
///
/// Once it has been polled, go on polling it, or drop it. While the other side runs as many calls as it takes
/// ([`Limits::calls`](crate::Limits::calls)), a call waits for a place; one that is given its place and is not polled
/// keeps it from those behind it.
///
/// # Errors
/// Every call that is not dropped ends in exactly one of: the value, the procedure's own error, an [`Error`] that
/// says whether the procedure ran.
///
/// # Cancel safety
/// Dropping a call cancels it: the handler is dropped at its next await, unless its method is
/// `#[rpc(no_cancel)]`. What the handler has done until then stays done.
#[must_use = "a call does nothing until it is awaited, or `.blocking()` is called"]
pub struct Call<T, E: MethodError = Error> {
    raw: Raw,
    reply: PhantomData<fn() -> (T, E)>,
}

/// Whether a reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    OneWay,
}

impl<T: Returned, E: MethodError> Call<T, E> {
    pub(crate) fn new(
        channel: &Channel,
        method: &'static str,
        arguments: &impl ArgumentList,
        shape: Shape,
        kind: Kind,
    ) -> Self {
        let mut raw = Raw {
            route: Route::new(channel),
            method,
            payload: arguments.marshal(shape),
            shape,
            streams: Streams { arguments: Vec::new(), count: 0, reply: T::STREAMS, sent: false },
            metadata: None,
            deadline: None,
            oneway: kind == Kind::OneWay,
            idempotent: false,
            wait_for_ready: false,
            cancelled: None,
            state: State::New,
            inlet: None,
        };
        if let Some(inherited) = inherited() {
            raw.inherit(inherited);
        }
        Call { raw, reply: PhantomData }
    }

    /// Ends the call with [`Code::DeadlineExceeded`] if it takes longer than this from now on, waiting for a
    /// connection and for its turn included, and all items of a reply that is a stream. An earlier deadline that it
    /// inherited stays.
    pub fn timeout(self, timeout: Duration) -> Self {
        match now().checked_add(timeout) {
            Some(deadline) => self.deadline(deadline),
            // Beyond what a clock can say is the same as none.
            None => self,
        }
    }

    /// Ends the call with [`Code::DeadlineExceeded`] at this moment. An earlier deadline that it inherited stays.
    ///
    /// No deadline is set where the user sets none. The server enforces it too, up to its
    /// [`Limits::max_deadline`](crate::Limits::max_deadline).
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.raw.deadline = Some(self.raw.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self
    }

    /// Sends a text beside the call; the handler finds it in its [`Context`](crate::Context::metadata).
    pub fn metadata(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.raw.metadata.get_or_insert_default().insert(name, value);
        self
    }

    /// Waits for a connection, even without a deadline, instead of failing at once while there is none.
    pub fn wait_for_ready(mut self) -> Self {
        self.raw.wait_for_ready = true;
        self
    }

    /// Says that the method may be called again without harm: an [`Error`] that says [`Executed::Maybe`] is
    /// retryable then. Stubs of `#[rpc(idempotent)]` methods do this.
    pub fn idempotent(mut self) -> Self {
        self.raw.idempotent = true;
        self
    }

    /// Gives the reply's metadata beside the value.
    pub fn with_metadata(self) -> WithMetadata<T, E> {
        WithMetadata(self)
    }
}

impl<T, E: MethodError> Call<T, E> {
    /// Attaches the stream that stands at the next [`StreamArgument`](crate::StreamArgument) among the arguments.
    ///
    /// It is polled once the call is sent, on a task of its own where the connection lives (so it must not block; a
    /// thread of its own for a client that was opened with [`Connecting::blocking`](crate::Connecting::blocking),
    /// where it may), as far as the other side's window lets it: 64 KiB ahead at first, and a message beyond. It is
    /// dropped when it ends, when the call does, or when nobody wants more of it.
    ///
    /// # Errors
    /// The consumer sees what ends the stream before its time: [`Code::Internal`] if it panics or an item cannot be
    /// marshalled, [`Code::ResourceExhausted`] if an item is larger than any message that the other side takes. A
    /// call with another number of streams than of places for them is refused by its handler or never given them.
    pub fn stream<S: Stream<Item: Serialize> + Send + 'static>(mut self, stream: S) -> Self {
        self.raw.streams.push(Box::pin(Plain::new(stream)));
        self
    }

    /// The same with a stream whose first error ends it.
    pub fn try_stream<S, I, F>(mut self, stream: S) -> Self
    where
        S: Stream<Item = Result<I, F>> + Send + 'static,
        I: Serialize,
        F: MethodError,
    {
        let shape = self.raw.shape;
        self.raw.streams.push(Box::pin(Fallible::new(stream, shape)));
        self
    }
}

impl<T: Returned, E: MethodError> Call<T, E> {
    /// Waits for the reply on this thread, without async. Gives an iterator, [`Items`](crate::Items), where the reply
    /// is a stream.
    ///
    /// # Errors
    /// As awaiting the call; and [`Code::FailedPrecondition`] inside an async task, or if the client was opened on a
    /// current-thread runtime: there waiting could stop what is waited for.
    pub fn blocking(self) -> Result<T::Blocking, E::CallError> {
        let home = self.raw.home();
        let value = block_on(home.as_ref(), self)??;
        Ok(value.into_blocking(CallHome(home)))
    }
}

impl<T: Returned, E: MethodError> Future for Call<T, E> {
    type Output = Result<T, E::CallError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = ready!(self.raw.poll(cx));
        Poll::Ready(self.raw.unmarshal::<T, E>(&mut outcome.result))
    }
}

impl<T, E: MethodError> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.raw.method).finish_non_exhaustive()
    }
}

/// What [`Call::with_metadata`] returns: the same call, which gives the reply's metadata beside the value.
#[must_use = "a call does nothing until it is awaited, or `.blocking()` is called"]
pub struct WithMetadata<T, E: MethodError = Error>(Call<T, E>);

impl<T: Returned, E: MethodError> WithMetadata<T, E> {
    /// Waits for the reply on this thread, as [`Call::blocking`] does.
    ///
    /// # Errors
    /// As [`Call::blocking`].
    pub fn blocking(self) -> Result<(T::Blocking, Metadata), E::CallError> {
        let home = self.0.raw.home();
        let (value, metadata) = block_on(home.as_ref(), self)??;
        Ok((value.into_blocking(CallHome(home)), metadata))
    }
}

impl<T: Returned, E: MethodError> Future for WithMetadata<T, E> {
    type Output = Result<(T, Metadata), E::CallError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = ready!(self.0.raw.poll(cx));
        let metadata = outcome.metadata.map(|metadata| *metadata).unwrap_or_default();
        Poll::Ready(self.0.raw.unmarshal::<T, E>(&mut outcome.result).map(|value| (value, metadata)))
    }
}

impl<T, E: MethodError> fmt::Debug for WithMetadata<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

type Cancelled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All of a call but its types.
struct Raw {
    route: Route,
    method: &'static str,
    /// Kept until the end: a call that one connection does not take is sent on another.
    payload: Result<Payload, Error>,
    shape: Shape,
    streams: Streams,
    metadata: Option<Box<Metadata>>,
    deadline: Option<Instant>,
    oneway: bool,
    idempotent: bool,
    wait_for_ready: bool,
    /// The call in whose handler this one was made is cancelled.
    cancelled: Option<Cancelled>,
    state: State,
    /// What it has ended with, if that is a stream.
    inlet: Option<Box<dyn Inlet>>,
}

/// The streams of a call.
struct Streams {
    /// Those among its arguments that are not on their way yet.
    arguments: Arguments,
    /// How many there are in all.
    count: u8,
    /// Whether the reply is one.
    reply: bool,
    /// They are on their way, and cannot go anywhere else.
    sent: bool,
}

impl Streams {
    fn push(&mut self, argument: Argument) {
        self.arguments.push(argument);
        // Senders check the number, which the list of arguments bounds, against what a call may have.
        self.count = self.count.saturating_add(1);
    }

    /// How many arguments are streams, if the call has any stream.
    fn in_call(&self) -> Option<u8> {
        (self.reply || self.count > 0).then_some(self.count)
    }

    /// Whether streams have given something of theirs to a connection, so that the call cannot begin anew.
    fn have_begun(&self) -> bool {
        self.sent && self.count > 0
    }

    /// The stream that is the reply, if it is one. Whoever does not want it drops it, which stops its producer.
    fn inlet(&self, state: State, route: &Route, outcome: &Outcome) -> Option<Box<dyn Inlet>> {
        self.in_call()?;
        if !matches!(&outcome.result, Ok(value) if is_stream_reply(value)) {
            return None;
        }
        match state {
            State::Entered { id, .. } => {
                Some(Box::new(LinkInlet::of_reply(route.link()?.clone(), id.number())))
            }
            State::Local(call) => Some(Box::new(LocalInlet::new(call))),
            State::New | State::Ended => None,
        }
    }
}

enum State {
    New,
    Entered {
        id: CallId,
        pending: PendingCall,
    },
    /// Boxed, so that calls over a connection are not moved about at its size.
    Local(Box<LocalCall>),
    Ended,
}

/// Where a call goes.
enum Route {
    /// To a client's server, over the link of its lease.
    Remote(Arc<Lease>),
    /// Back to a caller, over the link that it was entered on, once it has been.
    Peer(WayBack, Option<Arc<Link>>),
    InProcess(Arc<dyn InProcess>),
    /// What is left of a call in process, which has taken the service along.
    Taken,
}

impl Route {
    fn new(channel: &Channel) -> Self {
        match &channel.0 {
            Way::Remote(handle) => Route::Remote(handle.lease()),
            Way::Peer(back) => Route::Peer(back.clone(), None),
            Way::InProcess(service) => Route::InProcess(service.clone()),
        }
    }

    /// The link to enter a call on, or that it was entered on.
    #[inline]
    fn link(&self) -> Option<&Arc<Link>> {
        match self {
            Route::Remote(lease) => Some(&lease.link),
            Route::Peer(_, link) => link.as_ref(),
            Route::InProcess(_) | Route::Taken => None,
        }
    }

    /// Where a new call is pending, and who is to be woken.
    fn pending(&self, waker: &Waker) -> PendingCall {
        match self {
            Route::Remote(lease) => PendingCall::of(lease, waker),
            Route::Peer(..) | Route::InProcess(_) | Route::Taken => PendingCall::apart(waker),
        }
    }

    /// Keeps the memory of a call that is not pending any more.
    #[inline]
    fn give_back(&self, pending: PendingCall) {
        if let Route::Remote(lease) = self {
            pending.give_back(lease);
        }
    }
}

/// What comes after a step of a call.
enum Step {
    Again,
    Wait,
    End(Outcome),
}

impl Raw {
    /// Lets it end with the call in whose handler it is made.
    fn inherit(&mut self, Inherited { deadline, context }: Inherited) {
        self.deadline = deadline;
        self.cancelled =
            context.map(|context| -> Cancelled { Box::pin(async move { context.cancelled().await }) });
    }

    /// Where its connection lives.
    fn home(&self) -> Option<Home> {
        match &self.route {
            Route::Remote(lease) => Some(lease.client.home().clone()),
            Route::Peer(back, _) => back.home(),
            Route::InProcess(_) | Route::Taken => None,
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Route::InProcess(_) = self.route {
            return self.start_local(cx);
        }
        let polled = self.poll_call(cx);
        self.after(polled, cx)
    }

    /// What follows from a poll, wherever the call runs.
    #[inline]
    fn after(&mut self, polled: Poll<Outcome>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match polled {
            Poll::Ready(outcome) => {
                let state = std::mem::replace(&mut self.state, State::Ended);
                if self.streams.in_call().is_some() {
                    self.inlet = self.streams.inlet(state, &self.route, &outcome);
                } else if let State::Entered { pending, .. } = state {
                    self.route.give_back(pending);
                }
                Poll::Ready(outcome)
            }
            Poll::Pending if self.is_cancelled(cx) => {
                self.leave();
                let executed = if self.oneway { Executed::No } else { Executed::Maybe };
                let message = "the call in whose handler this one was made was cancelled";
                Poll::Ready(Error::new(Code::Cancelled, message).with_executed(executed).into())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    #[inline]
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let step = match &mut self.state {
                State::New => self.enter(cx),
                State::Entered { pending, .. } => match pending.poll(cx.waker()) {
                    None => Step::Wait,
                    Some(Progress::Granted) => self.resume(),
                    Some(Progress::Ended(Outcome { result: Err(CallFailure::Moved), .. })) => self.move_on(),
                    Some(Progress::Ended(outcome)) => Step::End(outcome),
                },
                State::Local(call) => return call.poll(cx),
                State::Ended => {
                    Step::End(Error::new(Code::Internal, "a call was polled after it had ended").into())
                }
            };
            match step {
                Step::Again => {}
                Step::Wait => return Poll::Pending,
                Step::End(outcome) => return Poll::Ready(outcome),
            }
        }
    }

    /// Enters the call where its channel leads.
    #[inline]
    fn enter(&mut self, cx: &mut Context<'_>) -> Step {
        match &mut self.route {
            Route::Peer(back, link) => match back.link() {
                Ok(entered) => *link = Some(entered),
                Err(error) => return Step::End(error.into()),
            },
            Route::Remote(_) => {}
            Route::InProcess(_) | Route::Taken => {
                unreachable!("a call in process is started before, and once")
            }
        }
        let pending = self.route.pending(cx.waker());
        self.enter_at(None, pending)
    }

    /// Starts the call in this process. It is not sent anywhere else, so all that it has goes along.
    #[inline]
    fn start_local(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.state = State::Ended;
        let Route::InProcess(service) = std::mem::replace(&mut self.route, Route::Taken) else {
            unreachable!("the caller has looked")
        };
        let payload = match &self.payload {
            Ok(payload) => payload,
            Err(error) => return Poll::Ready(error.clone().into()),
        };
        let streams = self.streams.in_call().map(|_| std::mem::take(&mut self.streams.arguments));
        let call = NewLocalCall {
            method: self.method,
            payload,
            metadata: self.metadata.take(),
            deadline: self.deadline,
            oneway: self.oneway,
            streams,
        };
        let mut remains = None;
        let polled = call.start(service, cx, &mut remains);
        match remains {
            None => polled,
            Some(call) => {
                self.state = State::Local(call);
                self.after(polled, cx)
            }
        }
    }

    /// Enters the call on its link, or goes on with one that was granted its place there.
    #[inline]
    fn enter_at(&mut self, granted: Option<CallId>, pending: PendingCall) -> Step {
        let Some(link) = self.route.link() else { unreachable!("a call over a connection has a link") };
        let entry = match self.as_new() {
            Ok(call) => link.enter(granted, &call, &pending),
            Err(error) => Entry::Ended(error.into()),
        };
        match entry {
            Entry::Waiting(id) => {
                self.state = State::Entered { id, pending };
                return Step::Wait;
            }
            Entry::Entered(id) => {
                // Who waits is known where it was entered, so there is nothing to look after yet.
                self.state = State::Entered { id, pending };
                return match self.send_streams(id) {
                    Ok(()) => Step::Wait,
                    Err(error) => {
                        self.leave();
                        Step::End(error.into())
                    }
                };
            }
            Entry::Queued | Entry::Ended(_) => {
                pending.leave();
                self.route.give_back(pending);
            }
        }
        match entry {
            Entry::Ended(CallFailure::Moved) => self.successor(),
            Entry::Ended(failure) => Step::End(failure.into()),
            _ => Step::End(unawaited()),
        }
    }

    /// Sends the call, which has been granted its place.
    fn resume(&mut self) -> Step {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Entered { id, pending } => self.enter_at(Some(id), pending),
            _ => unreachable!("only an entered call is granted a place"),
        }
    }

    /// The call is on its way, and with it the streams among its arguments.
    fn send_streams(&mut self, id: CallId) -> Result<(), Error> {
        self.streams.sent = true;
        if let (false, Some(link)) = (self.streams.arguments.is_empty(), self.route.link()) {
            let home = match self.home() {
                Some(home) => home,
                None => Home::current().or_else(|_| Home::library())?,
            };
            let arguments = std::mem::take(&mut self.streams.arguments);
            send_arguments(link, id.number(), arguments, self.shape, &home)?;
        }
        Ok(())
    }

    /// Goes to another connection, since this one never took the call.
    fn move_on(&mut self) -> Step {
        match std::mem::replace(&mut self.state, State::Ended) {
            // A call back has no other connection, and this one says now whether it still takes calls.
            State::Entered { .. } if matches!(self.route, Route::Peer(..)) && !self.streams.have_begun() => {
                self.state = State::New;
                Step::Again
            }
            State::Entered { .. } => self.successor(),
            _ => unreachable!("only an entered call moves on"),
        }
    }

    fn successor(&mut self) -> Step {
        self.state = State::New;
        if self.streams.have_begun() {
            // What they have given is gone, so they cannot begin anew elsewhere.
            let message = "the other side did not take the call, and its streams have begun";
            return Step::End(Error::not_executed(Code::Unavailable, message).into());
        }
        match &mut self.route {
            Route::Remote(lease) => match lease.successor() {
                Ok(successor) => {
                    *lease = successor;
                    Step::Again
                }
                Err(error) => Step::End(error.into()),
            },
            Route::Peer(back, _) => Step::End(back.over().into()),
            Route::InProcess(_) | Route::Taken => Step::Again,
        }
    }

    #[inline]
    fn as_new(&self) -> Result<NewCall<'_>, Error> {
        Ok(NewCall {
            method: self.method,
            payload: self.payload.as_ref().map_err(|error| error.clone())?,
            metadata: self.metadata.as_deref(),
            deadline: self.deadline,
            oneway: self.oneway,
            streams: self.streams.in_call(),
            patient: self.wait_for_ready,
            back: matches!(self.route, Route::Peer(..)),
        })
    }

    #[inline]
    fn is_cancelled(&mut self, cx: &mut Context<'_>) -> bool {
        self.cancelled.as_mut().is_some_and(|cancelled| cancelled.as_mut().poll(cx).is_ready())
    }

    /// Leaves whatever the call has entered.
    fn leave(&mut self) {
        if let State::New | State::Ended = self.state {
            return;
        }
        // A call in process is stopped by being dropped.
        if let State::Entered { id, pending } = std::mem::replace(&mut self.state, State::Ended)
            && let Some(link) = self.route.link()
            // Also if its reply has come, which may be a stream that nobody will take.
            && (!pending.leave() || self.streams.in_call().is_some())
        {
            link.drop_call(id);
        }
    }

    fn unmarshal<T: Returned, E: MethodError>(
        &mut self,
        result: &mut Result<Payload, CallFailure>,
    ) -> Result<T, E::CallError> {
        let guard = match &self.route {
            Route::Remote(lease) => lease.client.guard(),
            Route::Peer(back, _) => back.guard(),
            Route::InProcess(_) | Route::Taken => Guard::default(),
        };
        let error = match result {
            Ok(value) => match T::from_reply(RawReply { value, guard, inlet: self.inlet.take() }) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            },
            Err(failure) => match std::mem::replace(failure, CallFailure::Moved) {
                CallFailure::App(value) => return Err(E::from_app(&value, guard)),
                CallFailure::Rpc(error) => error,
                CallFailure::Moved => Error::not_executed(Code::Unavailable, "there is no connection"),
            },
        };
        Err(error.with_idempotent(self.idempotent).reported().into())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.leave();
    }
}
