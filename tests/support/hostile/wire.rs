//! The wire, written once more by hand: what a peer in another language would have, free to get it wrong.

/// What a connection begins with.
pub(crate) const MAGIC: [u8; 4] = [0xc1, b'R', b'P', b'C'];

/// Reasons of a goaway.
pub(crate) const DRAIN: u64 = 0;
pub(crate) const PROTOCOL: u64 = 1;
pub(crate) const FRAME: u64 = 2;
pub(crate) const STALL: u64 = 3;
pub(crate) const CALM: u64 = 4;
pub(crate) const EXHAUSTED: u64 = 5;

/// Codes of errors.
pub(crate) const CANCELLED: u64 = 1;
pub(crate) const INVALID_ARGUMENT: u64 = 3;
pub(crate) const DEADLINE_EXCEEDED: u64 = 4;
pub(crate) const RESOURCE_EXHAUSTED: u64 = 8;
pub(crate) const UNIMPLEMENTED: u64 = 12;
pub(crate) const INTERNAL: u64 = 13;
pub(crate) const UNAVAILABLE: u64 = 14;

/// Whether a call ran.
pub(crate) const NO: u64 = 0;
pub(crate) const YES: u64 = 2;

/// A message with its length before it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// The magic and the hello of an ordinary peer.
pub(crate) fn hello() -> Vec<u8> {
    hello_with(1, 1, &[], &[("frame_bytes", 4 << 20), ("calls", 1_024)])
}

pub(crate) fn hello_with(first: u64, last: u64, features: &[&str], limits: &[(&str, u64)]) -> Vec<u8> {
    let features: Vec<_> = features.iter().map(|name| text(name)).collect();
    let limits: Vec<_> = limits.iter().map(|(name, value)| [text(name), uint(*value)].concat()).collect();
    let message = array(&[&uint(10), &uint(first), &uint(last), &list(&features), &map(&limits)]);
    [&MAGIC[..], &framed(&message)].concat()
}

/// The hello of a peer that knows streams, each of which begins with so many bytes of credit.
pub(crate) fn hello_streams(stream_bytes: u64) -> Vec<u8> {
    hello_with(1, 1, &["streams"], &[("stream_bytes", stream_bytes)])
}

pub(crate) fn request(id: u64, method: &str, params: &[u8]) -> Vec<u8> {
    array(&[&uint(0), &uint(id), &text(method), params])
}

/// A request with so many microseconds left.
pub(crate) fn timed(id: u64, method: &str, micros: u64, params: &[u8]) -> Vec<u8> {
    array(&[&uint(3), &uint(id), &text(method), &uint(micros), &[0x80], params])
}

pub(crate) fn reply(id: u64, value: &[u8]) -> Vec<u8> {
    array(&[&uint(1), &uint(id), &[0xc0], value])
}

pub(crate) fn cancel(id: u64) -> Vec<u8> {
    array(&[&uint(6), &uint(id)])
}

pub(crate) fn ping(token: u64) -> Vec<u8> {
    array(&[&uint(7), &uint(token)])
}

/// A piece of a message, after which so many bytes of it follow; none: the message is given up.
pub(crate) fn fragment(number: u64, rest: Option<u64>, data: &[u8]) -> Vec<u8> {
    array(&[&uint(14), &uint(number), &rest.map_or(vec![0xc0], uint), &binary(data)])
}

/// A message in pieces of so many bytes.
pub(crate) fn in_fragments(number: u64, message: &[u8], bytes: usize) -> Vec<Vec<u8>> {
    let mut rest = message.len();
    let pieces = message.chunks(bytes).map(|piece| {
        rest -= piece.len();
        fragment(number, Some(rest as u64), piece)
    });
    pieces.collect()
}

pub(crate) fn goaway(last_id: u64, reason: u64, message: &str) -> Vec<u8> {
    array(&[&uint(9), &uint(last_id), &uint(reason), &text(message)])
}

/// A call with so many streams among its arguments.
pub(crate) fn open(id: u64, method: &str, streams: u64, params: &[u8]) -> Vec<u8> {
    array(&[&uint(15), &uint(id), &text(method), &[0xc0], &[0x80], &uint(streams), params])
}

/// What stands at the place of a stream: its number.
pub(crate) fn stream(number: u8) -> Vec<u8> {
    vec![0xd4, 1, number]
}

/// The reply that is a stream.
pub(crate) fn stream_reply(id: u64) -> Vec<u8> {
    reply(id, &stream(0))
}

/// Items, as many as there are.
pub(crate) fn items(id: u64, stream: u64, items: &[Vec<u8>]) -> Vec<u8> {
    counted(id, stream, items.len() as u32, &items.concat())
}

/// Bytes that are said to be so many items.
pub(crate) fn counted(id: u64, stream: u64, count: u32, bytes: &[u8]) -> Vec<u8> {
    let head = [&[0x94][..], &uint(11), &uint(id), &uint(stream)].concat();
    [&head[..], &[0xdd], &count.to_be_bytes(), bytes].concat()
}

pub(crate) fn end(id: u64, stream: u64) -> Vec<u8> {
    array(&[&uint(12), &uint(id), &uint(stream), &[0xc0]])
}

/// The end of a stream with an error, which is what these bytes are or are not.
pub(crate) fn end_with(id: u64, stream: u64, error: &[u8]) -> Vec<u8> {
    array(&[&uint(12), &uint(id), &uint(stream), error])
}

pub(crate) fn credit(id: u64, stream: u64, bytes: u64) -> Vec<u8> {
    array(&[&uint(13), &uint(id), &uint(stream), &uint(bytes)])
}

/// Nothing more is wanted of a stream.
pub(crate) fn stop(id: u64, stream: u64) -> Vec<u8> {
    array(&[&uint(13), &uint(id), &uint(stream), &[0xc0]])
}

