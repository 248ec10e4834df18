//! The other side of a connection: what it makes up, and what it is told.

use std::collections::HashMap;
use std::time::Duration;

use super::Input;
use crate::frame::Assembler;
use crate::marshal::{STREAM_REPLY, is_stream_reply};
use crate::message::{
    Credit, End, GoAway, Message, Reason, RequestHead, Response, StreamName, Verdict, decode,
    decode_fragment, encode_blocked, encode_cancel, encode_credit, encode_end, encode_error, encode_fragment,
    encode_goaway, encode_items, encode_ping, encode_pong, encode_request, encode_value,
};
use crate::{Code, Error, Executed, Metadata};

/// A message of any kind, about one of the calls that are `known` or another, sound or not.
pub(super) fn message(input: &mut Input<'_>, known: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    match input.below(16) {
        0..4 => request(input, known, &mut out),
        4 => encode_cancel(&mut out, call(input, known)),
        5 => response(input, known, &mut out),
        6 => {
            let name = stream(input, known);
            let items = input.counted();
            let count = input.pick(&[items.len() as u32, 1, 0, u32::MAX]);
            encode_items(&mut out, name, count);
            out.extend_from_slice(items);
        }
        7 => {
            let name = stream(input, known);
            let error = Error::new(Code::Aborted, "it has ended").with_executed(Executed::Yes);
            let endings = [None, Some(Ok(&[7][..])), Some(Err(&error))];
            encode_end(&mut out, name, input.pick(&endings));
        }
        8 => {
            let name = stream(input, known);
            let bytes =
                input.pick(&[Some(100), None, Some(1), Some(0), Some(1 << 62), Some(u64::MAX), Some(5_000)]);
            encode_credit(&mut out, Credit { name, bytes });
        }
        9 => encode_blocked(&mut out, stream(input, known)),
        10 => encode_ping(&mut out, u64::from(input.byte())),
        11 => encode_pong(&mut out, 1),
        12 => {
            let last_id = call(input, known);
            let reason = input.pick(&[Reason::Drain, Reason::Protocol, Reason::Calm, Reason::Other]);
            encode_goaway(&mut out, &GoAway { last_id, reason, message: "it goes\u{1b}" });
        }
        _ => out.extend_from_slice(input.counted()),
    }
    out
}

fn request(input: &mut Input<'_>, known: &[u64], out: &mut Vec<u8>) {
    let id = (input.byte() > 30).then(|| call(input, known));
    let timeout = input.pick(&[None, None, Some(0), Some(1), Some(300_000), Some(u64::MAX)]);
    let metadata: Option<Metadata> = match input.below(8) {
        0..6 => None,
        6 => Some([("tenant", "acme")].into_iter().collect()),
        _ => Some([("tenant", "a name that is too long"), ("other", "")].into_iter().collect()),
    };
    let streams = input.pick(&[None, None, Some(0), Some(1), Some(2), Some(17)]).filter(|_| id.is_some());
    let timeout = timeout.map(Duration::from_micros);
    encode_request(out, &RequestHead { id, method: "m", timeout, metadata: metadata.as_ref(), streams });
    match input.below(4) {
        0 => out.extend_from_slice(input.counted()),
        1 => out.resize(out.len() + 16 * usize::from(input.byte()), 0x90),
        _ => out.push(0x90),
    }
}

fn response(input: &mut Input<'_>, known: &[u64], out: &mut Vec<u8>) {
    let id = call(input, known);
    let metadata: Metadata = [("tenant", "a name that is too long"), ("other", "")].into_iter().collect();
    let metadata = input.pick(&[None, None, None, Some(&metadata)]);
    let error = Error::new(Code::Aborted, "it was not meant to be");
    match input.below(8) {
        0..3 => {
            encode_value(out, id, metadata);
            out.push(input.byte());
        }
        3 | 4 => {
            encode_value(out, id, metadata);
            out.extend_from_slice(&STREAM_REPLY);
        }
        5 => {
            encode_value(out, id, metadata);
            out.extend_from_slice(input.counted());
        }
        6 => encode_error(out, id, metadata, Ok(&[7])),
        _ => {
            let executed = input.pick(&[Executed::Yes, Executed::No, Executed::Maybe]);
            encode_error(out, id, metadata, Err(&error.with_executed(executed)));
        }
    }
}

