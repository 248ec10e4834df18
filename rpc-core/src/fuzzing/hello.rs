//! The hello: whoever begins a connection is known for what they are, at once and for no more bytes than that takes.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

use super::Input;
use crate::frame::LENGTH_BYTES;
use crate::limits::{HELLO_BYTES, Limits, MIN_FRAME_BYTES};
use crate::message::{Hello, MAGIC, VERSIONS, decode_hello, encode_hello};
use crate::runtime::{HandshakeError, welcome};

/// Reads the size of each read, and then the bytes with which a connection begins: what is behind the magic and a
/// length is also looked at by itself.
pub fn hello(data: &[u8]) {
    let mut input = Input::new(data);
    let each = usize::from(input.byte()) + 1;
    let bytes = input.rest();
    let head = MAGIC.len() + LENGTH_BYTES;
    if let Some(Ok(hello)) = bytes.get(head..).map(decode_hello) {
        check(&hello);
    }
    let (welcomed, read) = begin(bytes, each);
    assert!(read <= bytes.len());
    let same = bytes.iter().zip(&MAGIC).take_while(|(came, expected)| came == expected).count();
    let length = bytes
        .get(MAGIC.len()..head)
        .map(|length| length.iter().fold(0, |length: usize, byte| length << 8 | usize::from(*byte)));
    match (welcomed, length) {
        (Err(HandshakeError::Stranger(shown)), _) => {
            assert!(
                same < MAGIC.len().min(bytes.len()) && read <= head,
                "{read} bytes, {same} of them right"
            );
            assert_eq!(shown, bytes[..read]);
        }
        (outcome, _) if same < MAGIC.len().min(bytes.len()) => panic!("no stranger: {outcome:?}"),
        (Err(HandshakeError::Closed), None) => assert!(bytes.len() < head),
        (Err(HandshakeError::Malformed(_)), Some(length)) if length == 0 || length > HELLO_BYTES => {
            assert_eq!(read, head, "the body of a hello that is too long was read");
        }
        (Err(HandshakeError::Closed), Some(length)) => {
            assert!(length <= HELLO_BYTES && bytes.len() < head + length);
        }
        (outcome, Some(length)) => {
            assert_eq!(read, head + length, "what follows the hello is for others");
            match (outcome, decode_hello(&bytes[head..read])) {
                (Ok(taken), Ok(hello)) => {
                    assert_eq!(taken, hello);
                    assert!(has_common_version(&hello));
                }
                (Err(HandshakeError::Version(_)), Ok(hello)) => assert!(!has_common_version(&hello)),
                (Err(HandshakeError::Malformed(_)), Err(_)) => {}
                (outcome, hello) => panic!("{outcome:?} of {hello:?}"),
            }
        }
        (outcome, None) => panic!("{outcome:?} of {} bytes", bytes.len()),
    }
}

/// What holds of each hello that is taken.
fn check(hello: &Hello) {
    assert!(hello.versions.start() <= hello.versions.end());
    for (limit, least) in [
        (hello.frame_bytes, MIN_FRAME_BYTES),
        (hello.message_bytes, MIN_FRAME_BYTES),
        (hello.calls, 1),
        (hello.streams, 1),
        (hello.stream_bytes, 1),
    ] {
        assert!((least..=u32::MAX as usize).contains(&limit), "{hello:?}");
    }
    let mut out = Vec::new();
    encode_hello(&mut out, hello);
    assert!(out.len() <= HELLO_BYTES);
    assert_eq!(decode_hello(&out).expect("what was written"), *hello);
}

fn has_common_version(hello: &Hello) -> bool {
    VERSIONS.into_iter().any(|version| hello.versions.contains(&version))
}

/// Lets a connection begin with these bytes, and says how many of them were read.
fn begin(bytes: &[u8], each: usize) -> (Result<Hello, HandshakeError>, usize) {
    let read = Arc::new(AtomicUsize::new(0));
    let mut recv: crate::RecvHalf = Box::new(Bytes { bytes: bytes.to_vec(), each, read: read.clone() });
    let mut send: crate::SendHalf = Box::new(tokio::io::sink());
    let limits = Limits::default();
    let welcome = pin!(welcome(&mut recv, &mut send, &limits));
    let Poll::Ready(welcomed) = welcome.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it waits for more than there is");
    };
    (welcomed, read.load(Ordering::Relaxed))
}

/// Bytes that are there, a few at a time.
struct Bytes {
    bytes: Vec<u8>,
    each: usize,
    read: Arc<AtomicUsize>,
}

impl AsyncRead for Bytes {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let from = self.read.load(Ordering::Relaxed);
        let count = self.each.min(buffer.remaining()).min(self.bytes.len() - from);
        buffer.put_slice(&self.bytes[from..from + count]);
        self.read.store(from + count, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
