//! The items of streams: what makes them, and what checks that they come in order, once, and whole.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rpc::Stream;
use serde::{Deserialize, Serialize};
use tokio::time::Sleep;

use super::Ticket;
use super::payload::{Hash, Part, payload};
use crate::ledger::Attempt;

/// An item, and its place in the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(super) index: u32,
    pub(super) data: Bytes,
}

/// The items of a call, with a pause now and then.
#[derive(Debug)]
pub(super) struct Items {
    ticket: Ticket,
    next: u32,
    /// The index at which the last pause was begun, so that there is one at each place.
    paused_at: u32,
    pause: Option<Pin<Box<Sleep>>>,
    /// Two items are given in the wrong order.
    pub(super) swapped: bool,
}

/// After so many items there is a pause.
const UNTIL_PAUSE: u32 = 16;

impl Items {
    pub(super) fn new(ticket: Ticket) -> Self {
        Items { ticket, next: 0, paused_at: 0, pause: None, swapped: false }
    }

    /// The hash of all of them.
    pub(super) fn hash(ticket: &Ticket) -> u64 {
        let mut hash = Hash::default();
        for index in 0..ticket.items {
            hash.add(&payload(ticket.attempt(), Part::Item(index), ticket.reply_bytes));
        }
        hash.value()
    }
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = &mut *self;
        if this.next == this.ticket.items {
            return Poll::Ready(None);
        }
        if this.ticket.pause > 0 && this.next.is_multiple_of(UNTIL_PAUSE) && this.paused_at != this.next {
            let pause = this.ticket.pause();
            let sleep = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(sleep.as_mut().poll(cx));
            this.pause = None;
            this.paused_at = this.next;
        }
        let mut index = this.next;
        if this.swapped && this.ticket.items > 1 && index < 2 {
            index = 1 - index;
        }
        this.next += 1;
        let data = payload(this.ticket.attempt(), Part::Item(index), this.ticket.reply_bytes);
        Poll::Ready(Some(Item { index, data }))
    }
}

/// What has come of a stream so far, all of it in order.
#[derive(Debug)]
pub(super) struct InOrder {
    attempt: Attempt,
    bytes: u32,
    announced: u32,
    next: u32,
    hash: Hash,
}

/// An item was not the next one, or there is none after too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disorder;

impl InOrder {
    pub(super) fn new(ticket: &Ticket) -> Self {
        InOrder {
            attempt: ticket.attempt(),
            bytes: ticket.reply_bytes,
            announced: ticket.items,
            next: 0,
            hash: Hash::default(),
        }
    }

    /// Takes the next item.
    ///
    /// # Errors
    /// It is another one.
    pub(super) fn take(&mut self, item: &Item) -> Result<(), Disorder> {
        let expected = payload(self.attempt, Part::Item(self.next), self.bytes);
        if item.index != self.next || self.next == self.announced || item.data != expected {
            return Err(Disorder);
        }
        self.next += 1;
        self.hash.add(&item.data);
        Ok(())
    }

    /// The hash of all items, when the stream has ended without an error.
    ///
    /// # Errors
    /// It has ended too early for that.
    pub(super) fn whole(self) -> Result<u64, Disorder> {
        if self.next == self.announced { Ok(self.hash.value()) } else { Err(Disorder) }
    }
}

/// How long to wait after an item whose consumer is slow.
pub(super) fn consumer_pause(ticket: &Ticket, item: &Item) -> Option<Duration> {
    (ticket.pause > 0 && item.index % UNTIL_PAUSE == 7).then(|| ticket.pause())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_items_in_order_are_whole() {
        let ticket = Ticket { call: 7, attempt: 1, reply_bytes: 20, items: 3, pause: 0 };
        let item =
            |index| Item { index, data: payload(ticket.attempt(), Part::Item(index), ticket.reply_bytes) };
        let taken = |items: &[Item]| {
            let mut order = InOrder::new(&ticket);
            items.iter().try_for_each(|item| order.take(item)).and_then(|()| order.whole())
        };
        assert_eq!(taken(&[item(0), item(1), item(2)]), Ok(Items::hash(&ticket)));
        let altered = Item { data: Bytes::from_static(&[0; 20]), ..item(2) };
        for wrong in [
            &[item(0), item(1)][..],
            &[item(1), item(0), item(2)],
            &[item(0), item(0), item(1), item(2)],
            &[item(0), item(1), item(2), item(2)],
            &[item(0), item(1), altered],
        ] {
            assert_eq!(taken(wrong), Err(Disorder), "{wrong:?}");
        }
    }
}
