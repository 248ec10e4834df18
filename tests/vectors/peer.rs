//! A raw peer: bytes out, bytes in, and nothing understood of them but where a frame ends.

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: &[u8] = b"\xc1RPC";
const HELLO: &str = "c1525043 00000062 95 0a 01 01 92a9667261676d656e7473a773747265616d73 \
    85ab6672616d655f6279746573ce00400000a563616c6c73cd0400ad6d6573736167655f6279746573ce04000000a773747265616d73cd0400ac73747265616d5f6279746573ce00010000";
const GOAWAY: &str = "0000000d 94 09 cfffffffffffffffff 00 a0";
/// The same without its text.
const GOAWAY_BEGINS: &str = "94 09 cfffffffffffffffff 00";

/// The longest frame that is taken wherever fragments are expected.
const SMALL_FRAME: usize = 1024;

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Client,
    Server,
    Both,
}

/// What happens next.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    /// A side sends bytes.
    Bytes(Bytes),
    /// A side sends no more bytes.
    Closes { closes: Side },
    /// Something outside of the connection.
    Event { event: String },
}

/// What a side sends.
#[derive(Deserialize)]
pub(crate) struct Bytes {
    pub(crate) from: Side,
    pub(crate) hex: String,
    pub(crate) message: Option<serde_json::Value>,
    /// Of its frame's body only this is compared.
    begins: Option<String>,
    /// It may leave this out.
    #[serde(default)]
    optional: bool,
    may_split: Option<Split>,
}

/// What may come in several messages instead of one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    Items,
    Fragments,
}

