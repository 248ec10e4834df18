//! How a call or a stream ends if not with a value, and what becomes of that at its caller.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::marshal::{self, Fault, Guard, Payload, Shape};
use crate::{CallError, Code, Error, Executed};

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
    fn from_app(value: &Payload, guard: Guard) -> Self::CallError;
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

    fn from_app(value: &Payload, guard: Guard) -> CallError<E> {
        match unmarshal_reply(value, "the method's error", guard) {
            Ok(error) => CallError::App(error),
            Err(error) => CallError::Rpc(error),
        }
    }
}

impl MethodError for Error {
    type CallError = Error;

    fn into_failure(self, _shape: Shape) -> Failure {
        Failure::Rpc(self.returned())
    }

    fn from_app(_value: &Payload, _guard: Guard) -> Error {
        Error::new(
            Code::Internal,
            "the server answered with an error of its own, which this method does not have",
        )
    }
}

/// Unmarshals what the server answered; whatever is wrong with it, the procedure ran.
#[inline]
pub(crate) fn unmarshal_reply<'a, T: Deserialize<'a>>(
    value: &'a Payload,
    what: &str,
    guard: Guard,
) -> Result<T, Error> {
    match marshal::unmarshal_payload(value, guard) {
        Ok(value) => Ok(value),
        Err(fault) => Err(not_understood(what, &fault)),
    }
}

#[cold]
fn not_understood(what: &str, fault: &Fault) -> Error {
    let message = format!("{what} cannot be unmarshalled: {fault}");
    Error::new(Code::Internal, message).with_executed(Executed::Yes)
}

/// What a panic said, for the log: it goes no further.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}
