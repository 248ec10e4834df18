#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use rpc_core::{
    Address, ArgumentList, Arguments, Bound, Call, CallError, Channel, Code, Connect, ConnectFuture,
    Connecting, Connector, Context, Drained, Error, Executed, Failure, Limits, Listen, Listener, Metadata,
    Method, MethodError, ParseTimestampError, Payload, Peer, RecvHalf, Reply, Request, Scope, SendHalf,
    Server, Service, ShutdownHandle, Timestamp, TimestampRangeError, Transport, Value, VersionMismatch,
    WithMetadata,
};
pub use rpc_macros::service;
pub use rpc_transport::*;
