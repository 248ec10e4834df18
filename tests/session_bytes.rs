//! What a session costs on the wire: a fixed one takes exactly the bytes of `session_bytes.txt`, each way and by kind of
//! message.
//!
//! The golden vectors say which bytes a message is made of; this says that no more of them are sent than must be: a
//! batch that fell apart, a ping or a grant of credit that nobody needs. Both sides are real, the pipe between
//! them is in memory and time is paused. `UPDATE_SNAPSHOTS=1 cargo test --test session_bytes` writes the file anew.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "the vectors need more of it")]
#[path = "vectors/services.rs"]
mod services;

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::{CallError, Channel, IoTransport, Once, Server, Streaming, iter};
use serde::de::DeserializeOwned;
use services::{Abacus, CalculatorClient, CalculatorServer, MathError};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::oneshot;

/// In virtual time this passes at once, and it is longer than anything that the session waits for.
const STUCK: Duration = Duration::from_secs(600);

/// What docs/protocol.md calls the kinds of messages.
const KINDS: [(u8, &str); 17] = [
    (0, "request"),
    (1, "response"),
    (2, "notification"),
    (3, "call"),
    (4, "reply"),
    (5, "send"),
    (6, "cancel"),
    (7, "ping"),
    (8, "pong"),
    (9, "goaway"),
    (10, "hello"),
    (11, "item"),
    (12, "end"),
    (13, "credit"),
    (14, "fragment"),
    (15, "open"),
    (64, "blocked"),
];

#[tokio::test(start_paused = true)]
async fn a_session_takes_exactly_the_committed_bytes() {
    let taken = tokio::time::timeout(STUCK, session()).await.expect("it goes on");
    let table = table(&taken);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/session_bytes.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == table,
        "the session takes other bytes than tests/session_bytes.txt says; if it is meant to, run this with \
         UPDATE_SNAPSHOTS=1\n\ncommitted:\n{committed}\nnow:\n{table}"
    );
}

/// Calls of every kind, from the hello to the goodbye; what the client has sent and received.
async fn session() -> [Vec<u8>; 2] {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let abacus = Abacus::default();
    let server = Server::new().add(CalculatorServer::new(abacus.clone()));
    let bound = server.bind(Once::new(IoTransport::new(theirs))).await.unwrap();
    let serving = tokio::spawn(bound.serve());
    let (tap, taken, over) = Tap::new(ours);
    let calculator = CalculatorClient::new(Channel::connect(Once::new(IoTransport::new(tap))).await.unwrap());

    small_calls(&calculator, &abacus).await;
    streams(&calculator).await;
    // One large message each way.
    assert_eq!(calculator.shout(&"a".repeat(1_000_000), 0).await.unwrap().len(), 1_000_000);

    drop(calculator);
    over.await.unwrap_err();
    serving.abort();
    taken.lock().unwrap().clone()
}

async fn small_calls(calculator: &CalculatorClient, abacus: &Abacus) {
    let hour = Duration::from_secs(3_600);
    for _ in 0..100 {
        assert_eq!(calculator.add(2, 3).await.unwrap(), 5);
    }
    // Many at once, too.
    let mut together = Vec::new();
    for number in 0..100 {
        let calculator = calculator.clone();
        together.push(tokio::spawn(async move { calculator.add(number, 1_000).await.unwrap() }));
    }
    for (number, call) in (0..).zip(together) {
        assert_eq!(call.await.unwrap(), number + 1_000);
    }
    assert_eq!(calculator.add(2, 3).timeout(hour).await.unwrap(), 5);
    let tenant = calculator.tenant().metadata("tenant", "acme").await.unwrap();
    assert_eq!(tenant.as_deref(), Some("acme"));
    assert!(calculator.priced().await.unwrap());
    let (waited, ()) = tokio::join!(calculator.wait(), async { abacus.let_go() });
    waited.unwrap();

    calculator.log("a line".to_owned()).await.unwrap();
    calculator.log("another".to_owned()).metadata("tenant", "acme").await.unwrap();
    assert_eq!(calculator.logged().await.unwrap().len(), 2);

    let error = calculator.divide(1, 0).await.unwrap_err();
    assert_eq!(error.app(), Some(&MathError::DivisionByZero));
    calculator.fail(14, 2).await.unwrap_err();
    calculator.ponder().timeout(Duration::from_millis(50)).await.unwrap_err();
    // Given up once it is sent.
    tokio::time::timeout(Duration::from_millis(50), calculator.ponder()).await.unwrap_err();
}

