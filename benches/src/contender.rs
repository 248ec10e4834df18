//! What is compared: one module a contender, each behind the same two traits.
//!
//! A contender knows how to serve and how to connect, nothing about workloads or measuring. Everything that drives
//! one is generic over it, so no call pays for the comparison with a virtual call or a box.

pub mod raw;
pub mod rpc;
pub mod tarpc;
pub mod tonic;

use bytes::Bytes;
use std::{error, fmt, future::Future, net::SocketAddr, str::FromStr};

/// The largest message any contender must carry, in bytes: the largest echo and room for its envelope.
pub const LARGEST_MESSAGE: usize = 2 << 20;

/// Whatever went wrong; the benchmark only reports it and fails.
pub type Error = Box<dyn error::Error + Send + Sync>;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A way to call from one process to another.
pub trait Contender: 'static {
    /// The calling side of one connection; clones share it.
    type Client: Client;

    /// Serves on a free port of the loopback interface, which it tells to `announce`, until the process ends.
    fn serve(announce: impl FnOnce(SocketAddr) + Send) -> impl Future<Output = Result<()>> + Send;

    /// Opens one connection.
    fn connect(to: SocketAddr) -> impl Future<Output = Result<Self::Client>> + Send;
}

/// The two methods that are measured.
pub trait Client: Clone + Send + Sync + 'static {
    /// The sum of two integers, wrapping around.
    fn add(&mut self, a: i64, b: i64) -> impl Future<Output = Result<i64>> + Send;

    /// The payload as it was sent.
    fn echo(&mut self, payload: Bytes) -> impl Future<Output = Result<Bytes>> + Send;
}

/// The contenders by name, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Hand-written frames, the naive way.
    Raw,
    /// The same with one yield before each flush.
    Raw2,
    /// This framework.
    Rpc,
    /// tarpc over TCP with bincode, a task a request as documented.
    Tarpc,
    /// The same with a connection's requests on one task.
    TarpcInline,
    /// tonic, which is gRPC over HTTP/2 with protobuf.
    Tonic,
}

impl Name {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Raw, Self::Raw2, Self::Rpc, Self::Tarpc, Self::TarpcInline, Self::Tonic];

    /// The name in tables and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Raw2 => "raw2",
            Self::Rpc => "rpc",
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

/// Evaluates an expression with `$contender` bound to the type that a [`Name`] stands for.
macro_rules! with_contender {
    ($name:expr, $contender:ident => $body:expr) => {{
        use $crate::contender::{self, Name};
        match $name {
            Name::Raw => {
                type $contender = contender::raw::Raw<false>;
                $body
            }
            Name::Raw2 => {
                type $contender = contender::raw::Raw<true>;
                $body
            }
            Name::Rpc => {
                type $contender = contender::rpc::Rpc;
                $body
            }
            Name::Tarpc => {
                type $contender = contender::tarpc::Tarpc<false>;
                $body
            }
            Name::TarpcInline => {
                type $contender = contender::tarpc::Tarpc<true>;
                $body
            }
            Name::Tonic => {
                type $contender = contender::tonic::Tonic;
                $body
            }
        }
    }};
}
pub(crate) use with_contender;
