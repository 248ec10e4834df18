//! Requests and notifications: kinds 0, 2 (exactly MessagePack-RPC's), 3, 5 with a timeout and metadata, and 15 with
//! streams as well.

use std::time::Duration;

use super::stream::MAX_ARGUMENT_STREAMS;
use super::wire::{NIL, Reader, put_array, put_map, put_str, put_uint};
use super::{Malformed, Message, kind};
use crate::Metadata;

/// All of a request that stands before its arguments, as it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'a> {
    /// The call's id; none if no reply is awaited.
    pub(crate) id: Option<u64>,
    pub(crate) method: &'a str,
    /// How much time is left for the call.
    pub(crate) timeout: Option<Duration>,
    pub(crate) metadata: Option<&'a Metadata>,
    /// How many of its arguments are streams, for a call that has any or whose reply may be one.
    pub(crate) streams: Option<u8>,
}

/// The same, as it is received.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: Option<u64>,
    /// Its name, which is UTF-8.
    pub(crate) method: &'a [u8],
    pub(crate) timeout: Option<Duration>,
    pub(crate) metadata: Option<Box<Metadata>>,
    pub(crate) streams: Option<u8>,
}

#[inline]
pub(super) fn elements(kind: u64) -> u32 {
    match kind {
        kind::NOTIFICATION => 3,
        kind::REQUEST => 4,
        kind::SEND => 5,
        kind::OPEN => 7,
        _ => 6,
    }
}

/// Appends all of a request but its arguments, in the smallest kind that holds it.
#[inline]
pub(crate) fn encode_request(out: &mut Vec<u8>, head: &RequestHead<'_>) {
    let plain = head.timeout.is_none() && head.metadata.is_none() && head.streams.is_none();
    let kind = match (head.id, plain) {
        _ if head.streams.is_some() => kind::OPEN,
        (Some(_), true) => kind::REQUEST,
        (Some(_), false) => kind::CALL,
        (None, true) => kind::NOTIFICATION,
        (None, false) => kind::SEND,
    };
    put_array(out, elements(kind) as u8);
    put_uint(out, kind);
    if let Some(id) = head.id {
        put_uint(out, id);
    }
    put_str(out, head.method);
    if !plain {
        match head.timeout {
            Some(timeout) => put_uint(out, u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX)),
            None => out.push(NIL),
        }
        put_metadata(out, head.metadata);
    }
    if let Some(streams) = head.streams {
        put_uint(out, u64::from(streams));
    }
}

#[inline]
pub(super) fn decode(
    kind: u64,
    mut reader: Reader<'_>,
    metadata_limit: usize,
) -> Result<Message<'_>, Malformed> {
    let id = match kind {
        kind::REQUEST | kind::CALL | kind::OPEN => Some(reader.uint("the id of a request")?),
        _ => None,
    };
    let method = reader.str_bytes("the method of a request")?;
    let (timeout, metadata) = match kind {
        kind::CALL | kind::SEND | kind::OPEN => {
            let micros = reader.optional_uint("the timeout of a call")?;
            (micros.map(Duration::from_micros), read_metadata(&mut reader, metadata_limit)?)
        }
        _ => (None, None),
    };
    let streams = if kind == kind::OPEN { Some(read_streams(&mut reader)?) } else { None };
    if reader.is_empty() {
        return Err(Malformed::new("expected the arguments of a request, got the end of the frame"));
    }
    Ok(Message::Request(Request { id, method, timeout, metadata, streams }, reader.rest()))
}

fn read_streams(reader: &mut Reader<'_>) -> Result<u8, Malformed> {
    let streams = reader.uint("the number of streams of a call")?;
    u8::try_from(streams).ok().filter(|streams| *streams <= MAX_ARGUMENT_STREAMS).ok_or_else(|| {
        Malformed::new(format!("{streams} arguments that are streams, at most {MAX_ARGUMENT_STREAMS}"))
    })
}

pub(super) fn put_metadata(out: &mut Vec<u8>, metadata: Option<&Metadata>) {
    put_map(out, metadata.map_or(0, Metadata::len));
    for (name, value) in metadata.into_iter().flat_map(Metadata::iter) {
        put_str(out, name);
        put_str(out, value);
    }
}

pub(super) fn read_metadata(
    reader: &mut Reader<'_>,
    limit: usize,
) -> Result<Option<Box<Metadata>>, Malformed> {
    let entries = reader.map("metadata")?;
    if entries == 0 {
        return Ok(None);
    }
    // Nothing is reserved for a declared count: what was not sent costs nothing.
    let mut metadata = Metadata::default();
    for _ in 0..entries {
        let name = reader.str("a name in metadata")?;
        metadata.receive(name, reader.str("a value in metadata")?, limit);
    }
    Ok(Some(Box::new(metadata)))
}
