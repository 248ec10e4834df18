//! Messages: the MessagePack arrays that two sides exchange, and their bytes.
//!
//! A file a kind. Encoders append to a buffer that is kept; decoding borrows from the frame and copies nothing.
//! How a message is cut out of a stream of bytes is [`crate::frame`]'s business, what it *does* is
//! [`crate::protocol`]'s. The format is written down in `docs/protocol.md`.

mod control;
mod fragment;
mod hello;
mod request;
mod response;
mod stream;
mod wire;

use std::fmt;

pub(crate) use control::{GoAway, Reason, encode_cancel, encode_goaway, encode_ping, encode_pong};
pub(crate) use fragment::{
    FRAGMENT_BEGUN_BYTES, FRAGMENT_HEAD_BYTES, Fragment, decode_fragment, encode_fragment, unknown_fragment,
};
pub(crate) use hello::{Hello, MAGIC, VERSIONS, encode_hello};
pub(crate) use request::{Request, RequestHead, encode_request};
pub(crate) use response::{APP_TAIL, Response, Verdict, encode_app, encode_error, encode_value};
pub(crate) use stream::{
    Credit, End, ITEM_HEAD_BYTES, Items, REPLY_STREAM, StreamName, encode_app_end, encode_blocked,
    encode_credit, encode_end, encode_items,
};
use wire::Reader;

/// The first element of each message. Kinds below 64 are mandatory: whoever does not know one ends the
/// connection. Kinds from 64 to 127 are optional: whoever does not know one skips it.
mod kind {
    pub(super) const REQUEST: u64 = 0;
    pub(super) const RESPONSE: u64 = 1;
    pub(super) const NOTIFICATION: u64 = 2;
    pub(super) const CALL: u64 = 3;
    pub(super) const REPLY: u64 = 4;
    pub(super) const SEND: u64 = 5;
    pub(super) const CANCEL: u64 = 6;
    pub(super) const PING: u64 = 7;
    pub(super) const PONG: u64 = 8;
    pub(super) const GOAWAY: u64 = 9;
    pub(super) const HELLO: u64 = 10;
    pub(super) const ITEM: u64 = 11;
    pub(super) const END: u64 = 12;
    pub(super) const CREDIT: u64 = 13;
    pub(super) const FRAGMENT: u64 = 14;
    pub(super) const OPEN: u64 = 15;
    pub(super) const BLOCKED: u64 = 64;
    pub(super) const OPTIONAL: std::ops::RangeInclusive<u64> = 64..=127;
}

