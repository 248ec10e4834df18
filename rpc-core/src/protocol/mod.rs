//! The protocol of a connection, without I/O, clock or tasks: messages go in with the time they came, bytes and
//! effects come out.
//!
//! [`Connection`] is a plain struct, generic over who waits for a call (`C`) or a stream (`W`) and over what
//! stops a running call (`H`), so that the same code runs under the runtime's lock and in tests in virtual time. Both roles are in it:
//! either side may call the other.

mod calls;
mod cancels;
mod chunks;
mod connection;
mod outbox;
#[cfg(any(test, fuzzing))]
#[path = "tests/pair.rs"]
pub(crate) mod pair;
mod rare_map;
mod rare_queue;
mod rate;
mod reassembly;
mod served;
mod streams;
#[cfg(test)]
mod tests;
mod transfers;

pub(crate) use calls::{CallFailure, CallId, Outcome, deadline_exceeded};
pub(crate) use connection::{
    Admitted, Batch, BatchBytes, Connection, Effects, Entry, Handled, NewCall, Replies, Violation,
};
pub(crate) use outbox::{MAX_SLICES, Outbox};
pub(crate) use rare_queue::RareQueue;
pub(crate) use reassembly::Reassembly;
pub(crate) use served::{CallKey, Counts};
pub(crate) use streams::{Caller, Leave, StreamKey, Taken, call_over};
pub(crate) use transfers::Sizes;
