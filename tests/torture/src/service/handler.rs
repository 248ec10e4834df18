//! What servers do: write down that they do it, and answer with data that follows from the call.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rpc::{Code, Context, Executed, Stream, Streaming};

use super::caller::Caller;
use super::items::{InOrder, Item, Items, consumer_pause};
use super::payload::{Hash, Part, payload};
use super::{CustomerClient, Refusal, Sabotage, Ticket, Work};
use crate::ledger::{Ending, Event, Ledger, Method};

/// Serves [`Work`].
#[derive(Debug)]
pub(super) struct Worker {
    caller: Caller,
    sabotage: Option<Sabotage>,
    executions: AtomicU64,
}

/// Sabotage is done once in so many executions.
const SABOTAGED_ONCE_IN: u64 = 50;

impl Worker {
    pub(super) fn new(caller: Caller, sabotage: Option<Sabotage>) -> Self {
        Worker { caller, sabotage, executions: AtomicU64::new(0) }
    }

    fn ledger(&self) -> &Arc<Ledger> {
        &self.caller.ledger
    }

    /// Writes down that a handler runs.
    fn execute(&self, ticket: &Ticket, method: Method, arguments: u64) {
        let record = || self.ledger().append(ticket.attempt(), method, Event::Executed { arguments });
        let nth = self.executions.fetch_add(1, Ordering::Relaxed) + 1;
        let sabotage = self.sabotage.filter(|_| nth.is_multiple_of(SABOTAGED_ONCE_IN));
        if sabotage != Some(Sabotage::ForgetExecution) {
            record();
        }
        match sabotage {
            Some(Sabotage::ExecuteTwice) => record(),
            Some(Sabotage::Leak) => drop(tokio::spawn(pending::<()>())),
            Some(Sabotage::Panic) => panic!("as was asked for"),
            _ => {}
        }
    }

    /// Executes a call whose arguments are data.
    fn answer(&self, ticket: &Ticket, method: Method, data: &[u8]) -> Bytes {
        self.execute(ticket, method, Hash::of(data));
        payload(ticket.attempt(), Part::Reply, ticket.reply_bytes)
    }

    /// One call back.
    async fn ask(&self, customer: &CustomerClient, about: &Ticket) -> Result<Bytes, rpc::Error> {
        let attempt = self.caller.next();
        let ticket = Ticket { call: attempt.call, attempt: attempt.number, ..*about };
        let data = payload(attempt, Part::Arguments, 64);
        let reply = Hash::of(&payload(attempt, Part::Reply, ticket.reply_bytes));
        let open = self.caller.intend(attempt, Method::Answer, Hash::of(&data), reply);
        let answer = customer.answer(ticket, data).await;
        open.end(match &answer {
            Ok(data) => Ending::Ok(Hash::of(data)),
            Err(error) => error.into(),
        });
        answer
    }
}

impl Work for Worker {
    async fn plain(&self, ticket: Ticket, data: Bytes) -> Bytes {
        self.answer(&ticket, Method::Plain, &data)
    }

    async fn repeatable(&self, ticket: Ticket, data: Bytes) -> Bytes {
        self.answer(&ticket, Method::Repeatable, &data)
    }

    async fn refuse(&self, ticket: Ticket, data: &[u8]) -> Result<Bytes, Refusal> {
        self.answer(&ticket, Method::Refuse, data);
        Err(Refusal)
    }

    async fn slow(&self, ticket: Ticket, data: Bytes) -> Bytes {
        let answer = self.answer(&ticket, Method::Slow, &data);
        tokio::time::sleep(ticket.pause()).await;
        answer
    }

    async fn finish(&self, ticket: Ticket, data: Bytes) -> Bytes {
        let answer = self.answer(&ticket, Method::Finish, &data);
        tokio::time::sleep(ticket.pause()).await;
        answer
    }

    async fn note(&self, ticket: Ticket, data: Bytes) {
        self.execute(&ticket, Method::Note, Hash::of(&data));
    }

    async fn download(&self, mut ticket: Ticket, data: Bytes) -> impl Stream<Item = Item> {
        self.execute(&ticket, Method::Download, Hash::of(&data));
        if self.sabotage == Some(Sabotage::CutStream) {
            ticket.items /= 2;
        }
        let mut items = Items::new(ticket);
        items.swapped = self.sabotage == Some(Sabotage::SwapItems);
        items
    }

    async fn upload(&self, ticket: Ticket, mut items: Streaming<Item>) -> Result<Bytes, rpc::Error> {
        self.execute(&ticket, Method::Upload, 0);
        let disordered = |_| {
            self.ledger().append(ticket.attempt(), Method::Upload, Event::Disordered);
            rpc::Error::new(Code::DataLoss, "the items are out of order")
        };
        let mut order = InOrder::new(&ticket);
        while let Some(item) = items.next().await {
            let item = item?;
            order.take(&item).map_err(disordered)?;
            if let Some(pause) = consumer_pause(&ticket, &item) {
                tokio::time::sleep(pause).await;
            }
        }
        let hash = order.whole().map_err(disordered)?;
        Ok(Bytes::copy_from_slice(&hash.to_le_bytes()))
    }

    async fn converse(
        &self,
        ticket: Ticket,
        items: Streaming<Item>,
    ) -> impl Stream<Item = Result<Item, rpc::Error>> {
        self.execute(&ticket, Method::Converse, 0);
        Echo { ticket, items, order: Some(InOrder::new(&ticket)), ledger: self.ledger().clone() }
    }

    async fn consult(&self, ticket: Ticket, data: Bytes) -> Result<Bytes, rpc::Error> {
        self.execute(&ticket, Method::Consult, Hash::of(&data));
        if self.sabotage == Some(Sabotage::SayNo) {
            return Err(rpc::Error::new(Code::Unavailable, "as was asked for").with_executed(Executed::No));
        }
        let customer: CustomerClient = Context::current().peer().client();
        for _ in 0..ticket.items {
            self.ask(&customer, &ticket).await?;
        }
        Ok(payload(ticket.attempt(), Part::Reply, ticket.reply_bytes))
    }

    async fn linger(&self, milliseconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        milliseconds
    }
}

/// Gives back each item that comes, and looks at it on the way.
#[derive(Debug)]
struct Echo {
    ticket: Ticket,
    items: Streaming<Item>,
    /// None when it is over.
    order: Option<InOrder>,
    ledger: Arc<Ledger>,
}

impl Stream for Echo {
    type Item = Result<Item, rpc::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.items).poll_next(cx));
        let in_order = match (&next, &mut self.order) {
            (Some(Ok(item)), Some(order)) => order.take(item),
            (None, order) => order.take().map_or(Ok(()), |order| order.whole().map(drop)),
            (Some(_), _) => Ok(()),
        };
        if in_order.is_err() {
            self.ledger.append(self.ticket.attempt(), Method::Converse, Event::Disordered);
        }
        Poll::Ready(next)
    }
}