/// The id of a call.
fn call(input: &mut Input<'_>, known: &[u64]) -> u64 {
    match usize::from(input.byte()) {
        index @ 0..192 if !known.is_empty() => known[known.len() - 1 - index % known.len()],
        small @ 0..248 => small as u64 % 8,
        _ => input.u64(),
    }
}

fn stream(input: &mut Input<'_>, known: &[u64]) -> StreamName {
    let stream = input.below(8);
    // One above what a call can have is there as well.
    let stream = [0, 0, 1, 1, 2, 3, 16, 17][stream];
    StreamName { call: call(input, known), stream }
}

/// The fragments that a message goes in.
pub(super) fn fragments(input: &mut Input<'_>, message: &[u8], number: u64) -> Vec<Vec<u8>> {
    let each = usize::from(input.byte()) * 2 + 1;
    let mut rest = message.len();
    message
        .chunks(each)
        .map(|piece| {
            rest -= piece.len();
            let mut out = Vec::new();
            encode_fragment(&mut out, number, Some(rest as u64), piece.len());
            out.extend_from_slice(piece);
            out
        })
        .collect()
}

/// What the other side is told.
#[derive(Debug)]
pub(super) enum Heard {
    Request {
        id: Option<u64>,
    },
    /// An answer that is the last word on its call, or that a stream will be.
    Answer {
        id: u64,
        is_final: bool,
    },
    End {
        name: StreamName,
    },
    Credit {
        name: StreamName,
        bytes: Option<u64>,
    },
    GoAway {
        reason: Reason,
    },
    Cancel {
        id: u64,
    },
    Other,
}

/// Listens: puts the bytes together that come, and holds the one that sent them to what the protocol allows.
pub(super) struct Ear {
    assembler: Assembler,
    unfinished: HashMap<u64, Vec<u8>>,
    largest: usize,
    has_streams: bool,
}

impl Ear {
    pub(super) fn new(frame_bytes: usize, message_bytes: usize, has_streams: bool) -> Self {
        let assembler = Assembler::new(frame_bytes);
        Ear { assembler, unfinished: HashMap::new(), largest: message_bytes.max(frame_bytes), has_streams }
    }

    /// What these bytes say; they end with a frame.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut frames = Vec::new();
        let end =
            self.assembler.cut(bytes, |frame| frames.push(frame)).expect("no frame larger than is taken");
        assert_eq!(end, bytes.len(), "a frame was cut short");
        frames.into_iter().filter_map(|frame| self.frame(&bytes[frame])).collect()
    }

    fn frame(&mut self, frame: &[u8]) -> Option<Heard> {
        let Some(fragment) = decode_fragment(frame, frame.len()) else { return Some(self.message(frame)) };
        let fragment = fragment.expect("a sound fragment");
        let Some(rest) = fragment.rest else {
            self.unfinished.remove(&fragment.number).expect("given up is what has begun");
            return None;
        };
        let mut message = self.unfinished.remove(&fragment.number).unwrap_or_default();
        message.extend_from_slice(fragment.data);
        assert!(message.len() + rest as usize <= self.largest, "larger than this side takes");
        if rest == 0 {
            return Some(self.message(&message));
        }
        self.unfinished.insert(fragment.number, message);
        assert!(self.unfinished.len() <= 16, "more messages under way than may be");
        None
    }

    fn message(&self, message: &[u8]) -> Heard {
        match decode(message, usize::MAX, self.has_streams).expect("a sound message") {
            Message::Request(head, _) => Heard::Request { id: head.id },
            Message::Response(Response { id, verdict, .. }) => {
                let is_final = !matches!(verdict, Verdict::Value(value) if is_stream_reply(value));
                Heard::Answer { id, is_final }
            }
            Message::End(End { name, .. }) => Heard::End { name },
            Message::Credit(Credit { name, bytes }) => Heard::Credit { name, bytes },
            Message::GoAway(goaway) => Heard::GoAway { reason: goaway.reason },
            Message::Cancel { id } => Heard::Cancel { id },
            Message::Items(_) | Message::Ping { .. } | Message::Pong { .. } | Message::Blocked(_) => {
                Heard::Other
            }
            Message::Unknown => panic!("a message that nobody knows"),
        }
    }
}
