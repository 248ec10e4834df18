//! The serving side as generated code sees it: what a dispatcher is, the request it gets and the reply it gives.

use std::fmt;
use std::future::Future;

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::CALLER;
use crate::failure::{Failure, MethodError, Reply};
use crate::marshal::{Arguments, Guard, Payload, Shape, StreamArgument};
use crate::memory::{Charge, Held, Reserve};
use crate::stream::{CallStreams, Fallible, Plain, Producer, Pump, Streaming};
use crate::{Code, Error};

/// A dispatcher: unmarshals a call's arguments, calls the handler, marshals what it returns.
///
/// `#[service]` implements this for `CalculatorServer`; there is seldom a reason to do it by hand.
pub trait Service: Clone + Send + Sync + 'static {
    /// The service's name on the wire; methods are called `NAME.method`, or just `method` if it is empty.
    const NAME: &'static str;

    /// The methods, each once.
    const METHODS: &'static [Method];

    /// Runs one call. Whoever drives it keeps the service and the request, marshalled arguments included, so that both
    /// can be borrowed.
    fn dispatch(&self, request: &Request) -> impl Future<Output = Reply> + Send;
}

/// What is known of a method before it is called.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) arguments: &'static [&'static str],
    pub(crate) no_cancel: bool,
    pub(crate) polling: Polling,
    pub(crate) streaming: bool,
    pub(crate) shape: Shape,
}

impl Method {
    /// A method of this name within its service, and the names of its arguments in order.
    pub const fn new(name: &'static str, arguments: &'static [&'static str]) -> Self {
        Method {
            name,
            aliases: &[],
            arguments,
            no_cancel: false,
            polling: Polling::Measured,
            streaming: false,
            shape: Shape::Named,
        }
    }

    /// Other names under which it can be called.
    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Its caller awaits no reply. (For whoever reads the table: the wire says it call by call.)
    #[must_use]
    pub const fn oneway(self) -> Self {
        self
    }

    /// It may be called again without harm. (For whoever reads the table: the caller's stub knows it too.)
    #[must_use]
    pub const fn idempotent(self) -> Self {
        self
    }

    /// It runs to its end even if its caller has gone.
    #[must_use]
    pub const fn no_cancel(mut self) -> Self {
        self.no_cancel = true;
        self
    }

    /// Its handlers start on the connection's task, however long that takes.
    #[must_use]
    pub const fn inline(mut self) -> Self {
        self.polling = Polling::Inline;
        self
    }

    /// Its handlers have tasks of their own from the start.
    #[must_use]
    pub const fn spawn(mut self) -> Self {
        self.polling = Polling::Spawned;
        self
    }

    /// Its reply or one of its arguments is a stream.
    #[must_use]
    pub const fn streaming(mut self) -> Self {
        self.streaming = true;
        self
    }

    /// Structs in its reply are marshalled by position.
    #[must_use]
    pub const fn compact(mut self) -> Self {
        self.shape = Shape::Positional;
        self
    }
}

/// Where a method's handlers are polled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polling {
    /// Where it costs least, by how long they were found to take.
    Measured,
    Inline,
    Spawned,
}

/// One call, as a dispatcher gets it.
pub struct Request {
    method: &'static Method,
    params: Payload,
    guard: Guard,
    /// Those of a call that has any.
    streams: Option<Box<dyn CallStreams>>,
    /// Until the handler has ended.
    held: Held,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method.name).field("params", &self.params).finish()
    }
}

impl Request {
    /// A request, with its streams if it is one of a call with streams.
    #[inline]
    pub(crate) fn new(
        method: &'static Method,
        params: Payload,
        guard: Guard,
        streams: Option<Box<dyn CallStreams>>,
    ) -> Self {
        Request { method, params, guard, streams, held: Held::default() }
    }

    /// Keeps what has been taken for its arguments.
    pub(crate) fn hold(&mut self, charge: Charge) {
        self.held.hold(charge);
    }

