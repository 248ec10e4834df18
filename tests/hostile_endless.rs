//! Peers that never stop: what a server reads of many of them, beside whom everybody else has their turn.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hostile::{Handler, TargetServer, wire};
use rpc::{Address, Listener, RecvHalf, SendHalf, Server, Transport};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::yield_now;

/// How many there are.
const PEERS: usize = 30;

/// What a peer says, piece by piece.
type Says = fn(u64) -> Vec<u8>;

/// Accepts peers that say this as fast as they are listened to.
struct Endless {
    left: usize,
    says: Says,
    reads: Arc<AtomicU64>,
}

impl Listener for Endless {
    fn local_addr(&self) -> Address {
        Address::new("endless://")
    }

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Box<dyn Transport>>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        self.left -= 1;
        let (says, reads) = (self.says, self.reads.clone());
        Poll::Ready(Ok(Box::new(Peer { says, pieces: 0, rest: wire::hello(), reads })))
    }
}

struct Peer {
    says: Says,
    pieces: u64,
    /// What is left of a piece.
    rest: Vec<u8>,
    reads: Arc<AtomicU64>,
}

impl Transport for Peer {
    fn peer(&self) -> Address {
        Address::new("endless://")
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        (self, Box::new(tokio::io::sink()))
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        while buffer.remaining() > 0 {
            let count = self.rest.len().min(buffer.remaining());
            buffer.put_slice(&self.rest[..count]);
            self.rest.drain(..count);
            if self.rest.is_empty() {
                self.pieces += 1;
                self.rest = (self.says)(self.pieces);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Another task gives way so often.
const ROUNDS: u64 = 100;

/// What is done meanwhile.
struct Done {
    /// How often anybody was listened to.
    reads: u64,
    /// How many calls were started.
    calls: u64,
}

async fn meanwhile(says: Says) -> Done {
    let handler = Handler::default();
    let reads = Arc::new(AtomicU64::new(0));
    let listener = Endless { left: PEERS, says, reads: reads.clone() };
    let server = Server::new().add(TargetServer::new(handler.clone()));
    let serving = tokio::spawn(server.bind(listener).await.expect("bound").serve());
    let done = || Done { reads: reads.load(Ordering::Relaxed), calls: handler.ledger.started() as u64 };
    // By then all have begun.
    while done().reads < 5 * PEERS as u64 {
        yield_now().await;
    }
    let before = done();
    for _ in 0..ROUNDS {
        yield_now().await;
    }
    serving.abort();
    Done { reads: done().reads - before.reads, calls: done().calls - before.calls }
}

/// Not each of them had its turn in each round.
fn took_turns(what: &str, count: u64, most_a_round: u64) {
    assert!(
        (1..=most_a_round * ROUNDS).contains(&count),
        "{count} {what} while another task had its turn {ROUNDS} times"
    );
}

/// Two reads are a turn, and the beginnings of what is large are read besides.
const READS: u64 = 4;

#[tokio::test]
async fn many_who_say_very_much_are_listened_to_in_turns() {
    let small = |id| wire::framed(&wire::request(id, "Target.small", &wire::array(&[&wire::uint(7)])));
    took_turns("reads", meanwhile(small).await.reads, READS);
}

#[tokio::test]
async fn many_who_send_what_is_large_are_listened_to_in_turns() {
    let large = |id| {
        let arguments = wire::array(&[&wire::text(""), &wire::binary(&vec![7; 3 << 20])]);
        wire::framed(&wire::request(id, "Target.length", &arguments))
    };
    took_turns("reads", meanwhile(large).await.reads, READS);
}

#[tokio::test]
async fn many_who_go_on_after_they_were_sent_away_are_listened_to_in_turns() {
    // No message is empty.
    took_turns("reads", meanwhile(|_| vec![0; 64 << 10]).await.reads, READS);
}

#[tokio::test]
async fn many_calls_of_which_a_little_becomes_much_are_started_in_turns() {
    let growing = |id| {
        let items = [&[0xdc, 0x0a, 0x00][..], &[0x80; 0x0a00]].concat();
        wire::framed(&wire::request(id, "Target.heavy", &wire::array(&[&items])))
    };
    took_turns("calls", meanwhile(growing).await.calls, 2);
}
