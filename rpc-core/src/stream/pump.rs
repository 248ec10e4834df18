//! What drives a producer: takes what is ready, sends it as far as it is wanted, and waits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Fill, Outlet, Producer, fill};
use crate::failure::Ending;
use crate::marshal::{ItemWriter, Shape};

/// How many batches it sends before it lets others have the thread.
const BATCHES_A_TURN: usize = 8;

pin_project! {
    /// Sends all items of a producer; gives how that ended, or nothing if nobody wanted them any more.
    pub(crate) struct Pump<P> {
        #[pin]
        producer: P,
        outlet: Box<dyn Outlet>,
        items: ItemWriter,
        ending: Option<Ending>,
    }
}

impl<P> Pump<P> {
    pub(crate) fn new(producer: P, outlet: Box<dyn Outlet>, shape: Shape) -> Self {
        let items = ItemWriter::new(shape, outlet.limit());
        Pump { producer, outlet, items, ending: None }
    }
}

impl<P: Producer> Future for Pump<P> {
    type Output = Option<Ending>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Ending>> {
        let mut this = self.project();
        for _ in 0..BATCHES_A_TURN {
            let mut pending = false;
            if this.ending.is_none() && !this.items.is_full() {
                match fill(this.producer.as_mut(), cx, this.items) {
                    Fill::Full => {}
                    Fill::Pending => pending = true,
                    Fill::End(ending) => *this.ending = Some(ending),
                }
            }
            if !this.items.is_empty() {
                let more = !pending;
                if !ready!(this.outlet.poll_send(cx, this.items, more)) {
                    return Poll::Ready(None);
                }
                // One that did not fit is left.
                if !this.items.is_empty() {
                    continue;
                }
            }
            if let Some(ending) = this.ending.take() {
                return Poll::Ready(Some(ending));
            }
            if pending {
                this.items.rest();
                return this.outlet.poll_over(cx).map(|()| None);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