pub(crate) fn blocked(id: u64, stream: u64) -> Vec<u8> {
    array(&[&uint(64), &uint(id), &uint(stream)])
}

/// An array of up to 15 elements that are MessagePack already, or are not, as the test likes.
pub(crate) fn array(elements: &[&[u8]]) -> Vec<u8> {
    assert!(elements.len() < 16, "a short array");
    [&[0x90 | elements.len() as u8], &elements.concat()[..]].concat()
}

fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    [&[0xdc][..], &(elements.len() as u16).to_be_bytes(), &elements.concat()].concat()
}

fn map(entries: &[Vec<u8>]) -> Vec<u8> {
    [&[0xde][..], &(entries.len() as u16).to_be_bytes(), &entries.concat()].concat()
}

/// In the longest form, which is as good as the shortest.
pub(crate) fn uint(value: u64) -> Vec<u8> {
    match value {
        0..=0x7f => vec![value as u8],
        _ => [&[0xcf][..], &value.to_be_bytes()].concat(),
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [&[0xdb][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    [&[0xc6][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A value as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Uint(u64),
    Int(i64),
    Float(f64),
    Text(String),
    Binary(Vec<u8>),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// The extension of streams, with a number.
    Stream(u8),
}

impl Value {
    /// One value, which must be all there is.
    pub(crate) fn decode(bytes: &[u8]) -> Value {
        let mut rest = bytes;
        let value = Value::next(&mut rest);
        assert!(rest.is_empty(), "{} bytes follow {value:?}", rest.len());
        value
    }

    fn next(rest: &mut &[u8]) -> Value {
        let marker = take(rest, 1)[0];
        let mut sized =
            |size: usize| take(rest, size).iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        match marker {
            0..=0x7f => Value::Uint(marker.into()),
            0x80..=0x8f => Value::map(rest, usize::from(marker & 15)),
            0x90..=0x9f => Value::array(rest, usize::from(marker & 15)),
            0xa0..=0xbf => Value::text(rest, usize::from(marker & 31)),
            0xc0 => Value::Nil,
            0xc2 | 0xc3 => Value::Bool(marker == 0xc3),
            0xc4..=0xc6 => {
                let size = sized(1 << (marker - 0xc4)) as usize;
                Value::Binary(take(rest, size).to_vec())
            }
            0xca => Value::Float(f32::from_bits(sized(4) as u32).into()),
            0xcb => Value::Float(f64::from_bits(sized(8))),
            0xcc..=0xcf => Value::Uint(sized(1 << (marker - 0xcc))),
            0xd0 => Value::Int((sized(1) as i8).into()),
            0xd1 => Value::Int((sized(2) as i16).into()),
            0xd2 => Value::Int((sized(4) as i32).into()),
            0xd3 => Value::Int(sized(8) as i64),
            0xd9..=0xdb => {
                let size = sized(1 << (marker - 0xd9)) as usize;
                Value::text(rest, size)
            }
            0xd4 => {
                assert_eq!(sized(1), 1, "the extension of streams has the type 1");
                Value::Stream(sized(1) as u8)
            }
            0xdc | 0xdd => {
                let size = sized(2 << (marker - 0xdc)) as usize;
                Value::array(rest, size)
            }
            0xde | 0xdf => {
                let size = sized(2 << (marker - 0xde)) as usize;
                Value::map(rest, size)
            }
            0xe0..=0xff => Value::Int((marker as i8).into()),
            other => panic!("0x{other:02x} is nothing that the library sends here"),
        }
    }

    fn array(rest: &mut &[u8], size: usize) -> Value {
        Value::Array((0..size).map(|_| Value::next(rest)).collect())
    }

    fn map(rest: &mut &[u8], size: usize) -> Value {
        Value::Map((0..size).map(|_| (Value::next(rest), Value::next(rest))).collect())
    }

    fn text(rest: &mut &[u8], size: usize) -> Value {
        Value::Text(std::str::from_utf8(take(rest, size)).expect("UTF-8").to_owned())
    }

    pub(crate) fn elements(&self) -> &[Value] {
        match self {
            Value::Array(elements) => elements,
            other => panic!("expected an array, got {other:?}"),
        }
    }

    pub(crate) fn uint(&self) -> u64 {
        match self {
            Value::Uint(value) => *value,
            other => panic!("expected an unsigned integer, got {other:?}"),
        }
    }

    pub(crate) fn str(&self) -> &str {
        match self {
            Value::Text(text) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// The kind of a message.
    pub(crate) fn kind(&self) -> u64 {
        self.elements()[0].uint()
    }

    /// The id of a message that has one.
    pub(crate) fn id(&self) -> u64 {
        self.elements()[1].uint()
    }

    /// A reply's id and value.
    pub(crate) fn value(&self) -> (u64, &Value) {
        match self.elements() {
            [Value::Uint(1), Value::Uint(id), Value::Nil, value] => (*id, value),
            other => panic!("expected a value, got {other:?}"),
        }
    }

    /// An error reply's id, code, whether the call ran, and message.
    pub(crate) fn error(&self) -> (u64, u64, u64, &str) {
        match self.elements() {
            [Value::Uint(1), Value::Uint(id), Value::Array(error), Value::Nil] => match &error[..] {
                [Value::Uint(code), Value::Uint(executed), Value::Text(message), _] => {
                    (*id, *code, *executed, message)
                }
                other => panic!("expected the error of a failed call, got {other:?}"),
            },
            other => panic!("expected an error, got {other:?}"),
        }
    }
}

fn take<'b>(rest: &mut &'b [u8], size: usize) -> &'b [u8] {
    let (taken, left) = rest.split_at(size);
    *rest = left;
    taken
}