    /// The method's name within the service, whatever alias it was called by.
    #[inline]
    pub fn method(&self) -> &'static str {
        self.method.name
    }

    /// The arguments, to be unmarshalled one after the other.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], not executed, if they are no list of arguments.
    #[inline]
    pub fn arguments(&self) -> Result<Arguments<'_>, Failure> {
        let reserve = Reserve::new(&self.held, self.guard.reserve(), &CALLER);
        match Arguments::new(&self.params, self.method.arguments, self.guard, reserve) {
            Ok(arguments) => Ok(arguments),
            Err(error) => Err(Failure::Rpc(error)),
        }
    }

    /// The reply of a method that returns a plain value.
    ///
    /// # Errors
    /// [`Code::Internal`] if the value cannot be marshalled.
    #[inline]
    pub fn reply<T: Serialize>(&self, value: T) -> Reply {
        match Payload::marshal(&value, self.method.shape) {
            Ok(value) => Ok(value),
            Err(error) => Err(refused(error)),
        }
    }

    /// The reply of a method that returns a `Result`.
    ///
    /// # Errors
    /// What the method returned as one; [`Code::Internal`] if a value cannot be marshalled.
    pub fn result<T: Serialize, E: MethodError>(&self, result: Result<T, E>) -> Reply {
        match result {
            Ok(value) => self.reply(value),
            Err(error) => Err(error.into_failure(self.method.shape)),
        }
    }

    /// The argument that is a stream, for the number that stands in its place.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], not executed, if the call has no stream of this number, or if the number stands twice.
    pub fn streaming<T: DeserializeOwned, E: MethodError>(
        &self,
        argument: StreamArgument,
    ) -> Result<Streaming<T, E>, Failure> {
        let inlet = self.streams.as_ref().and_then(|streams| streams.argument(argument.0));
        match inlet {
            Some(inlet) => Ok(Streaming::new(inlet, self.guard)),
            None => {
                let message =
                    format!("stream {} is not among those of the call, or stands twice", argument.0);
                Err(Error::not_executed(Code::InvalidArgument, message).into())
            }
        }
    }

    /// The stream of a method that returns `Result<impl Stream, E>`, to be handed to [`stream`](Self::stream) or
    /// [`try_stream`](Self::try_stream).
    ///
    /// # Errors
    /// What the method returned in place of a stream.
    pub fn opened<S, E: MethodError>(&self, result: Result<S, E>) -> Result<S, Failure> {
        result.map_err(|error| error.into_failure(self.method.shape))
    }

    /// The reply of a method that returns `impl Stream`: sends the items until there are no more, or nobody wants them.
    ///
    /// # Errors
    /// [`Code::Internal`] if an item cannot be marshalled.
    pub async fn stream<S: Stream<Item: Serialize> + Send>(&self, stream: S) -> Reply {
        self.pump(Plain::new(stream)).await
    }

    /// The reply of a method whose stream gives `Result`s: the same, and the first error ends it.
    ///
    /// # Errors
    /// What the stream gave as one; [`Code::Internal`] if an item cannot be marshalled.
    pub async fn try_stream<S, T, E>(&self, stream: S) -> Reply
    where
        S: Stream<Item = Result<T, E>> + Send,
        T: Serialize,
        E: MethodError,
    {
        self.pump(Fallible::new(stream, self.method.shape)).await
    }

    async fn pump(&self, producer: impl Producer) -> Reply {
        let Some(streams) = &self.streams else {
            // A call without streams is not let to a method with them.
            return Err(no_streams(self.method.name).into());
        };
        // What it is without: a value that is never sent, since the end of a stream carries none.
        let nothing = Payload::from_slice(&[]);
        let Some(outlet) = streams.reply() else { return Ok(nothing) };
        match Pump::new(producer, outlet, self.method.shape).await {
            Some(ending) => ending.map(|()| nothing),
            None => Ok(nothing),
        }
    }

    /// The reply to a method that is not there.
    ///
    /// # Errors
    /// Always [`Code::Unimplemented`], not executed.
    pub fn unimplemented(&self) -> Reply {
        Err(unimplemented(self.method.name).into())
    }
}

#[cold]
fn refused(error: Error) -> Failure {
    Failure::Rpc(Error::new(Code::Internal, format!("the reply: {}", error.message())))
}

/// A method with streams was called as if it had none.
pub(crate) fn no_streams(method: &str) -> Error {
    let message = format!("the method {method:?} has streams, and the call none");
    Error::not_executed(Code::Unimplemented, message)
}

pub(crate) fn unimplemented(method: &str) -> Error {
    // The name is the caller's, so no more of it comes back than a name needs.
    let end = method.char_indices().nth(128).map_or(method.len(), |(end, _)| end);
    Error::not_executed(Code::Unimplemented, format!("there is no method {:?} here", &method[..end]))
}
