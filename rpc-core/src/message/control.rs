//! Messages about the connection itself: cancel, ping, pong, goaway.

use super::wire::{Reader, put_array, put_str, put_uint};
use super::{Malformed, Message, kind};

/// The sender takes no more calls on this connection.
#[derive(Debug)]
pub(crate) struct GoAway<'a> {
    /// The last call of the other side that was, or will be, taken; later ones were not and never will be.
    pub(crate) last_id: u64,
    pub(crate) reason: Reason,
    pub(crate) message: &'a str,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    /// The sender shuts down in good order; running calls are finished.
    Drain = 0,
    /// A message that must not come, or not now.
    Protocol = 1,
    /// A frame of a length that is not allowed.
    Frame = 2,
    /// A frame that was not finished, or bytes that were not read, in time.
    Stall = 3,
    /// Too much of something that costs.
    Calm = 4,
    /// A bound of the whole process was reached.
    Exhausted = 5,
    /// No protocol version in common.
    Version = 6,
    /// A reason that this version does not know.
    Other = 255,
}

impl Reason {
    fn from_number(number: u64) -> Reason {
        match number {
            0 => Reason::Drain,
            1 => Reason::Protocol,
            2 => Reason::Frame,
            3 => Reason::Stall,
            4 => Reason::Calm,
            5 => Reason::Exhausted,
            6 => Reason::Version,
            _ => Reason::Other,
        }
    }
}

pub(crate) fn encode_cancel(out: &mut Vec<u8>, id: u64) {
    put_array(out, 2);
    put_uint(out, kind::CANCEL);
    put_uint(out, id);
}

pub(crate) fn encode_ping(out: &mut Vec<u8>, token: u64) {
    put_array(out, 2);
    put_uint(out, kind::PING);
    put_uint(out, token);
}

pub(crate) fn encode_pong(out: &mut Vec<u8>, token: u64) {
    put_array(out, 2);
    put_uint(out, kind::PONG);
    put_uint(out, token);
}

pub(crate) fn encode_goaway(out: &mut Vec<u8>, goaway: &GoAway<'_>) {
    put_array(out, 4);
    put_uint(out, kind::GOAWAY);
    put_uint(out, goaway.last_id);
    put_uint(out, goaway.reason as u64);
    put_str(out, goaway.message);
}

pub(super) fn decode_goaway(mut reader: Reader<'_>) -> Result<Message<'_>, Malformed> {
    let last_id = reader.uint("the last id of a goaway")?;
    let reason = Reason::from_number(reader.uint("the reason of a goaway")?);
    let message = reader.str("the message of a goaway")?;
    reader.end(Message::GoAway(GoAway { last_id, reason, message }))
}