/// Plays one side of an exchange.
pub(crate) struct Peer<S> {
    stream: S,
    side: Side,
    closed: bool,
    /// Frames that may come before the next one that has to.
    optional: Vec<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S, side: Side) -> Self {
        Peer { stream, side, closed: false, optional: Vec::new() }
    }

    /// Exchanges hellos that are not what is looked at.
    pub(crate) async fn greet(&mut self) {
        if self.side == Side::Client {
            self.send(HELLO).await;
        }
        let mut magic = [0; 4];
        self.stream.read_exact(&mut magic).await.unwrap();
        assert_eq!(magic, MAGIC);
        assert!(self.frame().await.is_some());
        if self.side == Side::Server {
            self.send(HELLO).await;
        }
    }

    pub(crate) async fn play(&mut self, step: &Step) {
        match step {
            Step::Bytes(bytes) if bytes.from == self.side => self.send(&bytes.hex).await,
            Step::Bytes(Bytes { hex, optional: true, .. }) => self.optional.push(bytes(hex)),
            Step::Bytes(Bytes { hex, may_split: Some(Split::Items), .. }) => self.expect_items(hex).await,
            Step::Bytes(Bytes { hex, may_split: Some(Split::Fragments), .. }) => {
                self.expect_fragments(hex).await;
            }
            Step::Bytes(Bytes { hex, begins, .. }) => self.expect(hex, begins.as_deref()).await,
            Step::Closes { closes } if *closes == self.side => {
                self.stream.shutdown().await.unwrap();
                // A client may only have no more to say; when a server has not, it is over.
                if self.side == Side::Server {
                    self.expect_end().await;
                }
            }
            Step::Closes { .. } => self.expect_end().await,
            Step::Event { event } => panic!("{event:?} is nothing that a peer does"),
        }
    }

    /// Ends the connection in good order, unless it is over: nothing else may have come.
    pub(crate) async fn leave(mut self) {
        if self.closed {
            return;
        }
        if self.side == Side::Client {
            self.send(GOAWAY).await;
            self.expect(GOAWAY, None).await;
        } else {
            self.expect(GOAWAY, Some(GOAWAY_BEGINS)).await;
        }
        self.expect_end().await;
    }

    async fn send(&mut self, hex: &str) {
        self.stream.write_all(&bytes(hex)).await.unwrap();
    }

    async fn expect(&mut self, hex: &str, begins: Option<&str>) {
        let expected = bytes(hex);
        let mut came = Vec::new();
        if expected.starts_with(MAGIC) {
            came.resize(MAGIC.len(), 0);
            self.stream.read_exact(&mut came).await.unwrap();
        }
        let whole = begins.is_none().then_some(&expected[came.len()..]);
        let frame = self.next(whole).await.unwrap_or_else(|| panic!("the end instead of {hex}"));
        match begins.map(bytes) {
            Some(begins) => {
                assert!(frame[4..].starts_with(&begins), "got {}, expected {hex}", shown(&frame))
            }
            None => {
                came.extend_from_slice(&frame);
                assert!(came == expected, "got {}, expected {hex}", shown(&came));
            }
        }
    }

    /// The same items, in as many messages as they like to come in.
    async fn expect_items(&mut self, hex: &str) {
        let expected = bytes(hex);
        let (head, items) = items(&expected[4..]);
        let mut came = Vec::new();
        while came.len() < items.len() {
            let frame =
                self.next(Some(&expected)).await.unwrap_or_else(|| panic!("the end instead of {hex}"));
            let message = &frame[4..];
            assert!(message.starts_with(head), "got {}, expected {hex}", shown(&frame));
            came.extend_from_slice(self::items(message).1);
        }
        assert!(came == items, "got the items {}, expected {hex}", shown(&came));
    }

    /// One message in fragments, which are cut anyhow, or whole if it may.
    async fn expect_fragments(&mut self, hex: &str) {
        let expected = bytes(hex);
        let mut came = Vec::new();
        while came.len() < expected.len() {
            let frame = self.next(None).await.unwrap_or_else(|| panic!("the end instead of {hex}"));
            assert!(frame.len() <= 4 + SMALL_FRAME, "a frame of {} bytes", frame.len() - 4);
            if frame[4..] == expected[..] {
                return;
            }
            let fragment = frame[4..].strip_prefix(&[0x94, 14]);
            let fragment = fragment.unwrap_or_else(|| panic!("got {}, no fragment", shown(&frame)));
            let (_number, fragment) = uint(fragment);
            let (rest, fragment) = uint(fragment);
            let head = match fragment[0] {
                0xc4 => 2,
                0xc5 => 3,
                0xc6 => 5,
                other => panic!("data begin with {other:#x}"),
            };
            assert!(fragment.len() > head, "a fragment without data");
            came.extend_from_slice(&fragment[head..]);
            assert_eq!(came.len() as u64 + rest, expected.len() as u64, "what is left after a fragment");
        }
        assert!(came == expected, "got {}, expected {hex}", shown(&came));
    }

    async fn expect_end(&mut self) {
        if let Some(frame) = self.next(None).await {
            panic!("got {} instead of the end", shown(&frame));
        }
        self.closed = true;
    }

    /// The next frame with its length that does not belong to what may be left out; nothing at the end.
    async fn next(&mut self, expected: Option<&[u8]>) -> Option<Vec<u8>> {
        loop {
            let frame = self.frame().await?;
            let optional = self.optional.iter().position(|optional| *optional == frame);
            match optional.filter(|_| expected != Some(&frame)) {
                Some(optional) => drop(self.optional.remove(optional)),
                None => {
                    self.optional.clear();
                    return Some(frame);
                }
            }
        }
    }

    /// The next frame with its length, or nothing at the end.
    async fn frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 4];
        if self.stream.read(&mut frame[..1]).await.unwrap() == 0 {
            return None;
        }
        self.stream.read_exact(&mut frame[1..]).await.unwrap();
        let length = u32::from_be_bytes(frame[..].try_into().unwrap());
        frame.resize(4 + length as usize, 0);
        self.stream.read_exact(&mut frame[4..]).await.unwrap();
        Some(frame)
    }
}

/// The bytes of a text in hexadecimal digits, with blanks wherever they help a reader.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        hex.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16).expect("a hexadecimal digit")).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// An item message in two: what says of which stream the items are, and the items.
fn items(message: &[u8]) -> (&[u8], &[u8]) {
    let named =
        message.strip_prefix(&[0x94, 11]).unwrap_or_else(|| panic!("got {}, no items", shown(message)));
    let (_stream, array) = uint(uint(named).1);
    let head = match array[0] {
        0x90..=0x9f => 1,
        0xdc => 3,
        0xdd => 5,
        other => panic!("items begin with {other:#x}"),
    };
    (&message[..message.len() - array.len()], &array[head..])
}

/// An unsigned integer at the beginning, and what follows it.
fn uint(bytes: &[u8]) -> (u64, &[u8]) {
    let (first, rest) = bytes.split_first().unwrap();
    let width = match first {
        0x00..=0x7f => return (u64::from(*first), rest),
        0xcc..=0xcf => 1 << (first - 0xcc),
        other => panic!("an integer begins with {other:#x}"),
    };
    let (number, rest) = rest.split_at(width);
    (number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)), rest)
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex} \"{}\"", bytes.escape_ascii())
}
