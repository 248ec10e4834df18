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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use futures_core::Stream;

    use super::*;
    use crate::stream::Plain;

    /// What the two ends of a pump share with the test.
    #[derive(Clone, Default)]
    struct Ends(Arc<Mutex<Shared>>);

    #[derive(Default)]
    struct Shared {
        ready: VecDeque<u8>,
        may_send: bool,
        sent: Vec<(u32, Vec<u8>)>,
    }

    impl Stream for Ends {
        type Item = u8;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u8>> {
            self.0.lock().unwrap().ready.pop_front().map_or(Poll::Pending, |item| Poll::Ready(Some(item)))
        }
    }

    impl Outlet for Ends {
        fn limit(&self) -> usize {
            usize::MAX
        }

        fn poll_send(&mut self, _: &mut Context<'_>, items: &mut ItemWriter, _more: bool) -> Poll<bool> {
            // As items are that are sent from where they lie.
            let bytes = items.seal().to_vec();
            let mut shared = self.0.lock().unwrap();
            if !shared.may_send {
                return Poll::Pending;
            }
            shared.sent.push((items.count(), bytes));
            items.clear();
            Poll::Ready(true)
        }

        fn poll_over(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    #[test]
    fn an_item_that_is_ready_while_another_one_waits_to_be_sent_is_not_lost() {
        let ends = Ends::default();
        let mut pump = Box::pin(Pump::new(Plain::new(ends.clone()), Box::new(ends.clone()), Shape::Named));
        let mut poll = || pump.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        for item in [1, 2] {
            ends.0.lock().unwrap().ready.push_back(item);
            assert!(poll().is_pending());
        }
        ends.0.lock().unwrap().may_send = true;
        assert!(poll().is_pending());
        assert_eq!(ends.0.lock().unwrap().sent, [(1, vec![1]), (1, vec![2])]);
    }
}
