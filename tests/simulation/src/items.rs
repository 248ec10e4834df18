//! The streams that handlers give and callers send.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rpc::{Stream, Streaming};
use tokio::time::{Sleep, sleep};

use crate::ledger::Running;
use crate::services::{End, Item, Number, Plan, Refusal, fill};

/// So many items, with a pause before each, and the end that is planned.
#[derive(Debug)]
pub(crate) struct Items {
    number: Number,
    index: u32,
    count: u32,
    bytes: u16,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    end: End,
    ended: bool,
    running: Option<Running>,
}

impl Items {
    pub(crate) fn new(number: Number, plan: &Plan, running: Option<Running>) -> Self {
        Items {
            number,
            index: 0,
            count: u32::from(plan.items),
            bytes: plan.item_bytes,
            pause: Duration::from_millis(u64::from(plan.item_pause)),
            sleep: None,
            end: plan.end,
            ended: false,
            running,
        }
    }
}

impl Stream for Items {
    type Item = Result<Item, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.pause > Duration::ZERO {
            let pause = self.pause;
            let waits = self.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            ready!(waits.as_mut().poll(cx));
            self.sleep = None;
        }
        if self.index < self.count {
            self.index += 1;
            return Poll::Ready(Some(Ok(item_of(self.number, self.index - 1, self.bytes))));
        }
        match self.end {
            End::Never => Poll::Pending,
            End::Panic => std::panic::resume_unwind(Box::new("planned")),
            end => {
                self.ended = true;
                self.running.iter().for_each(Running::replies);
                Poll::Ready((end == End::App).then_some(Err(Refusal { number: self.number })))
            }
        }
    }
}

/// The item that stands at a place of a stream.
pub(crate) fn item_of(number: Number, index: u32, bytes: u16) -> Item {
    Item { number, index, payload: fill(number, index, usize::from(bytes)) }
}

/// The same, without an error.
#[derive(Debug)]
pub(crate) struct Plain(pub(crate) Items);

impl Stream for Plain {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| item.and_then(Result::ok))
    }
}

/// Gives back each item that comes.
#[derive(Debug)]
pub(crate) struct Echoes {
    items: Streaming<Item>,
    running: Running,
}

impl Echoes {
    pub(crate) fn new(items: Streaming<Item>, running: Running) -> Self {
        Echoes { items, running }
    }
}

impl Stream for Echoes {
    /// What ends the one stream before its time ends the other so.
    type Item = Result<Item, rpc::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(Pin::new(&mut self.items).poll_next(cx));
        if item.is_none() {
            self.running.replies();
        }
        Poll::Ready(item)
    }
}

/// Waits until others are there, and then gives many bytes.
pub(crate) struct Gate {
    batch: u32,
    index: u32,
    bytes: u32,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// How many bytes it gives at once.
pub(crate) const GATE_BYTES: u32 = 500;

impl Gate {
    pub(crate) fn new(batch: u32, bytes: u32, wait: impl Future<Output = ()> + Send + 'static) -> Self {
        Gate { batch, index: 0, bytes, wait: Some(Box::pin(wait)) }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("batch", &self.batch).finish_non_exhaustive()
    }
}

impl Stream for Gate {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        if self.index * GATE_BYTES >= self.bytes {
            return Poll::Ready(None);
        }
        self.index += 1;
        Poll::Ready(Some(fill(self.batch, self.index, GATE_BYTES as usize)))
    }
}