/// One message, borrowed from its frame.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Request(Request<'a>, &'a [u8]),
    Response(Response<'a>),
    Cancel {
        id: u64,
    },
    Ping {
        token: u64,
    },
    Pong {
        token: u64,
    },
    GoAway(GoAway<'a>),
    Items(Items<'a>),
    End(End<'a>),
    Credit(Credit),
    Blocked(StreamName),
    /// A kind that this version does not know and need not.
    Unknown,
}

/// Decodes one message; of its metadata no more is kept than the limit, in bytes. Where streams are not in use, their
/// kinds are as unknown as those of a later version.
///
/// # Errors
/// The envelope is not sound: the connection cannot go on, since nobody knows what the message meant. What is
/// *in* it (arguments, a result) is not looked at.
#[inline]
pub(crate) fn decode(
    frame: &[u8],
    metadata_limit: usize,
    has_streams: bool,
) -> Result<Message<'_>, Malformed> {
    let mut reader = Reader::new(frame);
    let elements = reader.array("a message")?;
    let kind = reader.uint("the kind of a message")?;
    let expect = |count: u32| {
        if elements == count {
            Ok(())
        } else {
            Err(Malformed::new(format!("a message of kind {kind} has {count} elements, this one {elements}")))
        }
    };
    match kind {
        kind::ITEM | kind::END | kind::CREDIT | kind::OPEN if !has_streams => Err(unknown(kind)),
        kind::REQUEST | kind::NOTIFICATION | kind::CALL | kind::SEND | kind::OPEN => {
            expect(request::elements(kind))?;
            request::decode(kind, reader, metadata_limit)
        }
        kind::RESPONSE | kind::REPLY => {
            expect(response::elements(kind))?;
            response::decode(kind, reader, metadata_limit)
        }
        kind::CANCEL => {
            expect(2)?;
            let id = reader.uint("the id of a cancel")?;
            reader.end(Message::Cancel { id })
        }
        kind::PING | kind::PONG => {
            expect(2)?;
            let token = reader.uint("the token of a ping")?;
            reader.end(if kind == kind::PING { Message::Ping { token } } else { Message::Pong { token } })
        }
        kind::GOAWAY => {
            expect(4)?;
            control::decode_goaway(reader)
        }
        kind::ITEM => {
            expect(4)?;
            stream::decode_items(reader)
        }
        kind::END => {
            expect(4)?;
            stream::decode_end(reader)
        }
        kind::CREDIT => {
            expect(4)?;
            stream::decode_credit(reader)
        }
        kind::BLOCKED if has_streams && elements == 3 => stream::decode_blocked(reader),
        kind::FRAGMENT => Err(Malformed::new("a fragment within a message that came in fragments")),
        kind::HELLO => Err(Malformed::new("a second hello")),
        kind if kind::OPTIONAL.contains(&kind) => Ok(Message::Unknown),
        kind => Err(unknown(kind)),
    }
}

fn unknown(kind: u64) -> Malformed {
    Malformed::new(format!("messages of kind {kind} are unknown here and not optional"))
}

/// Decodes the hello, the one message that comes before all others.
pub(crate) fn decode_hello(frame: &[u8]) -> Result<Hello, Malformed> {
    let mut reader = Reader::new(frame);
    let elements = reader.array("a hello")?;
    let kind = reader.uint("the kind of a message")?;
    if kind != kind::HELLO {
        return Err(Malformed::new(format!("expected a hello, got a message of kind {kind}")));
    }
    hello::decode(elements, reader)
}

/// An envelope that is not sound, in words for the other side.
#[derive(Debug)]
pub(crate) struct Malformed(String);

impl Malformed {
    fn new(what: impl Into<String>) -> Self {
        Malformed(what.into())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(frame: &[u8]) -> String {
        decode(frame, 100, true).expect_err("an unsound envelope").to_string()
    }

    #[test]
    fn case_22_an_unknown_optional_kind_is_skipped_and_a_mandatory_one_is_not() {
        assert!(matches!(decode(&[0x92, 64, 1], 100, true), Ok(Message::Unknown)));
        assert!(matches!(decode(&[0x91, 127], 100, true), Ok(Message::Unknown)));
        assert_eq!(refused(&[0x92, 63, 1]), "messages of kind 63 are unknown here and not optional");
    }

    #[test]
    fn the_kinds_of_streams_are_unknown_where_these_are_not_in_use() {
        for kind in [11, 12, 13, 15] {
            for sound in [&[0x94, kind, 1, 1, 0xc0][..], &[0x91, kind]] {
                let refused = decode(sound, 100, false).expect_err("not in use").to_string();
                assert_eq!(refused, format!("messages of kind {kind} are unknown here and not optional"));
            }
        }
        // An optional one is skipped, whatever it looks like.
        for blocked in [&[0x93, 64, 1, 0][..], &[0x93, 64, 1, 0xc0]] {
            assert!(matches!(decode(blocked, 100, false), Ok(Message::Unknown)));
        }
        assert!(decode(&[0x93, 64, 1, 0xc0], 100, true).is_err());
    }

    #[test]
    fn case_47_an_unsound_envelope_says_what_was_expected() {
        assert_eq!(refused(&[]), "expected a message, got the end of the frame");
        assert_eq!(refused(&[0x01]), "expected a message (an array), got 0x01");
        assert_eq!(refused(&[0x93, 0, 1, 0xa1]), "a message of kind 0 has 4 elements, this one 3");
        assert_eq!(refused(&[0x92, 6, 0xc0]), "expected the id of a cancel (an unsigned integer), got 0xc0");
        assert_eq!(refused(&[0x92, 6, 1, 1]), "1 bytes follow the last element of a message");
    }

    #[test]
    fn every_prefix_of_every_kind_is_refused_or_a_message_without_a_panic() {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let head = RequestHead { id: Some(7), method: "A.b", timeout: None, metadata: None, streams: None };
        for id in [Some(7), None] {
            for timeout in [None, Some(std::time::Duration::from_secs(3))] {
                let mut frame = Vec::new();
                encode_request(&mut frame, &RequestHead { id, timeout, ..head });
                frame.push(0x90);
                frames.push(frame);
            }
        }
        let mut frame = Vec::new();
        encode_ping(&mut frame, u64::MAX);
        frames.push(frame);
        let mut frame = Vec::new();
        encode_goaway(&mut frame, &GoAway { last_id: 7, reason: Reason::Drain, message: "x" });
        frames.push(frame);
        let name = StreamName { call: 1 << 30, stream: 16 };
        let mut frame = Vec::new();
        encode_end(&mut frame, name, None);
        frames.push(frame);
        for bytes in [None, Some(70_000)] {
            let mut frame = Vec::new();
            encode_credit(&mut frame, Credit { name, bytes });
            frames.push(frame);
        }
        let mut frame = Vec::new();
        encode_items(&mut frame, name, 70_000);
        assert!(frame.len() <= ITEM_HEAD_BYTES);
        frame.push(7);
        frames.push(frame);
        for frame in frames {
            assert!(decode(&frame, 100, true).is_ok(), "{frame:?}");
            for end in 0..frame.len() - 1 {
                assert!(decode(&frame[..end], 100, true).is_err(), "{:?}", &frame[..end]);
            }
        }
    }
}
