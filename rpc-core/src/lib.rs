//! What a call is: marshalling, messages, the protocol of a connection, and the tokio runtime around it.
//!
//! Users depend on the `rpc` crate, which re-exports what they need from here. This crate is for those who write a
//! transport: [`Transport`], [`Connector`] and [`Listener`] are all it takes. It opens no sockets itself.
//!
//! The way of a call goes down this list, and its reply the same way back:
//!
//! | module | turns | into |
//! |---|---|---|
//! | `channel`, `call` | a stub's call | a marshalled request with its options |
//! | `marshal` | values | MessagePack |
//! | `message` | requests and replies | arrays of MessagePack |
//! | `protocol` | messages and the time | effects and bytes, without I/O |
//! | `frame` | bytes | messages |
//! | `runtime` | all of that | a task and a lock a connection |
//! | `transport` | bytes | bytes elsewhere |
//! | `service`, `context` | a request | a handler's call |

#[cfg(rpc_broken)]
pub mod broken;
#[cfg(not(rpc_broken))]
mod broken;
mod call;
mod chance;
mod channel;
mod context;
mod error;
mod failure;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod marshal;
mod memory;
mod message;
mod metadata;
mod pool;
mod protocol;
mod returned;
mod runtime;
mod service;
mod stream;
mod sync;
mod transport;

pub use call::{Call, WithMetadata};
#[cfg(feature = "simulation")]
pub use chance::seed_chance;
pub use channel::{Channel, Connecting};
pub use context::{Context, Peer, Scope};
pub use error::{CallError, Code, Error, Executed, VersionMismatch};
pub use failure::{Failure, MethodError, Reply};
pub use futures_core::Stream;
pub use limits::Limits;
pub use marshal::{
    ArgumentList, Arguments, ParseTimestampError, Payload, Shape, StreamArgument, Timestamp,
    TimestampRangeError, Value,
};
pub use memory::MemoryUse;
pub use metadata::Metadata;
#[doc(hidden)] // For tests that count what is on the heap.
pub use pool::kept_bytes;
pub use returned::{Items, Returned};
pub use runtime::{Bound, Drained, Server, ShutdownHandle};
pub use service::{Method, Request, Service};
pub use stream::{Iter, Streaming, iter};
pub use transport::{
    Address, Connect, ConnectFuture, Connector, Direct, Listen, Listener, RecvHalf, SendHalf, Transport,
};
