//! A socket of the simulated network, whose reads and writes are cut into pieces, whose writes may have to wait, and
//! which can be cut itself.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rpc::{Address, RecvHalf, SendHalf, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use turmoil::net::TcpStream;
use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::random::Random;
use crate::services::hash;
use crate::trace::{Actor, Step};
use crate::world::World;

/// Resets a connection.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    is_cut: AtomicBool,
    waiting: Mutex<[Option<Waker>; 2]>,
}

impl Cut {
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Which half looks is 0 or 1.
    fn check(&self, half: usize, cx: &Context<'_>) -> io::Result<()> {
        if self.is_cut.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the connection was cut"));
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)[half] = Some(cx.waker().clone());
        Ok(())
    }
}

/// One end of a connection.
pub(crate) struct Socket {
    peer: Address,
    pub(crate) cut: Arc<Cut>,
    recv: Recv,
    send: Send,
}

impl Socket {
    pub(crate) fn new(world: &Arc<World>, stream: TcpStream, peer: Address, connection: u32) -> Self {
        let (recv, send) = stream.into_split();
        let cut = Arc::new(Cut::default());
        let slices = world.scenario.wire.slices;
        let pieces =
            |half| Pieces { random: world.scenario.random.fork(u64::from(connection) << 8 | half), slices };
        let recv =
            Recv { inner: recv, cut: cut.clone(), pieces: pieces(3), world: world.clone(), connection };
        let send = Send { inner: send, cut: cut.clone(), pieces: pieces(4), full: None };
        Socket { peer, cut, recv, send }
    }
}

impl Transport for Socket {
    fn peer(&self) -> Address {
        self.peer.clone()
    }

    fn split(self: Box<Self>) -> (RecvHalf, SendHalf) {
        (Box::new(self.recv), Box::new(self.send))
    }
}

/// How much is read or written at once.
struct Pieces {
    random: Random,
    slices: bool,
}

impl Pieces {
    fn next(&mut self, most: usize) -> usize {
        if self.slices && most > 0 && self.random.one_in(3) {
            self.random.within(1..=most as u64) as usize
        } else {
            most
        }
    }

    /// How long nothing is taken, if that is so. What turmoil takes before it lets a writer wait is more than a world
    /// sends, so it would never let one wait.
    fn stall(&mut self) -> Option<Duration> {
        (self.slices && self.random.one_in(8)).then(|| self.random.millis(1..=30))
    }
}

struct Recv {
    inner: OwnedReadHalf,
    cut: Arc<Cut>,
    pieces: Pieces,
    world: Arc<World>,
    connection: u32,
}

impl AsyncRead for Recv {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut.check(0, cx)?;
        let most = self.pieces.next(buf.remaining());
        let mut piece = buf.take(most);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        let bytes = piece.filled().to_vec();
        buf.put_slice(&bytes);
        self.world.trace(Actor::World, Step::Moves { connection: self.connection, bytes: hash(&bytes) });
        Poll::Ready(Ok(()))
    }
}

struct Send {
    inner: OwnedWriteHalf,
    cut: Arc<Cut>,
    pieces: Pieces,
    /// Until nothing more is in the way of a write.
    full: Option<Pin<Box<Sleep>>>,
}

impl AsyncWrite for Send {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.cut.check(1, cx)?;
        if self.full.is_none() {
            self.full = self.pieces.stall().map(|stall| Box::pin(sleep(stall)));
        }
        if let Some(full) = &mut self.full {
            ready!(full.as_mut().poll(cx));
        }
        let most = self.pieces.next(bytes.len());
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &bytes[..most]));
        self.full = None;
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut.check(1, cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut.check(1, cx)?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
