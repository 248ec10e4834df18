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
    /// How often anybody was listened to.
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

/// How often they are listened to while another task gives way this often.
const ROUNDS: u64 = 200;

async fn listened_to(says: Says) -> u64 {
    let reads = Arc::new(AtomicU64::new(0));
    let listener = Endless { left: PEERS, says, reads: reads.clone() };
    let server = Server::new().add(TargetServer::new(Handler::default()));
    let serving = tokio::spawn(server.bind(listener).await.expect("bound").serve());
    // By then all have begun.
    while reads.load(Ordering::Relaxed) < 20 * PEERS as u64 {
        yield_now().await;
    }
    let before = reads.load(Ordering::Relaxed);
    for _ in 0..ROUNDS {
        yield_now().await;
    }
    serving.abort();
    reads.load(Ordering::Relaxed) - before
}

/// One of them a round, twice at most, and the beginnings of what is large; not each of them.
fn took_turns(reads: u64) {
    assert!(
        (1..=4 * ROUNDS).contains(&reads),
        "{reads} reads while another task had its turn {ROUNDS} times"
    );
}

#[tokio::test]
async fn many_who_say_very_much_are_listened_to_in_turns() {
    let small = |id| wire::framed(&wire::request(id, "Target.small", &wire::array(&[&wire::uint(7)])));
    took_turns(listened_to(small).await);
}

#[tokio::test]
async fn many_who_send_what_is_large_are_listened_to_in_turns() {
    let large = |id| {
        let arguments = wire::array(&[&wire::text(""), &wire::binary(&vec![7; 3 << 20])]);
        wire::framed(&wire::request(id, "Target.length", &arguments))
    };
    took_turns(listened_to(large).await);
}

#[tokio::test]
async fn many_who_go_on_after_they_were_sent_away_are_listened_to_in_turns() {
    // No message is empty.
    took_turns(listened_to(|_| vec![0; 64 << 10]).await);
}
