//! The serving side as generated code sees it: what a dispatcher is, the request it gets and the reply it gives.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_core::Stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::marshal::{self, Arguments, Guard, Payload, Shape, StreamArgument};
use crate::stream::{CallStreams, Fallible, Plain, Producer, Pump, Streaming};
use crate::{CallError, Code, Error, Executed};

/// A dispatcher: unmarshals a call's arguments, calls the handler, marshals what it returns.
///
/// `#[service]` implements this for `CalculatorServer`; there is seldom a reason to do it by hand.
pub trait Service: Clone + Send + Sync + 'static {
    /// The service's name on the wire; methods are called `NAME.method`, or just `method` if it is empty.
    const NAME: &'static str;

    /// The methods, each once.
    const METHODS: &'static [Method];

    /// Runs one call. The future owns all it needs, the marshalled arguments included, so that these can be
    /// borrowed.
    fn dispatch(self: Arc<Self>, request: Request) -> impl Future<Output = Reply> + Send;
}

/// What is known of a method before it is called.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) arguments: &'static [&'static str],
    pub(crate) no_cancel: bool,
    pub(crate) streaming: bool,
    pub(crate) shape: Shape,
}

impl Method {
    /// A method of this name within its service, and the names of its arguments in order.
    pub const fn new(name: &'static str, arguments: &'static [&'static str]) -> Self {
        Method { name, aliases: &[], arguments, no_cancel: false, streaming: false, shape: Shape::Named }
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

/// One call, as a dispatcher gets it.
pub struct Request {
    method: &'static Method,
    params: Payload,
    guard: Guard,
    /// Those of a call that has any.
    streams: Option<Box<dyn CallStreams>>,
}

/// The result of a call whose reply is a stream: the extension of streams, with the number of the reply's.
pub(crate) const STREAM_REPLY: [u8; 3] = [0xd4, 0x01, 0x00];

/// Whether a result says that the reply is a stream, in any of its forms.
pub(crate) fn is_stream_reply(value: &[u8]) -> bool {
    value == STREAM_REPLY || matches!(value, [0xc7, 1, 1, 0] | [0xc8, 0, 1, 1, 0] | [0xc9, 0, 0, 0, 1, 1, 0])
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method.name).field("params", &self.params).finish()
    }
}

/// What a dispatcher gives back: the marshalled value, or why there is none.
pub type Reply = Result<Payload, Failure>;

/// Why a call has no value.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The procedure's own error, marshalled.
    App(Payload),
    /// The call failed as a call.
    Rpc(Error),
}

impl Failure {
    /// About how many bytes it takes in a message.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Failure::App(value) => value.len(),
            Failure::Rpc(error) => {
                error.message().len() + error.raw_details().map_or(0, |details| details.len())
            }
        }
    }
}

/// How a stream ended: by itself, or why before its time.
pub(crate) type Ending = Result<(), Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Rpc(error)
    }
}

impl Request {
    pub(crate) fn new(method: &'static Method, params: Payload, guard: Guard) -> Self {
        Request { method, params, guard, streams: None }
    }

    /// The same request, of a call with streams.
    pub(crate) fn with_streams(mut self, streams: Box<dyn CallStreams>) -> Self {
        self.streams = Some(streams);
        self
    }

    /// The method's name within the service, whatever alias it was called by.
    pub fn method(&self) -> &'static str {
        self.method.name
    }

    /// The arguments, to be unmarshalled one after the other.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], not executed, if they are no list of arguments.
    pub fn arguments(&self) -> Result<Arguments<'_>, Failure> {
        Ok(Arguments::new(self.params.as_slice(), self.method.arguments, self.guard)?)
    }

    /// The reply of a method that returns a plain value.
    ///
    /// # Errors
    /// [`Code::Internal`] if the value cannot be marshalled.
    pub fn reply<T: Serialize>(&self, value: T) -> Reply {
        Payload::marshal(&value, self.method.shape).map_err(|error| {
            Failure::Rpc(Error::new(Code::Internal, format!("the reply: {}", error.message())))
        })
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

    /// The stream that stands at an argument's place.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], not executed, if the call has no stream of this number, or stands twice.
    pub fn streaming<T, E: MethodError>(&self, argument: StreamArgument) -> Result<Streaming<T, E>, Failure> {
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

    /// What a method that returns `Result<impl Stream, E>` streams.
    ///
    /// # Errors
    /// What the method returned as one.
    pub fn opened<S, E: MethodError>(&self, result: Result<S, E>) -> Result<S, Failure> {
        result.map_err(|error| error.into_failure(self.method.shape))
    }

    /// Replies with a stream, and sends its items until it ends or nobody wants them.
    ///
    /// # Errors
    /// [`Code::Internal`] if an item cannot be marshalled.
    pub async fn stream<S: Stream<Item: Serialize> + Send>(&self, stream: S) -> Reply {
        self.pump(Plain::new(stream)).await
    }

    /// The same with a stream whose first error ends it.
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

/// A method with streams was called as if it had none.
pub(crate) fn no_streams(method: &str) -> Error {
    let message = format!("the method {method:?} has streams, and the call none");
    Error::not_executed(Code::Unimplemented, message)
}

pub(crate) fn unimplemented(method: &str) -> Error {
    // The name is the caller's, so no more of it comes back than a name needs.
    let shown: String = method.chars().take(128).collect();
    Error::not_executed(Code::Unimplemented, format!("there is no method {shown:?} here"))
}

/// The `E` of a method that returns `Result<T, E>`: any error type that can be marshalled, or [`Error`] itself.
///
/// For the first the caller gets [`CallError<E>`], which tells the procedure's error from a failed call; for the
/// second it gets the [`Error`], with the code that the handler chose.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a method",
    label = "needs serde's `Serialize` and `Deserialize`, or be `rpc::Error`"
)]
pub trait MethodError: Sized + Send + 'static {
    /// What the caller gets.
    type CallError: From<Error> + Send;

    #[doc(hidden)]
    fn into_failure(self, shape: Shape) -> Failure;

    #[doc(hidden)]
    fn from_app(value: &[u8], guard: Guard) -> Self::CallError;
}

impl<E: Serialize + DeserializeOwned + Send + 'static> MethodError for E {
    type CallError = CallError<E>;

    fn into_failure(self, shape: Shape) -> Failure {
        match Payload::marshal(&self, shape) {
            Ok(value) => Failure::App(value),
            Err(error) => {
                Failure::Rpc(Error::new(Code::Internal, format!("the method's error: {}", error.message())))
            }
        }
    }

    fn from_app(value: &[u8], guard: Guard) -> CallError<E> {
        match unmarshal_reply(value, "the method's error", guard) {
            Ok(error) => CallError::App(error),
            Err(error) => CallError::Rpc(error),
        }
    }
}

impl MethodError for Error {
    type CallError = Error;

    fn into_failure(self, _shape: Shape) -> Failure {
        Failure::Rpc(self)
    }

    fn from_app(_value: &[u8], _guard: Guard) -> Error {
        Error::new(
            Code::Internal,
            "the server answered with an error of its own, which this method does not have",
        )
    }
}

/// Unmarshals what the server answered; whatever is wrong with it, the procedure ran.
pub(crate) fn unmarshal_reply<'a, T: Deserialize<'a>>(
    value: &'a [u8],
    what: &str,
    guard: Guard,
) -> Result<T, Error> {
    marshal::unmarshal_within(value, guard).map_err(|fault| {
        let message = format!("{what} cannot be unmarshalled: {fault}");
        Error::new(Code::Internal, message).with_executed(Executed::Yes)
    })
}