async fn streams(calculator: &CalculatorClient) {
    assert_eq!(all(calculator.primes(100).await.unwrap()).await.len(), 25);
    assert_eq!(calculator.sum(iter([1, 2, 39])).await.unwrap(), 42);
    assert_eq!(all(calculator.running_mean(iter([1.0, 3.0])).await.unwrap()).await, [1.0, 2.0]);
    // Given up while it is open.
    let mut ticks = calculator.ticks().await.unwrap();
    assert_eq!(ticks.next().await.unwrap().unwrap(), 0);
    drop(ticks);

    // So many that credit has to come back, each way.
    assert_eq!(calculator.sum(iter(0..100_000)).await.unwrap(), 4_999_950_000);
    let mut samples = calculator.samples(100_000).await.unwrap();
    for number in 0..100_000 {
        assert_eq!(samples.next().await.unwrap().unwrap(), number);
    }
    assert!(matches!(samples.next().await, Some(Err(CallError::App(_)))));
}

async fn all<T: DeserializeOwned>(mut stream: Streaming<T>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(item) = stream.next().await {
        all.push(item.unwrap());
    }
    all
}

/// By kind how many messages and bytes went each way, lengths included.
fn table(taken: &[Vec<u8>; 2]) -> String {
    let counts = taken.each_ref().map(|bytes| count(bytes));
    let mut table = "                  from the client    from the server\n\
                     kind             messages   bytes   messages   bytes\n"
        .to_owned();
    let mut row = |name: &str, each: [(usize, usize); 2]| {
        let [(sent, sent_bytes), (received, received_bytes)] = each;
        writeln!(table, "{name:<16} {sent:>8} {sent_bytes:>7}   {received:>8} {received_bytes:>7}").unwrap();
    };
    for (kind, name) in KINDS {
        let each = counts.each_ref().map(|counts| counts[usize::from(kind)]);
        if each.iter().any(|(messages, _)| *messages > 0) {
            row(name, each);
        }
    }
    let sum = |sum: (usize, usize), more: &(usize, usize)| (sum.0 + more.0, sum.1 + more.1);
    row("together", counts.each_ref().map(|counts| counts.iter().fold((0, 0), sum)));
    table
}

/// How many messages and bytes there are of each kind. The magic counts to the hello.
fn count(bytes: &[u8]) -> [(usize, usize); 128] {
    let mut counts = [(0, 0); 128];
    let mut rest = bytes.strip_prefix(b"\xc1RPC").expect("the magic");
    let mut magic = bytes.len() - rest.len();
    while let Some((length, message)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (message, following) = message.split_at(length);
        // An array of few elements, and its first.
        let (messages, bytes) = &mut counts[usize::from(message[1])];
        *messages += 1;
        *bytes += std::mem::take(&mut magic) + 4 + length;
        rest = following;
    }
    assert!(rest.is_empty(), "half a length: {rest:?}");
    let known = |kind| KINDS.iter().any(|(known, _)| usize::from(*known) == kind);
    let unknown = (0..counts.len()).find(|kind| counts[*kind].0 > 0 && !known(*kind));
    assert_eq!(unknown, None, "a kind of message that is not listed here");
    counts
}

/// What the client has sent and received.
type Taken = Arc<Mutex<[Vec<u8>; 2]>>;

/// The client's end of the pipe; keeps what goes through it, each way.
struct Tap {
    inner: DuplexStream,
    taken: Taken,
    /// Dropped with the connection.
    _over: oneshot::Sender<()>,
}

impl Tap {
    fn new(inner: DuplexStream) -> (Self, Taken, oneshot::Receiver<()>) {
        let taken = Taken::default();
        let (sender, over) = oneshot::channel();
        (Tap { inner, taken: taken.clone(), _over: sender }, taken, over)
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.taken.lock().unwrap()[1].extend_from_slice(&buf.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = polled {
            self.taken.lock().unwrap()[0].extend_from_slice(&bytes[..count]);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
