//! What a consumer holds.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::{Serialize, Serializer};

use super::{Incoming, Inlet};
use crate::failure::{Failure, MethodError};
use crate::marshal::{Guard, Payload, unmarshal_item};
use crate::{Code, Error, Executed};

/// Items that come one after the other: the reply of a method that returns `impl Stream`, or an argument.
///
/// A [`Stream`] of `Result<T, Error>`; or of `Result<T, CallError<E>>` where the producer can fail with an `E` of its
/// own, as `Call<T, E>` does. It ends after its last item, or after one error that says why it ends before its time.
/// [`next`](Self::next) works without any other crate.
///
/// The producer is never further ahead than the window, a number of bytes ([`Limits::stream_bytes`]): a consumer that
/// stops reading stops it, and nobody else.
///
/// # Example
/// ```
/// use rpc_core::{Error, Streaming};
///
/// async fn total(mut numbers: Streaming<u64>) -> Result<u64, Error> {
///     let mut total = 0;
///     while let Some(number) = numbers.next().await {
///         total += number?;
///     }
///     Ok(total)
/// }
/// ```
///
/// # Errors
/// An item is an error if it is what the producer gave as one, if the producer panics or an item cannot be marshalled
/// or unmarshalled ([`Code::Internal`]), if one is larger than any message that this side takes
/// ([`Code::ResourceExhausted`]), if the connection is lost ([`Code::Unavailable`], executed
/// [`Maybe`](Executed::Maybe)) or the call's deadline passes. A handler whose caller goes is dropped, and sees an error
/// only if it is `#[rpc(no_cancel)]`.
///
/// # Cancel safety
/// Dropping it stops the producer: that of a reply together with its handler. Dropping the future of `next` loses
/// nothing.
///
/// [`Limits::stream_bytes`]: crate::Limits::stream_bytes
#[must_use = "streams do nothing unless polled, and dropping one stops its producer"]
pub struct Streaming<T, E: MethodError = Error> {
    /// Gone once it has ended.
    inlet: Option<Box<dyn Inlet>>,
    /// Items that have come, and where the next one begins.
    bytes: Payload,
    at: usize,
    /// How many of them are left.
    left: u32,
    guard: Guard,
    items: PhantomData<fn() -> (T, E)>,
}

impl<T, E: MethodError> Streaming<T, E> {
    pub(crate) fn new(inlet: Box<dyn Inlet>, guard: Guard) -> Self {
        let bytes = Payload::from_slice(&[]);
        Streaming { inlet: Some(inlet), bytes, at: 0, left: 0, guard, items: PhantomData }
    }
}

impl<T: DeserializeOwned, E: MethodError> Streaming<T, E> {
    /// The next item; none after the last.
    ///
    /// # Errors
    /// As the type says; there is at most one error, and then no more items.
    ///
    /// # Cancel safety
    /// Safe: an item is not lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T, E::CallError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn unmarshal_next(&mut self) -> Result<T, Error> {
        let item = unmarshal_item(&self.bytes, &mut self.at, self.guard).map_err(undecodable)?;
        self.left -= 1;
        if self.left == 0 && self.at < self.bytes.body().len() {
            return Err(undecodable(format_args!("bytes follow the last of {} items", self.bytes.len())));
        }
        Ok(item)
    }
}

fn undecodable(fault: impl fmt::Display) -> Error {
    let message = format!("an item of the stream cannot be unmarshalled: {fault}");
    Error::new(Code::Internal, message).with_executed(Executed::Yes)
}

impl<T: DeserializeOwned, E: MethodError> Stream for Streaming<T, E> {
    type Item = Result<T, E::CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.left == 0 {
            let Some(inlet) = &mut this.inlet else { return Poll::Ready(None) };
            match ready!(inlet.poll_items(cx)) {
                Incoming::Items { count, bytes } => {
                    (this.bytes, this.at, this.left) = (bytes, 0, count);
                }
                Incoming::End(ending) => {
                    this.inlet = None;
                    return Poll::Ready(ending.err().map(|failure| {
                        Err(match failure {
                            Failure::App(value) => E::from_app(&value, this.guard),
                            Failure::Rpc(error) => error.reported().into(),
                        })
                    }));
                }
            }
        }
        Poll::Ready(Some(this.unmarshal_next().map_err(|error| {
            // What follows an item that nobody understands is not to be trusted.
            this.inlet = None;
            this.left = 0;
            error.reported().into()
        })))
    }
}

impl<T, E: MethodError> fmt::Debug for Streaming<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("ended", &self.inlet.is_none()).finish_non_exhaustive()
    }
}

/// Says to users what `Serialize` and `Deserialize` could not: a stream is no value.
///
/// Not a trait of the stream itself, because the compiler would then show the message of serde's trait instead, which
/// advises to derive it.
#[diagnostic::on_unimplemented(
    message = "`{S}` is a stream, which can neither be part of a value nor hide behind an alias",
    label = "a stream is an argument of its own, or the reply",
    note = "write `Streaming<T>` itself as the type of an argument of the method, or `impl Stream<Item = T>` as its result"
)]
pub trait Holds<S> {}

/// Any value.
#[derive(Debug)]
pub struct Values;

impl<T, E: MethodError> Serialize for Streaming<T, E>
where
    Values: Holds<Self>,
{
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a stream is no value"))
    }
}

impl<'de, T, E: MethodError> Deserialize<'de> for Streaming<T, E>
where
    Values: Holds<Self>,
{
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("a stream is no value"))
    }
}
