//! Streams as users and generated code see them: what a consumer holds, what drives a producer.
//!
//! Items are marshalled in batches by a [`Pump`] on the one side and unmarshalled one by one by a [`Streaming`] on the
//! other. How batches travel between the two is the business of whoever implements [`Outlet`] and [`Inlet`].

mod producer;
mod pump;
mod streaming;

use std::task::{Context, Poll};

pub(crate) use self::producer::{Fallible, Fill, Plain, Producer, fill};
pub use self::producer::{Iter, iter};
pub(crate) use self::pump::Pump;
pub use self::streaming::Streaming;
use crate::failure::Ending;
use crate::marshal::{ItemWriter, Payload};

/// Where the items of a stream come from. Dropping it stops their producer.
pub(crate) trait Inlet: Send {
    /// The next items; those given before have been consumed.
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<Incoming>;
}

/// What comes out of an [`Inlet`].
#[derive(Debug)]
pub(crate) enum Incoming {
    /// So many items, marshalled one after the other.
    Items {
        count: u32,
        bytes: Payload,
    },
    End(Ending),
}

/// Where the items of a stream go.
pub(crate) trait Outlet: Send {
    /// How many bytes of items may go together.
    fn limit(&self) -> usize;

    /// Sends items, and then clears `items`; false if nobody wants them any more. If there are `more` to
    /// come at once, these may wait for them.
    fn poll_send(&mut self, cx: &mut Context<'_>, items: &mut ItemWriter, more: bool) -> Poll<bool>;

    /// Waits until nobody wants items any more.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The streams of a call that is being served.
pub(crate) trait CallStreams: Send + Sync {
    /// The stream of this number among the arguments; none if there is none, or if it was taken before.
    fn argument(&self, number: u8) -> Option<Box<dyn Inlet>>;

    /// Replies with a stream; none if nobody wants it any more.
    fn reply(&self) -> Option<Box<dyn Outlet>>;
}
