//! What a call can give: a value, or a stream.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::failure::{MethodError, unmarshal_reply};
use crate::marshal::{Guard, Payload, StreamArgument};
use crate::runtime::{Home, block_on};
use crate::stream::{Inlet, Streaming};
use crate::{Code, Error, Executed};

/// What a [`Call`](crate::Call) gives: any value that can be unmarshalled, or a [`Streaming`].
///
/// Implemented for every such type; there is nothing to implement by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what a call gives",
    label = "not a value that can be received",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to its definition, or to that of its items \
            if it is a stream; what is received owns what it holds"
)]
pub trait Returned: Sized {
    /// What [`Call::blocking`](crate::Call::blocking) gives in its place: the same value; for a stream an iterator.
    type Blocking;

    #[doc(hidden)]
    const STREAMS: bool;

    #[doc(hidden)]
    fn from_reply(reply: RawReply<'_>) -> Result<Self, Error>;

    #[doc(hidden)]
    fn into_blocking(self, home: CallHome) -> Self::Blocking;
}

/// A reply as it came.
#[doc(hidden)]
pub struct RawReply<'a> {
    pub(crate) value: &'a Payload,
    pub(crate) guard: Guard,
    /// The stream, if the reply is one.
    pub(crate) inlet: Option<Box<dyn Inlet>>,
}

impl fmt::Debug for RawReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawReply").field("value", &self.value).finish_non_exhaustive()
    }
}

/// Where a call's connection lives.
#[doc(hidden)]
#[derive(Debug)]
pub struct CallHome(pub(crate) Option<Home>);

impl<T: DeserializeOwned> Returned for T {
    type Blocking = T;

    const STREAMS: bool = false;

    #[inline]
    fn from_reply(reply: RawReply<'_>) -> Result<T, Error> {
        unmarshal_reply(reply.value, "the reply", reply.guard)
    }

    fn into_blocking(self, _: CallHome) -> T {
        self
    }
}

impl<T: DeserializeOwned, E: MethodError> Returned for Streaming<T, E> {
    type Blocking = Items<T, E>;

    const STREAMS: bool = true;

    fn from_reply(reply: RawReply<'_>) -> Result<Self, Error> {
        let StreamArgument(_) = unmarshal_reply(reply.value, "the reply", reply.guard)?;
        match reply.inlet {
            Some(inlet) => Ok(Streaming::new(inlet, reply.guard)),
            None => {
                let message = "the reply names a stream that the call does not have";
                Err(Error::new(Code::Internal, message).with_executed(Executed::Yes))
            }
        }
    }

    fn into_blocking(self, home: CallHome) -> Items<T, E> {
        Items { stream: Some(self), home: home.0 }
    }
}

/// The items of a stream for callers without async: what `.blocking()` gives for a method that returns
/// `impl Stream`. Each `next` waits for an item on this thread; dropping it stops the producer.
///
/// # Errors
/// As [`Streaming`]; and [`Code::FailedPrecondition`] inside an async task, or if the client was opened on a
/// current-thread runtime, as [`Call::blocking`](crate::Call::blocking) says it. This, too, is the last item.
#[must_use = "dropping it stops the stream's producer"]
pub struct Items<T, E: MethodError = Error> {
    /// Gone where it could not be waited for.
    stream: Option<Streaming<T, E>>,
    home: Option<Home>,
}

impl<T: DeserializeOwned, E: MethodError> Iterator for Items<T, E> {
    type Item = Result<T, E::CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = block_on(self.home.as_ref(), self.stream.as_mut()?.next());
        item.unwrap_or_else(|error| {
            // A loop that goes on after an error is not to find the same one for ever.
            self.stream = None;
            Some(Err(error.into()))
        })
    }
}

impl<T: DeserializeOwned, E: MethodError> Streaming<T, E> {
    /// The items for a thread that may block: in a handler's `spawn_blocking`, say.
    pub fn blocking(self) -> Items<T, E> {
        Items { stream: Some(self), home: None }
    }
}

impl<T, E: MethodError> fmt::Debug for Items<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("stream", &self.stream).finish_non_exhaustive()
    }
}
