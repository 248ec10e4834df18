//! Responses: kind 1 (exactly MessagePack-RPC's shape) and 4 with metadata.
//!
//! The error is nil, or `[0, value]` for the procedure's own error, or `[code, executed, message, details]` for a
//! call that failed as a call.

use bytes::Bytes;

use super::request::{put_metadata, read_metadata};
use super::wire::{NIL, Reader, put_array, put_str, put_uint};
use super::{Malformed, Message, kind};
use crate::{Code, Error, Executed, Metadata};

/// The answer to a call, its values still marshalled.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    pub(crate) id: u64,
    pub(crate) metadata: Option<Box<Metadata>>,
    pub(crate) verdict: Verdict<'a>,
}

#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    Value(&'a [u8]),
    App(&'a [u8]),
    Rpc(Error),
}

/// The place of the application's own error among the codes, whose numbers begin with 1.
const APP: u64 = 0;

pub(super) fn elements(kind: u64) -> u32 {
    if kind == kind::RESPONSE { 4 } else { 5 }
}

#[inline]
fn put_head(out: &mut Vec<u8>, id: u64, metadata: Option<&Metadata>) {
    let kind = if metadata.is_none() { kind::RESPONSE } else { kind::REPLY };
    put_array(out, elements(kind) as u8);
    put_uint(out, kind);
    put_uint(out, id);
    if metadata.is_some() {
        put_metadata(out, metadata);
    }
}

/// Appends a reply up to its result, which is to follow.
#[inline]
pub(crate) fn encode_value(out: &mut Vec<u8>, id: u64, metadata: Option<&Metadata>) {
    put_head(out, id, metadata);
    out.push(NIL);
}

/// Appends a whole reply that carries an error.
pub(crate) fn encode_error(
    out: &mut Vec<u8>,
    id: u64,
    metadata: Option<&Metadata>,
    error: Result<&[u8], &Error>,
) {
    put_head(out, id, metadata);
    put_error(out, error);
    out.push(NIL);
}

/// Appends a reply up to the procedure's own error, which is to follow, and behind it [`APP_TAIL`].
pub(crate) fn encode_app(out: &mut Vec<u8>, id: u64, metadata: Option<&Metadata>) {
    put_head(out, id, metadata);
    put_app_head(out);
}

/// What follows the procedure's own error in a reply.
pub(crate) const APP_TAIL: &[u8] = &[NIL];

/// Appends the procedure's own error, or that of a call that failed as a call.
pub(super) fn put_error(out: &mut Vec<u8>, error: Result<&[u8], &Error>) {
    match error {
        Ok(value) => {
            put_app_head(out);
            out.extend_from_slice(value);
        }
        Err(error) => {
            put_array(out, 4);
            put_uint(out, u64::from(error.code().number()));
            put_uint(out, error.executed() as u64);
            put_str(out, error.message());
            match error.raw_details() {
                Some(details) => out.extend_from_slice(details),
                None => out.push(NIL),
            }
        }
    }
}

/// Appends what stands before the procedure's own error.
pub(super) fn put_app_head(out: &mut Vec<u8>) {
    put_array(out, 2);
    put_uint(out, APP);
}

#[inline]
pub(super) fn decode(
    kind: u64,
    mut reader: Reader<'_>,
    metadata_limit: usize,
) -> Result<Message<'_>, Malformed> {
    let id = reader.uint("the id of a response")?;
    let metadata = if kind == kind::REPLY { read_metadata(&mut reader, metadata_limit)? } else { None };
    let verdict = if reader.skip_nil() {
        Verdict::Value(reader.rest())
    } else {
        match reader.rest() {
            [error @ .., NIL] => decode_error(error),
            _ => undecodable(&Malformed::new("expected an error and a result of nil")),
        }
    };
    Ok(Message::Response(Response { id, metadata, verdict }))
}

/// Decodes an error that fills `bytes`.
///
/// The envelope is sound, so whatever is wrong with the error is one call's trouble alone.
pub(super) fn decode_error(bytes: &[u8]) -> Verdict<'_> {
    sound_error(bytes).unwrap_or_else(|malformed| undecodable(&malformed))
}

fn undecodable<'a>(malformed: &Malformed) -> Verdict<'a> {
    let message = format!("the other side's error cannot be decoded: {malformed}");
    Verdict::Rpc(Error::new(Code::Internal, message))
}

fn sound_error(bytes: &[u8]) -> Result<Verdict<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let elements = reader.array("an error")?;
    let code = reader.uint("the code of an error")?;
    match (code, elements) {
        (APP, 2) => Ok(Verdict::App(one_value(reader)?)),
        (1.., 4) => {
            let executed = Executed::from_number(reader.uint("whether a call was executed")?);
            let message = reader.str("the message of an error")?;
            let details = one_value(reader)?;
            let details = (details != [NIL]).then(|| Bytes::copy_from_slice(details));
            let error = Error::new(Code::from_number(code), message).with_executed(executed);
            Ok(Verdict::Rpc(error.with_raw_details(details)))
        }
        _ => Err(Malformed::new(format!(
            "expected [0, value] or [code, executed, message, details], got {elements} elements beginning with {code}"
        ))),
    }
}

/// The value that fills what is left.
fn one_value(reader: Reader<'_>) -> Result<&[u8], Malformed> {
    match reader.rest() {
        [] => Err(Malformed::new("expected a value, got the end of the error")),
        value => Ok(value),
    }
}
