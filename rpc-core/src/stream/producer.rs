//! What gives the items of a stream, marshalled.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;
use serde::Serialize;

use crate::failure::{Ending, Failure, MethodError, panic_text};
use crate::marshal::{ItemWriter, Shape};
use crate::{Code, Error, Executed};

/// A stream that marshals its items.
pub(crate) trait Producer {
    /// Appends the items that are ready, until there are enough for once.
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>, items: &mut ItemWriter) -> Fill;
}

/// Fills a batch. A panic ends the stream, behind what it has given before, and goes no further.
pub(crate) fn fill<P: Producer + ?Sized>(
    producer: Pin<&mut P>,
    cx: &mut Context<'_>,
    items: &mut ItemWriter,
) -> Fill {
    catch_unwind(AssertUnwindSafe(|| producer.poll_fill(cx, items))).unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), "a stream panicked");
        items.recover();
        let error = Error::new(Code::Internal, "the stream panicked").with_executed(Executed::Yes);
        Fill::End(Err(Failure::Rpc(error)))
    })
}

/// What became of an attempt to fill a batch.
#[derive(Debug)]
pub(crate) enum Fill {
    /// It is full, and there may be more at once.
    Full,
    /// There are no more for the moment; whoever asked is woken.
    Pending,
    /// There will be no more.
    End(Ending),
}

pin_project! {
    /// Items that are values as they are.
    pub(crate) struct Plain<S> {
        #[pin]
        stream: S,
    }
}

impl<S> Plain<S> {
    pub(crate) fn new(stream: S) -> Self {
        Plain { stream }
    }
}

impl<S: Stream<Item: Serialize>> Producer for Plain<S> {
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>, items: &mut ItemWriter) -> Fill {
        let mut stream = self.project().stream;
        while !items.is_full() {
            match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => {
                    if let Err(error) = items.push(&item) {
                        return Fill::End(Err(Failure::Rpc(error)));
                    }
                }
                Poll::Ready(None) => return Fill::End(Ok(())),
                Poll::Pending => return Fill::Pending,
            }
        }
        Fill::Full
    }
}

pin_project! {
    /// Items that are values, up to the first that is an error: this ends the stream.
    pub(crate) struct Fallible<S> {
        #[pin]
        stream: S,
        shape: Shape,
    }
}

impl<S> Fallible<S> {
    pub(crate) fn new(stream: S, shape: Shape) -> Self {
        Fallible { stream, shape }
    }
}

impl<S, T, E> Producer for Fallible<S>
where
    S: Stream<Item = Result<T, E>>,
    T: Serialize,
    E: MethodError,
{
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>, items: &mut ItemWriter) -> Fill {
        let this = self.project();
        let mut stream = this.stream;
        while !items.is_full() {
            match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(item))) => {
                    if let Err(error) = items.push(&item) {
                        return Fill::End(Err(Failure::Rpc(error)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Fill::End(Err(error.into_failure(*this.shape))),
                Poll::Ready(None) => return Fill::End(Ok(())),
                Poll::Pending => return Fill::Pending,
            }
        }
        Fill::Full
    }
}

impl<P: Producer + ?Sized> Producer for Pin<Box<P>> {
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>, items: &mut ItemWriter) -> Fill {
        self.get_mut().as_mut().poll_fill(cx, items)
    }
}

/// A stream of what an iterator gives, such as the items of a `Vec` or a range.
///
/// The iterator runs where the stream is polled, and should give its items without waiting: one that blocks keeps a
/// thread of the runtime from everything else. For callers without async it may block: the arguments of a client that
/// was opened with [`Connecting::blocking`](crate::Connecting::blocking) are polled on threads of their own, so
/// that what [`Items`](crate::Items) gives of one call can be the argument of another. The stream is `Send` if the
/// iterator is.
///
/// For items that come over time, adapt a channel (`tokio_stream::wrappers::ReceiverStream`) or write a generator
/// (`async_stream::stream!`); any [`Stream`] will do.
///
/// # Example
/// ```
/// use rpc_core::Stream;
///
/// fn countdown(from: u32) -> impl Stream<Item = u32> {
///     rpc_core::iter((0..from).rev())
/// }
/// # let _ = countdown(3);
/// ```
pub fn iter<I: IntoIterator>(items: I) -> Iter<I::IntoIter> {
    Iter(items.into_iter())
}

/// What [`iter()`] returns.
#[derive(Clone)]
#[must_use = "streams do nothing unless polled"]
pub struct Iter<I>(I);

// The iterator is never pinned.
impl<I> Unpin for Iter<I> {}

impl<I: Iterator> Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.get_mut().0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<I> fmt::Debug for Iter<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
