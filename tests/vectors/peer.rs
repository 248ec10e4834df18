//! A raw peer: bytes out, bytes in, and nothing understood of them but where a frame ends.

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: &[u8] = b"\xc1RPC";
const HELLO: &str = "c1525043 00000020 95 0a 01 01 90 82ab6672616d655f6279746573ce00400000a563616c6c73cd0400";
const GOAWAY: &str = "0000000d 94 09 cfffffffffffffffff 00 a0";
/// The same without its text.
const GOAWAY_BEGINS: &str = "94 09 cfffffffffffffffff 00";

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
    /// A side sends bytes; of its frame's body only the beginning is compared if that is given.
    Bytes { from: Side, hex: String, begins: Option<String> },
    /// A side sends no more bytes.
    Closes { closes: Side },
    /// Something outside of the connection.
    Event { event: String },
}

/// Plays one side of an exchange.
pub(crate) struct Peer<S> {
    stream: S,
    side: Side,
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S, side: Side) -> Self {
        Peer { stream, side, closed: false }
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
            Step::Bytes { from, hex, .. } if *from == self.side => self.send(hex).await,
            Step::Bytes { hex, begins, .. } => self.expect(hex, begins.as_deref()).await,
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
        let frame = self.frame().await.unwrap_or_else(|| panic!("the end instead of {hex}"));
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

    async fn expect_end(&mut self) {
        if let Some(frame) = self.frame().await {
            panic!("got {} instead of the end", shown(&frame));
        }
        self.closed = true;
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

pub(crate) fn shown(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex} \"{}\"", bytes.escape_ascii())
}
