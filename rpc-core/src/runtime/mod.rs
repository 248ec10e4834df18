//! The tokio runtime around the protocol: one task and one lock a connection, for either side.
//!
//! [`link`] is what callers and handlers share of a connection, [`pending`] where callers wait, [`driver`] the task that
//! moves its bytes, [`client`] keeps a connection open, [`server`] accepts them, [`dispatch`] runs handlers,
//! [`peer_link`] is their way back to whoever called. The shape is explained in `ARCHITECTURE.md` ("The engine").

mod blocking;
mod buffers;
mod client;
mod clock;
mod dispatch;
mod driver;
mod flows;
mod handler;
mod handshake;
mod held;
mod in_process;
mod link;
mod local_streams;
#[cfg(all(test, rpc_loom))]
mod models;
mod name_hash;
mod parked;
mod peer_link;
mod pending;
mod poll_time;
mod running_calls;
mod server;
mod shelf;
mod timer;
mod turns;
mod unsent;

pub(crate) use blocking::{Home, block_on};
pub(crate) use client::{Client, Handle, Lease};
pub(crate) use clock::now;
pub(crate) use dispatch::Registry;
pub(crate) use flows::{Argument, Arguments, LinkInlet, send_arguments};
#[cfg(any(test, fuzzing))]
pub(crate) use handshake::{HandshakeError, welcome};
pub(crate) use in_process::{InProcess, LocalCall, LocalInlet, NewLocalCall, in_process, unawaited};
pub(crate) use link::Link;
pub(crate) use peer_link::PeerLink;
pub(crate) use pending::{PendingCall, Progress};
pub use server::{Bound, Drained, Server, ShutdownHandle};
