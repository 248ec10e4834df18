//! Futures side by side in one task, in an order that is always the same.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

/// Waits for all of them.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut waits = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => waits = true,
                }
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

/// How long somebody waits for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    ToTheEnd,
    /// Not even once.
    None,
    /// It is looked at once.
    Once,
    For(Duration),
}

/// Waits for a future as long as one has patience, and drops it then.
pub(crate) async fn wait<F: Future>(patience: Patience, future: F) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    match patience {
        Patience::ToTheEnd => Some(future.await),
        Patience::None => None,
        Patience::Once => {
            poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        }
        Patience::For(time) => {
            let mut time = Box::pin(sleep(time));
            poll_fn(|cx| {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Some(output));
                }
                time.as_mut().poll(cx).map(|()| None)
            })
            .await
        }
    }
}
