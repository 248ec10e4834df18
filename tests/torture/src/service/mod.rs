//! The services that are called under torture, and the processes that serve and call them.

mod caller;
mod client;
mod customer;
mod handler;
mod items;
mod payload;
mod plan;
mod sabotage;
mod server;
mod stdin;
mod temper;

pub(crate) use client::call;
pub(crate) use sabotage::Sabotage;
pub(crate) use server::serve;
pub(crate) use stdin::State;
pub(crate) use temper::Temper;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rpc::{Stream, Streaming, service};
use serde::{Deserialize, Serialize};

use crate::ledger::Attempt;
use items::Item;

/// What a call is, beside its data.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ticket {
    call: u64,
    attempt: u32,
    /// How long the reply is to be, in bytes; for streams each item.
    reply_bytes: u32,
    /// How many items there are each way, or calls back.
    items: u32,
    /// How long the handler waits, in milliseconds; for streams now and then.
    pause: u32,
}

impl Ticket {
    fn attempt(&self) -> Attempt {
        Attempt { call: self.call, number: self.attempt }
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.pause.into())
    }
}

/// The error of a method that has one of its own.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Refusal;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

/// What servers serve.
#[service]
pub(crate) trait Work {
    /// Answers at once.
    async fn plain(&self, ticket: Ticket, data: Bytes) -> Bytes;
    /// The same, and may be repeated.
    #[rpc(idempotent)]
    async fn repeatable(&self, ticket: Ticket, data: Bytes) -> Bytes;
    /// Fails as its own type.
    async fn refuse(&self, ticket: Ticket, data: &[u8]) -> Result<Bytes, Refusal>;
    /// Waits before it answers.
    async fn slow(&self, ticket: Ticket, data: Bytes) -> Bytes;
    /// The same, and runs to its end.
    #[rpc(no_cancel)]
    async fn finish(&self, ticket: Ticket, data: Bytes) -> Bytes;
    /// Is not answered.
    #[rpc(oneway)]
    async fn note(&self, ticket: Ticket, data: Bytes);
    /// Gives the items of the call.
    async fn download(&self, ticket: Ticket, data: Bytes) -> impl Stream<Item = Item>;
    /// Takes the items of the call.
    async fn upload(&self, ticket: Ticket, items: Streaming<Item>) -> Result<Bytes, rpc::Error>;
    /// Gives back each item that comes.
    async fn converse(
        &self,
        ticket: Ticket,
        items: Streaming<Item>,
    ) -> impl Stream<Item = Result<Item, rpc::Error>>;
    /// Calls back as often as the ticket says.
    async fn consult(&self, ticket: Ticket, data: Bytes) -> Result<Bytes, rpc::Error>;
    /// Waits, and leaves nothing in the ledger: for floods.
    async fn linger(&self, milliseconds: u64) -> u64;
}

/// What clients serve.
#[service]
pub(crate) trait Customer {
    /// What is called back.
    async fn answer(&self, ticket: Ticket, data: Bytes) -> Bytes;
}
