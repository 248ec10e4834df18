#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use rpc_core::{
    Address, ArgumentList, Arguments, Bound, Call, CallError, Channel, Code, Connect, ConnectFuture,
    Connecting, Connector, Context, Drained, Error, Executed, Failure, Items, Iter, Limits, Listen, Listener,
    MemoryUse, Metadata, Method, MethodError, ParseTimestampError, Payload, Peer, RecvHalf, Reply, Request,
    Returned, Scope, SendHalf, Server, Service, ShutdownHandle, Stream, StreamArgument, Streaming, Timestamp,
    TimestampRangeError, Transport, Value, VersionMismatch, WithMetadata, iter,
};
pub use rpc_macros::service;
pub use rpc_transport::*;
