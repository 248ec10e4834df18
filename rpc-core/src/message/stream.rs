//! Streams: item, end, credit, and the optional word that there is more than the credit allows.
//!
//! A stream is named by the id of its call and a number: 0 is the reply's, which goes from the receiver of the call
//! to its caller; 1, 2, ... are the arguments that are streams, which go the other way.

use super::response::{Verdict, decode_error, put_app_head, put_error};
use super::wire::{NIL, Reader, put_array, put_array_head, put_uint};
use super::{Malformed, Message, kind};
use crate::Error;

/// The number of the stream that is a call's reply.
pub(crate) const REPLY_STREAM: u8 = 0;

/// The most arguments that can be streams, which is the most arguments there can be.
pub(crate) const MAX_ARGUMENT_STREAMS: u8 = 16;

/// What a head of an item message takes at most, its length included.
pub(crate) const ITEM_HEAD_BYTES: usize = 32;

/// Which stream a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamName {
    pub(crate) call: u64,
    pub(crate) stream: u8,
}

/// Items of a stream, still marshalled, one after the other.
#[derive(Debug)]
pub(crate) struct Items<'a> {
    pub(crate) name: StreamName,
    pub(crate) count: u32,
    pub(crate) bytes: &'a [u8],
}

/// The end of a stream: nothing, or why it ends before its time.
#[derive(Debug)]
pub(crate) struct End<'a> {
    pub(crate) name: StreamName,
    pub(crate) error: Option<Verdict<'a>>,
}

/// Leave to send so many more bytes of items; none: nothing more is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credit {
    pub(crate) name: StreamName,
    pub(crate) bytes: Option<u64>,
}

/// Appends all of an item message but its items, which are to follow.
pub(crate) fn encode_items(out: &mut Vec<u8>, name: StreamName, count: u32) {
    put_head(out, 4, kind::ITEM, name);
    put_array_head(out, count as usize);
}

/// Appends the end of a stream.
pub(crate) fn encode_end(out: &mut Vec<u8>, name: StreamName, error: Option<Result<&[u8], &Error>>) {
    put_head(out, 4, kind::END, name);
    match error {
        Some(error) => put_error(out, error),
        None => out.push(NIL),
    }
}

/// Appends the end of a stream up to the producer's own error, which is to follow.
pub(crate) fn encode_app_end(out: &mut Vec<u8>, name: StreamName) {
    put_head(out, 4, kind::END, name);
    put_app_head(out);
}

pub(crate) fn encode_credit(out: &mut Vec<u8>, credit: Credit) {
    put_head(out, 4, kind::CREDIT, credit.name);
    match credit.bytes {
        Some(bytes) => put_uint(out, bytes),
        None => out.push(NIL),
    }
}

pub(crate) fn encode_blocked(out: &mut Vec<u8>, name: StreamName) {
    put_head(out, 3, kind::BLOCKED, name);
}

fn put_head(out: &mut Vec<u8>, elements: u8, kind: u64, name: StreamName) {
    put_array(out, elements);
    put_uint(out, kind);
    put_uint(out, name.call);
    put_uint(out, u64::from(name.stream));
}

pub(super) fn decode_items(mut reader: Reader<'_>) -> Result<Message<'_>, Malformed> {
    let name = read_name(&mut reader)?;
    let count = reader.array("the items of a stream")?;
    // Whether so many are there is seen when they are unmarshalled, and is the trouble of their stream alone.
    Ok(Message::Items(Items { name, count, bytes: reader.rest() }))
}

pub(super) fn decode_end(mut reader: Reader<'_>) -> Result<Message<'_>, Malformed> {
    let name = read_name(&mut reader)?;
    if reader.skip_nil() {
        return reader.end(Message::End(End { name, error: None }));
    }
    Ok(Message::End(End { name, error: Some(decode_error(reader.rest())) }))
}

pub(super) fn decode_credit(mut reader: Reader<'_>) -> Result<Message<'_>, Malformed> {
    let name = read_name(&mut reader)?;
    let bytes = reader.optional_uint("the bytes of a credit")?;
    reader.end(Message::Credit(Credit { name, bytes }))
}

pub(super) fn decode_blocked(mut reader: Reader<'_>) -> Result<Message<'_>, Malformed> {
    let name = read_name(&mut reader)?;
    reader.end(Message::Blocked(name))
}

fn read_name(reader: &mut Reader<'_>) -> Result<StreamName, Malformed> {
    let call = reader.uint("the call of a stream")?;
    let stream = reader.uint("the number of a stream")?;
    match u8::try_from(stream) {
        Ok(stream) if stream <= MAX_ARGUMENT_STREAMS => Ok(StreamName { call, stream }),
        _ => Err(Malformed::new(format!(
            "a stream of number {stream}, a call has at most {MAX_ARGUMENT_STREAMS} and its reply's"
        ))),
    }
}
