//! What is compared: one module a contender, each behind the same few traits.
//!
//! A contender knows how to serve and how to connect, nothing about workloads or measuring. What its clients can do is
//! said by one trait for each kind of client; not everyone has all of them. Everything that drives one is generic over
//! it, so no call pays for the comparison with a virtual call or a box.

pub mod fixed;
mod handler;
pub mod raw;
pub mod rpc;
pub mod tarpc;
pub mod tcp;
pub mod tonic;

use bytes::Bytes;
use futures_util::Stream;
use std::{error, fmt, future::Future, net::SocketAddr, str::FromStr};

/// The largest message any contender must carry, in bytes: the largest echo and room for its envelope.
pub const LARGEST_MESSAGE: usize = 17 << 20;

/// Whatever went wrong; the benchmark only reports it and fails.
pub type Error = Box<dyn error::Error + Send + Sync>;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A way to call from one process to another.
pub trait Contender: 'static {
    /// The calling side of one connection; clones share it.
    type Client: Clone + Send + Sync + 'static;

    /// Serves on a free port of the loopback interface, which it tells to `announce`, until the process ends.
    fn serve(announce: impl FnOnce(SocketAddr) + Send) -> impl Future<Output = Result<()>> + Send;

    /// Opens one connection.
    fn connect(to: SocketAddr) -> impl Future<Output = Result<Self::Client>> + Send;
}

/// Plain calls.
pub trait Calls: Clone + Send + Sync + 'static {
    /// The sum of two integers, wrapping around.
    fn add(&mut self, a: i64, b: i64) -> impl Future<Output = Result<i64>> + Send;

    /// The payload as it was sent.
    fn echo(&mut self, payload: Bytes) -> impl Future<Output = Result<Bytes>> + Send;
}

/// Calls whose handlers take their time.
pub trait Handlers: Calls {
    /// The sum of two integers, after so many microseconds of sleep in the handler; with none it does not sleep.
    fn add_after(&mut self, a: i64, b: i64, micros: u64) -> impl Future<Output = Result<i64>> + Send;

    /// Keeps a core of the server busy for so many microseconds, which it returns.
    fn spin(&mut self, micros: u64) -> impl Future<Output = Result<u64>> + Send;
}

/// Streams of small items.
pub trait Streams: Clone + Send + Sync + 'static {
    /// Numbers from the server. Dropped, they are not wanted any more.
    type Numbers: Stream<Item = Result<u64>> + Send + Unpin + 'static;
    /// Numbers both ways.
    type Exchange: Exchange;

    /// The numbers below `below` from the server, from 0 on.
    fn count(&mut self, below: u64) -> impl Future<Output = Result<Self::Numbers>> + Send;

    /// One number, 0, and then nothing, although the stream goes on.
    fn watch(&mut self) -> impl Future<Output = Result<Self::Numbers>> + Send;

    /// What the server finds as the sum of the numbers below `below`, each of which is sent to it.
    fn sum(&mut self, below: u64) -> impl Future<Output = Result<u64>> + Send;

    /// Opens a stream each way; the server answers each number with the next greater one.
    fn exchange(&mut self) -> impl Future<Output = Result<Self::Exchange>> + Send;
}

/// A stream each way.
pub trait Exchange: Send + 'static {
    /// Sends a number and waits for the number that answers it.
    fn pass(&mut self, number: u64) -> impl Future<Output = Result<u64>> + Send;

    /// Ends the stream to the server and waits for the end of the stream that comes back.
    fn finish(self) -> impl Future<Output = Result<()>> + Send;
}

/// Streams of large items.
pub trait Downloads: Clone + Send + Sync + 'static {
    /// Receives the first `length` bytes of [`PATTERN`](crate::workload::PATTERN) `count` times, each an item where
    /// there are items, and shows them to `look` as they come.
    fn download(
        &mut self,
        count: u64,
        length: usize,
        look: impl FnMut(&[u8]) + Send,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The contenders by name, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Bytes without any frames.
    Tcp,
    /// Hand-written frames, the naive way.
    Raw,
    /// The same with one yield before each flush, and many small items in a frame.
    Raw2,
    /// This framework.
    Rpc,
    /// The same with all handlers started on the connection's task.
    RpcInline,
    /// The same with a task for each handler.
    RpcSpawn,
    /// tarpc over TCP with bincode, a task a request as documented.
    Tarpc,
    /// The same with a connection's requests on one task.
    TarpcInline,
    /// tonic, which is gRPC over HTTP/2 with protobuf.
    Tonic,
}

impl Name {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Tcp,
        Self::Raw,
        Self::Raw2,
        Self::Rpc,
        Self::RpcInline,
        Self::RpcSpawn,
        Self::Tarpc,
        Self::TarpcInline,
        Self::Tonic,
    ];

    /// The name in tables and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Raw => "raw",
            Self::Raw2 => "raw2",
            Self::Rpc => "rpc",
            Self::RpcInline => "rpc-inline",
            Self::RpcSpawn => "rpc-spawn",
            Self::Tarpc => "tarpc",
            Self::TarpcInline => "tarpc-inline",
            Self::Tonic => "tonic",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.iter().copied().find(|name| name.as_str() == text);
        known.ok_or_else(|| format!("no contender is called {text:?}").into())
    }
}
