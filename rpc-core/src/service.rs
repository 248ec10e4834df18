//! The serving side as generated code sees it: what a dispatcher is, the request it gets and the reply it gives.

use std::future::Future;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::marshal::{self, Arguments, Guard, Payload, Shape};
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
    pub(crate) shape: Shape,
}

impl Method {
    /// A method of this name within its service, and the names of its arguments in order.
    pub const fn new(name: &'static str, arguments: &'static [&'static str]) -> Self {
        Method { name, aliases: &[], arguments, no_cancel: false, shape: Shape::Named }
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

    /// Structs in its reply are marshalled by position.
    #[must_use]
    pub const fn compact(mut self) -> Self {
        self.shape = Shape::Positional;
        self
    }
}

/// One call, as a dispatcher gets it.
#[derive(Debug)]
pub struct Request {
    method: &'static Method,
    params: Payload,
    guard: Guard,
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

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Rpc(error)
    }
}

impl Request {
    pub(crate) fn new(method: &'static Method, params: Payload, guard: Guard) -> Self {
        Request { method, params, guard }
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

    /// The reply to a method that is not there.
    ///
    /// # Errors
    /// Always [`Code::Unimplemented`], not executed.
    pub fn unimplemented(&self) -> Reply {
        Err(unimplemented(self.method.name).into())
    }
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
