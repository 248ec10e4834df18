//! The beginning of a connection: the magic and one hello each way.
//!
//! It reads no byte beyond the hello, so that nothing has to be handed on.

use std::fmt;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::frame::LENGTH_BYTES;
use crate::limits::{HELLO_BYTES, Limits};
use crate::message::{Hello, MAGIC, VERSIONS, decode_hello, encode_hello};
use crate::protocol::Outbox;
use crate::transport::{RecvHalf, SendHalf};
use crate::{Code, Error, VersionMismatch};

/// Begins a connection as its client: speaks first.
pub(crate) async fn greet(
    recv: &mut RecvHalf,
    send: &mut SendHalf,
    limits: &Limits,
) -> Result<Hello, HandshakeError> {
    send_hello(send, limits).await?;
    check_versions(recv_hello(recv).await?)
}

/// Begins a connection as its server: waits for the client, so that a port can tell protocols apart.
pub(crate) async fn welcome(
    recv: &mut RecvHalf,
    send: &mut SendHalf,
    limits: &Limits,
) -> Result<Hello, HandshakeError> {
    let hello = recv_hello(recv).await?;
    // Also where no version fits: the client then knows it too.
    send_hello(send, limits).await?;
    check_versions(hello)
}

fn check_versions(hello: Hello) -> Result<Hello, HandshakeError> {
    let common = hello.versions.start() <= VERSIONS.end() && VERSIONS.start() <= hello.versions.end();
    if common {
        return Ok(hello);
    }
    Err(HandshakeError::Version(VersionMismatch { ours: VERSIONS, theirs: hello.versions }))
}

async fn send_hello(send: &mut SendHalf, limits: &Limits) -> io::Result<()> {
    let mut outbox = Outbox::default();
    outbox.push_raw(&MAGIC);
    outbox.push_message(|out| encode_hello(out, &Hello::new(limits)));
    send.write_all(outbox.contiguous()).await?;
    send.flush().await
}

async fn recv_hello(recv: &mut RecvHalf) -> Result<Hello, HandshakeError> {
    let mut head = [0; MAGIC.len() + LENGTH_BYTES];
    let mut filled = 0;
    while filled < head.len() {
        let count = recv.read(&mut head[filled..]).await?;
        if count == 0 {
            return Err(HandshakeError::Closed);
        }
        filled += count;
        // The first wrong byte is enough: a stranger is not kept waiting.
        let seen = filled.min(MAGIC.len());
        if head[..seen] != MAGIC[..seen] {
            return Err(HandshakeError::Stranger(head[..filled].to_vec()));
        }
    }
    let [.., a, b, c, d] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length == 0 || length > HELLO_BYTES {
        return Err(HandshakeError::Malformed(format!(
            "a hello of {length} bytes, expected 1 to {HELLO_BYTES}"
        )));
    }
    let mut frame = vec![0; length];
    recv.read_exact(&mut frame).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
        _ => HandshakeError::Io(error),
    })?;
    decode_hello(&frame).map_err(|malformed| HandshakeError::Malformed(malformed.to_string()))
}

/// Why two sides did not come together.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    Io(io::Error),
    /// The other side closed the connection.
    Closed,
    /// The other side does not speak this protocol.
    Stranger(Vec<u8>),
    Malformed(String),
    Version(VersionMismatch),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        HandshakeError::Io(error)
    }
}

impl HandshakeError {
    /// Whether another attempt cannot end differently.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, HandshakeError::Version(_))
    }
}

impl From<HandshakeError> for Error {
    fn from(error: HandshakeError) -> Error {
        let code = match error {
            HandshakeError::Version(_) => Code::FailedPrecondition,
            _ => Code::Unavailable,
        };
        let failed = Error::not_executed(code, error.to_string());
        match error {
            HandshakeError::Io(source) => failed.with_source(source),
            HandshakeError::Version(source) => failed.with_source(source),
            _ => failed,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Io(_) => f.write_str("the connection failed before its hello"),
            HandshakeError::Closed => f.write_str("the other side closed the connection before its hello"),
            HandshakeError::Stranger(bytes) => {
                write!(
                    f,
                    "the other side does not speak this protocol: it began with \"{}\"",
                    bytes.escape_ascii()
                )
            }
            HandshakeError::Malformed(what) => write!(f, "the other side's hello is malformed: {what}"),
            HandshakeError::Version(mismatch) => mismatch.fmt(f),
        }
    }
}
